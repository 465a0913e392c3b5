"""From audio to segments with one session: cut into windows, decode, align, recover what was left out."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from sottovoce.runtime import batching
from sottovoce.runtime.audio.constants import HOP_SAMPLES, SAMPLE_RATE_HZ, WINDOW_S, WINDOW_SAMPLES
from sottovoce.runtime.audio.decode import Wave, is_silent
from sottovoce.runtime.audio.stream import BlockStream, check_wave
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.context import (
    DecodingContext,
    DetectedLanguage,
    OnShare,
    default_language,
    ignore_share,
    likeliest,
)
from sottovoce.runtime.decoding.gap_recovery import AudioSpan, GapRecovery
from sottovoce.runtime.decoding.tokenizer import MAX_PREVIOUS_TOKENS, Tokens, with_room
from sottovoce.runtime.decoding.window_decoder import DecodingResult
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.protocol import DEFAULT_OPTIONS, SegmentStream
from sottovoce.runtime.session import Session
from sottovoce.runtime.timestamps.segment_maker import SegmentMaker
from sottovoce.runtime.timestamps.segments import TimestampedTokens, samples_to_advance, with_timestamp_tokens
from sottovoce.runtime.transcript import Phase, Segment, Task, Transcript
from sottovoce.runtime.vad.segmenter import (
    AudioWindow,
    FixedSegmenter,
    Segmenter,
    SpeechSegmenter,
    WindowReader,
    windows_of,
)
from sottovoce.runtime.window_queue import QueuedWindow, WindowQueue, WindowText

LONGEST_ELASTIC_S = 19.5
"""Longest window of long audio for an elastic encoder. Attention takes half of the time of 30 s and grows with the square
of the length; much shorter windows are faster still, but cost accuracy (docs/lab-notes.md)."""

MAX_PROMPT_TEMPERATURE = 0.5
"""Text that was sampled at more is not the prompt of the next window (`prompt_reset_on_temperature` in faster-whisper)."""

EDGE_SAMPLES = SAMPLE_RATE_HZ // 2
"""The end of a window without speech, which the next window repeats: a word may start there that is still too short to be
detected."""


TENTH_SAMPLES = SAMPLE_RATE_HZ // 10
SILENCE_SHARE = 10 ** (-35 / 20)
"""35 dB below the loudest tenth of a second."""

LATE_SAMPLES = 2 * SAMPLE_RATE_HZ
"""So long a silence before the speech of a short clip is cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPlan:
    """How an audio is cut into windows.

    Attributes:
        windows: in order of time, cut as they are taken.
        is_short: the audio is one window, which nothing has searched for speech.
    """

    windows: Iterator[AudioWindow]
    is_short: bool


class InferencePipeline:
    """Transcribes with one session, for one thread at a time."""

    def __init__(self, session: Session, recovery: GapRecovery | None = None) -> None:
        self._tokenizer = session.tokenizer
        self._window_decoder = session.window_decoder
        self._is_elastic = session.is_elastic
        self._largest_batch = session.largest_batch
        self._segment_maker = SegmentMaker(session.tokenizer, session.aligner)
        self._recovery = recovery or GapRecovery()

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that the model can transcribe."""
        return tuple(self._tokenizer.special.languages) or ("en",)

    def token_bytes(self, tokens: Tokens) -> tuple[bytes, ...]:
        """Return what each text token stands for, which need not be whole characters."""
        return tuple(self._tokenizer.bytes_of(token) for token in tokens)

    def complete(self, options: TranscribeOptions) -> TranscribeOptions:
        """Return options with the model's language and task where they give none; refuse them before any work.

        Raises:
            SpecError: the model has no such language or task.
        """
        options = self._tokenizer.defaults.fill_options(options)
        language = options.language or self.languages[0]
        self._tokenizer.prompt(language=language, task=options.task, with_timestamps=False)
        return replace(options, batch_size=min(options.batch_size, self._largest_batch))

    def transcribe(self, stream: SegmentStream) -> Generator[Segment, None, None]:
        """Yield the segments of a stream in order of time, each as soon as it is final."""
        options, clock = stream.options, stream.clock
        stream.detected = self._default_language(options)
        first = stream.audio.read(WINDOW_SAMPLES + 1)
        if options.condition_on_previous_text and not _is_one_window(first, options):
            yield from self._transcribe_in_sequence(WindowReader(stream.audio.prepend(first)), stream)
        else:
            yield from self._transcribe_windows(self._plan(first, stream.audio, options, clock), stream)
        stream.voice_activity = self._recovery.used_by(options, clock)

    def plan(self, audio: BlockStream, options: TranscribeOptions, clock: PhaseClock) -> WindowPlan:
        """Read the start of an audio, and decide how it is cut into windows.

        Neither this nor taking the windows uses the session, so that other threads than the session's may do it.
        """
        return self._plan(audio.read(WINDOW_SAMPLES + 1), audio, options, clock)

    def first_windows(self, plan: WindowPlan, options: TranscribeOptions) -> list[AudioWindow]:
        """Take the windows that `open_queue` needs: more where their language is to be detected; none: no speech."""
        return _take_speech(plan.windows, WINDOW_S if self._must_detect(options) else 0.0)

    def open_queue(
        self, first: Sequence[AudioWindow], options: TranscribeOptions, clock: PhaseClock, *, is_short: bool
    ) -> WindowQueue:
        """Detect the language where it is not given, and queue the first windows of an audio.

        Args:
            first: at least one; see `first_windows`.
            options: of the transcription.
            clock: times the work.
            is_short: see `WindowPlan`.
        """
        context, first = self._prepare_context(first, options, clock)
        queue = self._queue(
            context if is_short else self._with_aligned_times(context), has_speech=not is_short
        )
        queue.push(first)
        return queue

    def decode(
        self, windows: Sequence[QueuedWindow], queue: WindowQueue, on_share: OnShare = ignore_share
    ) -> tuple[DecodingResult, ...]:
        """Decode windows together: of one queue, or of several with the same prompt and options of decoding."""
        context = replace(queue.context, on_share=on_share)
        return self._window_decoder.decode([each.window for each in windows], queue.prompt, context)

    def transcribe_batch(self, waves: Sequence[Wave], options: TranscribeOptions) -> tuple[Transcript, ...]:
        """Transcribe clips in batches; see `Transcriber`. Clips of a batch are of one language and similar lengths.

        A decode step reads the weights once for all clips of a batch, and all are encoded as long as the longest. The
        timings of each transcript are those of all clips together.
        """
        clock = PhaseClock()
        clips = batching.assign_slots(
            [check_wave(wave, f"wave {number}") for number, wave in enumerate(waves)]
        )
        contexts = {
            clip.start_s: self._prepare_context([clip], options, clock)[0] for clip in batching.audible(clips)
        }
        languages = {start_s: context.detected.language for start_s, context in contexts.items()}
        segments: list[Segment] = []
        for group in batching.group(clips, languages):
            queue = self._queue(contexts[group[0].start_s], has_speech=False)
            segments += self._drain(queue, iter(group))
        segments.sort(key=lambda segment: segment.start_s)
        silent = self._default_language(options)
        detected = [contexts[clip.start_s].detected if clip.start_s in contexts else silent for clip in clips]
        voice_activity = self._recovery.used_by(options, clock)
        return batching.split_by_clip(clips, segments, detected, clock.timings(), voice_activity)

    def detect_language(self, wave: Wave) -> DetectedLanguage:
        """Detect the language of the first 30 s of a wave: float32, shape (n_samples,), 16 kHz."""
        if not self._tokenizer.is_multilingual:
            return self._default_language(DEFAULT_OPTIONS)
        window = AudioWindow(start_s=0.0, wave=check_wave(wave, "the wave given")[:WINDOW_SAMPLES])
        return self._detect_language([window], PhaseClock())[0]

    def _plan(
        self, first: Wave, audio: BlockStream, options: TranscribeOptions, clock: PhaseClock
    ) -> WindowPlan:
        if _is_one_window(first, options):
            has_sound = len(first) >= HOP_SAMPLES and not is_silent(first)
            windows = [_without_first_silence(first)] if has_sound else []
            return WindowPlan(windows=iter(windows), is_short=True)
        cut = windows_of(audio.prepend(first), self._segmenter(options))
        return WindowPlan(windows=_timed(cut, clock), is_short=False)

    def _transcribe_windows(self, plan: WindowPlan, stream: SegmentStream) -> Iterator[Segment]:
        first = self.first_windows(plan, stream.options)
        if not first:
            return
        queue = self.open_queue(first, stream.options, stream.clock, is_short=plan.is_short)
        stream.detected = queue.context.detected
        yield from self._drain(queue, plan.windows, None if plan.is_short else stream)

    def _segmenter(self, options: TranscribeOptions) -> Segmenter:
        if options.vad_filter is False:
            return FixedSegmenter()
        longest_s = LONGEST_ELASTIC_S if self._is_elastic else WINDOW_S
        return SpeechSegmenter(self._recovery.activity.new_stream(), longest_s=longest_s)

    def _with_aligned_times(self, context: DecodingContext) -> DecodingContext:
        """Take the times of segments from the alignment, where there is one: with timestamp tokens Whisper skips speech.

        The words of a translation do not follow the speech, so that its times remain the model's.
        """
        options = context.options
        if options.without_timestamps or options.task is Task.TRANSLATE or not self._segment_maker.can_align:
            return context
        return replace(context, options=replace(options, without_timestamps=True), are_times_aligned=True)

    def _queue(self, context: DecodingContext, *, has_speech: bool) -> WindowQueue:
        prompt = self._prompt(context, with_room(context.hotwords, context.initial_prompt))
        return WindowQueue(context, prompt, self._interpret, has_speech=has_speech)

    def _drain(
        self, queue: WindowQueue, upcoming: Iterator[AudioWindow], stream: SegmentStream | None = None
    ) -> Iterator[Segment]:
        """Decode the windows of a queue and those that follow, in batches; report the progress to a stream."""
        size = queue.context.options.batch_size
        queue.push(islice(upcoming, max(0, size - len(queue))))
        while batch := queue.take(size):
            on_share = ignore_share if stream is None else _progress(stream, queue.done_s, batch)
            segments = queue.settle(batch, self.decode(batch, queue, on_share))
            if stream is not None:
                stream.report(queue.done_s)
            yield from segments
            queue.push(islice(upcoming, max(0, size - len(queue))))
        yield from queue.finish()

    def _interpret(self, each: QueuedWindow, result: DecodingResult, context: DecodingContext) -> WindowText:
        """Return the segments of a window; those without known speech whose text is doubtful are cut to their speech."""
        n_tokens = len(self._tokenizer.text_tokens(result.attempt.tokens))
        if cuts := self._recovery.cuts_at_pauses(each.window, result, n_tokens, context):
            return WindowText(retries=cuts)
        if result.is_no_speech:
            return WindowText()
        if not each.has_speech:
            speech = self._recovery.doubtful_cuts(each.window, result, context)
            if speech is not None:
                return WindowText(retries=speech)
        if not self._recovery.counts(each.window, result, n_tokens):
            return WindowText()
        segments, left_out = self._segments_of(each.window, result, context)
        return WindowText(segments=segments, retries=left_out)

    def _segments_of(
        self, window: AudioWindow, result: DecodingResult, context: DecodingContext
    ) -> tuple[list[Segment], list[AudioWindow]]:
        """Return the segments of a window, and what of it is to be decoded again."""
        pieces = self._segment_maker.split(window, result)
        segments = self._segment_maker.segments(window, pieces, result, context)
        covered = _covered_spans(window, pieces, segments, context)
        uncovered_speech = self._recovery.uncovered_speech(window, covered, context)
        n_tokens = len(self._tokenizer.text_tokens(result.attempt.tokens))
        if not uncovered_speech and (cuts := self._recovery.resegment(window, n_tokens, context)):
            return [], cuts
        return segments, uncovered_speech

    def _transcribe_in_sequence(self, reader: WindowReader, stream: SegmentStream) -> Iterator[Segment]:
        """Start each window where the model's timestamps end the one before, with its text as prompt."""
        options, clock = stream.options, stream.clock
        context: DecodingContext | None = None
        previous: Tokens | None = None
        while (window := reader.window()).wave.size >= HOP_SAMPLES:
            n_samples = len(window.wave)
            n_done = n_samples if n_samples < WINDOW_SAMPLES else WINDOW_SAMPLES - EDGE_SAMPLES
            if not is_silent(window.wave) and self._recovery.has_speech(window.wave, options, clock):
                if context is None:
                    context, (window,) = self._prepare_context([window], options, clock)
                    stream.detected = context.detected
                before = context.initial_prompt if previous is None else previous
                prompt = self._prompt(context, with_room(context.hotwords, before))
                (result,) = self._window_decoder.decode([window], prompt, context)
                pieces, n_done = self._complete_pieces(window, result)
                yield from self._segment_maker.segments(window, pieces, result, context)
                is_sure = result.attempt.temperature <= MAX_PROMPT_TEMPERATURE
                said = before + with_timestamp_tokens(pieces, self._tokenizer.special)
                previous = said[-MAX_PREVIOUS_TOKENS:] if is_sure else ()
            reader.advance(n_done)
            stream.report(reader.position_s)

    def _complete_pieces(
        self, window: AudioWindow, result: DecodingResult
    ) -> tuple[tuple[TimestampedTokens, ...], int]:
        """Return what of a window's text ends before the next window starts, and the samples until then."""
        pieces = () if result.is_no_speech else self._segment_maker.split(window, result)
        ends_open = self._tokenizer.special.ends_in_pair(result.attempt.tokens)
        n_done = samples_to_advance(pieces, len(window.wave), ends_open=ends_open)
        return tuple(piece for piece in pieces if piece.end_s * SAMPLE_RATE_HZ <= n_done + 1), n_done

    def _prepare_context(
        self, first: Sequence[AudioWindow], options: TranscribeOptions, clock: PhaseClock
    ) -> tuple[DecodingContext, Sequence[AudioWindow]]:
        """Detect the language where it is not given, and turn prompts into tokens.

        Returns:
            The context, and the first windows; with their encoder states where their language was detected.
        """
        detected = self._default_language(options)
        if self._must_detect(options):
            detected, first = self._detect_language(first, clock)
        context = DecodingContext(
            options=options,
            clock=clock,
            detected=detected,
            hotwords=self._encode_text(options.hotwords),
            initial_prompt=self._encode_text(options.initial_prompt),
        )
        return context, first

    def _detect_language(
        self, windows: Sequence[AudioWindow], clock: PhaseClock
    ) -> tuple[DetectedLanguage, Sequence[AudioWindow]]:
        """Detect the language of windows together: an announcement in another one does not decide.

        Returns:
            The language, and the windows with their encoder states.
        """
        found = [self._window_decoder.language_probabilities(window, clock) for window in windows]
        weighted = [(probabilities, window.end_s - window.start_s) for probabilities, window in found]
        return likeliest(weighted), [window for _, window in found]

    def _must_detect(self, options: TranscribeOptions) -> bool:
        return options.language is None and self._tokenizer.is_multilingual

    def _encode_text(self, text: str | None) -> Tokens:
        return self._tokenizer.encode(f" {text.strip()}") if text and text.strip() else ()

    def _default_language(self, options: TranscribeOptions) -> DetectedLanguage:
        return default_language(options, is_multilingual=self._tokenizer.is_multilingual)

    def _prompt(self, context: DecodingContext, previous: Tokens) -> Tokens:
        return self._tokenizer.prompt(
            language=context.detected.language,
            task=context.options.task,
            with_timestamps=not context.options.without_timestamps,
            previous=previous,
        )


def _is_one_window(first: Wave, options: TranscribeOptions) -> bool:
    """Return whether the first samples are all, and are decoded at once."""
    return len(first) <= WINDOW_SAMPLES and options.vad_filter is not True


def _progress(stream: SegmentStream, done_s: float, batch: Sequence[QueuedWindow]) -> OnShare:
    """Return what reports the progress within a batch; windows that are decoded again lie further back, which is none."""
    left_s = max(0.0, batch[-1].window.end_s - done_s)
    return lambda share: stream.report(done_s + share * left_s)


def _covered_spans(
    window: AudioWindow,
    pieces: Sequence[TimestampedTokens],
    segments: Sequence[Segment],
    context: DecodingContext,
) -> list[AudioSpan]:
    """Return where the text of a window is, as far as that is known: by alignment, or to the model's last timestamp."""
    if context.are_times_aligned:
        return [(each.start_s - window.start_s, each.end_s - window.start_s) for each in segments]
    if not context.options.without_timestamps and pieces and pieces[-1].is_closed:
        return [(0.0, pieces[-1].end_s)]
    return []


def _without_first_silence(wave: Wave) -> AudioWindow:
    """Return the window of a short clip; where speech starts late, from shortly before it.

    Whisper's first timestamp lies in the first second of its window, whenever speech starts.
    """
    n_tenths = len(wave) // TENTH_SAMPLES
    levels = (
        np.std(wave[: n_tenths * TENTH_SAMPLES].reshape(n_tenths, -1), axis=1) if n_tenths else np.ones(1)
    )
    first = int(np.argmax(levels > levels.max() * SILENCE_SHARE))
    begin = first * TENTH_SAMPLES - EDGE_SAMPLES if first * TENTH_SAMPLES >= LATE_SAMPLES else 0
    return AudioWindow(start_s=begin / SAMPLE_RATE_HZ, wave=wave[begin:])


def _take_speech(windows: Iterator[AudioWindow], least_s: float) -> list[AudioWindow]:
    """Take one window or more, until they hold so much speech or there are no more."""
    taken: list[AudioWindow] = []
    taken_s = 0.0
    while (not taken or taken_s < least_s) and (window := next(windows, None)) is not None:
        taken.append(window)
        taken_s += window.end_s - window.start_s
    return taken


def _timed(windows: Iterator[AudioWindow], clock: PhaseClock) -> Iterator[AudioWindow]:
    while True:
        with clock.time(Phase.VOICE_ACTIVITY):
            window = next(windows, None)
        if window is None:
            return
        yield window
