"""Random changes to an unpacked bundle, each of which has to be found."""

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random


def change_at_random(folder: Path, draw: Random) -> str:
    """Change one thing in a folder and say what; draws until a change applies."""
    while True:
        kind = draw.choice(tuple(_CHANGES))
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        change = _CHANGES[kind](folder, draw.choice(files), files, draw)
        if change:
            return f"{kind}: {change}"


def _flip(folder: Path, path: Path, _: list[Path], draw: Random) -> str:
    raw = bytearray(path.read_bytes())
    if not raw:
        return ""
    place, bit = draw.randrange(len(raw)), draw.randrange(8)
    raw[place] ^= 1 << bit
    path.write_bytes(raw)
    return f"bit {bit} of byte {place} of {path.relative_to(folder)}"


def _rename(folder: Path, path: Path, _: list[Path], draw: Random) -> str:
    name = path.name
    new = draw.choice((name.upper(), name.lower(), name + " ", "x" + name, name[:-1], name + ".orig"))
    if not new or new == name:
        return ""
    path.rename(path.with_name(new))
    return f"{path.relative_to(folder)} to {new!r}"


def _add(folder: Path, path: Path, _: list[Path], draw: Random) -> str:
    new = path.with_name(
        draw.choice((".hidden", "new.txt", "bundle.json~", "\u00e4.bin", "sitecustomize.py"))
    )
    new.write_bytes(draw.choice((b"", b"new")))
    return str(new.relative_to(folder))


def _remove(folder: Path, path: Path, _: list[Path], __: Random) -> str:
    path.unlink()
    return str(path.relative_to(folder))


def _cut(folder: Path, path: Path, _: list[Path], draw: Random) -> str:
    raw = path.read_bytes()
    if not raw:
        return ""
    path.write_bytes(raw[: draw.randrange(len(raw))])
    return str(path.relative_to(folder))


def _grow(folder: Path, path: Path, _: list[Path], draw: Random) -> str:
    with path.open("ab") as file:
        file.write(draw.choice((b"\0", b"\n", b" ", b"\0" * 4096)))
    return str(path.relative_to(folder))


def _swap(folder: Path, path: Path, files: list[Path], draw: Random) -> str:
    other = draw.choice(files)
    if other.read_bytes() == path.read_bytes():
        return ""
    kept = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(kept)
    return f"{path.relative_to(folder)} with {other.relative_to(folder)}"


def _link(folder: Path, path: Path, _: list[Path], __: Random) -> str:
    outside = folder.with_name(f"{folder.name}-outside")
    shutil.move(path, outside)
    path.symlink_to(outside)
    return str(path.relative_to(folder))


def _hard_link(folder: Path, path: Path, files: list[Path], draw: Random) -> str:
    other = draw.choice(files)
    if other.read_bytes() == path.read_bytes():
        return ""
    path.unlink()
    path.hardlink_to(other)
    return f"{path.relative_to(folder)} to {other.relative_to(folder)}"


def _folder_link(folder: Path, path: Path, _: list[Path], __: Random) -> str:
    inner = path.parent
    if inner == folder:
        return ""
    outside = folder.with_name(f"{folder.name}-outside")
    shutil.move(inner, outside)
    inner.symlink_to(outside, target_is_directory=True)
    return str(inner.relative_to(folder))


def _new_folder(folder: Path, path: Path, _: list[Path], draw: Random) -> str:
    new = path.with_name(draw.choice(("__pycache__", "new", "MODEL")))
    new.mkdir()
    return str(new.relative_to(folder))


_CHANGES: dict[str, Callable[[Path, Path, list[Path], Random], str]] = {
    "flip": _flip,
    "rename": _rename,
    "add": _add,
    "remove": _remove,
    "cut": _cut,
    "grow": _grow,
    "swap": _swap,
    "link": _link,
    "hard link": _hard_link,
    "folder link": _folder_link,
    "folder": _new_folder,
}
