"""What a fine-tuning found, beside the model and as `--json`."""

from sottovoce.storage.documents import Document
from sottovoce.train.accuracy import Accuracy
from sottovoce.train.finetune.averaging import Average
from sottovoce.train.loop import Evaluation

REPORT_NAME = "finetune.json"


class TermErrors(Document):
    """Terms that the references of held-out clips have and the transcripts lack."""

    n_terms: int
    """In the references, each occurrence."""
    missed_before: int
    missed_after: int


class FinetuneReport(Document):
    """A fine-tuning."""

    model: str
    kept: bool
    """Whether fewer words of held-out speakers are wrong, and a model was written."""
    method: str
    n_trained_weights: int
    seed: int
    speech: tuple[str, ...]
    audio_s: float
    """Of the clips that trained, without their copies."""
    n_clips: int
    n_copies: int
    n_steps: int
    """Planned; training ends earlier where held-out speakers gain nothing."""
    best_step: int
    share: float
    """Of the trained weights in the model; the rest is the checkpoint's. Below 1 only with rehearsal."""
    averages: tuple[Average, ...]
    """Between which `share` was chosen; empty without rehearsal."""
    held_out: Accuracy
    general: Accuracy
    """Of speech that is not of the domain: what was forgotten."""
    terms: TermErrors | None
    history: tuple[Evaluation, ...]
