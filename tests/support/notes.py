"""A reporter that remembers what it is told."""

from sottovoce.progress import Silent


class Notes(Silent):
    """Keeps what a stage says."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        """Remember it."""
        self.told.append(text)
