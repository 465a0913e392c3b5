"""From what a window gave to segments: texts, times, words."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from sottovoce.runtime.alignment import Aligner
from sottovoce.runtime.audio import SAMPLE_RATE_HZ
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.compute import ComputeSpec
from sottovoce.runtime.long_form import TimedWave
from sottovoce.runtime.segments import Piece, split_pieces
from sottovoce.runtime.tokens import WhisperTokenizer
from sottovoce.runtime.transcript import Phase, Segment, Task, Word
from sottovoce.runtime.windows import Asked, Heard


class SegmentMaker:
    """Makes the segments of windows; loads what places words when it is first needed."""

    def __init__(self, folder: Path, compute: ComputeSpec, tokenizer: WhisperTokenizer) -> None:
        self._folder = folder
        self._compute = compute
        self._tokenizer = tokenizer

    @cached_property
    def _aligner(self) -> Aligner:
        return Aligner.load(self._folder, self._compute, self._tokenizer)

    def pieces(self, window: TimedWave, heard: Heard) -> tuple[Piece, ...]:
        """Cut a window's tokens at their timestamps."""
        window_s = len(window.wave) / SAMPLE_RATE_HZ
        return split_pieces(heard.attempt.tokens, self._tokenizer.special, window_s)

    def segments(
        self, window: TimedWave, pieces: Sequence[Piece], heard: Heard, asked: Asked, clock: PhaseClock
    ) -> list[Segment]:
        """Return the segments of a window's pieces, with words where they are asked for."""
        attempt = heard.attempt
        segments = [
            Segment(
                start_s=window.start_s + piece.start_s,
                end_s=window.start_s + piece.end_s,
                text=self._tokenizer.text(piece.tokens).strip(),
                tokens=piece.tokens,
                mean_log_probability=attempt.mean_log_probability,
                no_speech_probability=attempt.no_speech_probability,
                compression_ratio=heard.compression_ratio,
                temperature=attempt.temperature,
            )
            for piece in pieces
        ]
        if asked.options.word_timestamps and segments:
            return self._with_words(window, segments, heard, asked, clock)
        return segments

    def _with_words(
        self,
        window: TimedWave,
        segments: Sequence[Segment],
        heard: Heard,
        asked: Asked,
        clock: PhaseClock,
    ) -> list[Segment]:
        """Place the words; segments that the model gave no times get those of their words."""
        attempt, special = heard.attempt, self._tokenizer.special
        logs = zip(attempt.tokens, attempt.log_probabilities, strict=True)
        probabilities = [math.exp(log) for token, log in logs if token < special.end]
        texts = [segment.tokens for segment in segments]
        language = "en" if asked.options.task is Task.TRANSLATE else asked.detected.language
        with clock.time(Phase.ALIGNMENT):
            placed = self._aligner.align(
                heard.encoded,
                self._tokenizer.prompt(
                    language=asked.detected.language, task=asked.options.task, with_timestamps=False
                ),
                segments=texts,
                probabilities=probabilities[: sum(map(len, texts))],
                language=language,
                n_samples=len(window.wave),
            )
        return [
            _with_times(segment, words, window.start_s, keep=asked.options.with_timestamps)
            for segment, words in zip(segments, placed, strict=True)
        ]


def _with_times(segment: Segment, words: Sequence[Word], offset_s: float, *, keep: bool) -> Segment:
    moved = tuple(
        replace(word, start_s=word.start_s + offset_s, end_s=word.end_s + offset_s) for word in words
    )
    if keep or not moved:
        return replace(segment, words=moved)
    return replace(segment, words=moved, start_s=moved[0].start_s, end_s=moved[-1].end_s)
