"""Check every byte of a bundle. Needs Python 3.8 and its standard library, nothing else.

    python3 verify.py            the bundle that this file lies in
    python3 verify.py FOLDER --json

Exit code 0: every file has the size and the SHA-256 in `bundle.json`, and there are no other files.
Exit code 1: the bundle is damaged; each line on standard error names a problem.

This finds accidents, not forgeries: anyone who can change a file can also change `bundle.json` and its seal. A signature
finds forgeries (`sottovoce verify --key`).
"""
# ruff: noqa: T201 - a script that prints

import sys

if __name__ == "__main__" and not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    del sys.path[0]  # this script's folder: a foreign json.py in it must not run

import argparse
import hashlib
import json
import os
import platform
import re
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

MANIFEST_NAME = "bundle.json"
SEAL_NAME = "bundle.json.sha256"
FORMAT_VERSION = 1

MAX_MANIFEST_BYTES = 4 << 20
MAX_FILES = 4096
MAX_FILE_BYTES = 8**11 - 1
"""The largest size in a ustar header."""

_PART = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9._+!-]{0,199}\Z", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)
_MAX_PATH = 240
_CHUNK_BYTES = 1 << 20


class Damaged(Exception):  # noqa: N818 - an adjective
    """A bundle differs from its `bundle.json`, or that is invalid."""


class Listed(NamedTuple):
    """A file in `bundle.json`; `storage.artifacts.FileEntry` without pydantic."""

    path: str
    size_bytes: int
    sha256: str


class Problem(NamedTuple):
    """A difference from `bundle.json`: its description, and whether it is an extra file that can be removed."""

    line: str
    is_stray: bool


def path_problem(path: object) -> "str | None":
    """Return what is wrong with a path in a bundle; None if it is valid.

    Valid paths are relative, of letters, digits and `._+!-`, with forward slashes: they mean the same on every system
    and stay inside the folder.
    """
    if not isinstance(path, str):
        return "is not a string"
    if len(path) > _MAX_PATH:
        return f"is longer than {_MAX_PATH} characters"
    if not all(_PART.match(part) and not part.endswith(".") for part in path.split("/")):
        return "is not a plain relative path"
    return None


def name_problem(name: object) -> "str | None":
    """Return what is wrong with the name of a bundle, which its top folder has too; None if it is valid."""
    return None if path_problem(name) is None and "/" not in str(name) else "is not a plain name"


def paths_problem(paths: "Sequence[str]") -> "str | None":
    """Return what is wrong with a list of paths: too many, one twice, one inside another; None if it is valid."""
    if len(paths) > MAX_FILES:
        return f"more than {MAX_FILES} files"
    seen: dict[str, str] = {}
    for path in paths:
        folded = path.casefold()
        if folded in seen:
            return f"{seen[folded]} and {path} are one file on some systems"
        seen[folded] = path
    for folded, path in seen.items():
        parts = folded.split("/")
        for n in range(1, len(parts)):
            if "/".join(parts[:n]) in seen:
                return f"{path} lies inside a file"
    return None


def read_listed(folder: Path) -> "tuple[dict[str, Any], list[Listed]]":
    """Read `bundle.json` after checking its seal.

    Raises:
        Damaged: it is missing, changed, of another format or has invalid content.
    """
    raw = _read_small(folder / MANIFEST_NAME)
    seal = _read_small(folder / SEAL_NAME)
    check_seal(raw, seal)
    return parse_listed(raw)


def seal_of(raw: bytes) -> bytes:
    """Return the content of `bundle.json.sha256`, as `sha256sum` writes it."""
    return f"{hashlib.sha256(raw).hexdigest()}  {MANIFEST_NAME}\n".encode("ascii")


def check_seal(raw: bytes, seal: bytes) -> None:
    """Compare `bundle.json` with its seal.

    Raises:
        Damaged: the seal does not match.
    """
    if seal != seal_of(raw):
        raise Damaged(f"{MANIFEST_NAME} was changed: {SEAL_NAME} does not fit it")


def parse_listed(raw: bytes) -> "tuple[dict[str, Any], list[Listed]]":
    """Parse `bundle.json` and check what it lists.

    Raises:
        Damaged: it is of another format or has invalid content.
    """
    try:
        manifest = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
    except (UnicodeDecodeError, ValueError, RecursionError) as cause:
        raise Damaged(f"{MANIFEST_NAME} is not JSON ({cause})") from cause
    if not isinstance(manifest, dict) or manifest.get("format_version") != FORMAT_VERSION:
        raise Damaged(
            f"{MANIFEST_NAME} is not of format version {FORMAT_VERSION}, the only one that this script reads"
        )
    name, files = manifest.get("name"), manifest.get("files")
    problem = name_problem(name)
    if problem is not None:
        raise Damaged(f"{MANIFEST_NAME}: name {name!a:.80} {problem}")
    if not isinstance(files, list):
        raise Damaged(f"{MANIFEST_NAME} lists no files")
    listed = [_listed(entry) for entry in files]
    problem = paths_problem([entry.path for entry in listed])
    if problem is not None:
        raise Damaged(f"{MANIFEST_NAME}: {problem}")
    return manifest, listed


def _once(pairs: "Sequence[tuple[str, Any]]") -> "dict[str, Any]":
    """Refuse a duplicate key: one reader might take the first value, another the last."""
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise Damaged(f"{MANIFEST_NAME} has {key!a:.80} twice in one place")
        content[key] = value
    return content


def _listed(entry: object) -> "Listed":
    fields = entry if isinstance(entry, dict) else {}
    path, size, digest = fields.get("path"), fields.get("size_bytes"), fields.get("sha256")
    problem = path_problem(path)
    if problem is not None or not isinstance(path, str):
        raise Damaged(f"{MANIFEST_NAME}: path {path!a:.80} {problem}")
    if path in (MANIFEST_NAME, SEAL_NAME):
        raise Damaged(f"{MANIFEST_NAME} lists itself or its seal")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_FILE_BYTES:
        raise Damaged(f"{MANIFEST_NAME}: {path} has no size")
    if not isinstance(digest, str) or not _SHA256.match(digest):
        raise Damaged(f"{MANIFEST_NAME}: {path} has no SHA-256")
    return Listed(path, size, digest)


def problems_of(folder: Path, listed: "Sequence[Listed]") -> "Iterator[Problem]":
    """Yield the differences between a folder and the listed files."""
    expected = {entry.path for entry in listed}
    folders = {"/".join(path.split("/")[:n]) for path in expected for n in range(1, path.count("/") + 1)}
    bad = set()
    for path, what in _found(folder, folders):
        is_known = path in folders if what == "a folder" else path in expected
        if path in (MANIFEST_NAME, SEAL_NAME) and what == "a file":
            continue
        if not is_known or what not in ("a file", "a folder"):
            bad.add(path)
            is_stray = path not in expected and path not in folders
            advice = "; remove it, or move it out of the bundle's folder" if is_stray else ""
            yield Problem(f"{plain(path)}: is {what} that {MANIFEST_NAME} does not list{advice}", is_stray)
    for entry in listed:
        if not bad.intersection(_prefixes(entry.path)):
            problem = _file_problem(folder / entry.path, entry)
            if problem is not None:
                yield Problem(f"{entry.path}: {problem}", is_stray=False)


def plain(name: str) -> str:
    """Escape a foreign name so that it is safe in a terminal and in JSON."""
    return name.encode("unicode_escape", "backslashreplace").decode("ascii")


def _prefixes(path: str) -> "list[str]":
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]


def _found(folder: Path, known: "set[str]", below: str = "") -> "Iterator[tuple[str, str]]":
    """Yield path and kind of everything in a folder, without entering links and unknown folders."""
    with os.scandir(folder / below) as entries:
        for entry in sorted(entries, key=lambda found: found.name):
            path = f"{below}/{entry.name}" if below else entry.name
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                yield path, "a folder"
                if path in known:
                    yield from _found(folder, known, path)
            else:
                yield path, _kind(mode)


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "a file"
    return "a link" if stat.S_ISLNK(mode) else "a special file"


def _file_problem(path: Path, entry: "Listed") -> "str | None":
    try:
        size = path.lstat().st_size
        if size != entry.size_bytes:
            return f"has {size} bytes, want {entry.size_bytes}"
        found = _sha256(path)
    except FileNotFoundError:
        return "is missing"
    except OSError as cause:
        return f"cannot be read ({cause})"
    return None if found == entry.sha256 else f"was changed: its SHA-256 is {found}, want {entry.sha256}"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while True:
            chunk = file.read(_CHUNK_BYTES)
            if not chunk:
                return digest.hexdigest()
            digest.update(chunk)


def _read_small(path: Path) -> bytes:
    name = path.name
    try:
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise Damaged(f"{name} is {_kind(mode)}, want a file")
        with path.open("rb") as file:
            raw = file.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError as cause:
        raise Damaged(f"{name} is missing: this is not a bundle, or it is incomplete") from cause
    except OSError as cause:
        raise Damaged(f"{name} cannot be read ({cause})") from cause
    if len(raw) > MAX_MANIFEST_BYTES:
        raise Damaged(f"{name} is larger than {MAX_MANIFEST_BYTES} bytes")
    return raw


def cpu_flags() -> "list[str] | None":
    """Return the flags of the CPU as in Linux; None if the system does not list them."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() in ("flags", "Features"):
                    return value.split()
    except OSError:
        return None
    return None


def cpu_problem(manifest: "dict[str, Any]", machine: str, flags: "Collection[str] | None") -> "str | None":
    """Return what the model needs and this CPU lacks; None if it lacks nothing or that is unknown.

    Args:
        manifest: the content of `bundle.json`; one flag of `cpu.needed[machine]` is enough.
        machine: architecture, such as `x86_64`.
        flags: flags of the CPU.
    """
    cpu = manifest.get("cpu")
    needed = cpu.get("needed") if isinstance(cpu, dict) else None
    needed = needed.get(machine) if isinstance(needed, dict) else None
    if (
        not isinstance(needed, list)
        or not needed
        or flags is None
        or set(map(str, needed)).intersection(flags)
    ):
        return None
    return (
        f"this CPU has none of {plain(', '.join(map(str, needed)))}: the model would give wrong words on it"
    )


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Check a bundle, print the outcome, return the exit code."""
    parser = argparse.ArgumentParser(
        description="Check every byte of a bundle.", epilog="example: python3 verify.py --json"
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(__file__).resolve().parent, help="of the bundle"
    )
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    manifest: dict[str, Any] = {}
    listed: list[Listed] = []
    problems: list[str] = []
    try:
        manifest, listed = read_listed(options.folder)
        problems = [problem.line for problem in problems_of(options.folder, listed)]
    except (Damaged, OSError) as cause:
        problems = [str(cause)]
    size = sum(entry.size_bytes for entry in listed)
    seconds = time.perf_counter() - started
    lacks = None if problems else cpu_problem(manifest, platform.machine(), cpu_flags())
    if options.json:
        outcome = {
            "name": manifest.get("name"),
            "is_whole": not problems,
            "n_files": len(listed),
            "size_bytes": size,
            "seconds": round(seconds, 3),
            "cpu_problem": lacks,
            "problems": problems,
        }
        print(json.dumps(outcome, indent=2))
    elif not problems:
        print(f"whole: {manifest.get('name')}, {len(listed)} files, {size / 1e6:.1f} MB, {seconds:.2f} s")
    for problem in problems:
        print(f"damaged: {problem}", file=sys.stderr)
    if lacks is not None:
        print(f"warning: {lacks}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
