"""The engine `whisper.cpp`, through the package pywhispercpp."""

import time
from pathlib import Path
from typing import Any

from sottovoce.benchmark.engines.engine import WINDOW_S
from sottovoce.benchmark.engines.transcription import TimedTranscript
from sottovoce.benchmark.engines.whisper_cpp_model import ask, open_model
from sottovoce.benchmark.schema.precision import Precision
from sottovoce.runtime.audio.decode import SAMPLE_RATE_HZ, Wave
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.terms import Stage


class WhisperCppEngine:
    """A ggml file in whisper.cpp, greedy and without attempts at higher temperatures."""

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        import _pywhispercpp as library

        self._library = library
        self._threads = compute.threads
        self._label = folder.name.rpartition("-")[2]
        self._model = open_model(folder, compute)
        self._end = int(library.whisper_token_eot(self._model._ctx))  # noqa: SLF001 - the wrapper shows no tokens

    def transcribe(self, wave: Wave, language: str | None) -> TimedTranscript:
        """Transcribe a wave, float32, shape (n_samples,), 16 kHz; one over 30 s with timestamps, which it needs."""
        is_long = len(wave) > WINDOW_S * SAMPLE_RATE_HZ
        asked = ask(self._library, self._model._ctx, language, is_long=is_long)  # noqa: SLF001 - same
        started = time.perf_counter()
        segments = self._model.transcribe(wave, **asked)
        text = " ".join(segment.text.strip() for segment in segments)
        latency = time.perf_counter() - started
        return TimedTranscript(
            text=text,
            n_tokens=self._count_tokens(),
            latency_s=latency,
            stage_s={Stage.OTHER: latency},
            calls={},
        )

    def _count_tokens(self) -> int:
        context: Any = self._model._ctx  # noqa: SLF001 - the wrapper shows no tokens
        full = self._library
        return sum(
            full.whisper_full_get_token_id(context, segment, place) < self._end
            for segment in range(full.whisper_full_n_segments(context))
            for place in range(full.whisper_full_n_tokens(context, segment))
        )

    def precision(self) -> Precision:
        """Tell what the weights are stored in; whisper.cpp shows no nodes to read back."""
        return Precision(label=self._label, components={}, threads=self._threads, streams=1)
