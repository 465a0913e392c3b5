"""Where utterances start and end, from the probabilities of speech of a stream."""

from dataclasses import dataclass

from sottovoce.runtime.vad.frames import FRAME_S, Probabilities
from sottovoce.runtime.vad.speech_spans import START_FRAMES, VadOptions


@dataclass(slots=True)
class Endpointer:
    """Follows the frames of a stream, in order.

    Attributes:
        options: thresholds; see `VadOptions`.
        n_silent: frames since speech was last likely.
        is_open: an utterance has begun, and not ended.
        is_clear: it is speech for certain: long enough, or the network is sure.
    """

    options: VadOptions
    silence_s: float
    n_silent: int = 0
    is_open: bool = False
    is_clear: bool = False
    _n_frames: int = 0
    _n_speech: int = 0
    _is_at_start: bool = False

    @property
    def silent_s(self) -> float:
        """Seconds since speech was last likely, in an utterance."""
        return self.n_silent * FRAME_S

    @property
    def has_ended(self) -> bool:
        """Whether the silence is long enough to end the utterance."""
        return self.is_open and self.silent_s >= self.silence_s

    def follow(self, probabilities: Probabilities) -> None:
        """Take the probabilities of the next frames: float32, shape (n_frames,)."""
        for probability in probabilities.tolist():
            self._follow_one(probability)
            self._n_frames += 1

    def close(self) -> None:
        """End the utterance."""
        self.is_open = self.is_clear = False
        self.n_silent = self._n_speech = 0

    def _follow_one(self, probability: float) -> None:
        options = self.options
        if probability >= options.threshold:
            if not self.is_open:
                self.is_open = True
                self._is_at_start = self._n_frames < START_FRAMES
            self.n_silent = 0
        elif self.is_open and (self.n_silent or probability < options.neg_threshold):
            self.n_silent += 1
        if self.is_open and not self.n_silent:
            self._n_speech += 1
            is_long = self._n_speech * FRAME_S >= options.short_speech_s
            self.is_clear |= is_long or self._is_at_start or probability >= options.short_threshold
