"""Pages read back, as a browser reads their tags."""

from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Collects tags and attributes, and checks that every element is closed in order.

    Attributes:
        open: elements that are not closed yet.
        tags: with their attributes.
        text: between tags.
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag that is closed at once."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element.

        Raises:
            ValueError: it is another one.
        """
        innermost = self.open.pop() if self.open else None
        if innermost != tag:
            raise ValueError(f"</{tag}> closes {innermost}")

    def handle_data(self, data: str) -> None:
        """Keep text."""
        self.text.append(data)

    def has(self, tag: str) -> bool:
        """Return whether there is such an element."""
        return any(name == tag for name, _ in self.tags)

    @property
    def words(self) -> str:
        """All text, white space collapsed."""
        return " ".join(" ".join(self.text).split())
