"""The files of a bundle that are the same in each but for a few words."""

from importlib.resources import files

from sottovoce.bundle.manifest import REQUIREMENTS_NAME, WHEELS_FOLDER, BundleManifest

VERIFY_NAME = "verify.py"
README_NAME = "README.md"
DOCKERFILE_NAME = "Dockerfile"
ANY_PYTHON = "3"


def device_files(facts: BundleManifest, *, has_dockerfile: bool) -> dict[str, bytes]:
    """Return `verify.py`, the README and, where asked for, the Dockerfile."""
    names = (VERIFY_NAME, README_NAME, *((DOCKERFILE_NAME,) if has_dockerfile else ()))
    return {name: _filled(name, facts) for name in names}


def _filled(name: str, facts: BundleManifest) -> bytes:
    text = (files("sottovoce.bundle") / "device" / name).read_text(encoding="utf-8")
    if name == VERIFY_NAME:
        return text.encode()
    for mark, word in _words(facts).items():
        text = text.replace(f"@{mark}@", word)
    return text.encode()


def _words(facts: BundleManifest) -> dict[str, str]:
    wheels = facts.wheels
    glibc = "" if wheels is None or wheels.glibc is None else f", Linux with glibc {wheels.glibc} or newer"
    offline = f"--no-index --require-hashes --find-links {WHEELS_FOLDER} "
    return {
        "NAME": facts.name,
        "PYTHON": ANY_PYTHON if wheels is None else wheels.python,
        "GLIBC": ", 3.11 or newer" if wheels is None else glibc,
        "INSTALL": f"{'' if wheels is None else offline}-r {REQUIREMENTS_NAME}",
    }
