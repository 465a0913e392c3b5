"""Find the checkpoint that a run was made of: what CTranslate2 converts, and PyTorch runs."""

from pathlib import Path

from sottovoce.errors import SpecError
from sottovoce.optimize.checkpoint.resolve import Checkpoint, default_cache, resolve_checkpoint
from sottovoce.runs import Run
from sottovoce.storage.artifacts import Parent


def find_checkpoint(run: Run, name: str | None, *, cache: Path | None = None) -> Checkpoint:
    """Find the checkpoint that a run was made of.

    Args:
        run: its manifest tells which checkpoint.
        name: as `optimize` takes it; None looks in the cache and on the hub.
        cache: of checkpoints; the user's by default.

    Raises:
        SpecError: it is another checkpoint than the run's, or it cannot be found without a name.
        InputError: there is no such checkpoint.
    """
    origin = next(parent for parent in run.manifest.parents if parent.role == "checkpoint")
    if name is None:
        return _known_checkpoint(run, origin, cache or default_cache())
    found = resolve_checkpoint(name, cache=cache)
    if _differ(found.origin, origin):
        raise SpecError(
            f"--checkpoint {name} is not the checkpoint of {run.folder} ({origin.name}); "
            "no comparison between different models would be fair"
        )
    return found


def _known_checkpoint(run: Run, origin: Parent, cache: Path) -> Checkpoint:
    if origin.revision is not None:
        return resolve_checkpoint(f"{origin.name}@{origin.revision}", cache=cache)
    digest = "" if origin.sha256 is None else origin.sha256[:16]
    folder = next((path for path in cache.glob(f"*-{digest}") if digest and path.is_dir()), None)
    if folder is None:
        raise SpecError(
            f"this needs the checkpoint that {run.folder} was made of ({origin.name}); "
            "name it with --checkpoint"
        )
    return Checkpoint(name=folder.name.removesuffix(f"-{digest}"), folder=folder, origin=origin)


def _differ(one: Parent, other: Parent) -> bool:
    """Tell whether two origins contradict each other; what only one knows does not count.

    Hashes are of the weights, of CTranslate2 of all files: what is not the same in both is not the same model, be it
    that one was rounded.
    """
    known = ((one.sha256, other.sha256), (one.revision, other.revision))
    return any(a != b for a, b in known if a is not None and b is not None)
