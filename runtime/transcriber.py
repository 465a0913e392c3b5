"""Audio to text with an OpenVINO or an ONNX variant, in sottovoce's own decoding."""

from collections.abc import Sequence
from dataclasses import replace
from threading import RLock
from typing import Any, Unpack

from sottovoce.errors import SpecError
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.decoding.context import DetectedLanguage
from sottovoce.runtime.live.options import LiveOptions, LiveOptionValues
from sottovoce.runtime.live.session import LiveSession, open_session
from sottovoce.runtime.options import OptionValues, TranscribeOptions
from sottovoce.runtime.pipeline import InferencePipeline
from sottovoce.runtime.protocol import (
    DEFAULT_LIVE_OPTIONS,
    DEFAULT_OPTIONS,
    Audio,
    Progress,
    SegmentStream,
    Transcriber,
)
from sottovoce.runtime.session import Model
from sottovoce.runtime.transcript import Transcript
from sottovoce.terms import Component


class OpenVinoTranscriber(Transcriber):
    """A session of an OpenVINO variant; see `Transcriber`."""

    def __init__(self, model: Model, pipeline: InferencePipeline | None = None) -> None:
        """Open a session.

        Args:
            model: of the variant, shared between threads.
            pipeline: on a session of the model; by default a new one.
        """
        self._model = model
        self._pipeline = pipeline or InferencePipeline(model.session())
        self._lock = RLock()

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that the model can transcribe."""
        return self._pipeline.languages

    def segments(
        self,
        audio: Audio,
        options: TranscribeOptions = DEFAULT_OPTIONS,
        *,
        name: str | None = None,
        progress: Progress | None = None,
        **changes: Unpack[OptionValues],
    ) -> SegmentStream:
        """Transcribe audio of any length; yield each segment as soon as it is final; see `Transcriber`."""
        options = self._pipeline.complete(replace(options, **changes))
        return SegmentStream(
            audio, options, self._pipeline.transcribe, lock=self._lock, name=name, progress=progress
        )

    def transcribe_batch(
        self,
        waves: Sequence[Wave],
        options: TranscribeOptions = DEFAULT_OPTIONS,
        **changes: Unpack[OptionValues],
    ) -> tuple[Transcript, ...]:
        """Transcribe clips of at most 30 s in batches; see `Transcriber`."""
        options = self._pipeline.complete(replace(options, **changes))
        with self._lock:
            return self._pipeline.transcribe_batch(waves, options)

    def detect_language(self, wave: Wave) -> DetectedLanguage:
        """Detect the language of the first 30 s of a wave: float32, shape (n_samples,), 16 kHz."""
        with self._lock:
            return self._pipeline.detect_language(wave)

    def live(
        self, options: LiveOptions = DEFAULT_LIVE_OPTIONS, **changes: Unpack[LiveOptionValues]
    ) -> LiveSession:
        """Transcribe a stream while it goes on; see `Transcriber`."""
        return open_session(self._model, replace(options, **changes))

    def new_session(self) -> "OpenVinoTranscriber":
        """Return a transcriber with the same model, for another stream or thread."""
        return OpenVinoTranscriber(self._model)

    def compiled(self, component: Component) -> Any:
        """Return a component as OpenVINO runs it (`openvino.CompiledModel`)."""
        return _compiled(self._model, component)


class OnnxTranscriber(Transcriber):
    """A session of an ONNX variant; see `Transcriber`. Its graphs have no cross-attention to find words by."""

    def __init__(self, model: Model, pipeline: InferencePipeline | None = None) -> None:
        """Open a session; see `OpenVinoTranscriber`."""
        self._model = model
        self._pipeline = pipeline or InferencePipeline(model.session())
        self._lock = RLock()

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that the model can transcribe."""
        return self._pipeline.languages

    def segments(
        self,
        audio: Audio,
        options: TranscribeOptions = DEFAULT_OPTIONS,
        *,
        name: str | None = None,
        progress: Progress | None = None,
        **changes: Unpack[OptionValues],
    ) -> SegmentStream:
        """Transcribe audio of any length; yield each segment as soon as it is final; see `Transcriber`."""
        options = self._complete(replace(options, **changes))
        return SegmentStream(
            audio, options, self._pipeline.transcribe, lock=self._lock, name=name, progress=progress
        )

    def transcribe_batch(
        self,
        waves: Sequence[Wave],
        options: TranscribeOptions = DEFAULT_OPTIONS,
        **changes: Unpack[OptionValues],
    ) -> tuple[Transcript, ...]:
        """Transcribe clips of at most 30 s in batches; see `Transcriber`."""
        options = self._complete(replace(options, **changes))
        with self._lock:
            return self._pipeline.transcribe_batch(waves, options)

    def detect_language(self, wave: Wave) -> DetectedLanguage:
        """Detect the language of the first 30 s of a wave: float32, shape (n_samples,), 16 kHz."""
        with self._lock:
            return self._pipeline.detect_language(wave)

    def live(
        self, options: LiveOptions = DEFAULT_LIVE_OPTIONS, **changes: Unpack[LiveOptionValues]
    ) -> LiveSession:
        """Transcribe a stream while it goes on; see `Transcriber`."""
        return open_session(self._model, replace(options, **changes))

    def new_session(self) -> "OnnxTranscriber":
        """Return a transcriber with the same model, for another stream or thread."""
        return OnnxTranscriber(self._model)

    def compiled(self, component: Component) -> Any:
        """Return a component as onnxruntime runs it (`onnxruntime.InferenceSession`)."""
        return _compiled(self._model, component)

    def _complete(self, options: TranscribeOptions) -> TranscribeOptions:
        if options.word_timestamps:
            raise SpecError(
                "ONNX graphs have no output for cross-attention; word timestamps need an OpenVINO variant"
            )
        return self._pipeline.complete(options)


def _compiled(model: Model, component: Component) -> Any:
    if component is Component.ENCODER:
        return model.encoder.compiled
    return model.decoder.compiled[component]
