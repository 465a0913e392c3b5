"""Engines that were not measured, or only in part, and why."""

from enum import StrEnum

from pydantic import Field

from sottovoce.storage.documents import Document


class FailedIn(StrEnum):
    """Where another engine failed."""

    CONVERSION = "conversion"
    LOAD = "load"
    CLIPS = "clips"
    COLD_STARTS = "cold_starts"
    THROUGHPUT = "throughput"
    LIVE = "live"


FAILURES = {
    FailedIn.CONVERSION: "the checkpoint could not be converted",
    FailedIn.LOAD: "it could not be loaded",
    FailedIn.CLIPS: "it failed on the clips",
    FailedIn.COLD_STARTS: "its cold starts failed",
    FailedIn.THROUGHPUT: "its batches failed",
    FailedIn.LIVE: "it failed on live audio",
}


class SkippedEngine(Document):
    """A requested engine that is not installed, or an entry of another engine that failed."""

    engine: str
    reason: str
    entry: str | None = Field(
        default=None, description="The entry that failed; null if the engine is not installed."
    )
    failed_in: FailedIn | None = Field(
        default=None,
        description="Where it failed; null if it is not installed. An entry that failed in `cold_starts`, `throughput` or "
        "`live` is still in these results; it lacks only those figures.",
    )

    @property
    def name(self) -> str:
        """The entry, or the engine if it is not installed."""
        return self.entry or self.engine

    @property
    def is_partial(self) -> bool:
        """Whether only a part of the entry's figures is missing."""
        return self.failed_in in {FailedIn.COLD_STARTS, FailedIn.THROUGHPUT, FailedIn.LIVE}

    @property
    def message(self) -> str:
        """Why it was not measured, in one line."""
        return self.reason if self.failed_in is None else f"{FAILURES[self.failed_in]}: {self.reason}"
