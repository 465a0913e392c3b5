"""The summary of a run: variants, sizes, INT8 nodes, precision, recipe and lineage."""

from pathlib import Path

from pydantic import Field

from sottovoce.calibrate.audit import DoctorReport, read_report
from sottovoce.optimize.sensitivity.report import SensitivityReport, is_current, read_sensitivity
from sottovoce.runs import CALIBRATION_NAME, Fidelity, Parity, Run, Variant
from sottovoce.storage.artifacts import MANIFEST_NAME, Manifest, Parent, sha256_of_file
from sottovoce.storage.documents import Document
from sottovoce.terms import Component, Ctranslate2Type, Format, Layout, Scheme, Weights


class ComponentSummary(Document):
    """A component of a variant."""

    name: Component
    scheme: Scheme
    size_bytes: int
    size_ratio: float | None = Field(description="To the baseline's; None where it has no such component.")
    int8_weights: int
    int4_weights: int
    int8_activations: int
    weighted_nodes: int
    fidelity: Fidelity | None


class VariantSummary(Document):
    """A variant of a run."""

    name: str
    format: Format
    ctranslate2_type: Ctranslate2Type | None
    layout: Layout
    weights: Weights | None
    inference_precision: str
    size_bytes: int
    components: tuple[ComponentSummary, ...]
    parity: Parity | None
    made_by: str
    versions: dict[str, str]
    parents: tuple[Parent, ...]
    is_stale: bool = Field(description="Made of a baseline or a record that has been replaced since.")


class RunSummary(Document):
    """A run, as `sottovoce inspect --json` prints it."""

    name: str
    recipe: dict[str, object]
    recipe_sha256: str
    checkpoint: Parent
    baseline: str
    variants: tuple[VariantSummary, ...]
    calibration: dict[str, object] | None
    doctor: DoctorReport | None = Field(description="Of the calibration record; None where it has no report.")
    sensitivity: SensitivityReport | None = Field(description="None where it was not studied.")
    sensitivity_is_stale: bool = Field(description="A variant or the record was replaced since the study.")


def inspect_run(run: Run) -> RunSummary:
    """Summarize a run."""
    current = {CALIBRATION_NAME: _hash(run.folder / CALIBRATION_NAME)} | {
        variant.name: _hash(variant.folder) for variant in run.variants
    }
    sensitivity = read_sensitivity(run.folder)
    return RunSummary(
        name=run.manifest.name,
        recipe=run.recipe.resolved(),
        recipe_sha256=run.recipe.sha256(),
        checkpoint=run.manifest.parents[0],
        baseline=run.baseline.name,
        variants=tuple(_variant(variant, run.baseline, current) for variant in run.variants),
        calibration=None if run.calibration is None else run.calibration.facts,
        doctor=read_report(run.folder / CALIBRATION_NAME),
        sensitivity=sensitivity,
        sensitivity_is_stale=sensitivity is not None and not is_current(run.folder),
    )


def _hash(folder: Path) -> str | None:
    path = folder / MANIFEST_NAME
    return sha256_of_file(path) if path.is_file() else None


def _variant(variant: Variant, baseline: Variant, current: dict[str, str | None]) -> VariantSummary:
    before = baseline.facts.components
    return VariantSummary(
        name=variant.name,
        format=variant.facts.format,
        ctranslate2_type=variant.facts.ctranslate2_type,
        layout=variant.facts.layout,
        weights=variant.facts.weights,
        inference_precision=variant.facts.inference_precision,
        size_bytes=sum(component.size_bytes for component in variant.facts.components.values()),
        components=tuple(
            ComponentSummary(
                name=name,
                size_ratio=facts.size_bytes / before[name].size_bytes if name in before else None,
                **facts.model_dump(),
            )
            for name, facts in variant.facts.components.items()
        ),
        parity=variant.facts.parity,
        made_by=variant.manifest.made_by,
        versions=variant.manifest.versions,
        parents=variant.manifest.parents,
        is_stale=is_stale(variant.manifest, current),
    )


def is_stale(manifest: Manifest, current: dict[str, str | None]) -> bool:
    """Return whether a parent inside the run has changed since the variant was made."""
    return any(
        parent.name in current and parent.sha256 is not None and current[parent.name] != parent.sha256
        for parent in manifest.parents
    )
