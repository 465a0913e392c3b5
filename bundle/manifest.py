"""`bundle.json`: the facts of a bundle, and every file in it.

`bundle.json.sha256` beside it is its seal, in the format of `sha256sum`. Both are checked before any other file is read
(`device/verify.py`).
"""

from typing import Literal

from pydantic import Field, ValidationError

from sottovoce.bundle.device import verify
from sottovoce.errors import BundleError
from sottovoce.machine.environment import Host
from sottovoce.statistics.intervals import Interval
from sottovoce.storage.artifacts import FileEntry, Parent
from sottovoce.storage.documents import Document, format_validation_error
from sottovoce.terms import Format, Layout

BUNDLE_NAME = verify.MANIFEST_NAME
SEAL_NAME = verify.SEAL_NAME

MODEL_FOLDER = "model"
GOLDEN_FOLDER = "golden"
WHEELS_FOLDER = "wheels"
LICENCES_FOLDER = "licences"
REQUIREMENTS_NAME = "requirements.txt"


class ModelFacts(Document):
    """The packed variant."""

    name: str = Field(description="Of the checkpoint, such as whisper-base.")
    variant: str
    format: Format
    layout: Layout
    is_multilingual: bool
    size_bytes: int = Field(description="Of all files below `model/`.")
    recipe_sha256: str | None
    parents: tuple[Parent, ...] = Field(
        description="Checkpoint, variant and calibration record that it was made from."
    )


class Cpu(Document):
    """Instruction sets by architecture (`x86_64`, `aarch64`), as Linux spells them; one of each list is enough."""

    needed: dict[str, tuple[str, ...]] = Field(description="Without one of them the model gives wrong words.")
    recommended: dict[str, tuple[str, ...]] = Field(description="Without one of them it is slow.")


class Measured(Document):
    """The benchmark of the variant; its times are those of the benchmark's host, not of the device."""

    host: Host
    dataset: str
    n_clips: int
    wer: float = Field(description="A fraction, under the benchmark's normalizer.")
    wer_delta: Interval = Field(description="Against the float32 baseline, a fraction.")
    normalizer: str
    rtfx: float = Field(description="Seconds of audio per second of work.")
    peak_rss_bytes: int
    threads: int


class Floors(Document):
    """The limits of the self-test."""

    rtfx: float = Field(ge=0, description="Least seconds of audio per second of work; 1 is real time.")
    peak_rss_bytes: int | None = Field(description="Largest resident set of the self-test; null: any.")
    token_agreement: float = Field(
        ge=0,
        le=1,
        description="Least share of a golden clip's tokens that come out as expected (`self_test.agreement`).",
    )


class GoldenClip(Document):
    """A clip with the tokens that the packed variant gave for it where the bundle was made."""

    path: str
    language: str
    duration_s: float
    reference: str = Field(description="What is spoken.")
    text: str = Field(description="What the variant made of it.")
    tokens: tuple[int, ...]


class Wheels(Document):
    """The platform of the wheels."""

    platform: str = Field(description="As given, such as manylinux2014_x86_64.")
    python: str = Field(description="Version of CPython, such as 3.12.")
    glibc: str | None = Field(description="Least version that the wheels need; null where none of them says.")


class BundleManifest(Document):
    """The content of `bundle.json`."""

    format_version: Literal[1] = 1
    name: str = Field(
        description="Of the folder at the top of the archive too; no path (`verify.name_problem`)."
    )
    made_by: str
    model: ModelFacts
    toolchain: dict[str, str] = Field(description="Versions of what made the variant.")
    cpu: Cpu
    measured: Measured | None = Field(description="Null where no results were given.")
    floors: Floors
    golden: tuple[GoldenClip, ...]
    wheels: Wheels | None = Field(description="Null where the device installs from a package index.")
    files: tuple[FileEntry, ...]


def write_manifest(manifest: BundleManifest) -> tuple[bytes, bytes]:
    """Return the bytes of `bundle.json` and of its seal."""
    raw = (manifest.model_dump_json(indent=1) + "\n").encode()
    return raw, verify.seal_of(raw)


def parse_manifest(raw: bytes, seal: bytes) -> BundleManifest:
    """Parse `bundle.json`.

    Raises:
        BundleError: it does not fit its seal, or has invalid content.
    """
    try:
        verify.check_seal(raw, seal)
        verify.parse_listed(raw)
        manifest = BundleManifest.model_validate_json(raw)
    except verify.Damaged as cause:
        raise BundleError(str(cause)) from cause
    except ValidationError as cause:
        problem = verify.plain(format_validation_error(cause))  # it contains keys of the file
        raise BundleError(f"{BUNDLE_NAME}: {problem}") from cause
    listed = {entry.path for entry in manifest.files}
    if not manifest.golden or any(clip.path not in listed for clip in manifest.golden):
        raise BundleError(f"{BUNDLE_NAME}: golden: want clips that are among its files")
    return manifest
