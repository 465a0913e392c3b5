"""Quantized components, each made once for each thing that it depends on.

An interrupted `optimize` finds those again that it had finished; two trials of a search that differ in the decoder
have one encoder.
"""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from sottovoce.calibrate.store import CalibrationStore
from sottovoce.errors import OutputExistsError, StageError
from sottovoce.optimize.openvino.quantize import quantize_file
from sottovoce.optimize.openvino.tensor_names import settle_names
from sottovoce.progress import Reporter
from sottovoce.recipes.recipe import QuantizedVariant
from sottovoce.runs import Fidelity
from sottovoce.runtime.model.layout import COMPONENT_FILES
from sottovoce.storage.artifacts import (
    MANIFEST_NAME,
    canonical_sha256,
    read_manifest,
    sha256_of_file,
    write_text,
)
from sottovoce.storage.folders import new_folder
from sottovoce.terms import Component

COMPONENTS_NAME = "components"

VERDICT_NAME = "verdict.json"

KEY_LENGTH = 32
"""Digits of a hash that name a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """What quantizing gave: how faithful the component is, or why there is none."""

    fidelity: Fidelity | None
    failure: str | None


_VERDICT = TypeAdapter(_Verdict)


class ComponentCache:
    """Writes components as `quantize_file` does, each one once for each thing that it depends on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(
        self,
        source: Path,
        store: CalibrationStore,
        component: Component,
        variant: QuantizedVariant,
        into: Path,
        reporter: Reporter,
    ) -> Fidelity:
        """Write a component into a variant's folder.

        Raises:
            StageError: quantization destroys it.
        """
        made = self._folder / key_of(source, store, component, variant)
        if not made.is_dir():
            with suppress(OutputExistsError), new_folder(made) as work:  # another worker made it meanwhile
                verdict = _quantize(source, store, component, variant, work, reporter)
                settle_names(work)
                write_text(work / VERDICT_NAME, _VERDICT.dump_json(verdict).decode())
        verdict = _VERDICT.validate_json((made / VERDICT_NAME).read_bytes())
        if verdict.fidelity is None:
            raise StageError(verdict.failure or f"{component}: no reason was kept")
        _link(made, into, component)
        return verdict.fidelity


def _quantize(
    source: Path,
    store: CalibrationStore,
    component: Component,
    variant: QuantizedVariant,
    into: Path,
    reporter: Reporter,
) -> _Verdict:
    try:
        fidelity = quantize_file(source, store, component, variant, into, reporter)
    except StageError as cause:
        return _Verdict(fidelity=None, failure=str(cause))
    return _Verdict(fidelity=fidelity, failure=None)


def key_of(source: Path, store: CalibrationStore, component: Component, variant: QuantizedVariant) -> str:
    """Name what a quantized component depends on: the same name, the same bytes."""
    elastic = variant.elastic if component is Component.ENCODER else None
    return canonical_sha256(
        {
            "component": component,
            "spec": variant.components.of(component).model_dump(mode="json"),
            "layout": variant.layout,
            "weights": variant.weights,
            "instruction_set": variant.instruction_set,
            "cut": None
            if elastic is None
            else [elastic.margin_s, elastic.bucket_s, elastic.silence_centroids],
            "compute": [variant.inference_precision, variant.dynamic_quantization_group_size],
            "source": sha256_of_file(source / MANIFEST_NAME),
            "calibration": sha256_of_file(store.folder / MANIFEST_NAME),
            "versions": read_manifest(store.folder).versions,
        }
    )[:KEY_LENGTH]


def _link(made: Path, into: Path, component: Component) -> None:
    """Give a variant the component's files, without a second copy on disk where that is possible."""
    for suffix in (".xml", ".bin"):
        name = f"{COMPONENT_FILES[component]}{suffix}"
        try:
            os.link(made / name, into / name)
        except OSError:
            shutil.copy2(made / name, into)
