"""The model card of a student (README.md of a Hugging Face folder)."""

from pathlib import Path

from sottovoce.storage.documents import write_text
from sottovoce.train.distil.report import ENOUGH_HOURS, Comparison, DistilReport

CARD_NAME = "README.md"


def write_card(folder: Path, report: DistilReport) -> None:
    """Write a model card: metadata for machines, then text for people."""
    write_text(folder / CARD_NAME, model_card(report))


def model_card(report: DistilReport) -> str:
    """Return the card: what the student is, what it learnt from, and what it lost."""
    rows = [("speech of speakers that did not teach", report.held_out), ("other speech", report.general)]
    table = "\n".join(_row(what, found) for what, found in rows)
    return f"""---
library_name: transformers
pipeline_tag: automatic-speech-recognition
tags:
- whisper
- distillation
- sottovoce
---

# A student of {report.model} with {len(report.layers)} decoder layers

`sottovoce distil` copied the encoder of {report.model} and layers {", ".join(map(str, report.layers))} of the {report.n_layers} of its decoder, and trained these
on the transcripts of {report.model} for {report.n_clips} clips, {report.audio_s / 60:.0f} minutes, {report.history[-1].step} steps.

| word errors, % | teacher | student | clips |
|---|---|---|---|
{table}

Students with few of many layers need thousands of hours of speech; with less than {ENOUGH_HOURS} they are for the kind of speech that they learnt from, at best.
`distil.json` has the course of the training.
"""


def _row(what: str, found: Comparison) -> str:
    return f"| {what} | {100 * found.teacher.wer:.2f} | {100 * found.student.wer:.2f} | {found.n_clips} |"
