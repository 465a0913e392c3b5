"""What a fine-tuning found, beside the model and as `--json`."""

from collections.abc import Sequence

from sottovoce.statistics.accuracy import WordErrors, add_errors
from sottovoce.statistics.intervals import Interval
from sottovoce.storage.documents import Document
from sottovoce.train.decoder.evaluation import wer_difference
from sottovoce.train.finetune.averaging import Average
from sottovoce.train.loop import Evaluation

REPORT_NAME = "finetune.json"


class Accuracy(Document):
    """Word errors of a set; of characters in Chinese, Japanese and Thai."""

    speech: str
    n_clips: int
    before: WordErrors
    after: WordErrors
    delta: Interval
    """WER after minus before; the interval draws whole speakers where there are ten, else clips."""

    @classmethod
    def of(
        cls,
        speech: str,
        before: Sequence[WordErrors],
        after: Sequence[WordErrors],
        speakers: Sequence[str | None],
    ) -> "Accuracy":
        """Add up the word errors of each clip.

        Args:
            speech: name of the set.
            before: of at least one clip with words.
            after: of the same clips.
            speakers: of each clip.
        """
        return cls(
            speech=speech,
            n_clips=len(before),
            before=add_errors(before),
            after=add_errors(after),
            delta=wer_difference(before, after, speakers),
        )


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
