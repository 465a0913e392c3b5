"""A second look at a window: is its text one, was speech left out, is it to be cut anew?"""

from collections.abc import Sequence
from functools import cached_property

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave, is_silent
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.window_decoder import DecodingResult
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.transcript import Phase
from sottovoce.runtime.vad.frames import VoiceActivity
from sottovoce.runtime.vad.load import load_voice_activity
from sottovoce.runtime.vad.segmenter import AudioWindow
from sottovoce.runtime.vad.speech_spans import pack_windows, speech_spans

DOUBTFUL_NO_SPEECH = 0.2
DOUBTFUL_LOG_PROBABILITY = -0.7
"""A short clip beyond one of them is looked through for speech before its text counts."""

AudioSpan = tuple[float, float]
"""Start and end in seconds from the start of a window."""

LEAST_GAP_SAMPLES = round(1.2 * SAMPLE_RATE_HZ)
"""Less without text is a pause. Chosen with calibration clips (docs/lab-notes.md), as is the least speech."""

LEAST_TEXT_SAMPLES = round(0.6 * SAMPLE_RATE_HZ)
"""What the text of a window takes of it, or its gaps would hardly be shorter than it is."""

LEAST_SPEECH_S = 0.8
"""In a gap; less may be a breath, or the end of a word whose place is known to a tenth of a second."""

SPARSE_SPEECH_S = 6.0
SPARSE_TOKENS_PER_S = 0.7
"""People speak 3 to 5 tokens a second: fewer than these, in so many seconds of speech, and some of it was skipped."""

SHORTER = 0.6
"""Of a window that is cut anew: at most this share of it is in one piece."""


class GapRecovery:
    """Looks for speech where a text alone does not tell; loads what finds speech when it is first needed."""

    @cached_property
    def activity(self) -> VoiceActivity:
        """What finds speech."""
        return load_voice_activity()

    def has_speech(self, wave: Wave, options: TranscribeOptions, clock: PhaseClock) -> bool:
        """Tell whether somebody speaks; nobody looks where that is turned off."""
        if options.vad_filter is False:
            return True
        with clock.time(Phase.VOICE_ACTIVITY):
            probabilities = self.activity.new_stream().probabilities(wave, is_last=True)
        return bool(speech_spans(probabilities))

    def is_speech(
        self, window: AudioWindow, heard: DecodingResult, options: TranscribeOptions, clock: PhaseClock
    ) -> bool:
        """Tell whether a text is one: where it is doubtful, its window is looked through for speech."""
        return not _is_doubtful(heard) or self.has_speech(window.wave, options, clock)

    def uncovered_speech(
        self, window: AudioWindow, heard: Sequence[AudioSpan], options: TranscribeOptions, clock: PhaseClock
    ) -> list[AudioWindow]:
        """Return the speech that the text of a window leaves out: the model at times ends early, or skips.

        Args:
            window: where the text was heard.
            heard: where the text is in the window, in order of time; nothing where that is not known.
            options: tell whether to look for speech.
            clock: is told what the work took.
        """
        if options.vad_filter is False or not heard:
            return []
        window_s = len(window.wave) / SAMPLE_RATE_HZ
        starts_s, ends_s = zip(*heard, strict=True)
        gaps = [
            (round(begin_s * SAMPLE_RATE_HZ), round(end_s * SAMPLE_RATE_HZ))
            for begin_s, end_s in zip((0.0, *ends_s), (*starts_s, window_s), strict=True)
        ]
        return [
            AudioWindow(start_s=window.start_s + begin / SAMPLE_RATE_HZ, wave=window.wave[begin:end])
            for begin, end in gaps
            if self._is_uncovered(window.wave[begin:end], len(window.wave), clock)
        ]

    def _is_uncovered(self, gap: Wave, n_window: int, clock: PhaseClock) -> bool:
        """Tell whether a gap has speech.

        One that is nearly its window is none: its text would be short and the gap in it again nearly the window.
        """
        if not LEAST_GAP_SAMPLES <= len(gap) <= n_window - LEAST_TEXT_SAMPLES or is_silent(gap):
            return False
        with clock.time(Phase.VOICE_ACTIVITY):
            probabilities = self.activity.new_stream().probabilities(gap, is_last=True)
        spans = speech_spans(probabilities, duration_s=len(gap) / SAMPLE_RATE_HZ)
        return sum(span.end_s - span.start_s for span in spans) >= LEAST_SPEECH_S

    def resegment(
        self, window: AudioWindow, n_tokens: int, options: TranscribeOptions, clock: PhaseClock
    ) -> list[AudioWindow]:
        """Cut a window with hardly any text for its speech into shorter ones; none where it has enough.

        A window that starts within a sentence may be heard as a word or two, and the rest of it be skipped.
        """
        window_s = len(window.wave) / SAMPLE_RATE_HZ
        if options.vad_filter is False or not _is_sparse(n_tokens, window_s):
            return []
        with clock.time(Phase.VOICE_ACTIVITY):
            probabilities = self.activity.new_stream().probabilities(window.wave, is_last=True)
        spans = speech_spans(probabilities, duration_s=window_s)
        if not _is_sparse(n_tokens, sum(span.end_s - span.start_s for span in spans)):
            return []
        clock.n_redone += 1
        return [
            AudioWindow(
                start_s=window.start_s + cut.start_s,
                wave=window.wave[round(cut.start_s * SAMPLE_RATE_HZ) : round(cut.end_s * SAMPLE_RATE_HZ)],
            )
            for cut in pack_windows(spans, probabilities, max_s=SHORTER * window_s)
        ]


def _is_doubtful(heard: DecodingResult) -> bool:
    attempt = heard.attempt
    return (
        attempt.no_speech_probability > DOUBTFUL_NO_SPEECH
        or attempt.mean_log_probability < DOUBTFUL_LOG_PROBABILITY
    )


def _is_sparse(n_tokens: int, speech_s: float) -> bool:
    return speech_s >= SPARSE_SPEECH_S and n_tokens < SPARSE_TOKENS_PER_S * speech_s
