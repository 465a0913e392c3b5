"""A variant against the roofline, the noise of the machine, and the A/A check."""

from enum import StrEnum

from pydantic import Field

from sottovoce.statistics.intervals import Interval
from sottovoce.storage.documents import Document


class RooflinePart(StrEnum):
    """The parts that are compared with the roofline."""

    ENCODER_WINDOW = "encoder_window"
    DECODE_STEP = "decode_step"


class RooflinePoint(Document):
    """A part of a transcription against the roofline of this machine."""

    part: RooflinePart
    ceiling_s: float = Field(
        description="Lower bound from arithmetic or memory traffic alone, at the measured rates."
    )
    achieved_s: float = Field(description="Median of several calls.")
    share: float = Field(
        description="Efficiency: lower bound divided by achieved time; 1 is the best possible."
    )


class Noise(Document):
    """What other processes and the host did while clips were timed; a block is one clip in every entry."""

    n_blocks: int
    n_marked: int = Field(
        description="Blocks that exceed a limit even after a repeat; their figures count, and are marked."
    )
    n_repeated: int = Field(description="Blocks that were measured again because they exceeded a limit.")
    steal_share: float = Field(description="Share of the CPU time that the host took for other guests.")
    foreign_share: float = Field(
        description="Share of the CPU time that other processes of this machine used."
    )
    throttled: int | None = Field(
        description="Events of thermal throttling; null if the kernel does not count them."
    )
    max_steal_share: float = Field(description="The limit for a block.")
    max_foreign_share: float = Field(description="The limit for a block.")


class SelfCheck(Document):
    """The A/A check: an entry against itself in a second process."""

    entry: str
    ratio: Interval = Field(description="Ratio of total times, first by second; 1 apart from noise.")
    n_clips: int
    same_text_rate: float = Field(
        description="Share of the clips with the same text; 1 if decoding is deterministic."
    )
