"""Write the manifests of a run and of its variants, when their folders are complete."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from sottovoce import __version__
from sottovoce.machine.environment import library_versions, read_host
from sottovoce.optimize.ctranslate2.export import component_bytes, count_ctranslate2
from sottovoce.optimize.onnx.graph import count_int8, size_bytes
from sottovoce.optimize.openvino.graph import Int8Count, count_int8_in_file
from sottovoce.recipes.recipe import Recipe
from sottovoce.runs import RECIPE_NAME, ComponentFacts, Fidelity, Parity, VariantFacts
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import component_path, components_of, format_of, layout_of
from sottovoce.storage.artifacts import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    Parent,
    created_now,
    list_files,
    read_manifest,
    sha256_of_file,
    write_manifest,
)
from sottovoce.storage.documents import write_text
from sottovoce.terms import Component, Ctranslate2Type, Format, Scheme, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInfo:
    """Facts of a variant that cannot be read from its files.

    Attributes:
        weights: type of float weights on disk; None for a CTranslate2 variant.
        schemes: of its components; a missing one is float.
    """

    name: str
    is_multilingual: bool
    weights: Weights | None
    parents: tuple[Parent, ...]
    compute: ComputeSpec = field(default_factory=ComputeSpec)
    ctranslate2_type: Ctranslate2Type | None = None
    schemes: Mapping[Component, Scheme] = field(default_factory=dict)
    fidelities: Mapping[Component, Fidelity] = field(default_factory=dict)
    parity: Parity | None = None


def write_variant_manifest(folder: Path, recipe: Recipe, made: BuildInfo) -> None:
    """Write the manifest of a variant into its folder."""
    write_manifest(
        folder,
        Manifest(
            kind="variant",
            name=made.name,
            created=created_now(),
            made_by=f"sottovoce optimize {__version__}",
            recipe=recipe.resolved(),
            recipe_sha256=recipe.sha256(),
            parents=made.parents,
            host=read_host(),
            versions=library_versions(),
            facts=_facts(folder, made).model_dump(mode="json"),
            files=list_files(folder),
        ),
    )


def _facts(folder: Path, made: BuildInfo) -> VariantFacts:
    return VariantFacts(
        format=format_of(folder),
        ctranslate2_type=made.ctranslate2_type,
        layout=layout_of(folder),
        weights=made.weights,
        inference_precision=made.compute.precision,
        dynamic_quantization_group_size=made.compute.dynamic_quantization_group_size,
        kv_cache_precision=made.compute.kv_cache_precision,
        memory=made.compute.memory,
        is_multilingual=made.is_multilingual,
        components={part: _component_facts(folder, part, made) for part in components_of(folder)},
        parity=made.parity,
    )


def _component_facts(folder: Path, component: Component, made: BuildInfo) -> ComponentFacts:
    n_bytes, count = _size_and_count(folder, component)
    return ComponentFacts(
        scheme=made.schemes.get(component, Scheme.FLOAT),
        size_bytes=n_bytes,
        int8_weights=count.weights,
        int4_weights=count.int4_weights,
        int8_activations=count.activations,
        weighted_nodes=count.weighted,
        fidelity=made.fidelities.get(component),
    )


def _size_and_count(folder: Path, component: Component) -> tuple[int, Int8Count]:
    """Return the size of a component in bytes, and its INT8 counts."""
    path = component_path(folder, component)
    match format_of(folder):
        case Format.OPENVINO:
            return path.stat().st_size + path.with_suffix(".bin").stat().st_size, count_int8_in_file(path)
        case Format.ONNX:
            import onnx

            return size_bytes(path), count_int8(onnx.load_model(path))
        case Format.CTRANSLATE2:
            return component_bytes(folder)[component], count_ctranslate2(folder, component)


PLAN_KEY = "plan_sha256"


def write_run_manifest(
    work: Path, recipe: Recipe, *, name: str, origin: Parent, plan: str | None = None
) -> None:
    """Write the resolved recipe and the manifest of a run whose variants are complete.

    Args:
        plan: hash of everything that the run's files depend on; None after a part was replaced.
    """
    write_text(work / RECIPE_NAME, yaml.safe_dump(recipe.resolved(), sort_keys=False, allow_unicode=True))
    children = sorted(path.parent for path in work.glob(f"[!.]*/{MANIFEST_NAME}"))
    own = [work / RECIPE_NAME, *(child / MANIFEST_NAME for child in children)]
    write_manifest(
        work,
        Manifest(
            kind="run",
            name=name,
            created=created_now(),
            made_by=f"sottovoce optimize {__version__}",
            recipe=recipe.resolved(),
            recipe_sha256=recipe.sha256(),
            parents=(origin,),
            host=read_host(),
            versions=library_versions(),
            facts={
                "variants": [child.name for child in children if read_manifest(child).kind == "variant"],
                **({} if plan is None else {PLAN_KEY: plan}),
            },
            files=tuple(
                FileEntry(
                    path=path.relative_to(work).as_posix(),
                    size_bytes=path.stat().st_size,
                    sha256=sha256_of_file(path),
                )
                for path in own
            ),
        ),
    )
