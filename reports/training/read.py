"""Find what a training left in a folder, and show it."""

from pathlib import Path

from sottovoce.reports.training.distil import distil_view
from sottovoce.reports.training.finetune import finetune_view
from sottovoce.reports.training.heal import heal_view
from sottovoce.reports.training.view import TrainingView
from sottovoce.storage.documents import read_document
from sottovoce.train.distil.report import REPORT_NAME as DISTIL_REPORT
from sottovoce.train.distil.report import DistilReport
from sottovoce.train.finetune.report import REPORT_NAME as FINETUNE_REPORT
from sottovoce.train.finetune.report import FinetuneReport
from sottovoce.train.report import REPORT_NAME as HEAL_REPORT
from sottovoce.train.report import HealReport


def read_training(path: Path) -> TrainingView | None:
    """Read what a training left in a folder, or its file; None where there is nothing of one.

    Raises:
        InputError: the file is damaged.
    """
    heal, finetune, distil = (
        path if path.name == name else path / name for name in (HEAL_REPORT, FINETUNE_REPORT, DISTIL_REPORT)
    )
    if heal.is_file():
        return heal_view(read_document(heal, HealReport, advice="repeat `sottovoce heal` with --force"))
    if finetune.is_file():
        advice = "repeat `sottovoce finetune` with --force"
        return finetune_view(read_document(finetune, FinetuneReport, advice=advice))
    if distil.is_file():
        advice = "repeat `sottovoce distil` with --force"
        return distil_view(read_document(distil, DistilReport, advice=advice))
    return None
