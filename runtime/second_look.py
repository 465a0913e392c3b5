"""A second look at a window: is its text one, was speech left out, is it to be cut anew?"""

from collections.abc import Sequence
from functools import cached_property

from sottovoce.runtime.audio import SAMPLE_RATE_HZ, Wave, is_silent
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.long_form import TimedWave
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.segments import Piece
from sottovoce.runtime.transcript import Phase
from sottovoce.runtime.voice_activity import VoiceActivity, load_voice_activity, pack_windows, speech_spans
from sottovoce.runtime.windows import Heard

DOUBTFUL_NO_SPEECH = 0.2
DOUBTFUL_LOG_PROBABILITY = -0.7
"""A short clip beyond one of them is looked through for speech before its text counts."""

REST_SAMPLES = round(0.6 * SAMPLE_RATE_HZ)
"""Less behind the last timestamp is the pause after a sentence."""

SPARSE_SPEECH_S = 6.0
SPARSE_TOKENS_PER_S = 0.7
"""People speak 3 to 5 tokens a second: fewer than these, in so many seconds of speech, and some of it was skipped."""

SHORTER = 0.6
"""Of a window that is cut anew: at most this share of it is in one piece."""


class SecondLook:
    """Looks for speech where a text alone does not tell; loads what finds speech when it is first needed."""

    @cached_property
    def activity(self) -> VoiceActivity:
        """What finds speech."""
        return load_voice_activity()

    def has_speech(self, wave: Wave, options: TranscribeOptions, clock: PhaseClock) -> bool:
        """Tell whether somebody speaks; nobody looks where that is turned off."""
        if options.use_voice_activity is False:
            return True
        with clock.time(Phase.VOICE_ACTIVITY):
            probabilities = self.activity.another().probabilities(wave, is_last=True)
        return bool(speech_spans(probabilities))

    def is_speech(
        self, window: TimedWave, heard: Heard, options: TranscribeOptions, clock: PhaseClock
    ) -> bool:
        """Tell whether a text is one: where it is doubtful, its window is looked through for speech."""
        return not _is_doubtful(heard) or self.has_speech(window.wave, options, clock)

    def rest(
        self, window: TimedWave, pieces: Sequence[Piece], options: TranscribeOptions, clock: PhaseClock
    ) -> TimedWave | None:
        """Return the speech behind the last piece: with timestamps the model at times ends a window early."""
        if not options.with_timestamps or not pieces or not pieces[-1].is_closed:
            return None
        n_done = round(pieces[-1].end_s * SAMPLE_RATE_HZ)
        rest = window.wave[n_done:]
        if min(n_done, len(rest)) < REST_SAMPLES or options.use_voice_activity is False:
            return None
        if is_silent(rest) or not self.has_speech(rest, options, clock):
            return None
        return TimedWave(start_s=window.start_s + n_done / SAMPLE_RATE_HZ, wave=rest)

    def cut_anew(
        self, window: TimedWave, n_tokens: int, options: TranscribeOptions, clock: PhaseClock
    ) -> list[TimedWave]:
        """Cut a window with hardly any text for its speech into shorter ones; none where it has enough.

        A window that starts within a sentence may be heard as a word or two, and the rest of it be skipped.
        """
        window_s = len(window.wave) / SAMPLE_RATE_HZ
        if options.use_voice_activity is False or not _is_sparse(n_tokens, window_s):
            return []
        with clock.time(Phase.VOICE_ACTIVITY):
            probabilities = self.activity.another().probabilities(window.wave, is_last=True)
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


def _is_doubtful(heard: Heard) -> bool:
    attempt = heard.attempt
    return (
        attempt.no_speech_probability > DOUBTFUL_NO_SPEECH
        or attempt.mean_log_probability < DOUBTFUL_LOG_PROBABILITY
    )


def _is_sparse(n_tokens: int, speech_s: float) -> bool:
    return speech_s >= SPARSE_SPEECH_S and n_tokens < SPARSE_TOKENS_PER_S * speech_s
