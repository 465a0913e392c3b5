"""Output drift: changes in tokens, languages, word times, lengths and hallucinations, which word errors do not show."""

from pydantic import Field

from sottovoce.storage.documents import Document


class LanguageChanges(Document):
    """Changes of the detected language. A language that the model does not know counts as wrong for both."""

    n_clips: int
    n_flips: int = Field(description="Clips with another detected language than under the baseline.")
    baseline_wrong: int = Field(
        description="Clips where the baseline's detected language is not that of the speech set."
    )
    variant_wrong: int


class TimestampDrift(Document):
    """How far the starts of words moved, for words in both transcripts."""

    n_words: int
    mean_s: float = Field(description="Variant minus baseline: above 0, words start later.")
    median_s: float = Field(description="Of the absolute differences.")
    p95_s: float


class LengthRatio(Document):
    """Characters of the variant's transcripts divided by the baseline's: below 1, text is missing."""

    total: float
    p5: float = Field(description="5th percentile over clips.")
    p95: float


class Hallucination(Document):
    """Words in a sound without speech."""

    sound: str
    audio_s: float
    baseline_words: int
    variant_words: int
    variant_text: str


class OutputDrift(Document):
    """The output of a variant against the baseline's, both in our engine, measured after the timed passes."""

    variant: str
    n_clips: int
    token_agreement: float = Field(
        description="1 - edit distance of the tokens divided by the baseline's tokens, over all clips."
    )
    same_tokens_rate: float = Field(description="Share of the clips with identical tokens.")
    language: LanguageChanges | None = Field(default=None, description="Null for an English-only model.")
    drift: TimestampDrift | None = Field(default=None, description="Null if a layout has no word timestamps.")
    length_ratio: LengthRatio | None = Field(default=None, description="Null if the baseline has no text.")
    hallucinations: tuple[Hallucination, ...] = ()
