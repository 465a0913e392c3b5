"""Text files as readers take them."""

from pathlib import Path

from sottovoce.errors import InputError


def read_text(path: Path) -> str:
    """Read UTF-8 text, with or without a byte order mark, lines ended by a line feed.

    Raises:
        InputError: unreadable, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); check the path and its rights"
        ) from error
