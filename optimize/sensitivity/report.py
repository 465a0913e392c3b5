"""The report of a sensitivity study: `sensitivity.json` in the run's folder `sensitivity`."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import Field

from sottovoce.runs import SENSITIVITY_NAME
from sottovoce.storage.artifacts import MANIFEST_NAME, read_manifest, sha256_of_file
from sottovoce.storage.documents import Document, read_document
from sottovoce.terms import Component, InferencePrecision

REPORT_NAME = "sensitivity.json"

SENSITIVITY_SCHEMA_VERSION = 1
"""1: first version."""


class BlockKind(StrEnum):
    """The blocks of a layer, and those before and after the layers."""

    CONVOLUTIONS = "convolutions"
    SELF_ATTENTION = "self_attention"
    CROSS_ATTENTION = "cross_attention"
    FFN = "ffn"
    OUTPUT = "output"


class Implication(StrEnum):
    """What follows from a block's figures; see `imply` in `rule.py`."""

    KEEP_FLOAT = "keep_float"
    WORTH_IT = "worth_it"
    NO_GAIN = "no_gain"
    HARMLESS = "harmless"


class Extent(StrEnum):
    """How much of the model is quantized.

    none: nothing; shows the noise of the method.
    all: the variant of the run, float nodes computed in f32 as in the rows of single blocks.
    computed: the same, computed in the recipe's precision.
    """

    NONE = "none"
    ALL = "all"
    COMPUTED = "computed"


KIND_LABELS: Mapping[BlockKind, str] = {
    BlockKind.CONVOLUTIONS: "convolutions",
    BlockKind.SELF_ATTENTION: "self-attention",
    BlockKind.CROSS_ATTENTION: "cross-attention",
    BlockKind.FFN: "FFN",
    BlockKind.OUTPUT: "output layer",
}

IMPLICATION_LABELS: Mapping[Implication, str] = {
    Implication.KEEP_FLOAT: "keep float",
    Implication.WORTH_IT: "costs most, worth its time",
    Implication.NO_GAIN: "saves nothing alone",
    Implication.HARMLESS: "quantize",
}


class Figures(Document):
    """Cost and saving of a quantized part of the model, against the float model."""

    flips: float = Field(description="Share of the tokens where the likeliest token is another.")
    divergence: float = Field(description="KL divergence in nats per token, mean.")
    divergence_error: float = Field(description="Standard error of the divergence, over clips.")
    output_error: float | None = Field(
        description="Of the encoder: mean absolute error divided by mean absolute value; null where it is float."
    )
    saved_s: float = Field(description="Seconds per clip, median over rounds; below 0 where it takes longer.")
    saved_low_s: float = Field(description="Lower quartile over rounds.")
    saved_high_s: float = Field(description="Upper quartile over rounds.")


class BlockResult(Figures):
    """Figures of a block that was quantized alone."""

    component: Component
    kind: BlockKind
    layer: int | None = Field(description="From 0; null outside the layers.")
    pattern: str = Field(
        description="Regular expression that matches the friendly names of its nodes and no others."
    )
    n_weights: int = Field(description="Convolutions and matrix products that became INT8 or INT4.")
    divergence_share: float = Field(description="Share of the sum over all blocks.")
    saving_share: float = Field(description="Share of the sum over all blocks that save time.")
    implies: Implication

    @property
    def label(self) -> str:
        """Name within the component: `layer 3 FFN`, `output layer`."""
        kind = KIND_LABELS[self.kind]
        return kind if self.layer is None else f"layer {self.layer} {kind}"


class WholeResult(Figures):
    """Figures of the model with nothing or everything quantized."""

    extent: Extent


class Advice(Document):
    """Nodes of a component that should stay float, as keys of a recipe."""

    component: Component
    blocks: tuple[str, ...] = Field(description="Labels of the blocks.")
    recipe: str = Field(
        description="YAML for a recipe; includes and replaces what the recipe keeps float now."
    )
    override: str = Field(description="The same as `KEY=VALUE` for `--set`.")


class SensitivityReport(Document):
    """What each block costs when it alone is quantized by a recipe."""

    schema_version: Literal[1] = 1
    variant: str = Field(description="Variant whose recipe was measured.")
    reference: str = Field(description="The float32 variant whose blocks were quantized.")
    speech: str
    n_clips: int
    n_tokens: int = Field(description="Positions compared, for each block.")
    unheard: bool = Field(description="None of the clips was recorded for calibration.")
    n_calibration_clips: int = Field(
        description="Recorded clips that ranges of single blocks were estimated from."
    )
    inference_precision: InferencePrecision = Field(
        description="Precision of float nodes while times were measured; divergences are measured in f32."
    )
    threads: int
    n_timed_clips: int
    max_rounds: int = Field(
        description="Rounds of each timing; fewer where it took over 15 s, but at least three."
    )
    encoder_s: float = Field(description="Seconds per clip, float, median over rounds.")
    decoder_s: float
    min_divergence_share: float = Field(description="Threshold of the rule for what stays float.")
    min_cost_ratio: float
    blocks: tuple[BlockResult, ...] = Field(description="In the order of the model.")
    wholes: tuple[WholeResult, ...]
    advice: tuple[Advice, ...] = Field(description="Empty where nothing should stay float.")
    notes: tuple[str, ...] = ()

    @property
    def by_harm(self) -> tuple[BlockResult, ...]:
        """The blocks, those that diverge most first."""
        return tuple(sorted(self.blocks, key=lambda block: -block.divergence))


def read_sensitivity(run_folder: Path) -> SensitivityReport | None:
    """Read the sensitivity report of a run; None where there is none.

    Raises:
        InputError: it is damaged or of another version.
    """
    path = run_folder / SENSITIVITY_NAME / REPORT_NAME
    if not path.is_file():
        return None
    return read_document(
        path, SensitivityReport, advice="run `sottovoce sensitivity RUN --data SPEECH` again"
    )


def is_current(run_folder: Path) -> bool:
    """Return whether the variants and the record that were studied are still those of the run.

    Raises:
        InputError: there is no report, or its manifest is damaged.
    """
    parents = read_manifest(run_folder / SENSITIVITY_NAME).parents
    return all(
        parent.sha256 == _hash(run_folder / parent.name) for parent in parents if parent.sha256 is not None
    )


def read_current_sensitivity(run_folder: Path) -> SensitivityReport | None:
    """Read the sensitivity report of a run; None also where the run has changed since.

    Raises:
        InputError: it is damaged or of another version.
    """
    report = read_sensitivity(run_folder)
    return report if report is not None and is_current(run_folder) else None


def _hash(folder: Path) -> str | None:
    path = folder / MANIFEST_NAME
    return sha256_of_file(path) if path.is_file() else None
