"""Writes a trained variant into its run."""

from pathlib import Path

from sottovoce import __version__
from sottovoce.errors import InputError, StageError
from sottovoce.machine.environment import library_versions, read_host
from sottovoce.optimize.openvino.tensor_names import renumber_nodes
from sottovoce.optimize.pipeline import locked_run, refresh_run_manifest
from sottovoce.progress import Reporter
from sottovoce.runs import Variant, VariantFacts, read_run
from sottovoce.runtime.model.layout import component_path
from sottovoce.storage.artifacts import (
    MANIFEST_NAME,
    Parent,
    created_now,
    list_files,
    sha256_of_file,
    write_manifest,
)
from sottovoce.storage.documents import write_text
from sottovoce.storage.folders import new_folder
from sottovoce.train.loop import Tensors
from sottovoce.train.variant.bench import copy_variant
from sottovoce.train.variant.report import REPORT_NAMES, VariantReport
from sottovoce.train.variant.trainable import Trainable
from sottovoce.train.variant.work import Method, Work


def check_place(out: Path, *, force: bool) -> None:
    """Refuse to write where something else is.

    Raises:
        InputError: the folder exists, and is no trained variant or should not be replaced.
    """
    if not out.exists():
        return
    if not force:
        raise InputError(f"{out} exists already; choose another --name, or pass --force to replace it")
    if not any((out / name).is_file() for name in REPORT_NAMES):
        raise InputError(
            f"{out} was not trained by heal or qat, and --force does not replace it; choose another --name"
        )


def write_variant(
    work: Work,
    method: Method[VariantReport],
    report: VariantReport,
    trainable: Trainable,
    deltas: Tensors,
    reporter: Reporter,
    *,
    force: bool,
) -> None:
    """Write the trained variant into the run, with the report beside it.

    Raises:
        StageError: the variant was replaced during the training.
    """
    with locked_run(work.run, reporter):
        now = read_run(work.run.folder)
        if sha256_of_file(work.variant.folder / MANIFEST_NAME) != work.variant_sha256:
            raise StageError(
                f"{work.variant.folder} was made again while it was trained; repeat the command with --restart"
            )
        with new_folder(work.out, force=force) as into:
            variant = now.variant(work.variant.name)
            copy_variant(variant.folder, into)
            trainable.write(deltas, into)
            renumber_nodes(into)
            write_text(into / method.report_name, report.model_dump_json(indent=2) + "\n")
            _write_manifest(work, variant, into, method.command)
        refresh_run_manifest(now, now.recipe)


def _write_manifest(work: Work, variant: Variant, into: Path, command: str) -> None:
    parents = tuple(
        Parent(role="variant", name=each.name, sha256=sha256_of_file(each.folder / MANIFEST_NAME))
        for each in (variant, work.run.baseline)
    )
    write_manifest(
        into,
        variant.manifest.model_copy(
            update={
                "name": into.name,
                "created": created_now(),
                "made_by": f"sottovoce {command} {__version__}",
                "parents": (*variant.manifest.parents, *parents),
                "host": read_host(),
                "versions": library_versions(),
                "facts": _facts(variant, into).model_dump(mode="json"),
                "files": list_files(into),
            }
        ),
    )


def _facts(variant: Variant, folder: Path) -> VariantFacts:
    """Return the facts of a variant whose graphs were written again."""
    components = {}
    for component, facts in variant.facts.components.items():
        path = component_path(folder, component)
        size_bytes = path.stat().st_size + path.with_suffix(".bin").stat().st_size
        is_same = sha256_of_file(path.with_suffix(".bin")) == sha256_of_file(
            component_path(variant.folder, component).with_suffix(".bin")
        )
        fidelity = facts.fidelity if is_same else None
        components[component] = facts.model_copy(update={"size_bytes": size_bytes, "fidelity": fidelity})
    return variant.facts.model_copy(update={"components": components})
