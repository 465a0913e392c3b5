"""The requirements of a device, and their wheels for its platform.

The versions are those that are installed here, because they produced the golden tokens.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from sottovoce import __version__
from sottovoce.bundle.manifest import WHEELS_FOLDER, Wheels
from sottovoce.errors import MissingExtraError, SpecError, StageError
from sottovoce.storage.artifacts import sha256_of_file
from sottovoce.terms import Format

EXTRAS: dict[Format, str | None] = {Format.OPENVINO: None, Format.ONNX: "onnx", Format.CTRANSLATE2: "ct2"}
"""Extra of sottovoce that runs a format."""

OLDEST_GLIBC, NEWEST_GLIBC = 5, 39
"""Minor versions of glibc 2 in the tags of wheels. The newer ones are accepted if a library has no older wheel."""

_PLATFORM = re.compile(r"(?P<kind>manylinux(?:1|2010|2014|_2_(?P<glibc>\d+)))_(?P<machine>x86_64|aarch64)\Z")
_OLD_GLIBC = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}
"""PEP 600."""

_GLIBC_TAG = re.compile(r"manylinux_2_(\d+)_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """A distribution and its version."""

    name: str
    version: str


OWN = Pinned(name="sottovoce", version=__version__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The platform of the wheels.

    Attributes:
        glibc: minor version of glibc 2 on the platform.
        python: version of CPython, such as 3.12.
    """

    platform: str
    machine: str
    glibc: int
    python: str

    @property
    def tags(self) -> tuple[str, ...]:
        """Accepted platform tags, best first: the given one, older ones, newer ones as a last resort."""
        older = range(self.glibc, OLDEST_GLIBC - 1, -1)
        newer = range(self.glibc + 1, NEWEST_GLIBC + 1)
        modern = (f"manylinux_2_{minor}_{self.machine}" for minor in (*older, *newer))
        legacy = (f"{name}_{self.machine}" for name, minor in _OLD_GLIBC.items() if minor <= self.glibc)
        return tuple(dict.fromkeys((self.platform, *legacy, *modern)))


def read_target(platform: str | None, python: str | None) -> Target | None:
    """Parse `--wheels` and `--python`; None if no wheels are wanted.

    Raises:
        SpecError: the platform or the version is unknown, or there is a version without a platform.
    """
    if platform is not None:
        return parse_target(platform, python)
    if python is not None:
        raise SpecError("--python needs --wheels PLATFORM: without wheels nothing depends on a version")
    return None


def parse_target(platform: str, python: str | None) -> Target:
    """Parse the name of a platform and a version of CPython; None is the running version.

    Raises:
        SpecError: the platform or the version is unknown.
    """
    found = _PLATFORM.match(platform)
    if found is None:
        raise SpecError(
            f"--wheels {platform} is not a known platform; want one such as manylinux2014_x86_64 or manylinux2014_aarch64"
        )
    version = python or f"{sys.version_info.major}.{sys.version_info.minor}"
    if re.fullmatch(r"3\.1[1-9]", version) is None:
        raise SpecError(f"--python is {version}, want CPython 3.11 or newer, such as 3.12")
    glibc = int(found["glibc"]) if found["glibc"] else _OLD_GLIBC[found["kind"]]
    return Target(platform=platform, machine=found["machine"], glibc=glibc, python=version)


def pin(kind: Format, target: Target | None) -> tuple[Pinned, ...]:
    """Return the requirements of a format without sottovoce itself, in the versions that are installed here.

    Args:
        target: platform of the device; None: this machine.

    Raises:
        MissingExtraError: one of them is not installed here.
    """
    extra = EXTRAS[kind]
    environment = {} if target is None else _environment(target)
    found: dict[str, Pinned] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(f"sottovoce[{extra}]" if extra else "sottovoce")]
    while waiting:
        wanted = waiting.pop()
        name, extras = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            installed = distribution(wanted.name)
        except PackageNotFoundError as cause:
            raise MissingExtraError(
                wanted.name, needed_for=f"a bundle of the format {kind}", extra=extra or "all"
            ) from cause
        found[name] = Pinned(name=name, version=installed.version)
        waiting += _needed(installed.requires or (), extras, environment)
    return tuple(found[name] for name in sorted(found) if name != "sottovoce")


def _environment(target: Target) -> dict[str, str]:
    """Return the PEP 508 markers that can differ between a target and this machine."""
    return {
        "platform_machine": target.machine,
        "python_version": target.python,
        "python_full_version": f"{target.python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
    }


def _needed(
    requires: Iterable[str], extras: frozenset[str], environment: dict[str, str]
) -> Iterator[Requirement]:
    for text in requires:
        needed = Requirement(text)
        if needed.marker is None or any(
            needed.marker.evaluate({**environment, "extra": extra}) for extra in (extras or {""})
        ):
            yield needed


def download(pinned: Iterable[Pinned], target: Target, into: Path) -> Wheels:
    """Download wheels into a folder.

    Raises:
        StageError: pip could not download one of them.
    """
    into.mkdir(parents=True)
    wanted = map(_named, pinned)
    tags = [option for tag in target.tags for option in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", target.python, *tags]
    done = subprocess.run(
        [*command, "--dest", str(into), *wanted], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise StageError(
            f"pip found no wheels for {target.platform}, CPython {target.python}: {_reason(done.stderr)}"
        )
    return Wheels(
        platform=target.platform,
        python=target.python,
        glibc=_needed_glibc(path.name for path in into.iterdir()),
    )


def _reason(stderr: str) -> str:
    errors = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR")]
    if "No module named pip" in stderr:
        return "pip is not installed here; run: python -m ensurepip"
    return errors[-1] if errors else stderr.strip()[-300:]


def _needed_glibc(names: Iterable[str]) -> str | None:
    """Return the oldest glibc that runs all wheels: the newest of their oldest tags."""
    oldest = [min(tags) for name in names if (tags := [*map(int, _GLIBC_TAG.findall(_modern(name)))])]
    return f"2.{max(oldest)}" if oldest else None


def _modern(name: str) -> str:
    for old, minor in _OLD_GLIBC.items():
        name = name.replace(f"{old}_", f"manylinux_2_{minor}_")
    return name


def lock(pinned: Iterable[Pinned], wheels: Iterable[tuple[str, bytes | Path]]) -> str:
    """Return the text of the device's requirements, which are installed from the folder of the bundle.

    Args:
        wheels: file names and contents. If there is one for each distribution, each line has its hash: pip accepts
            hashes for all lines or for none. Otherwise the present ones are named by their paths, because of two
            files with one version pip takes the one of the index, which anyone may have put there.
    """
    files = {str(parse_wheel_filename(name)[0]): (name, content) for name, content in wheels}
    wanted = tuple(pinned)
    if all(each.name in files for each in wanted):
        lines = [f"{_named(each)} --hash=sha256:{_sha256(files[each.name][1])}" for each in wanted]
    else:
        lines = [
            f"./{WHEELS_FOLDER}/{files[each.name][0]}" if each.name in files else _named(each)
            for each in wanted
        ]
    return "".join(f"{line}\n" for line in sorted(lines))


def _named(pinned: Pinned) -> str:
    return f"{pinned.name}=={pinned.version}"


def _sha256(content: bytes | Path) -> str:
    return sha256(content).hexdigest() if isinstance(content, bytes) else sha256_of_file(content)
