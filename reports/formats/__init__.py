"""The formats of a report."""

from enum import StrEnum


class ReportFormat(StrEnum):
    """The format of a report."""

    HTML = "html"
    MARKDOWN = "markdown"
    MODEL_CARD = "model-card"

    @property
    def file_name(self) -> str:
        """The default name of its file."""
        return _FILE_NAMES[self]


_FILE_NAMES = {
    ReportFormat.HTML: "report.html",
    ReportFormat.MARKDOWN: "report.md",
    ReportFormat.MODEL_CARD: "model-card.md",
}
