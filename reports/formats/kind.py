"""What a report can be written as."""

from enum import StrEnum


class ReportFormat(StrEnum):
    """What a report can be written as."""

    HTML = "html"
    MARKDOWN = "markdown"
    MODEL_CARD = "model-card"

    @property
    def file_name(self) -> str:
        """Where it goes where nobody says."""
        return _FILE_NAMES[self]


_FILE_NAMES = {
    ReportFormat.HTML: "report.html",
    ReportFormat.MARKDOWN: "report.md",
    ReportFormat.MODEL_CARD: "model-card.md",
}
