"""Leave out text that Whisper made up for silence, by the times and probabilities of its words.

Source: `hallucination_silence_threshold` in `whisper/transcribe.py` of openai/whisper. There the audio behind the text is
decoded again; here its segment is left out.
"""

from collections.abc import Iterator, Sequence

from sottovoce.runtime.transcript import Segment, Word

N_JUDGED = 8
"""Words of a segment."""

UNLIKELY, SHORT_S, LONG_S = 0.15, 0.133, 2.0
SHORT_WEIGHT = 15
ANOMALOUS_SCORE = 3.0


def without_hallucinations(
    segments: Iterator[Segment], silence_s: float, duration_s: float
) -> Iterator[Segment]:
    """Yield the segments, without those of anomalous words between silences.

    Args:
        segments: with words, in order of time.
        silence_s: a longer pause is silence.
        duration_s: of the audio.
    """
    last_end_s = 0.0
    segment = next(segments, None)
    while segment is not None:
        following = next(segments, None)
        next_start_s = duration_s if following is None else following.start_s
        is_apart_before = segment.start_s - last_end_s > silence_s
        is_apart_after = next_start_s - segment.end_s > silence_s or (
            following is not None and _is_anomalous(following.words)
        )
        if not (_is_anomalous(segment.words) and is_apart_before and is_apart_after):
            last_end_s = segment.end_s
            yield segment
        segment = following


def _is_anomalous(words: Sequence[Word]) -> bool:
    judged = [word for word in words if any(map(str.isalnum, word.text))][:N_JUDGED]
    score = sum(map(_anomaly, judged))
    return bool(judged) and (score >= ANOMALOUS_SCORE or score + 0.01 >= len(judged))


def _anomaly(word: Word) -> float:
    """Return how much a word is unlikely, too short and too long."""
    length_s = word.end_s - word.start_s
    unlikely = float(word.probability < UNLIKELY)
    return unlikely + max(0.0, SHORT_S - length_s) * SHORT_WEIGHT + max(0.0, length_s - LONG_S)
