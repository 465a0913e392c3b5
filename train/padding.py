"""The padding states of an elastic variant: what training changes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sottovoce.calibrate.store import CalibrationStore
from sottovoce.optimize.openvino.elastic import replace_padding_keys
from sottovoce.optimize.openvino.padding_states import (
    Floats,
    PaddingKeys,
    cluster,
    padding_keys_of,
    padding_of,
)
from sottovoce.progress import Silent
from sottovoce.runtime.model.elastic import PaddingStates
from sottovoce.runtime.model.layout import component_path
from sottovoce.runtime.model.openvino.quiet_import import shared_core
from sottovoce.terms import Component, ElasticSpec


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Padding:
    """All that stands for the padding of a window.

    Attributes:
        keys: in the encoder's layers.
        states: that the decoder attends to behind the speech, float32, shape (n_states, d_model).
        clusters: the state that stands for each position of a window, uint8, shape (1500,).
    """

    keys: PaddingKeys
    states: Floats
    clusters: NDArray[np.uint8]


def measured_padding(source: Path, store: CalibrationStore, n: int) -> Padding:
    """Return the padding that quantization starts with: cluster means of what the float encoder computes.

    Args:
        source: folder of a float32 variant in OpenVINO.
        store: the record that the variant was quantized from.
        n: keys of each head, and states.
    """
    means = padding_of(source, store)
    keys = padding_keys_of(source, store, n, Silent())
    if keys is None:
        raise AssertionError("n is a number")
    found = cluster(means.states, n)
    return Padding(keys=keys, states=found.means(means.states), clusters=found.labels)


def write_encoder(variant: Path, padding: Padding, spec: ElasticSpec, into: Path) -> None:
    """Write a variant's encoder with other padding states into another folder.

    Args:
        spec: of the variant; its number of centroids is that of `padding`.
        into: an existing folder, not the variant's own: OpenVINO maps the files that it reads.

    Raises:
        StageError: the encoder has no padding keys.
    """
    import openvino

    model = shared_core().read_model(component_path(variant, Component.ENCODER))
    replace_padding_keys(model, padding.keys)
    path = into / component_path(variant, Component.ENCODER).name
    openvino.save_model(model, path, compress_to_fp16=False)
    PaddingStates.save(into, spec, padding.states.astype(np.float16), padding.clusters)
