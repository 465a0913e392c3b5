"""A bundle as an archive or a folder: opened once every byte is checked, and closed again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sottovoce.bundle.device import verify
from sottovoce.bundle.manifest import BUNDLE_NAME, MODEL_FOLDER, SEAL_NAME, BundleManifest, parse_manifest
from sottovoce.bundle.unpack import Unpacked, unpacked
from sottovoce.errors import BundleError, InputError
from sottovoce.machine.environment import Host, read_host


def is_bundle(path: Path) -> bool:
    """Tell whether a path looks like a bundle: a file, or a folder with `bundle.json`."""
    return path.is_file() or (path / BUNDLE_NAME).is_file()


@contextmanager
def open_bundle(path: Path) -> Iterator[Unpacked]:
    """Yield a bundle's folder, once every byte has been checked.

    Args:
        path: an archive, which is unpacked into a temporary folder, or the folder of one.

    Raises:
        BundleError: it is damaged.
        InputError: there is nothing.
    """
    if path.is_dir():
        yield Unpacked(folder=path, manifest=check_folder(path))
    elif path.is_file():
        with unpacked(path) as bundle:
            yield bundle
    else:
        raise InputError(f"{path} does not exist; give a bundle that `sottovoce bundle` wrote, or its folder")


@contextmanager
def open_model(path: Path) -> Iterator[Path]:
    """Yield the folder of a model: of a bundle once it is checked, any other path as it is.

    Raises:
        BundleError: it is a bundle that is damaged, or that this CPU would get wrong words from.
    """
    if not is_bundle(path):
        yield path
        return
    with open_bundle(path) as bundle:
        check_cpu(bundle.manifest)
        yield bundle.folder / MODEL_FOLDER


def check_folder(folder: Path) -> BundleManifest:
    """Check every byte of an unpacked bundle.

    Raises:
        BundleError: it is damaged; the message tells the first problem and how many there are.
    """
    try:
        _, listed = verify.read_listed(folder)
        problems = list(verify.problems_of(folder, listed))
    except (verify.Damaged, OSError) as cause:
        raise BundleError(f"{folder}: {cause}") from cause
    if problems:
        raise BundleError(_told(folder, problems))
    return parse_manifest((folder / BUNDLE_NAME).read_bytes(), (folder / SEAL_NAME).read_bytes())


def _told(folder: Path, problems: Sequence[verify.Problem]) -> str:
    """Tell the worst problem: a file that lies there beside those of the bundle is none where one of those is damaged."""
    worst, *_ = sorted(problems, key=lambda problem: problem.is_stray)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    advice = "" if worst.is_stray else "; copy the bundle again"
    return f"{folder} is damaged: {worst.line}{more}{advice}"


def cpu_problem(manifest: BundleManifest, host: Host | None = None) -> str | None:
    """Say what the model needs and this CPU lacks; None where it lacks nothing, or the system does not tell."""
    machine = host or read_host()
    flags = machine.instruction_sets or verify.cpu_flags()
    return verify.cpu_problem(manifest.model_dump(mode="json"), machine.machine, flags)


def check_cpu(manifest: BundleManifest) -> None:
    """Refuse a CPU on which the model would give wrong words.

    Raises:
        BundleError: it is one.
    """
    problem = cpu_problem(manifest)
    if problem is not None:
        raise BundleError(
            f"{manifest.name}: {problem}; bundle a variant of the recipe int8-no-vnni or int8-weights instead"
        )
