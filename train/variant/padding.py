"""The padding states of an elastic variant: read, measured anew, as tensors, and written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.calibrate.store import CalibrationStore
from sottovoce.optimize.openvino.elastic import read_padding_keys, replace_padding_keys
from sottovoce.optimize.openvino.padding_states import (
    COUNT_STEP,
    Floats,
    PaddingKeys,
    cluster,
    padding_keys_of,
    padding_of,
)
from sottovoce.progress import Silent
from sottovoce.runtime.audio.constants import WINDOW_POSITIONS
from sottovoce.runtime.model.elastic import NO_POSITION, PaddingStates
from sottovoce.runtime.model.layout import component_path
from sottovoce.runtime.model.openvino.quiet_import import shared_core
from sottovoce.terms import Component, ElasticSpec
from sottovoce.train.variant.whisper import PaddingTensors


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


def read_padding(variant: Path) -> Padding | None:
    """Read the padding states of a variant; None where it has none of clusters.

    Raises:
        StageError: its layers have none, or quantized ones.
        InputError: the file of the decoder's states is damaged.
    """
    stored = PaddingStates.load(variant)
    if stored is None or stored.clusters is None:
        return None
    model = shared_core().read_model(component_path(variant, Component.ENCODER))
    return Padding(
        keys=read_padding_keys(model), states=stored.states.astype(np.float32), clusters=stored.clusters
    )


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
    put_padding(model, padding, spec, into)
    path = into / component_path(variant, Component.ENCODER).name
    openvino.save_model(model, path, compress_to_fp16=False)


def put_padding(model: Any, padding: Padding, spec: ElasticSpec, into: Path) -> None:
    """Give an encoder (`openvino.Model`) other padding keys, and write the decoder's padding states into a folder."""
    replace_padding_keys(model, padding.keys)
    PaddingStates.save(into, spec, padding.states.astype(np.float16), padding.clusters)


def no_padding(config: Any) -> PaddingTensors:
    """Return the padding of a variant that encodes 30 s: none.

    Args:
        config: `transformers.WhisperConfig`.
    """
    import torch

    n_layers, n_heads = config.encoder_layers, config.encoder_attention_heads
    keys = torch.zeros(n_layers, n_heads, 0, config.d_model // n_heads)
    return PaddingTensors(
        keys=keys,
        values=keys,
        key_scores=torch.zeros(n_layers, n_heads, WINDOW_POSITIONS // COUNT_STEP + 1, 0),
        states=torch.zeros(0, config.d_model),
        state_scores=torch.zeros(WINDOW_POSITIONS + 1, 0),
    )


def tensors_of(padding: Padding) -> PaddingTensors:
    """Turn padding into tensors."""
    import torch

    keys = padding.keys
    return PaddingTensors(
        keys=torch.from_numpy(keys.keys),
        values=torch.from_numpy(keys.values),
        key_scores=torch.from_numpy(_logarithms(keys.counts)),
        states=torch.from_numpy(padding.states),
        state_scores=torch.from_numpy(_logarithms(_counts_after_each(padding))),
    )


def _counts_after_each(padding: Padding) -> Any:
    """Count the positions of each state after speech of 0, 1, ... 1500 positions: shape (1501, n_states)."""
    is_of = np.eye(len(padding.states), dtype=np.float32)[padding.clusters]
    counts = np.zeros((WINDOW_POSITIONS + 1, len(padding.states)), dtype=np.float32)
    counts[:-1] = is_of[::-1].cumsum(axis=0)[::-1]
    return counts


def _logarithms(counts: Any) -> Any:
    return np.log(np.maximum(counts, np.float32(NO_POSITION))).astype(np.float32)
