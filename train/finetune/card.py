"""The model card of a fine-tuned checkpoint (README.md of a Hugging Face folder)."""

from pathlib import Path

from sottovoce.storage.documents import write_text
from sottovoce.train.accuracy import Accuracy
from sottovoce.train.finetune.report import FinetuneReport

CARD_NAME = "README.md"


def write_card(folder: Path, report: FinetuneReport) -> None:
    """Write a model card: metadata for machines, then text for people."""
    write_text(folder / CARD_NAME, model_card(report))


def model_card(report: FinetuneReport) -> str:
    """Return the card: what was trained, on what, and what it gained and lost."""
    hours = f"{report.audio_s / 3600:.1f} h" if report.audio_s >= 3600 else f"{report.audio_s / 60:.0f} min"  # noqa: PLR2004
    rows = [("speech of speakers that did not train", report.held_out), ("other speech", report.general)]
    table = "\n".join(_row(what, found) for what, found in rows)
    terms = ""
    if report.terms is not None:
        terms = (
            f"\nOf {report.terms.n_terms} terms in the references of held-out speakers, {report.terms.missed_before} were missed "
            f"before and {report.terms.missed_after} after.\n"
        )
    return f"""---
library_name: transformers
pipeline_tag: automatic-speech-recognition
tags:
- whisper
- sottovoce
---

# {report.model}, fine-tuned

The decoder of {report.model} was trained by `sottovoce finetune` ({report.method}, {report.n_trained_weights:,} weights) on
{report.n_clips} clips, {hours}, {report.history[-1].step} steps. The encoder is unchanged.

| word errors, % | before | after | clips |
|---|---|---|---|
{table}
{terms}
The second line is what was forgotten. `finetune.json` has the course of the training.
"""


def _row(what: str, found: Accuracy) -> str:
    return f"| {what} | {100 * found.before.wer:.2f} | {100 * found.after.wer:.2f} | {found.n_clips} |"
