"""The wheel of the sottovoce that runs here, for the device: the same code packs and runs a bundle.

Format: PEP 427 and PyPA's "Binary distribution format". It is made of what is installed, so it needs neither a
package index nor a build backend, and its bytes depend on nothing else.
"""

import base64
import csv
import hashlib
import io
import os
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import sottovoce
from sottovoce import __version__
from sottovoce.errors import InputError

WHEEL_NAME = f"sottovoce-{__version__}-py3-none-any.whl"
_DIST_INFO = f"sottovoce-{__version__}.dist-info"
_TAGS = "Wheel-Version: 1.0\nGenerator: sottovoce\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_COPIED = ("METADATA", "entry_points.txt", "licenses/LICENSE")
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""Zip files know no earlier time."""


def build_device_wheel() -> bytes:
    """Return the wheel's bytes.

    Raises:
        InputError: the installation lacks its metadata.
    """
    files = {**_package_files(), **_metadata_files()}
    record = f"{_DIST_INFO}/RECORD"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, content in (*sorted(files.items()), (record, _record(files, record))):
            member = zipfile.ZipInfo(path, _FIRST_DAY)
            member.external_attr = 0o100644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(member, content)
    return packed.getvalue()


def _package_files() -> dict[str, bytes]:
    root = Path(sottovoce.__file__).parent
    return {f"sottovoce/{path}": (root / path).read_bytes() for path in _walk(root)}


def _walk(root: Path) -> list[str]:
    """Name the package's files; the stages are links to folders in a checkout."""
    found = []
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__" and not _is_stray(name)]
        found += [(Path(folder) / name).relative_to(root).as_posix() for name in names if not _is_stray(name)]
    return sorted(found)


def _is_stray(name: str) -> bool:
    """Tell whether a file is none of the package: compiled, hidden, or what an editor or a merge left in a checkout."""
    return name.startswith(".") or name.endswith(("~", ".pyc", ".pyo", ".orig", ".rej", ".bak"))


def _metadata_files() -> dict[str, bytes]:
    installed = distribution("sottovoce")
    files = {f"{_DIST_INFO}/WHEEL": _TAGS.encode()}
    for name in _COPIED:
        text = installed.read_text(name)
        if text is None:
            raise InputError(f"this installation of sottovoce lacks {name}; install sottovoce again")
        files[f"{_DIST_INFO}/{name}"] = text.encode()
    return files


def _record(files: dict[str, bytes], record: str) -> bytes:
    """List the files with their hashes, as PEP 376 has it; the list itself has none."""
    told = io.StringIO()
    rows = csv.writer(told, lineterminator="\n")
    for path, content in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.writerow((path, f"sha256={digest}", len(content)))
    rows.writerow((record, "", ""))
    return told.getvalue().encode()
