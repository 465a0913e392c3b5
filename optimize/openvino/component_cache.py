"""A cache of quantized components on disk.

`optimize` finds the components again that it finished before an interruption; trials of a search that differ only in
the decoder share one encoder.
"""

import os
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from sottovoce.calibrate.store import CalibrationStore
from sottovoce.errors import OutputExistsError, StageError
from sottovoce.optimize.openvino.quantize import quantize_file
from sottovoce.optimize.openvino.tensor_names import renumber_nodes
from sottovoce.progress import Reporter
from sottovoce.recipes.recipe import QuantizedVariant
from sottovoce.runs import Fidelity
from sottovoce.runtime.model.layout import COMPONENT_FILES
from sottovoce.storage.artifacts import MANIFEST_NAME, canonical_sha256, read_manifest, sha256_of_file
from sottovoce.storage.documents import Document, write_text
from sottovoce.storage.folders import new_folder
from sottovoce.terms import Component

COMPONENTS_NAME = "components"

ENTRY_NAME = "verdict.json"

KEY_LENGTH = 32
"""Digits of a hash that name a folder."""

IGNORED_KEYS = frozenset({"name", "int8_cross_keys", "memory"})
"""Keys of `quantize` that change no component here: cross-attention's keys are rewritten in the variant's own files, and memory is what a
process takes that transcribes."""

IGNORED_ELASTIC_KEYS = frozenset({"tail_s", "batch_tail_s", "states_bucket_s"})
"""Keys of `quantize.elastic` that change what is appended to the encoder's output, not the encoder."""


class _Entry(Document):
    """What quantizing gave: the fidelity of the component, or the reason why there is none."""

    fidelity: Fidelity | None
    failure: str | None


class ComponentCache:
    """Writes components like `quantize_file`, and quantizes each only once."""

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
            StageError: quantization destroys the component.
        """
        made = self._folder / key_of(source, store, component, variant)
        if not made.is_dir():
            with (
                suppress(OutputExistsError),
                new_folder(made) as work,
            ):  # another worker may make it at the same time
                entry = _quantize(source, store, component, variant, work, reporter)
                renumber_nodes(work)
                write_text(work / ENTRY_NAME, entry.model_dump_json())
        entry = _Entry.model_validate_json((made / ENTRY_NAME).read_bytes())
        if entry.fidelity is None:
            raise StageError(entry.failure or f"{component}: the reason was not kept")
        _link(made, into, component)
        return entry.fidelity


def _quantize(
    source: Path,
    store: CalibrationStore,
    component: Component,
    variant: QuantizedVariant,
    into: Path,
    reporter: Reporter,
) -> _Entry:
    try:
        fidelity = quantize_file(source, store, component, variant, into, reporter)
    except StageError as cause:
        return _Entry(fidelity=None, failure=str(cause))
    return _Entry(fidelity=fidelity, failure=None)


def key_of(source: Path, store: CalibrationStore, component: Component, variant: QuantizedVariant) -> str:
    """Hash everything that a quantized component depends on: the same key, the same bytes and fidelity."""
    return canonical_sha256(
        {
            "component": component,
            "recipe": keys_of(component, variant),
            "source": sha256_of_file(source / MANIFEST_NAME),
            "calibration": sha256_of_file(store.folder / MANIFEST_NAME),
            "versions": read_manifest(store.folder).versions,
        }
    )[:KEY_LENGTH]


def keys_of(component: Component, variant: QuantizedVariant) -> dict[str, object]:
    """Return the keys of a recipe that a component depends on: all but the ignored ones."""
    keys: dict[str, object] = variant.model_dump(
        mode="json", exclude={*IGNORED_KEYS, "components", "elastic"}
    )
    keys["components"] = variant.components.of(component).model_dump(mode="json")
    if component is Component.ENCODER and variant.elastic is not None:
        elastic = asdict(variant.elastic)
        keys["elastic"] = {key: elastic[key] for key in elastic if key not in IGNORED_ELASTIC_KEYS}
    return keys


def _link(made: Path, into: Path, component: Component) -> None:
    """Give a variant the component's files, without a second copy on disk where that is possible."""
    for suffix in (".xml", ".bin"):
        name = f"{COMPONENT_FILES[component]}{suffix}"
        try:
            os.link(made / name, into / name)
        except OSError:
            shutil.copy2(made / name, into)
