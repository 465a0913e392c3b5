"""A bundle as one file: a `.tar.gz` whose bytes depend on its content alone.

Written: POSIX ustar (POSIX.1-2001, "ustar Interchange Format"), `bundle.json` and its seal first, then the other
members in the order of the manifest, with one mode, no owner and no time; gzip (RFC 1952) without name and time.
Read: only that. A member is accepted only if the manifest lists it with its size: no links, no devices, no second
member of the same name, no unchecked path.
"""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sottovoce.errors import BundleError, InputError
from sottovoce.storage.artifacts import FileEntry

BLOCK_BYTES = tarfile.BLOCKSIZE
COMPRESS_LEVEL = 6

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""Deflate, no flags, no time, no name, unknown system: what `gzip.GzipFile` writes at level 6."""

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file to pack.

    Attributes:
        path: path inside the bundle.
        source: the file, or its bytes.
        listed: its expected size and hash, if known: another process may replace the file between two reads.
    """

    path: str
    source: Path | bytes
    listed: FileEntry | None = None

    def open(self) -> IO[bytes]:
        """Open the bytes.

        Raises:
            InputError: the file is missing.
        """
        if isinstance(self.source, bytes):
            return io.BytesIO(self.source)
        try:
            return self.source.open("rb")
        except FileNotFoundError as cause:
            raise self.changed() from cause

    def entry(self) -> FileEntry:
        """Hash the bytes.

        Raises:
            InputError: they differ from `listed`.
        """
        digest, size_bytes = hashlib.sha256(), 0
        with self.open() as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                size_bytes += len(chunk)
        found = FileEntry(path=self.path, size_bytes=size_bytes, sha256=digest.hexdigest())
        if self.listed not in (None, found):
            raise self.changed()
        return found

    def changed(self) -> InputError:
        """Return the error of a file that changed while it was packed."""
        return InputError(
            f"{self.path} was changed while it was packed; wait for the process that writes it, then repeat the command"
        )


class _Hashing:
    """Hashes a member while it is read, and refuses one that is too short."""

    def __init__(self, member: Member, file: IO[bytes]) -> None:
        self._member, self._file = member, file
        self._digest = hashlib.sha256()

    def read(self, size_bytes: int = -1, /) -> bytes:
        chunk = self._file.read(size_bytes)
        if len(chunk) < size_bytes:
            raise self._member.changed()
        self._digest.update(chunk)
        return chunk

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def write_archive(path: Path, top: str, members: Iterable[Member]) -> None:
    """Write members into the folder `top` of an archive.

    Raises:
        InputError: a member differs from its entry.
    """
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=COMPRESS_LEVEL, fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for member in members:
            listed = member.listed or member.entry()
            with member.open() as file:
                hashing = _Hashing(member, file)
                archive.addfile(_header(f"{top}/{member.path}", listed.size_bytes), hashing)
            if hashing.hexdigest() != listed.sha256:
                raise member.changed()


def header_problem(name: str, size_bytes: int) -> str | None:
    """Return why a file does not fit into an archive; None if it fits."""
    try:
        _header(name, size_bytes).tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    except ValueError as cause:
        return (
            f"does not fit into an archive ({cause}): want a name of at most 100 characters in folders of 155 together, "
            "and less than 8 GiB"
        )
    return None


def _header(name: str, size_bytes: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size = size_bytes
    header.mode = 0o644
    return header


def is_gzip(path: Path) -> bool:
    """Return whether a file begins as a gzip file does (RFC 1952, 2.3.1)."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP_HEADER[:2]


class ArchiveReader:
    """Reads the members of an archive in order, with bounded memory."""

    def __init__(self, raw: IO[bytes]) -> None:
        """Read the gzip header.

        Raises:
            BundleError: `sottovoce bundle` did not write this archive.
        """
        self._raw = raw
        self._unzip = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        self._crc, self._n_bytes = zlib.crc32(b""), 0
        if raw.read(len(_GZIP_HEADER)) != _GZIP_HEADER:
            raise BundleError("it is not a .tar.gz that `sottovoce bundle` wrote")

    def next_member(self) -> tuple[str, int]:
        """Read the name and the size of the next member.

        Raises:
            BundleError: the header is damaged, or bundles have no such member.
        """
        block = self._read(BLOCK_BYTES)
        try:
            header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
            is_plain = (
                _header(header.name, header.size).tobuf(tarfile.USTAR_FORMAT, "ascii", "strict") == block
            )
        except (tarfile.HeaderError, ValueError) as cause:
            raise BundleError(f"a header is damaged ({cause})") from cause
        if not is_plain:
            raise BundleError(
                f"member {header.name!r:.200} is not a plain file as `sottovoce bundle` writes them"
            )
        return header.name, header.size

    def chunks(self, size_bytes: int) -> Iterator[bytes]:
        """Yield the bytes of the member whose header was read last; the caller must read all of them."""
        left = size_bytes
        while left:
            chunk = self._read(min(left, _CHUNK_BYTES))
            left -= len(chunk)
            yield chunk
        padding = -size_bytes % BLOCK_BYTES
        if any(self._read(padding)):
            raise BundleError("the padding of a member is not empty")

    def finish(self) -> None:
        """Check the end of the archive and its checksum.

        Raises:
            BundleError: more members follow, or the checksum is wrong.
        """
        n_end = 2 * BLOCK_BYTES
        n_end += -(self._n_bytes + n_end) % tarfile.RECORDSIZE
        if any(self._read(n_end)):
            raise BundleError("there are members that bundle.json does not list")
        try:
            has_ended = self._has_ended()
        except zlib.error as cause:
            raise BundleError(f"it is damaged ({cause})") from cause
        if not has_ended:
            raise BundleError("something follows the end of the archive, or its checksum is wrong")

    def _has_ended(self) -> bool:
        """Return whether only the right checksum and length are left (RFC 1952, 2.3.1)."""
        while not self._unzip.eof:
            fed = self._unzip.unconsumed_tail or self._raw.read(_CHUNK_BYTES)
            if not fed or self._unzip.decompress(fed, 1):
                return False
        trailer = self._unzip.unused_data + self._raw.read(_CHUNK_BYTES)
        return trailer == self._crc.to_bytes(4, "little") + (self._n_bytes % 2**32).to_bytes(4, "little")

    def _read(self, size_bytes: int) -> bytes:
        """Decompress exactly `size_bytes`."""
        parts, left = [], size_bytes
        while left:
            fed = self._unzip.unconsumed_tail or self._raw.read(_CHUNK_BYTES)
            try:
                part = self._unzip.decompress(fed, left)
            except zlib.error as cause:
                raise BundleError(f"it is damaged ({cause})") from cause
            if not part and (not fed or self._unzip.eof):
                raise BundleError("it ends too early")
            parts.append(part)
            left -= len(part)
        unpacked = b"".join(parts)
        self._crc, self._n_bytes = zlib.crc32(unpacked, self._crc), self._n_bytes + len(unpacked)
        return unpacked
