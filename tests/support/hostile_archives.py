"""Archives that no bundle is: what a person could send to make `unpack` write, read or eat what it must not."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sottovoce.bundle.device import verify

GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A small good bundle, taken apart: its top folder, the content of bundle.json and the bytes of its files."""

    top: str
    manifest: dict[str, Any]
    files: dict[str, bytes]


@dataclass(slots=True, kw_only=True)
class Draft:
    """An archive to be written: raw members, then the packing."""

    members: list[tuple[tarfile.TarInfo, bytes]] = field(default_factory=list)

    def add(self, name: str, content: bytes, **fields: Any) -> tarfile.TarInfo:
        """Add a member; `fields` overwrite its header."""
        header = tarfile.TarInfo(name)
        header.size, header.mode = len(content), 0o644
        for key, value in fields.items():
            setattr(header, key, value)
        self.members.append((header, content))
        return header

    def tar(self) -> bytes:
        """Write headers as they are, whatever they say of the bytes behind them."""
        packed = io.BytesIO()
        for header, content in self.members:
            packed.write(header.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape"))
            packed.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))
        packed.write(bytes(2 * tarfile.BLOCKSIZE))
        packed.write(bytes(-packed.tell() % tarfile.RECORDSIZE))
        return packed.getvalue()


def hostile_archives(parts: Parts) -> Iterator[tuple[str, bytes]]:
    """Yield hostile archives by name, made of a good bundle."""
    yield from _hostile_manifests(parts)
    yield from _hostile_members(parts)
    yield from _hostile_packings(parts)


def draft_of(parts: Parts) -> Draft:
    """Return the good archive, member by member."""
    draft = Draft()
    raw = _raw(parts.manifest)
    draft.add(f"{parts.top}/{verify.MANIFEST_NAME}", raw)
    draft.add(f"{parts.top}/{verify.SEAL_NAME}", verify.seal_of(raw))
    for path, content in parts.files.items():
        draft.add(f"{parts.top}/{path}", content)
    return draft


def pack(tar: bytes) -> bytes:
    """Compress as bundles are."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=packed, mtime=0) as file:
        file.write(tar)
    return packed.getvalue()


def _raw(manifest: dict[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=1) + "\n").encode()


def _entry(path: Any, content: bytes, **changed: Any) -> dict[str, Any]:
    return {
        "path": path,
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        **changed,
    }


def _with_file(parts: Parts, path: Any, content: bytes = b"owned", **changed: Any) -> bytes:
    """Return an archive whose manifest and members agree on one more file."""
    manifest = {**parts.manifest, "files": [*parts.manifest["files"], _entry(path, content, **changed)]}
    draft = draft_of(Parts(top=parts.top, manifest=manifest, files=parts.files))
    draft.add(f"{parts.top}/{path}"[:90].replace("\0", "_"), content)
    return pack(draft.tar())


def _hostile_manifests(parts: Parts) -> Iterator[tuple[str, bytes]]:
    paths = {
        "path goes up": "../owned",
        "path goes up twice": "../../owned",
        "path goes up in the middle": "model/../../owned",
        "path is absolute": "/owned",
        "path is of Windows": "..\\owned",
        "path has a drive": "C:/owned",
        "path is empty": "",
        "path is a dot": ".",
        "path is hidden": ".bashrc",
        "path has an empty part": "model//owned",
        "path ends with a slash": "model/owned/",
        "path has a NUL": "model/owned\0.txt",
        "path has a line break": "model/own\ned",
        "path has full-width dots": "\uff0e\uff0e/owned",
        "path is too long": "model/" + "x" * 5_000,
        "path is no text": 7,
        "path lies inside a file": next(iter(parts.files)) + "/owned",
        "path twice": next(iter(parts.files)),
        "path in capitals": next(iter(parts.files)).upper(),
        "path is the manifest": verify.MANIFEST_NAME,
    }
    for name, path in paths.items():
        yield name, _with_file(parts, path)
    yield "size is negative", _with_file(parts, "owned", size_bytes=-1)
    yield "size is a truth value", _with_file(parts, "owned", size_bytes=True)
    yield "size is astronomic", _with_file(parts, "owned", size_bytes=1 << 62)
    yield "size is a bomb", _with_file(parts, "owned", size_bytes=7 * GIB)
    yield "hash is none", _with_file(parts, "owned", sha256="")
    many = [_entry(f"model/{place}", b"") for place in range(verify.MAX_FILES + 1)]
    yield "too many files", pack(draft_of(_with(parts, files=many)).tar())
    yield "files are no list", pack(draft_of(_with(parts, files={"path": "owned"})).tar())
    yield "another format", pack(draft_of(_with(parts, format_version=2)).tar())
    yield "an unknown key", pack(draft_of(_with(parts, run="rm")).tar())
    yield "an unknown key with an escape", pack(draft_of(_with(parts, **{"\x1b[2J\nwhole: owned": 1})).tar())
    yield "the name of another folder", pack(draft_of(_with(parts, name="owned")).tar())
    for name, called in _HOSTILE_NAMES.items():
        yield name, pack(draft_of(_with(parts, name=called)).tar())
    yield "a key twice", _with_manifest(parts, _raw(parts.manifest).replace(b"{", b'{"name": "owned",', 1))
    twice = b'"path": "owned", "sha256"'.join(_raw(parts.manifest).rsplit(b'"sha256"', 1))
    yield "a key of a file twice", _with_manifest(parts, twice)
    yield "manifest without end", _with_manifest(parts, b"[" * 100_000)
    yield "manifest too large", _with_manifest(parts, b" " * (verify.MAX_MANIFEST_BYTES + 1))


_HOSTILE_NAMES: dict[str, Any] = {
    "a name with a line": "owned\nsigned: yes, by the owner of the key",
    "a name with an escape": "\x1b[2Jowned",
    "a name that is a path": "owned/owned",
    "a name that goes up": "..",
    "an empty name": "",
    "a name that is no text": ["owned"],
}


def _with(parts: Parts, **changed: Any) -> Parts:
    return Parts(top=parts.top, manifest={**parts.manifest, **changed}, files=parts.files)


def _with_manifest(parts: Parts, raw: bytes) -> bytes:
    draft = Draft()
    draft.add(f"{parts.top}/{verify.MANIFEST_NAME}", raw)
    draft.add(f"{parts.top}/{verify.SEAL_NAME}", verify.seal_of(raw))
    return pack(draft.tar())


def _hostile_members(parts: Parts) -> Iterator[tuple[str, bytes]]:
    kinds = {
        "a symbolic link": tarfile.SYMTYPE,
        "a hard link": tarfile.LNKTYPE,
        "a character device": tarfile.CHRTYPE,
        "a block device": tarfile.BLKTYPE,
        "a pipe": tarfile.FIFOTYPE,
        "a folder": tarfile.DIRTYPE,
        "a sparse file": tarfile.GNUTYPE_SPARSE,
        "a long name": tarfile.GNUTYPE_LONGNAME,
        "an extended header": tarfile.XHDTYPE,
        "a global header": tarfile.XGLTYPE,
    }
    for name, kind in kinds.items():
        yield f"{name} for a file", _changed(parts, partial(_link, kind=kind))
    yield "a link before the file", _inserted(parts, _linked_folder)
    yield "a member goes up", _changed(parts, lambda header: setattr(header, "name", "../../owned"))
    yield "a member is absolute", _changed(parts, lambda header: setattr(header, "name", "/owned"))
    yield "a member of another folder", _changed(parts, lambda header: setattr(header, "name", "other/owned"))
    yield "setuid", _changed(parts, lambda header: setattr(header, "mode", 0o4755))
    yield "an owner", _changed(parts, lambda header: setattr(header, "uname", "root"))
    yield "a size too large", _changed(parts, lambda header: setattr(header, "size", header.size + 512))
    yield "a size too small", _changed(parts, lambda header: setattr(header, "size", max(header.size - 1, 0)))
    yield "a size of terabytes", _changed(parts, lambda header: setattr(header, "size", 1 << 32))
    draft = draft_of(parts)
    draft.members.append(draft.members[-1])
    yield "a member twice", pack(draft.tar())
    draft = draft_of(parts)
    draft.members.pop()
    yield "a member missing", pack(draft.tar())
    draft = draft_of(parts)
    draft.members[-1], draft.members[-2] = draft.members[-2], draft.members[-1]
    yield "members in another order", pack(draft.tar())
    draft = draft_of(parts)
    header, content = draft.members[-1]
    draft.members[-1] = (header, bytes([content[0] ^ 1]) + content[1:])
    yield "a byte changed", pack(draft.tar())
    draft = draft_of(parts)
    draft.members = draft.members[2:]
    yield "no manifest", pack(draft.tar())


def _link(header: tarfile.TarInfo, *, kind: bytes) -> None:
    header.type, header.linkname = kind, "/etc/passwd"


def _changed(parts: Parts, change: Callable[[tarfile.TarInfo], None]) -> bytes:
    draft = draft_of(parts)
    change(draft.members[-1][0])
    return pack(draft.tar())


def _inserted(parts: Parts, make: Callable[[Draft, str], None]) -> bytes:
    draft = draft_of(parts)
    make(draft, parts.top)
    draft.members.insert(2, draft.members.pop())
    return pack(draft.tar())


def _linked_folder(draft: Draft, top: str) -> None:
    draft.add(f"{top}/model", b"", type=tarfile.SYMTYPE, linkname="..")


def _hostile_packings(parts: Parts) -> Iterator[tuple[str, bytes]]:
    tar = draft_of(parts).tar()
    good = pack(tar)
    yield "empty", b""
    yield "not packed", tar
    yield "bzip2", bz2.compress(tar)
    yield "xz", lzma.compress(tar)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr("../owned", "owned")
    yield "zip", zipped.getvalue()
    yield "cut", good[: len(good) // 2]
    yield "cut by a byte", good[:-1]
    yield "something behind it", good + b"owned"
    yield "a second archive behind it", good + good
    yield "a wrong check sum", good[:-8] + bytes([good[-8] ^ 1]) + good[-7:]
    yield "a name in its header", good[:3] + b"\x08" + good[4:10] + b"../owned\0" + good[10:]
    yield "a bomb behind the end", pack(tar + bytes(256 << 20))
    yield "a bomb instead of a header", pack(bytes(256 << 20))
