"""Find what a training left in a folder, and show it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sottovoce.reports.training.distil import distil_view
from sottovoce.reports.training.finetune import finetune_view
from sottovoce.reports.training.variant import heal_view, qat_view
from sottovoce.reports.training.view import TrainingView
from sottovoce.storage.documents import Document, read_document
from sottovoce.train.distil.report import REPORT_NAME as DISTIL_REPORT
from sottovoce.train.distil.report import DistilReport
from sottovoce.train.finetune.report import REPORT_NAME as FINETUNE_REPORT
from sottovoce.train.finetune.report import FinetuneReport
from sottovoce.train.variant.report import HEAL_REPORT, QAT_REPORT, HealReport, QatReport


@dataclass(frozen=True, slots=True)
class _Kind:
    """A report of a training, by the command that writes it."""

    command: str
    model: type[Document]
    view: Callable[[Any], TrainingView]


KINDS = {
    HEAL_REPORT: _Kind("heal", HealReport, heal_view),
    QAT_REPORT: _Kind("qat", QatReport, qat_view),
    FINETUNE_REPORT: _Kind("finetune", FinetuneReport, finetune_view),
    DISTIL_REPORT: _Kind("distil", DistilReport, distil_view),
}
"""By the name of the file."""


def read_training(path: Path) -> TrainingView | None:
    """Read what a training left in a folder, or its file; None where there is nothing of one.

    Raises:
        InputError: the file is damaged.
    """
    for name, kind in KINDS.items():
        file = path if path.name == name else path / name
        if file.is_file():
            advice = f"repeat `sottovoce {kind.command}` with --force"
            return kind.view(read_document(file, kind.model, advice=advice))
    return None
