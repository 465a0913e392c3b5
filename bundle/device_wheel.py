"""The wheel of sottovoce that a bundle installs: what transcribes and verifies, and nothing else.

It is made of the sottovoce that packs the bundle, without a package index or a build backend, and its bytes depend on
nothing else. Format: PEP 427 and PyPA's "Binary distribution format".
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

DEVICE_PARTS = (
    "__init__.py",
    "__main__.py",
    "bundle/__init__.py",
    "bundle/archive.py",
    "bundle/check.py",
    "bundle/device/__init__.py",
    "bundle/device/verify.py",
    "bundle/manifest.py",
    "bundle/open_bundle.py",
    "bundle/open_model.py",
    "bundle/self_test.py",
    "bundle/signing.py",
    "cli/__init__.py",
    "cli/app.py",
    "cli/commands/__init__.py",
    "cli/commands/device/__init__.py",
    "cli/commands/device/live.py",
    "cli/commands/device/plan.py",
    "cli/commands/device/transcribe.py",
    "cli/commands/device/verify.py",
    "cli/commands/options.py",
    "cli/console.py",
    "cli/interrupts.py",
    "cli/live.py",
    "errors.py",
    "faster_whisper/",
    "machine/",
    "progress.py",
    "py.typed",
    "runtime/",
    "statistics/__init__.py",
    "statistics/intervals.py",
    "storage/",
    "languages.py",
    "terms.py",
)
"""Files and folders of the package. `tests/bundle/test_device_wheel.py` runs the wheel alone."""

_DIST_INFO = f"sottovoce-{__version__}.dist-info"
_TAGS = "Wheel-Version: 1.0\nGenerator: sottovoce\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_COPIED = ("METADATA", "entry_points.txt", "licenses/LICENSE")
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""The earliest time of a zip file."""


def build_device_wheel() -> bytes:
    """Return the bytes of the wheel.

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
    found = (part for part in DEVICE_PARTS if not part.endswith("/"))
    folders = (path for part in DEVICE_PARTS if part.endswith("/") for path in _walk(root, root / part))
    return {f"sottovoce/{path}": (root / path).read_bytes() for path in (*found, *folders)}


def _walk(root: Path, top: Path) -> list[str]:
    """List the modules below a folder; in a checkout the stages are links to folders."""
    found = []
    for folder, folders, names in os.walk(top, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith((".", "__pycache__"))]
        found += [
            (Path(folder) / name).relative_to(root).as_posix()
            for name in names
            if name.endswith(".py") and not name.startswith(".")
        ]
    return found


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
    """List the files with their hashes, as PEP 376 defines it; the list itself has no hash."""
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    for path, content in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.writerow((path, f"sha256={digest}", len(content)))
    rows.writerow((record, "", ""))
    return table.getvalue().encode()
