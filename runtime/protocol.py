"""What every transcriber does, whichever library runs its variant."""

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, Unpack

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import DecodeOptions, Wave
from sottovoce.runtime.audio.stream import BlockStream, read_blocks
from sottovoce.runtime.audio.track import Damaged
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.context import DetectedLanguage, default_language
from sottovoce.runtime.live.options import LiveOptions, LiveOptionValues
from sottovoce.runtime.options import OptionValues, TranscribeOptions
from sottovoce.runtime.transcript import Segment, Transcript
from sottovoce.terms import Component

if TYPE_CHECKING:
    from sottovoce.runtime.live.session import LiveSession

Audio = Path | str | bytes | Wave
"""A file, the bytes of one, or a wave: float32, shape (n_samples,), 16 kHz."""

Progress = Callable[[float], None]
"""Called with the seconds of audio that are done."""

LEAST_LANGUAGE_PROBABILITY = 0.5
"""Below, a note says so."""

DEFAULT_OPTIONS = TranscribeOptions()
DEFAULT_LIVE_OPTIONS = LiveOptions()


class SegmentStream(Iterator[Segment]):
    """The segments of one transcription, each as soon as it is final.

    Take all segments, or close the stream (`with`), which closes the audio.

    Attributes:
        options: of the transcription.
        audio: the audio, read as far as it was needed.
        clock: times the work.
        detected: the language; final before the first segment.
        notes: sentences about the audio and its text that a reader should know; complete after the last segment.
        voice_activity: what looked for speech; final after the last segment.
    """

    def __init__(
        self,
        audio: Audio,
        options: TranscribeOptions,
        transcribe: "Callable[[SegmentStream], Generator[Segment, None, None]]",
        *,
        lock: RLock,
        name: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Prepare a transcription; the work is done while segments are taken.

        Args:
            audio: see `Audio`.
            options: of the transcription.
            transcribe: yields the segments, in order of time, and sets `detected`.
            lock: of the transcriber: threads that share it take turns, one segment each.
            name: of the audio in errors; by default the path.
            progress: called with the seconds of audio that are done.
        """
        self.options = options
        self.clock = PhaseClock()
        self.notes: list[str] = []
        blocks = read_blocks(audio, name, decode_options(options), self.notes.append)
        self.audio = BlockStream(blocks, self.clock)
        self.detected = default_language(options, is_multilingual=True)
        self.voice_activity: str | None = None
        self._progress = progress
        self._lock = lock
        self._segments = self._noted(transcribe(self))

    def __next__(self) -> Segment:
        with self._lock:
            return next(self._segments)

    def _noted(self, segments: Generator[Segment, None, None]) -> Generator[Segment, None, None]:
        """Yield the segments; note why there are none, or a doubtful language."""
        is_empty = True
        for segment in segments:
            is_empty = False
            yield segment
        if not is_empty and self.detected.probability < LEAST_LANGUAGE_PROBABILITY:
            language, probability = self.detected.language, self.detected.probability
            self.notes.append(
                f"the language is uncertain: {language} with a probability of {probability:.2f}; give it if that is wrong"
            )
        if is_empty:
            cause = "the audio is silent" if self.audio.is_silent else "no speech was found in it"
            self.notes.append(f"no text: {cause}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the transcription and close the audio; there are no segments afterwards."""
        self._segments.close()
        self.audio.close()

    def report(self, done_s: float) -> None:
        """Report the seconds of audio that are done."""
        if self._progress is not None:
            self._progress(done_s)

    def transcript(self) -> Transcript:
        """Do the rest of the work; return the segments that were not taken, with language and timings."""
        segments = tuple(self)
        duration_s = self.audio.n_samples / SAMPLE_RATE_HZ
        self.report(duration_s)
        return Transcript(
            segments=segments,
            language=self.detected.language,
            language_probability=self.detected.probability,
            duration_s=duration_s,
            timings=self.clock.timings(),
            notes=tuple(self.notes),
            voice_activity=self.voice_activity,
        )


def decode_options(options: TranscribeOptions) -> DecodeOptions:
    """Return how the file of a transcription is decoded."""
    damaged = Damaged.ALLOW if options.allow_damaged else Damaged.SKIP
    return DecodeOptions(max_s=options.max_duration_s, damaged=damaged, track=options.audio_track)


class Transcriber(Protocol):
    """A variant that is loaded. Threads that share it take turns; `new_session` gives one that works beside it."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that the model can transcribe."""

    def segments(
        self,
        audio: Audio,
        options: TranscribeOptions = DEFAULT_OPTIONS,
        *,
        name: str | None = None,
        progress: Progress | None = None,
        **changes: Unpack[OptionValues],
    ) -> SegmentStream:
        """Transcribe audio of any length; yield each segment as soon as it is final.

        Args:
            audio: a file, the bytes of one, or a wave: float32, shape (n_samples,), 16 kHz.
            options: language, task, timestamps and so on.
            name: of the audio in errors; by default the path.
            progress: called with the seconds of audio that are done.
            changes: options by name, such as `language="de"`; they replace those in `options`.

        Raises:
            InputError: the audio cannot be read; raised while segments are taken.
            SpecError: the model has no such language or task, or the variant no word timestamps.
        """

    def transcribe(
        self,
        audio: Audio,
        options: TranscribeOptions = DEFAULT_OPTIONS,
        *,
        name: str | None = None,
        progress: Progress | None = None,
        **changes: Unpack[OptionValues],
    ) -> Transcript:
        """Transcribe audio of any length; see `segments`."""
        return self.segments(audio, options, name=name, progress=progress, **changes).transcript()

    def transcribe_batch(
        self,
        waves: Sequence[Wave],
        options: TranscribeOptions = DEFAULT_OPTIONS,
        **changes: Unpack[OptionValues],
    ) -> tuple[Transcript, ...]:
        """Transcribe clips in batches: more of them an hour, while each waits for the others.

        Args:
            waves: float32, shape (n_samples,) each, 16 kHz, at most 30 s.
            options: `batch_size` clips are decoded together; a language that is not given is detected for each clip.
                A clip whose text is doubtful is checked for speech, unless `vad_filter` is False.
            changes: options by name, as in `segments`.

        Returns:
            A transcript for each clip, in their order.

        Raises:
            InputError: a wave is longer than 30 s, or no wave.
            SpecError: as `segments`.
        """

    def live(
        self, options: LiveOptions = DEFAULT_LIVE_OPTIONS, **changes: Unpack[LiveOptionValues]
    ) -> "LiveSession":
        """Transcribe a stream while it goes on; the session shares the weights and works beside this transcriber.

        Args:
            options: language, task, delays.
            changes: options by name, such as `language="de"`; they replace those in `options`.

        Raises:
            SpecError: the model has no such language or task, or its format does not transcribe live.
        """

    def detect_language(self, wave: Wave) -> DetectedLanguage:
        """Detect the language of the first 30 s of a wave.

        Args:
            wave: float32, shape (n_samples,), 16 kHz.

        Returns:
            The likeliest of the model's languages; English with probability 1 from a model that has no other.
        """

    def new_session(self) -> "Transcriber":
        """Return a transcriber with the same model, for another stream or thread: it shares the weights."""

    def compiled(self, component: Component) -> Any:
        """Return a component as its library runs it.

        Either `openvino.CompiledModel`, `onnxruntime.InferenceSession` or `ctranslate2.models.Whisper`, which is one for
        all components.
        """
