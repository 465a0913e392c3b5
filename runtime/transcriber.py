"""Audio to text with one variant: the Python API of the runtime.

from sottovoce.runtime import Transcriber

transcriber = Transcriber.load("runs/base")
transcript = transcriber.transcribe("talk.mp3")
for segment in transcript.segments:
print(segment.start_s, segment.end_s, segment.text)
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from sottovoce.errors import SpecError
from sottovoce.machine.resources import usable_cores
from sottovoce.runtime import batching as together
from sottovoce.runtime.audio.decode import SAMPLE_RATE_HZ, Wave, is_silent
from sottovoce.runtime.audio.features import HOP_SAMPLES, WINDOW_S, WINDOW_SAMPLES
from sottovoce.runtime.audio.stream import BlockStream, blocks_of, checked
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.gap_recovery import AudioSpan, GapRecovery
from sottovoce.runtime.decoding.tokenizer import Tokens, WhisperTokenizer, with_room
from sottovoce.runtime.decoding.window_decoder import (
    DecodingContext,
    DecodingResult,
    DetectedLanguage,
    WindowDecoder,
)
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.decoder import load_decoder
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.runtime.model.layout import format_of
from sottovoce.runtime.model.openvino.memory import give_back_freed
from sottovoce.runtime.model.openvino.quiet_import import import_openvino
from sottovoce.runtime.model.variant import find_variant, told_compute
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.timestamps.segment_maker import SegmentMaker
from sottovoce.runtime.timestamps.segments import TimestampedTokens, samples_done, timed_tokens
from sottovoce.runtime.transcript import Phase, Segment, Task, Transcript
from sottovoce.runtime.vad.segmenter import AudioWindow, Reader, plain_windows, speech_windows
from sottovoce.terms import Component, Format

Progress = Callable[[float], None]
"""Is told the seconds of audio that are done."""

LONGEST_ELASTIC_S = 19.5
"""Windows of long audio: half of a 30 s window's encoding is attention over its length. Much shorter ones are quicker
still, and cost accuracy (docs/lab-notes.md)."""

SURE_TEMPERATURE = 0.5
"""Text that was drawn at more is no ground for the next window."""

EDGE_SAMPLES = SAMPLE_RATE_HZ // 2
"""Of a window without speech: a word may start there that is too short yet to be seen."""

DEFAULT_OPTIONS = TranscribeOptions()


class Transcriber:
    """A variant, loaded; not to be shared between threads.

    Variants on OpenVINO and onnxruntime are decoded here, those of CTranslate2 in a class below this one.
    """

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        self._folder = folder
        self._compute = compute
        self._open(folder, compute)

    def _open(self, folder: Path, compute: ComputeSpec) -> None:
        import_openvino()
        # OpenVINO compiles a graph on one core: several graphs at once are ready sooner. The tokenizer comes last:
        # reading it holds Python's lock for 0.1 s.
        with ThreadPoolExecutor() as pool:
            encoder = pool.submit(Encoder.load, folder, compute)
            decoder = pool.submit(load_decoder, folder, compute)
            self._tokenizer = pool.submit(WhisperTokenizer.load, folder).result()
            self._encoder, self._decoder = encoder.result(), decoder.result()
        give_back_freed()
        self._windows = WindowDecoder(self._encoder, self._decoder, self._tokenizer)
        self._maker = SegmentMaker(folder, compute, self._tokenizer)
        self._look = GapRecovery()

    @classmethod
    def load(
        cls, path: Path | str, *, compute: ComputeSpec | None = None, threads: int | None = None
    ) -> "Transcriber":
        """Load a variant.

        Args:
            path: folder of a variant, or of a run: its quantized variant then.
            compute: precision and threads; by default what the variant was made for and all cores.
            threads: of inference, where `compute` is not given.

        Raises:
            InputError: the folder holds no variant, or a damaged one.
            MissingExtraError: the library that runs its format is not installed.
        """
        folder = find_variant(Path(path))
        told = compute or replace(told_compute(folder), threads=threads or usable_cores())
        if format_of(folder) is Format.CTRANSLATE2:
            from sottovoce.runtime.ctranslate2 import Ctranslate2Transcriber

            return Ctranslate2Transcriber(folder, told)
        return cls(folder, told)

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that the model knows."""
        return tuple(self._tokenizer.special.languages) or ("en",)

    def compiled(self, component: Component) -> Any:
        """Return a component as its library runs it.

        Either `openvino.CompiledModel` or `onnxruntime.InferenceSession`; `ctranslate2.models.Whisper` is one for all.
        """
        if component is Component.ENCODER:
            return self._encoder.compiled
        return self._decoder.compiled[component]

    def transcribe(
        self,
        audio: Path | str | bytes | Wave,
        options: TranscribeOptions = DEFAULT_OPTIONS,
        *,
        name: str | None = None,
        progress: Progress | None = None,
    ) -> Transcript:
        """Transcribe audio of any length.

        Args:
            audio: a file, the bytes of one, or a wave: float32, shape (n_samples,), 16 kHz.
            options: language, task, timestamps and so on.
            name: how errors call the audio; by default the path.
            progress: is told the seconds of audio that are done.

        Raises:
            InputError: the audio cannot be read.
            SpecError: the model does not know the language or the task, or the variant cannot place words.
        """
        self._check(options)
        clock = PhaseClock()
        stream = BlockStream(blocks_of(audio, name, max_s=options.max_duration_s), clock)
        told = progress or _tell_nobody
        segments, detected = self._transcribe(stream, options, clock, told)
        duration_s = stream.n_samples / SAMPLE_RATE_HZ
        told(duration_s)
        return Transcript(
            segments=tuple(segments),
            language=detected.language,
            language_probability=detected.probability,
            duration_s=duration_s,
            timings=clock.timings(),
        )

    def transcribe_batch(
        self, waves: Sequence[Wave], options: TranscribeOptions = DEFAULT_OPTIONS
    ) -> tuple[Transcript, ...]:
        """Transcribe clips in batches: more of them an hour, while each waits for the others.

        A decode step reads the weights once for all clips of a batch. Clips of a batch are of one language and of
        about one length, since all are encoded as long as the longest.

        Args:
            waves: float32, shape (n_samples,) each, 16 kHz, at most 30 s.
            options: `batch_size` clips are decoded together; a language that is not given is detected for each clip. Where
                a text is doubtful its clip is looked through for speech, unless `vad_filter` is False.

        Returns:
            A transcript for each clip, in their order; its timings are those of all of them together.

        Raises:
            InputError: a wave is longer than 30 s, or no wave.
            SpecError: as `transcribe`.
        """
        self._check(options)
        clock = PhaseClock()
        clips = together.place([checked(wave, f"wave {place}") for place, wave in enumerate(waves)])
        asked = {
            clip.start_s: self._prepare_context(clip.wave, options, clock) for clip in together.audible(clips)
        }
        segments: list[Segment] = []
        for alike in together.group(
            clips, {start_s: each.detected.language for start_s, each in asked.items()}
        ):
            segments += self._hear(alike, asked[alike[0].start_s], clock, _tell_nobody, have_speech=False)
        silent = self._default_language(options)
        told = [asked[clip.start_s].detected if clip.start_s in asked else silent for clip in clips]
        return together.take_apart(clips, segments, told, clock.timings())

    def detect_language(self, wave: Wave) -> DetectedLanguage:
        """Detect the language of the first 30 s of a wave.

        Args:
            wave: float32, shape (n_samples,), 16 kHz.

        Returns:
            The likeliest of the languages that the model knows; English, for sure, of a model that knows no other.
        """
        if not self._tokenizer.is_multilingual:
            return self._default_language(DEFAULT_OPTIONS)
        return self._windows.detect(wave[:WINDOW_SAMPLES], PhaseClock())

    def _transcribe(
        self, stream: BlockStream, options: TranscribeOptions, clock: PhaseClock, told: Progress
    ) -> tuple[list[Segment], DetectedLanguage]:
        first = stream.read(WINDOW_SAMPLES + 1)
        is_long = len(first) > WINDOW_SAMPLES
        if not is_long and options.vad_filter is not True:
            return self._transcribe_short(first, options, clock)
        return self._transcribe_long(stream.again_with(first), options, clock, told)

    def _check(self, options: TranscribeOptions) -> None:
        """Refuse a language or task that the model does not know before any work."""
        language = options.language or ("en" if not self._tokenizer.is_multilingual else self.languages[0])
        self._tokenizer.prompt(language=language, task=options.task, with_timestamps=False)
        if options.condition_on_previous_text and not options.with_timestamps:
            raise SpecError("sequential mode needs timestamps: they tell where the next window starts")
        if options.word_timestamps and not self._can_align:
            raise SpecError(
                f"{self._folder.name} is ONNX, whose graphs do not tell cross-attention; word timestamps need an "
                "OpenVINO variant"
            )

    def _transcribe_short(
        self, wave: Wave, options: TranscribeOptions, clock: PhaseClock
    ) -> tuple[list[Segment], DetectedLanguage]:
        if len(wave) < HOP_SAMPLES or is_silent(wave):
            return [], self._default_language(options)
        asked = self._prepare_context(wave, options, clock)
        prompt = self._prompt(asked, asked.hint)
        (heard,) = self._windows.decode([wave], prompt, options, clock)
        window = AudioWindow(start_s=0.0, wave=wave)
        if heard.is_silent or not self._look.is_speech(window, heard, options, clock):
            return [], asked.detected
        segments, again = self._take(window, heard, asked, clock)
        return segments + self._hear(again, asked, clock, _tell_nobody), asked.detected

    def _transcribe_long(
        self, blocks: Iterable[Wave], options: TranscribeOptions, clock: PhaseClock, told: Progress
    ) -> tuple[list[Segment], DetectedLanguage]:
        if options.condition_on_previous_text:
            return self._transcribe_in_sequence(Reader(blocks), options, clock, told)
        cut = plain_windows(blocks) if options.vad_filter is False else self._cut(blocks)
        windows = _timed(cut, clock)
        first = next(windows, None)
        if first is None:
            return [], self._default_language(options)
        asked = self._with_aligned_times(self._prepare_context(first.wave, options, clock))
        return self._hear(chain([first], windows), asked, clock, told), asked.detected

    def _with_aligned_times(self, asked: DecodingContext) -> DecodingContext:
        """Take the times of segments from the alignment, where there is one: asked for them, the model skips speech.

        A translation has no words at the places of the speech, so that its times remain the model's.
        """
        if not asked.options.with_timestamps or asked.options.task is Task.TRANSLATE or not self._can_align:
            return asked
        return replace(asked, options=replace(asked.options, with_timestamps=False), are_times_aligned=True)

    @property
    def _can_align(self) -> bool:
        return format_of(self._folder) is Format.OPENVINO

    def _hear(
        self,
        windows: Iterable[AudioWindow],
        asked: DecodingContext,
        clock: PhaseClock,
        told: Progress,
        *,
        have_speech: bool = True,
    ) -> list[Segment]:
        """Decode windows in batches, and what the model left out of them after those.

        Windows that nobody looked through for speech are, where their text is doubtful.
        """
        options, prompt = asked.options, self._prompt(asked, asked.hint)
        segments: list[Segment] = []
        again: list[AudioWindow] = []
        coming = iter(windows)
        reached_s = 0.0
        while batch := [
            *again[: options.batch_size],
            *islice(coming, max(0, options.batch_size - len(again))),
        ]:
            n_again, again = min(len(again), options.batch_size), again[options.batch_size :]
            heard = self._windows.decode([window.wave for window in batch], prompt, options, clock)
            for place, (window, what) in enumerate(zip(batch, heard, strict=True)):
                is_known = have_speech or place < n_again
                if what.is_silent or not (is_known or self._look.is_speech(window, what, options, clock)):
                    continue
                heard_here, left_out = self._take(window, what, asked, clock)
                segments += heard_here
                again += left_out
            # What is heard again lies further back, which is no news.
            reached_s = max(reached_s, batch[-1].start_s + len(batch[-1].wave) / SAMPLE_RATE_HZ)
            told(reached_s)
        return sorted(segments, key=lambda segment: segment.start_s)

    def _take(
        self, window: AudioWindow, heard: DecodingResult, asked: DecodingContext, clock: PhaseClock
    ) -> tuple[list[Segment], list[AudioWindow]]:
        """Return the segments of a window, and what of it is to be heard again."""
        pieces = self._maker.pieces(window, heard)
        segments = self._maker.segments(window, pieces, heard, asked, clock)
        uncovered_speech = self._look.uncovered_speech(
            window, _stretches(window, pieces, segments, asked), asked.options, clock
        )
        n_tokens = sum(token < self._tokenizer.special.end for token in heard.attempt.tokens)
        if not uncovered_speech and (cuts := self._look.resegment(window, n_tokens, asked.options, clock)):
            return [], cuts
        return segments, uncovered_speech

    def _cut(self, blocks: Iterable[Wave]) -> Iterator[AudioWindow]:
        longest_s = LONGEST_ELASTIC_S if self._encoder.is_elastic else WINDOW_S
        return speech_windows(blocks, self._look.activity, longest_s=longest_s)

    def _transcribe_in_sequence(
        self, reader: Reader, options: TranscribeOptions, clock: PhaseClock, told: Progress
    ) -> tuple[list[Segment], DetectedLanguage]:
        """Let each window start where the model said that the one before ended, and know its text."""
        segments: list[Segment] = []
        asked: DecodingContext | None = None
        previous: Tokens | None = None
        while (wave := reader.window()).size >= HOP_SAMPLES:
            window = AudioWindow(start_s=reader.position_s, wave=wave)
            n_done = len(wave) if len(wave) < WINDOW_SAMPLES else WINDOW_SAMPLES - EDGE_SAMPLES
            if not is_silent(wave) and self._look.has_speech(wave, options, clock):
                asked = asked or self._prepare_context(wave, options, clock)
                before = asked.first_text if previous is None else previous
                (heard,) = self._windows.decode(
                    [wave], self._prompt(asked, with_room(asked.hotwords, before)), options, clock
                )
                pieces = () if heard.is_silent else self._maker.pieces(window, heard)
                ends_open = self._tokenizer.special.ends_in_pair(heard.attempt.tokens)
                n_done = samples_done(pieces, len(wave), ends_open=ends_open)
                kept = tuple(piece for piece in pieces if piece.end_s * SAMPLE_RATE_HZ <= n_done + 1)
                segments += self._maker.segments(window, kept, heard, asked, clock)
                is_sure = heard.attempt.temperature <= SURE_TEMPERATURE
                previous = before + timed_tokens(kept, self._tokenizer.special) if is_sure else ()
            reader.advance(n_done)
            told(reader.position_s)
        return segments, asked.detected if asked else self._default_language(options)

    def _prepare_context(self, wave: Wave, options: TranscribeOptions, clock: PhaseClock) -> DecodingContext:
        """Detect the language where it is not given; turn hints into tokens."""
        if options.language or not self._tokenizer.is_multilingual:
            detected = self._default_language(options)
        else:
            detected = self._windows.detect(wave[:WINDOW_SAMPLES], clock)
        return DecodingContext(
            options=options,
            detected=detected,
            hotwords=self._hint(options.hotwords),
            first_text=self._hint(options.initial_prompt),
        )

    def _hint(self, text: str | None) -> Tokens:
        return self._tokenizer.encode(f" {text.strip()}") if text and text.strip() else ()

    def _default_language(self, options: TranscribeOptions) -> DetectedLanguage:
        """Return the language that is given or the only one; of silence nothing is known."""
        is_known = options.language is not None or not self._tokenizer.is_multilingual
        return DetectedLanguage(language=options.language or "en", probability=1.0 if is_known else 0.0)

    def _prompt(self, asked: DecodingContext, previous: Tokens) -> Tokens:
        return self._tokenizer.prompt(
            language=asked.detected.language,
            task=asked.options.task,
            with_timestamps=asked.options.with_timestamps,
            previous=previous,
        )


def _stretches(
    window: AudioWindow,
    pieces: Sequence[TimestampedTokens],
    segments: Sequence[Segment],
    asked: DecodingContext,
) -> list[AudioSpan]:
    """Return where the text of a window is, as far as it is known: by alignment, or to the model's last timestamp."""
    if asked.are_times_aligned:
        return [(each.start_s - window.start_s, each.end_s - window.start_s) for each in segments]
    if asked.options.with_timestamps and pieces and pieces[-1].is_closed:
        return [(0.0, pieces[-1].end_s)]
    return []


def _timed(windows: Iterator[AudioWindow], clock: PhaseClock) -> Iterator[AudioWindow]:
    while True:
        with clock.time(Phase.VOICE_ACTIVITY):
            window = next(windows, None)
        if window is None:
            return
        yield window


def _tell_nobody(_: float) -> None:
    pass
