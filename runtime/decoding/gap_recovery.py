"""Check the text of a window against its speech: is it speech at all, was some left out, is the window to be cut anew?"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave, is_silent, loudest_level
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.context import DecodingContext
from sottovoce.runtime.decoding.window_decoder import SHORT_TEXT_TOKENS, DecodingResult
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.transcript import Phase
from sottovoce.runtime.vad.frames import FRAME_SAMPLES, Probabilities, VoiceActivity, gain_of
from sottovoce.runtime.vad.segmenter import AudioWindow
from sottovoce.runtime.vad.silero import SileroVoiceActivity
from sottovoce.runtime.vad.speech_spans import SpeechSpan, VadOptions, pack_windows, speech_spans

DOUBTFUL_NO_SPEECH = 0.2
DOUBTFUL_LOG_PROBABILITY = -0.7
"""Beyond one of them, the text of a short clip counts only where its window has speech."""

FAINT_NO_SPEECH = 0.4
"""Whispered and distant speech has at most 0.3 of no speech, the noise that is taken for it more (docs/lab-notes.md)."""

SHORT_CUT_NO_SPEECH = 0.6
"""Of a short text in what is left of a noisy window: words 5 dB above kitchen noise have at most 0.56 of no speech, an
invented "Thank you." 0.63 (docs/lab-notes.md)."""

AudioSpan = tuple[float, float]
"""Start and end in seconds from the start of a window."""

LEAST_GAP_SAMPLES = round(1.2 * SAMPLE_RATE_HZ)
"""Less without text is a pause. Chosen with calibration clips (docs/lab-notes.md), as is the least speech."""

LEAST_GAP_LEVEL = 10 ** (-25 / 20)
"""25 dB below the window: pauses are mostly quieter, distant voices are not."""

LEAST_TEXT_SAMPLES = round(0.6 * SAMPLE_RATE_HZ)
"""Least length of the text of a window: otherwise its gap would be nearly as long as the window."""

CLEAR_SPEECH = VadOptions(min_speech_s=0.25, speech_pad_s=0.2)
"""What a text must cover: less than what is decoded, since the place of words is known to a tenth of a second."""

LEAST_SPEECH_S = 0.8
"""In a gap; less may be a breath, or the end of a word whose place is known to a tenth of a second."""

SPARSE_SPEECH_S = 6.0
SPARSE_TOKENS_PER_S = 0.7
"""People speak 3 to 5 tokens a second: fewer than these, in so many seconds of speech, and some of it was skipped."""

BETWEEN_PAUSES = VadOptions(
    threshold=LEAST_GAP_LEVEL,
    neg_threshold=LEAST_GAP_LEVEL,
    min_speech_s=0.0,
    short_speech_s=0.0,
    min_silence_s=0.25,
    speech_pad_s=0.1,
)
"""Spans by level instead of by the probability of speech."""

LONGEST_PART_S = 7.0
"""Of audio that repeats itself: a sentence or two, too few repetitions for a loop."""

LEAST_PART_S = 1.0

SHORTER = 0.6
"""A window that is cut again is cut into pieces of at most this share of its length."""


class GapRecovery:
    """Looks for speech where a text alone is not enough; voice activity is loaded when it is first needed."""

    def __init__(self, activity: VoiceActivity | None = None) -> None:
        self._given = activity

    @cached_property
    def activity(self) -> VoiceActivity:
        """Voice activity, used through `new_stream()`, one for each stream."""
        return self._given or SileroVoiceActivity.load()

    def used_by(self, options: TranscribeOptions, clock: PhaseClock) -> str | None:
        """Return the name of the detector if a transcription looked for speech."""
        is_used = options.vad_filter is not False and clock.has_timed(Phase.VOICE_ACTIVITY)
        return self.activity.name if is_used else None

    def has_speech(self, wave: Wave, options: TranscribeOptions, clock: PhaseClock) -> bool:
        """Return whether a wave has speech; True where looking for speech is turned off."""
        if options.vad_filter is False:
            return True
        return bool(speech_spans(self._probabilities(wave, clock)))

    def doubtful_cuts(
        self, window: AudioWindow, result: DecodingResult, context: DecodingContext
    ) -> list[AudioWindow] | None:
        """Return the speech of a window whose text may be that of its noise; None where the text counts.

        It counts where it is likely, or where half of the window is speech.
        """
        if context.options.vad_filter is False or not _is_doubtful(result):
            return None
        window_s = len(window.wave) / SAMPLE_RATE_HZ
        probabilities = self._probabilities(window.wave, context.clock)
        spans = speech_spans(probabilities, duration_s=window_s)
        if _total_s(spans) >= window_s / 2:
            return None
        cuts = [_part(window, cut.start_s, cut.end_s) for cut in pack_windows(spans, probabilities)]
        return [replace(cut, was_doubtful=True) for cut in cuts]

    def counts(self, window: AudioWindow, result: DecodingResult, n_tokens: int) -> bool:
        """Return whether the text of a window counts: for noise Whisper makes up texts that are short or unlikely.

        Args:
            window: that was decoded.
            result: its text.
            n_tokens: of the text, without timestamps.
        """
        attempt = result.attempt
        is_likely = attempt.mean_log_probability >= DOUBTFUL_LOG_PROBABILITY
        if window.is_faint:
            window_s = len(window.wave) / SAMPLE_RATE_HZ
            is_short = n_tokens <= max(SHORT_TEXT_TOKENS, SPARSE_TOKENS_PER_S * window_s)
            return not is_short and is_likely and attempt.no_speech_probability <= FAINT_NO_SPEECH
        is_long = n_tokens > SHORT_TEXT_TOKENS
        has_speech = attempt.no_speech_probability <= SHORT_CUT_NO_SPEECH
        return not window.was_doubtful or is_long or is_likely or has_speech

    def uncovered_speech(
        self, window: AudioWindow, covered: Sequence[AudioSpan], context: DecodingContext
    ) -> list[AudioWindow]:
        """Return the speech that the text of a window leaves out: the model at times ends early, or skips.

        Where looking for speech is turned off, these are the gaps that are not much quieter than the window, as faint
        speech: their text counts where it is likely.

        Args:
            window: that was decoded.
            covered: where its text is, in order of time; empty where that is not known.
            context: of the transcription.
        """
        if not covered:
            return []
        starts_s, ends_s = zip(*covered, strict=True)
        window_s = len(window.wave) / SAMPLE_RATE_HZ
        gaps = [
            _part(window, begin_s, end_s)
            for begin_s, end_s in zip((0.0, *ends_s), (*starts_s, window_s), strict=True)
        ]
        gaps = [gap for gap in gaps if _is_gap(gap.wave, len(window.wave))]
        if context.options.vad_filter is False:
            least = LEAST_GAP_LEVEL * loudest_level(window.wave)
            return [replace(gap, is_faint=True) for gap in gaps if loudest_level(gap.wave) >= least]
        return [gap for gap in gaps if self._has_clear_speech(gap.wave, context.clock)]

    def _has_clear_speech(self, gap: Wave, clock: PhaseClock) -> bool:
        spans = speech_spans(
            self._probabilities(gap, clock), CLEAR_SPEECH, duration_s=len(gap) / SAMPLE_RATE_HZ
        )
        return _total_s(spans) >= LEAST_SPEECH_S

    def resegment(self, window: AudioWindow, n_tokens: int, context: DecodingContext) -> list[AudioWindow]:
        """Cut a window with hardly any text for its speech into shorter ones; empty where it has enough.

        Of a window that starts within a sentence Whisper may decode a word or two and skip the rest.
        """
        window_s = len(window.wave) / SAMPLE_RATE_HZ
        if context.options.vad_filter is False or not _is_sparse(n_tokens, window_s):
            return []
        probabilities = self._probabilities(window.wave, context.clock)
        spans = speech_spans(probabilities, CLEAR_SPEECH, duration_s=window_s)
        if not _is_sparse(n_tokens, _total_s(spans)):
            return []
        context.clock.n_redone += 1
        cuts = pack_windows(spans, probabilities, max_s=SHORTER * window_s)
        return [_part(window, cut.start_s, cut.end_s) for cut in cuts]

    def cuts_at_pauses(
        self, window: AudioWindow, result: DecodingResult, n_tokens: int, context: DecodingContext
    ) -> list[AudioWindow]:
        """Cut a window at its pauses where its text repeats itself or is too short, without voice activity detection.

        A text that repeats itself is a loop of the model, or what was said. Parts that are decoded apart have as many
        repetitions as their audio. Empty where the text counts: it is neither, or the window has no pauses.
        """
        if context.options.vad_filter is not False:
            return []
        window_s = len(window.wave) / SAMPLE_RATE_HZ
        levels = _relative_levels(window.wave)
        spans = speech_spans(levels, BETWEEN_PAUSES, duration_s=window_s)
        if not (result.has_repeated or _is_sparse(n_tokens, _total_s(spans))):
            return []
        longest_s = max(LEAST_PART_S, min(LONGEST_PART_S, SHORTER * window_s))
        cuts = pack_windows(spans, levels, max_s=longest_s)
        if len(spans) == 1 or len(cuts) <= 1:
            return []
        context.clock.n_redone += 1
        parts = [_part(window, cut.start_s, cut.end_s) for cut in cuts]
        is_faint = window.is_faint or result.is_no_speech or not result.has_repeated
        return [replace(part, is_faint=is_faint) for part in parts]

    def _probabilities(self, wave: Wave, clock: PhaseClock) -> Probabilities:
        with clock.time(Phase.VOICE_ACTIVITY):
            gain = gain_of(loudest_level(wave))
            return self.activity.new_stream().probabilities(wave * gain, is_last=True)


def _is_gap(gap: Wave, n_window: int) -> bool:
    """Return whether a gap may have speech.

    One that is nearly its window is none: its text would be short and the gap in it again nearly the window.
    """
    return LEAST_GAP_SAMPLES <= len(gap) <= n_window - LEAST_TEXT_SAMPLES and not is_silent(gap)


def _part(window: AudioWindow, begin_s: float, end_s: float) -> AudioWindow:
    begin, end = round(begin_s * SAMPLE_RATE_HZ), round(end_s * SAMPLE_RATE_HZ)
    return AudioWindow(start_s=window.start_s + begin / SAMPLE_RATE_HZ, wave=window.wave[begin:end])


def _total_s(spans: Sequence[SpeechSpan]) -> float:
    return sum(span.end_s - span.start_s for span in spans)


def _is_doubtful(result: DecodingResult) -> bool:
    attempt = result.attempt
    return (
        attempt.no_speech_probability > DOUBTFUL_NO_SPEECH
        or attempt.mean_log_probability < DOUBTFUL_LOG_PROBABILITY
    )


def _is_sparse(n_tokens: int, speech_s: float) -> bool:
    return speech_s >= SPARSE_SPEECH_S and n_tokens < SPARSE_TOKENS_PER_S * speech_s


def _relative_levels(wave: Wave) -> Probabilities:
    """Return the level of each frame as a share of that of the loudest tenth of a second: float32, shape (n_frames,)."""
    frames = wave[: wave.size // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    levels: Probabilities = frames.std(axis=1) / np.float32(max(loudest_level(wave), 1e-9))
    return levels
