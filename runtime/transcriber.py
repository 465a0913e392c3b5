"""Audio to text with one variant: the Python API of the runtime.

from sottovoce.runtime import Transcriber

transcriber = Transcriber.load("runs/base")
transcript = transcriber.transcribe("talk.mp3")
for segment in transcript.segments:
print(segment.start_s, segment.end_s, segment.text)
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

from sottovoce.cores import usable_cores
from sottovoce.errors import SpecError
from sottovoce.runtime import together
from sottovoce.runtime.alignment import Aligner
from sottovoce.runtime.audio import SAMPLE_RATE_HZ, Wave, is_silent
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.compute import ComputeSpec
from sottovoce.runtime.decoder import load_decoder
from sottovoce.runtime.encoder import Encoder
from sottovoce.runtime.features import HOP_SAMPLES, WINDOW_S, WINDOW_SAMPLES
from sottovoce.runtime.layout import format_of
from sottovoce.runtime.long_form import Reader, TimedWave, plain_windows, speech_windows
from sottovoce.runtime.memory import give_back_freed
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.quiet_import import import_openvino
from sottovoce.runtime.segments import Piece, split_pieces
from sottovoce.runtime.stream import BlockStream, blocks_of, checked
from sottovoce.runtime.tokens import Tokens, WhisperTokenizer
from sottovoce.runtime.transcript import Phase, Segment, Task, Transcript, Word
from sottovoce.runtime.variant import find_variant, told_compute
from sottovoce.runtime.voice_activity import VoiceActivity, load_voice_activity, pack_windows, speech_spans
from sottovoce.runtime.windows import Detected, Heard, WindowDecoder
from sottovoce.terms import Component, Format

Progress = Callable[[float], None]
"""Is told the seconds of audio that are done."""

DOUBTFUL_NO_SPEECH = 0.2
DOUBTFUL_LOG_PROBABILITY = -0.7
"""A short clip beyond one of them is looked through for speech before its text counts."""

LONGEST_ELASTIC_S = 19.5
"""Windows of long audio: half of a 30 s window's encoding is attention over its length. Much shorter ones are quicker
still, and cost accuracy (docs/lab-notes.md)."""

REST_SAMPLES = round(0.6 * SAMPLE_RATE_HZ)
"""Less behind the last timestamp is the pause after a sentence."""

SPARSE_SPEECH_S = 6.0
SPARSE_TOKENS_PER_S = 0.7
"""People speak 3 to 5 tokens a second: fewer than these, in so many seconds of speech, and some of it was skipped."""

SHORTER = 0.6
"""Of a window that is cut anew: at most this share of it is in one piece."""

DEFAULT_OPTIONS = TranscribeOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a transcription settles before its first window."""

    options: TranscribeOptions
    detected: Detected
    hint: Tokens


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

    def transcribe_together(
        self, waves: Sequence[Wave], options: TranscribeOptions = DEFAULT_OPTIONS
    ) -> tuple[Transcript, ...]:
        """Transcribe clips in batches: more of them an hour, while each waits for the others.

        A decode step reads the weights once for all clips of a batch. Clips of a batch are of one language and of
        about one length, since all are encoded as long as the longest.

        Args:
            waves: float32, shape (n_samples,) each, 16 kHz, at most 30 s.
            options: `batch_size` clips are decoded together; a language that is not given is detected for each clip. Where
                a text is doubtful its clip is looked through for speech, unless `use_voice_activity` is False.

        Returns:
            A transcript for each clip, in their order; its timings are those of all of them together.

        Raises:
            InputError: a wave is longer than 30 s, or no wave.
            SpecError: as `transcribe`.
        """
        self._check(options)
        clock = PhaseClock()
        clips = together.place([checked(wave, f"wave {place}") for place, wave in enumerate(waves)])
        asked = {clip.start_s: self._settle(clip.wave, options, clock) for clip in together.audible(clips)}
        segments: list[Segment] = []
        for alike in together.group(
            clips, {start_s: each.detected.language for start_s, each in asked.items()}
        ):
            segments += self._hear(alike, asked[alike[0].start_s], clock, _tell_nobody, have_speech=False)
        silent = self._default_language(options)
        told = [asked[clip.start_s].detected if clip.start_s in asked else silent for clip in clips]
        return together.take_apart(clips, segments, told, clock.timings())

    def detect_language(self, wave: Wave) -> Detected:
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
    ) -> tuple[list[Segment], Detected]:
        first = stream.read(WINDOW_SAMPLES + 1)
        is_long = len(first) > WINDOW_SAMPLES
        if not is_long and options.use_voice_activity is not True:
            return self._transcribe_short(first, options, clock)
        return self._transcribe_long(stream.again_with(first), options, clock, told)

    def _check(self, options: TranscribeOptions) -> None:
        """Refuse a language or task that the model does not know before any work."""
        language = options.language or ("en" if not self._tokenizer.is_multilingual else self.languages[0])
        self._tokenizer.prompt(language=language, task=options.task, with_timestamps=False)
        if options.condition_on_previous and not options.with_timestamps:
            raise SpecError("sequential mode needs timestamps: they tell where the next window starts")
        if options.word_timestamps and format_of(self._folder) is Format.ONNX:
            raise SpecError(
                f"{self._folder.name} is ONNX, whose graphs do not tell cross-attention; word timestamps need an "
                "OpenVINO variant"
            )

    def _transcribe_short(
        self, wave: Wave, options: TranscribeOptions, clock: PhaseClock
    ) -> tuple[list[Segment], Detected]:
        if len(wave) < HOP_SAMPLES or is_silent(wave):
            return [], self._default_language(options)
        asked = self._settle(wave, options, clock)
        prompt = self._prompt(asked, asked.hint)
        (heard,) = self._windows.decode([wave], prompt, options, clock)
        window = TimedWave(start_s=0.0, wave=wave)
        if heard.is_silent or not self._is_speech(window, heard, options, clock):
            return [], asked.detected
        segments, again = self._take(window, heard, asked, clock)
        return segments + self._hear(again, asked, clock, _tell_nobody), asked.detected

    def _transcribe_long(
        self, blocks: Iterable[Wave], options: TranscribeOptions, clock: PhaseClock, told: Progress
    ) -> tuple[list[Segment], Detected]:
        if options.condition_on_previous:
            return self._transcribe_in_sequence(Reader(blocks), options, clock, told)
        cut = plain_windows(blocks) if options.use_voice_activity is False else self._cut(blocks)
        windows = _timed(cut, clock)
        first = next(windows, None)
        if first is None:
            return [], self._default_language(options)
        asked = self._settle(first.wave, options, clock)
        return self._hear(chain([first], windows), asked, clock, told), asked.detected

    def _hear(
        self,
        windows: Iterable[TimedWave],
        asked: _Asked,
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
        again: list[TimedWave] = []
        coming = iter(windows)
        while batch := [
            *again[: options.batch_size],
            *islice(coming, max(0, options.batch_size - len(again))),
        ]:
            n_again, again = min(len(again), options.batch_size), again[options.batch_size :]
            heard = self._windows.decode([window.wave for window in batch], prompt, options, clock)
            for place, (window, what) in enumerate(zip(batch, heard, strict=True)):
                is_known = have_speech or place < n_again
                if what.is_silent or not (is_known or self._is_speech(window, what, options, clock)):
                    continue
                heard_here, left_out = self._take(window, what, asked, clock)
                segments += heard_here
                again += left_out
            told(batch[-1].start_s + len(batch[-1].wave) / SAMPLE_RATE_HZ)
        return sorted(segments, key=lambda segment: segment.start_s)

    def _take(
        self, window: TimedWave, heard: Heard, asked: _Asked, clock: PhaseClock
    ) -> tuple[list[Segment], list[TimedWave]]:
        """Return the segments of a window, and what of it is to be heard again."""
        pieces = self._pieces(window, heard)
        rest = self._rest(window, pieces, asked.options, clock)
        if rest is None and (cuts := self._cut_anew(window, heard, asked.options, clock)):
            return [], cuts
        return self._told(window, pieces, heard, asked, clock), [rest] if rest else []

    def _cut_anew(
        self, window: TimedWave, heard: Heard, options: TranscribeOptions, clock: PhaseClock
    ) -> list[TimedWave]:
        """Cut a window with hardly any text for its speech into shorter ones; none where it has enough.

        A window that starts within a sentence may be heard as a word or two, and the rest of it be skipped.
        """
        window_s = len(window.wave) / SAMPLE_RATE_HZ
        n_tokens = sum(token < self._tokenizer.special.end for token in heard.attempt.tokens)
        if options.use_voice_activity is False or not _is_sparse(n_tokens, window_s):
            return []
        with clock.time(Phase.VOICE_ACTIVITY):
            probabilities = self._activity.another().probabilities(window.wave, is_last=True)
        spans = speech_spans(probabilities, duration_s=window_s)
        if not _is_sparse(n_tokens, sum(span.end_s - span.start_s for span in spans)):
            return []
        clock.n_redone += 1
        return [
            TimedWave(
                start_s=window.start_s + cut.start_s,
                wave=window.wave[round(cut.start_s * SAMPLE_RATE_HZ) : round(cut.end_s * SAMPLE_RATE_HZ)],
            )
            for cut in pack_windows(spans, probabilities, max_s=SHORTER * window_s)
        ]

    def _rest(
        self, window: TimedWave, pieces: Sequence[Piece], options: TranscribeOptions, clock: PhaseClock
    ) -> TimedWave | None:
        """Return the speech behind the last piece: with timestamps the model at times ends a window early."""
        if not options.with_timestamps or not pieces or not pieces[-1].is_closed:
            return None
        n_done = round(pieces[-1].end_s * SAMPLE_RATE_HZ)
        rest = window.wave[n_done:]
        if min(n_done, len(rest)) < REST_SAMPLES or options.use_voice_activity is False:
            return None
        if is_silent(rest) or not self._has_speech(rest, options, clock):
            return None
        return TimedWave(start_s=window.start_s + n_done / SAMPLE_RATE_HZ, wave=rest)

    def _cut(self, blocks: Iterable[Wave]) -> Iterator[TimedWave]:
        longest_s = LONGEST_ELASTIC_S if self._encoder.is_elastic else WINDOW_S
        return speech_windows(blocks, self._activity, longest_s=longest_s)

    def _transcribe_in_sequence(
        self, reader: Reader, options: TranscribeOptions, clock: PhaseClock, told: Progress
    ) -> tuple[list[Segment], Detected]:
        """Let each window start where the model said that the one before ended, and know its text."""
        segments: list[Segment] = []
        asked: _Asked | None = None
        previous: Tokens = ()
        while (wave := reader.window()).size >= HOP_SAMPLES:
            window = TimedWave(start_s=reader.position_s, wave=wave)
            n_done = len(wave)
            if not is_silent(wave) and self._has_speech(wave, options, clock):
                asked = asked or self._settle(wave, options, clock)
                (heard,) = self._windows.decode(
                    [wave], self._prompt(asked, asked.hint + previous), options, clock
                )
                pieces = self._pieces(window, heard)
                if heard.is_silent:
                    pieces = ()
                n_done = _samples_done(pieces, len(wave))
                kept = tuple(piece for piece in pieces if piece.end_s * SAMPLE_RATE_HZ <= n_done + 1)
                segments += self._told(window, kept, heard, asked, clock)
                is_sure = heard.attempt.temperature <= SURE_TEMPERATURE
                previous = tuple(t for piece in kept for t in piece.tokens) if is_sure else ()
            reader.advance(n_done)
            told(reader.position_s)
        return segments, asked.detected if asked else self._default_language(options)

    def _settle(self, wave: Wave, options: TranscribeOptions, clock: PhaseClock) -> _Asked:
        """Detect the language where it is not given; turn hints into tokens."""
        if options.language or not self._tokenizer.is_multilingual:
            detected = self._default_language(options)
        else:
            detected = self._windows.detect(wave[:WINDOW_SAMPLES], clock)
        hints = " ".join(text for text in (options.hotwords, options.initial_prompt) if text)
        hint = self._tokenizer.encode(f" {hints.strip()}") if hints.strip() else ()
        return _Asked(options=options, detected=detected, hint=hint)

    def _default_language(self, options: TranscribeOptions) -> Detected:
        """Return the language that is given or the only one; of silence nothing is known."""
        is_known = options.language is not None or not self._tokenizer.is_multilingual
        return Detected(language=options.language or "en", probability=1.0 if is_known else 0.0)

    def _prompt(self, asked: _Asked, previous: Tokens) -> Tokens:
        return self._tokenizer.prompt(
            language=asked.detected.language,
            task=asked.options.task,
            with_timestamps=asked.options.with_timestamps,
            previous=previous,
        )

    @cached_property
    def _activity(self) -> VoiceActivity:
        return load_voice_activity()

    @cached_property
    def _aligner(self) -> Aligner:
        return Aligner.load(self._folder, self._compute, self._tokenizer)

    def _has_speech(self, wave: Wave, options: TranscribeOptions, clock: PhaseClock) -> bool:
        if options.use_voice_activity is False:
            return True
        with clock.time(Phase.VOICE_ACTIVITY):
            probabilities = self._activity.another().probabilities(wave, is_last=True)
        return bool(speech_spans(probabilities))

    def _is_speech(
        self, window: TimedWave, heard: Heard, options: TranscribeOptions, clock: PhaseClock
    ) -> bool:
        """Tell whether a text is one: where it is doubtful, its window is looked through for speech."""
        return not _is_doubtful(heard) or self._has_speech(window.wave, options, clock)

    def _pieces(self, window: TimedWave, heard: Heard) -> tuple[Piece, ...]:
        window_s = len(window.wave) / SAMPLE_RATE_HZ
        return split_pieces(heard.attempt.tokens, self._tokenizer.special, window_s)

    def _told(
        self, window: TimedWave, pieces: Sequence[Piece], heard: Heard, asked: _Asked, clock: PhaseClock
    ) -> list[Segment]:
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
        asked: _Asked,
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


SURE_TEMPERATURE = 0.5
"""Text that was drawn at more is no ground for the next window."""


def _timed(windows: Iterator[TimedWave], clock: PhaseClock) -> Iterator[TimedWave]:
    while True:
        with clock.time(Phase.VOICE_ACTIVITY):
            window = next(windows, None)
        if window is None:
            return
        yield window


def _is_doubtful(heard: Heard) -> bool:
    attempt = heard.attempt
    return (
        attempt.no_speech_probability > DOUBTFUL_NO_SPEECH
        or attempt.mean_log_probability < DOUBTFUL_LOG_PROBABILITY
    )


def _is_sparse(n_tokens: int, speech_s: float) -> bool:
    return speech_s >= SPARSE_SPEECH_S and n_tokens < SPARSE_TOKENS_PER_S * speech_s


def _samples_done(pieces: Sequence[Piece], n_samples: int) -> int:
    """Return where the next window starts: a piece that the model did not see end is heard again.

    Source: `transcribe` in `whisper/transcribe.py` of openai/whisper.
    """
    closed_s = [piece.end_s for piece in pieces if piece.is_closed]
    if n_samples < WINDOW_SAMPLES or not closed_s or pieces[-1].is_closed:
        return n_samples
    return max(HOP_SAMPLES, round(closed_s[-1] * SAMPLE_RATE_HZ))


def _tell_nobody(_: float) -> None:
    pass
