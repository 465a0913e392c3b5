"""A reporter that keeps its notes."""

from sottovoce.progress import Silent


class Notes(Silent):
    """Keeps what a stage says."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        """Remember it."""
        self.texts.append(text)
