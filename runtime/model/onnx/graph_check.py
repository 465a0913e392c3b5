"""Check where an ONNX graph keeps its weights, before a library opens it.

A graph can name other files for its weights. Versions of onnxruntime differ in which they then read: links out of the
folder, places in memory. The graph's protobuf is walked here, since the package `onnx` is nothing that a device needs:
it takes longer to import than a graph to open. Field numbers: `onnx/onnx.proto3`.
"""

import mmap
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from sottovoce.errors import InputError

LOCATION = b"location"
"""The key of a file's name; without these bytes no tensor names a file."""

_EXTERNAL = "external"
_ENTRIES: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: _EXTERNAL},
}
"""Of each message the fields that lead to tensors: what they hold, by number."""

_KEY_FIELD, _VALUE_FIELD = 1, 2
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10
_MAX_DEPTH = 100
"""Protobuf's own limit."""

Span = tuple[int, int]


class MalformedError(Exception):
    """Bytes are no protobuf as ONNX has it."""


def check_onnx(path: Path) -> None:
    """Refuse a graph whose weights are not in it or in a plain file beside it.

    Raises:
        InputError: the graph is no regular file or no protobuf, or it names a file that has a folder in its name, leaves
            the folder by a link, is no regular file, or is shorter than the graph says.
    """
    _check_regular(path, path.name, path)
    if path.stat().st_size == 0:
        raise InputError(f"{path} cannot be read: it is empty; make the variant again")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(LOCATION) < 0:
            return
        try:
            tensors = list(external_tensors(data))
        except (MalformedError, UnicodeDecodeError) as cause:
            raise InputError(f"{path} cannot be read: it is no ONNX graph; make the variant again") from cause
    for entries in tensors:
        _check_tensor(path, entries)


def external_tensors(data: bytes | mmap.mmap) -> Iterator[Mapping[str, tuple[str, ...]]]:
    """Yield the entries of each tensor of a serialized graph about the file that it is in: all values of each key.

    Raises:
        MalformedError: the bytes are no protobuf.
    """
    yield from _tensors(data, (0, len(data)), "model", depth=0)


def _tensors(
    data: bytes | mmap.mmap, span: Span, message: str, *, depth: int
) -> Iterator[Mapping[str, tuple[str, ...]]]:
    if depth > _MAX_DEPTH:
        raise MalformedError
    entries: dict[str, tuple[str, ...]] = {}
    for number, inner in _fields(data, span):
        match _ENTRIES[message].get(number):
            case None:
                continue
            case "external":
                key, value = _entry(data, inner)
                entries[key] = (*entries.get(key, ()), value)
            case kind:
                yield from _tensors(data, inner, kind, depth=depth + 1)
    if entries:
        yield entries


def _entry(data: bytes | mmap.mmap, span: Span) -> tuple[str, str]:
    texts = {number: data[first:end].decode() for number, (first, end) in _fields(data, span)}
    return texts.get(_KEY_FIELD, ""), texts.get(_VALUE_FIELD, "")


def _fields(data: bytes | mmap.mmap, span: Span) -> Iterator[tuple[int, Span]]:
    """Yield number and content of the fields of a message that have a length; step over the others."""
    at, end = span
    while at < end:
        tag, at = _varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        if kind == _LENGTH:
            length, at = _varint(data, at, end)
            if length > end - at:
                raise MalformedError
            yield number, (at, at + length)
            at += length
        elif kind == _VARINT:
            _, at = _varint(data, at, end)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if kind == _EIGHT_BYTES else 4
        else:  # groups, which ONNX has none of
            raise MalformedError
    if at > end:
        raise MalformedError


def _varint(data: bytes | mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = 0
    for place in range(min(_MAX_VARINT_BYTES, end - at)):
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value, at + place + 1
    raise MalformedError


def _check_tensor(path: Path, entries: Mapping[str, tuple[str, ...]]) -> None:
    twice = next((key for key, values in entries.items() if len(values) > 1), None)
    if twice is not None:
        raise _refused(path, f"gives the {twice} of a tensor twice")
    (location,) = entries.get("location", ("",))
    if not _is_plain(location):
        raise _refused(path, f"keeps weights in {location[:80]!r}, want the plain name of a file beside it")
    beside = path.parent / location
    _check_regular(beside, location, path)
    offset, length = (_number(path, key, entries.get(key, ("0",))[0]) for key in ("offset", "length"))
    n_bytes = beside.stat().st_size
    if offset + length > n_bytes:
        raise _refused(path, f"wants bytes to {offset + length} of {location}, which has {n_bytes}")


def _is_plain(name: str) -> bool:
    return name not in ("", ".", "..") and name.isprintable() and not set(name) & set("/\\:")


def _number(path: Path, key: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < len(str(2**63))):
        raise _refused(path, f"has {value[:40]!r} for the {key} of a tensor, want a number")
    return int(value)


def _check_regular(file: Path, name: str, graph: Path) -> None:
    try:
        mode = file.lstat().st_mode
        if (
            file != graph
            and stat.S_ISLNK(mode)
            and file.resolve(strict=True).parent != graph.parent.resolve()
        ):
            raise _refused(graph, f"has {name} as a link out of its folder")
        if not stat.S_ISREG(file.stat().st_mode):
            raise _refused(graph, f"has {name}, which is no regular file")
    except (OSError, RuntimeError, ValueError) as cause:
        raise InputError(f"{graph} cannot be read: {name} is not there; make the variant again") from cause


def _refused(path: Path, why: str) -> InputError:
    return InputError(f"{path} is refused: it {why}; make the variant again, or get it from whom you trust")
