"""Live transcription on a simulated clock: how late words come, how steady they are, and what that costs."""

from typing import Literal

from pydantic import Field

from sottovoce.statistics.accuracy import WordErrors
from sottovoce.statistics.intervals import Interval
from sottovoce.storage.documents import Document

QUANTILE_STEP = 5
"""Percent, between the points of `Delays.quantiles`."""


class Delays(Document):
    """The distribution of delays, in seconds."""

    n: int = Field(description="Words, or pauses.")
    p50: float
    p90: float
    p95: float
    p99: float
    quantiles: tuple[float, ...] = Field(
        description="The smallest, those of every 5 %, the largest: 21 figures."
    )


class LivePass(Document):
    """The recordings fed once. A delay is null without words that are timed and right."""

    is_counted: bool = Field(
        description="Whether words come later by the time that computing them took; else the clock stands meanwhile."
    )
    committed: Delays | None = Field(description="From the end of a word until it is committed.")
    shown: Delays | None = Field(
        description="From the end of a word until it is shown for the first time, committed or not."
    )
    first_word: Delays | None = Field(
        description="From the start of speech after a pause until the first right word is shown."
    )
    finalization: Delays | None = Field(
        description="From the end of speech before a pause until its last word is committed, less the 0.5 s of silence that end "
        "an utterance."
    )
    stream_laal_s: float | None = Field(
        description="StreamLAAL of committed words, over speech between pauses."
    )
    max_backlog_s: float = Field(
        description="Longest wait of audio for the engine; 0 where computation is not counted."
    )
    erasure: float = Field(
        description="Normalized erasure: words of the display that were replaced, per final word."
    )
    n_retracted: int = Field(description="Committed words that changed later.")
    words: WordErrors
    wer: float
    wer_delta: Interval | None = Field(
        description="Of the committed text minus the same model's offline; null without words."
    )


class Invented(Document):
    """Words committed in audio without speech."""

    sound: str
    audio_s: float
    n_words: int
    text: str = Field(description="At most 200 characters.")
    cpu_share: float = Field(description="CPU seconds per second of audio.")


class LiveSystem(Document):
    """An entry under a method that decides when words are final."""

    name: str = Field(description="ENTRY, METHOD.")
    entry: str
    method: str
    description: str
    offline_words: WordErrors = Field(description="Of the same model on the recordings as files.")
    offline_wer: float
    passes: tuple[LivePass, ...] = Field(description="With computation counted, and not counted.")
    cpu_share: float = Field(description="CPU seconds per second of audio, over the recordings.")
    peak_rss_bytes: int = Field(
        description="Largest resident set while the recordings are fed the second time."
    )
    memory_slope: float | None = Field(
        description="Growth of the resident set while the recordings are fed the second time, bytes per hour of audio, after five "
        "minutes; null for less than ten."
    )
    without_speech: tuple[Invented, ...] = Field(description="Silence first.")

    @property
    def counted(self) -> LivePass:
        """The pass in which computation is counted."""
        return next(each for each in self.passes if each.is_counted)

    @property
    def not_counted(self) -> LivePass:
        """The pass in which it is not."""
        return next(each for each in self.passes if not each.is_counted)


class TimelineWord(Document):
    """A word of the timeline: when it was spoken, shown and committed."""

    text: str
    end_s: float
    shown_s: float
    committed_s: float


class Timeline(Document):
    """The right words of one recording, with computation counted."""

    system: str
    recording: str
    words: tuple[TimelineWord, ...]


class LiveReport(Document):
    """What `--live` measures: recordings fed in frames, as if they were spoken now."""

    schema_version: Literal[1] = 1
    frame_s: float
    n_recordings: int
    audio_s: float
    n_words: int = Field(description="Words of the references.")
    n_timed: int = Field(description="Those that the baseline transcribes right: their times are known.")
    foreign_share: float = Field(
        description="Share of the CPU time that other processes and the host took while computation was counted."
    )
    systems: tuple[LiveSystem, ...]
    timeline: Timeline | None
