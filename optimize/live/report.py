"""What the rules of live words do with a variant."""

from sottovoce.storage.documents import Document


class RuleFigures(Document):
    """What a rule does; delays are seconds of audio, computation not counted."""

    policy: str
    guard_s: float
    error_rate: float
    mean_delay_s: float | None
    p95_delay_s: float | None
    is_chosen: bool


class LiveTuning(Document):
    """What was measured for a variant, and what was chosen."""

    variant: str
    n_clips: int
    audio_s: float
    rules: tuple[RuleFigures, ...]
