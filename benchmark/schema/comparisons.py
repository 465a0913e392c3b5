"""An entry against the baseline, or against an entry of another engine."""

from enum import StrEnum

from pydantic import Field

from sottovoce.statistics.accuracy import WordErrors
from sottovoce.statistics.intervals import Interval
from sottovoce.storage.documents import Document
from sottovoce.terms import Condition, Stage


class SpeedVerdict(StrEnum):
    """Whether the interval of the speed-up excludes no difference."""

    FASTER = "faster"
    SLOWER = "slower"
    UNDECIDED = "undecided"


class AccuracyVerdict(StrEnum):
    """Whether the interval of the WER increase stays within the margin."""

    WITHIN = "within"
    BEYOND = "beyond"
    UNDECIDED = "undecided"


class Verdict(Document):
    """The conclusions that the intervals of a comparison allow."""

    speed: SpeedVerdict
    accuracy: AccuracyVerdict
    margin: float = Field(description="Largest tolerated WER increase, a fraction.")
    more_clips: int | None = Field(
        default=None,
        description="Estimate of the additional clips that would decide on accuracy, if the difference stays; 0 if it is "
        "decided, null if the difference is too close to the margin.",
    )


class MatchedPairs(Document):
    """The matched-pairs test of a variant against the baseline."""

    n_segments: int = Field(description="Segments with an error of either.")
    mean_difference: float = Field(description="Errors in a segment, variant minus baseline.")
    statistic: float | None = Field(
        description="Normally distributed; null with fewer than 30 segments, or if all differences are equal."
    )
    p_value: float | None = Field(
        description="Two-tailed: probability of so large a difference if both are equally good; null if `statistic` is."
    )


class Normalizer(StrEnum):
    """How texts are made comparable before words are counted."""

    WHISPER = "whisper"
    WHISPER_BASIC = "whisper-basic"
    RAW = "raw"
    CHARACTERS = "characters"


class PanelRow(Document):
    """A comparison with the baseline under one normalizer."""

    normalizer: Normalizer = Field(
        description="whisper: English for English, basic for other languages, characters for languages without spaces; "
        "whisper-basic: lower case without punctuation and without vowel signs, as published; raw: unchanged, split at white space; characters: "
        "character error rate after `whisper`."
    )
    baseline: WordErrors
    variant: WordErrors
    delta: Interval = Field(description="Error rate of the variant minus the baseline's, a fraction.")
    verdict: AccuracyVerdict


class StratumComparison(Document):
    """A variant against the baseline on one stratum of the clips."""

    by: str
    name: str
    n_clips: int
    speedup: Interval | None = Field(description="Null if none of its clips counts for speed.")
    wer_delta: Interval = Field(
        description="Variant minus baseline, a fraction; resampled by clip, not by speaker."
    )


class ConditionComparison(Document):
    """A variant against the baseline on the clips under a condition."""

    condition: Condition
    n_clips: int = Field(description="Clips that both transcribed.")
    wer_delta: Interval = Field(description="Variant minus baseline, a fraction.")


class Comparison(Document):
    """A variant against the baseline, paired clip by clip."""

    variant: str
    speedup: Interval = Field(description="Total time of the baseline divided by the variant's.")
    stage_speedup: dict[Stage, Interval]
    size_ratio: float = Field(description="Variant divided by baseline.")
    component_size_ratio: dict[str, float]
    wer_delta: Interval = Field(description="Variant minus baseline, a fraction.")
    n_changed: int = Field(description="Clips whose normalized transcript differs.")
    n_worse: int = Field(description="Clips with more errors than under the baseline.")
    n_better: int
    no_regression_rate: float | None = Field(
        default=None, description="Share of the clips with no more errors than under the baseline."
    )
    matched_pairs: MatchedPairs | None = None
    panel: tuple[PanelRow, ...] = Field(
        default=(), description="The comparison under each normalizer; the first one is that of `wer_delta`."
    )
    strata: tuple[StratumComparison, ...] = ()
    conditions: tuple[ConditionComparison, ...] = Field(
        default=(), description="For our entries; empty without `--robustness`."
    )
    n_clips: int | None = Field(
        default=None, description="Clips that both transcribed; null in older results."
    )
    n_failed: int = Field(default=0, description="Clips on which either failed; they count for neither.")
    n_blocks: int | None = Field(
        default=None, description="Speakers or clips that were resampled; fewer than ten give no verdict."
    )
    verdict: Verdict


class PeerComparison(Document):
    """An entry of our engine against one of another, paired clip by clip."""

    subject: str
    peer: str
    speedup: Interval = Field(description="Total time of the peer divided by the subject's.")
    wer_delta: Interval = Field(description="Of the subject minus that of the peer, a fraction.")
