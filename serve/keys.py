"""API keys of a file."""

from pathlib import Path

from sottovoce.errors import InputError

LEAST_KEY_CHARS = 8


def read_keys(path: Path) -> tuple[str, ...]:
    """Read API keys: one a line; empty lines and those that start with # do not count.

    Raises:
        InputError: the file cannot be read, or has no key or a short one.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--api-key-file {path} cannot be read ({error}); check the path") from error
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    if not keys:
        raise InputError(f"--api-key-file {path} holds no key; write one a line")
    if any(len(key) < LEAST_KEY_CHARS or not key.isascii() for key in keys):
        raise InputError(
            f"--api-key-file {path} holds a key under {LEAST_KEY_CHARS} ASCII characters; write longer ones"
        )
    return keys
