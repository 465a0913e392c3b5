"""What a fine-tuning found, beside the model and as `--json`."""

from sottovoce.statistics.accuracy import WordErrors
from sottovoce.storage.documents import Document
from sottovoce.train.loop import Evaluation

REPORT_NAME = "finetune.json"


class Accuracy(Document):
    """Word errors of a set; of characters in Chinese, Japanese and Thai."""

    speech: str
    n_clips: int
    before: WordErrors
    after: WordErrors


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
    held_out: Accuracy
    general: Accuracy
    """Of speech that is not of the domain: what was forgotten."""
    terms: TermErrors | None
    history: tuple[Evaluation, ...]
