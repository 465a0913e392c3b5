"""One clip under one entry: a line of clips.jsonl."""

from pydantic import Field

from sottovoce.statistics.accuracy import WordErrors
from sottovoce.storage.documents import Document
from sottovoce.terms import Stage


class SpokenWord(Document):
    """A word of a transcript, with seconds from the start of the audio."""

    text: str
    start_s: float
    end_s: float


class ClipRow(Document):
    """One clip under one entry. Failed clips are kept with their error, never scored as empty text."""

    clip_id: str
    variant: str
    language: str | None
    speaker: str | None
    source: str | None
    audio_s: float
    snr_db: float | None = Field(default=None, description="Estimated signal-to-noise ratio.")
    reference: str
    hypothesis: str
    normalized_reference: str
    normalized_hypothesis: str
    words: WordErrors
    tokens: int
    latency_s: tuple[float, ...] = Field(description="One figure for each counted pass.")
    disturbed: tuple[bool, ...] = Field(
        default=(), description="For each figure, whether the machine's noise exceeded a limit."
    )
    stage_s: tuple[dict[Stage, float], ...]
    calls: dict[Stage, int] = Field(description="Inferences in each stage, the same in every pass.")
    spoken: tuple[SpokenWord, ...] = Field(
        default=(),
        description="The words of the transcript with their times; only for our entries, with `--side-effects`.",
    )
    audio: str | None = Field(
        default=None,
        description="Compressed audio file in this folder, for clips whose transcripts differ.",
    )
    error: str | None = None
