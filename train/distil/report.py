"""What a distillation found, beside the student and as `--json`."""

from collections.abc import Sequence

from sottovoce.statistics.accuracy import WordErrors, add_errors
from sottovoce.statistics.intervals import Interval
from sottovoce.storage.documents import Document
from sottovoce.train.accuracy import wer_difference
from sottovoce.train.loop import Evaluation

REPORT_NAME = "distil.json"

ENOUGH_HOURS = 1000
"""Of speech for a student of general use with few of many layers, by what distil-whisper published: 21,000 hours for 2 of 32; one that
learnt from an hour and a half had 76 % word errors, its teacher 17 %."""


class Comparison(Document):
    """Word errors of teacher and student on a set; of characters in languages written without spaces."""

    speech: str
    n_clips: int
    references: str
    """`transcripts`, or `teacher` where the clips have none: its own transcripts, on which it has no word errors."""
    teacher: WordErrors
    student: WordErrors
    delta: Interval
    """WER of the student minus that of the teacher; the interval draws whole speakers where there are ten, else clips."""

    @classmethod
    def of(
        cls,
        speech: str,
        references: str,
        teacher: Sequence[WordErrors],
        student: Sequence[WordErrors],
        speakers: Sequence[str | None],
    ) -> "Comparison":
        """Add up the word errors of each clip.

        Args:
            speech: name of the set.
            references: what the words are compared with.
            teacher: of at least one clip with words.
            student: of the same clips.
            speakers: of each clip.
        """
        return cls(
            speech=speech,
            n_clips=len(teacher),
            references=references,
            teacher=add_errors(teacher),
            student=add_errors(student),
            delta=wer_difference(teacher, student, speakers),
        )


class DistilReport(Document):
    """A distillation."""

    model: str
    """The teacher."""
    layers: tuple[int, ...]
    """Of the teacher's decoder that the student has, from 0."""
    n_layers: int
    """Of the teacher's decoder."""
    n_weights: int
    """Of the student."""
    n_teacher_weights: int
    n_trained_weights: int
    seed: int
    speech: tuple[str, ...]
    audio_s: float
    """Of the clips that taught, without their copies."""
    n_clips: int
    n_left_out: int
    """Clips of which the teacher's transcript looped, was empty or had too many errors."""
    n_copies: int
    n_steps: int
    """Planned; training ends earlier where held-out speakers gain nothing."""
    best_step: int
    held_out: Comparison
    general: Comparison
    """Of other speech."""
    history: tuple[Evaluation, ...]
