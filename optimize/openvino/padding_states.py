"""What the encoder computes for the padding of a window, learned from calibration clips: a few weighted cluster means.

After the speech a window is padded with silence, but its encoder states there hold more than silence: they attend to
the speech, and the decoder reads from them that there is some. States of a silent window let it predict no speech
(docs/lab-notes.md). So the states are means over windows with speech, position by position.

Position embeddings turn quickly, so that neighbouring states differ as much as any two. So states that are alike are
clustered wherever they lie, and each cluster's mean stands for all of its positions.

Source: k-means with k-means++ (Arthur and Vassilvitskii 2007), `scipy.cluster.vq.kmeans2`.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import cdist

from sottovoce.calibrate.store import CalibrationStore, Calls
from sottovoce.errors import StageError
from sottovoce.machine.resources import usable_cores
from sottovoce.progress import Reporter
from sottovoce.runtime.audio.constants import (
    FRAMES_PER_POSITION,
    POSITIONS_PER_S,
    WINDOW_FRAMES,
    WINDOW_POSITIONS,
)
from sottovoce.runtime.audio.features import Features
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import component_path
from sottovoce.runtime.model.openvino.quiet_import import shared_core
from sottovoce.terms import Component

N_CLIPS = 32
"""Means over 13 clips fit other clips as well as means over more."""

MARGIN_POSITIONS = 25
"""Padding next to the speech that is encoded and not replaced."""

MIN_PADDING_POSITIONS = 250
"""Least padding of a window; the second half of one with less is replaced by padding."""

N_ITERATIONS = 30

ITERATIONS_AT_ONCE = 5
"""Where these move no centre, the rest would move none."""

MAX_LAYERS = 32
"""Of an encoder of any Whisper."""

N_TRIES = 4
"""Runs of k-means, of which the tightest is used: some miss a cluster that the decoder attends to."""

FLOOR_TOLERANCE = 1e-6

SDPA = "ScaledDotProductAttention"

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddingMeans:
    """What an encoder computes for each position of padding, means over clips.

    Attributes:
        states: its output, float32, shape (1500, d_model).
        keys: of self-attention, float32, shape (n_layers, n_heads, 1500, d_head).
        values: the same.
    """

    states: Floats
    keys: Floats
    values: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddingKeys:
    """Keys and values in each head of an encoder that stand for the padding that is cut off.

    Attributes:
        keys: float32, shape (n_layers, n_heads, n_keys, d_head).
        values: the same.
        counts: positions that each stands for, from `counts_after`; float32, shape (n_layers, n_heads, 61, n_keys).
    """

    keys: Floats
    values: Floats
    counts: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """Vectors divided into clusters.

    Attributes:
        labels: the cluster of each vector, uint8, shape (n_vectors,).
    """

    labels: NDArray[np.uint8]
    n: int

    def means(self, vectors: Floats) -> Floats:
        """Return the mean vector of each cluster.

        Args:
            vectors: float32, shape (n_vectors, width).

        Returns:
            float32, shape (n, width); zeros for an empty cluster.
        """
        sums = np.zeros((self.n, vectors.shape[1]))
        np.add.at(sums, self.labels, vectors)
        counts = np.bincount(self.labels, minlength=self.n)
        means: Floats = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
        return means


def cluster(vectors: Floats, n: int) -> Clusters:
    """Divide vectors into clusters.

    Args:
        vectors: float32, shape (n_vectors, width).
        n: number of clusters, at most 255.
    """
    tries = [_clustered(vectors.astype(np.float64), n, seed) for seed in range(N_TRIES)]
    return min(tries, key=lambda tried: float(np.square(vectors - tried.means(vectors)[tried.labels]).sum()))


def _clustered(vectors: NDArray[np.float64], n: int, seed: int) -> Clusters:
    move = partial(kmeans2, vectors, iter=ITERATIONS_AT_ONCE, minit="matrix", missing="warn")
    centres, labels = move(_spread_centres(vectors, n, np.random.default_rng(seed)))
    for _ in range(N_ITERATIONS // ITERATIONS_AT_ONCE - 1):
        moved, labels = move(centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return Clusters(labels=labels.astype(np.uint8), n=n)


def _spread_centres(vectors: NDArray[np.float64], n: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Choose centres by k-means++: bit by bit those of `kmeans2`, which measures the distances to all of them again for each."""
    chosen = [int(random.integers(len(vectors)))]
    nearest = np.full(len(vectors), np.inf)
    for _ in range(n - 1):
        nearest = np.minimum(nearest, cdist(vectors[chosen[-1:]], vectors, metric="sqeuclidean")[0])
        shares = nearest / nearest.sum()
        chosen.append(int(np.searchsorted(shares.cumsum(), random.uniform())))
    return vectors[chosen]


@lru_cache(maxsize=1)
def padding_of(source: Path, store: CalibrationStore) -> PaddingMeans:
    """Return what a float32 encoder computes for the padding of the recorded clips.

    The last result is cached, since all trials of a search and all blocks of a sensitivity study need the same.

    Args:
        source: folder of a float32 variant in OpenVINO.
    """
    encoder = shared_core().read_model(component_path(source, Component.ENCODER))
    return measure_padding(encoder, store.calls(Component.ENCODER, source))


def padding_keys_of(
    source: Path, store: CalibrationStore, n: int | None, reporter: Reporter
) -> PaddingKeys | None:
    """Return the padding keys of an elastic encoder; those of the last 32 layers are cached.

    Args:
        source: folder of a float32 variant in OpenVINO.
        n: keys for each head, at most 255; None gives no padding keys.
    """
    if n is None:
        return None
    with reporter.progress("encode padding", 1) as advance:
        n_layers = len(padding_of(source, store).keys)
        advance()
    layers = []
    with reporter.progress("cluster padding keys", n_layers) as advance:
        for layer in range(n_layers):
            layers.append(_keys_of_layer(source, store, n, layer))
            advance()
    return PaddingKeys(
        keys=np.concatenate([layer.keys for layer in layers]),
        values=np.concatenate([layer.values for layer in layers]),
        counts=np.concatenate([layer.counts for layer in layers]),
    )


@lru_cache(maxsize=MAX_LAYERS)
def _keys_of_layer(source: Path, store: CalibrationStore, n: int, layer: int) -> PaddingKeys:
    padding, chosen = padding_of(source, store), slice(layer, layer + 1)
    return padding_keys(replace(padding, keys=padding.keys[chosen], values=padding.values[chosen]), n)


def padding_keys(padding: PaddingMeans, n: int) -> PaddingKeys:
    """Cluster the keys of each head, heads side by side on all cores, and take the means of keys and values."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        clusters = [list(pool.map(partial(cluster, n=n), layer)) for layer in padding.keys]
    return PaddingKeys(
        keys=_means_of_heads(clusters, padding.keys),
        values=_means_of_heads(clusters, padding.values),
        counts=np.stack([[counts_after(head.labels, n) for head in layer] for layer in clusters]),
    )


def _means_of_heads(clusters: Sequence[Sequence[Clusters]], vectors: Floats) -> Floats:
    return np.stack(
        [
            [head.means(each) for head, each in zip(heads, layer, strict=True)]
            for heads, layer in zip(clusters, vectors, strict=True)
        ]
    )


def measure_padding(encoder: Any, calls: Calls) -> PaddingMeans:
    """Run an encoder on clips and average what it computes for their padding.

    Args:
        encoder: `openvino.Model` as exported; it is not changed.
        calls: with `input_features`, float32, shape (1, n_mels, 3000).

    Raises:
        StageError: the graph has no attention of the form that this version of optimum-intel exports.
    """
    model = encoder.clone()
    ports = [attention.input_value(port) for attention in attentions_of(model) for port in (1, 2)]
    if not ports:
        raise StageError("encoder: found no attention; this version of optimum-intel is not supported")
    model.add_outputs(ports)
    compiled = shared_core().compile_model(model, "CPU", ComputeSpec().properties())
    sums: list[Floats] = []
    counts = np.zeros(WINDOW_POSITIONS, dtype=np.int64)
    for features, first in _windows(calls):
        found = [each[0] for each in compiled({"input_features": features}).values()]
        sums = sums or [np.zeros_like(each) for each in found]
        for total, each in zip(sums, found, strict=True):
            total[..., first:, :] += each[..., first:, :]
        counts[first:] += 1
    states, *attended = [_means(total, counts) for total in sums]
    return PaddingMeans(states=states, keys=np.stack(attended[::2]), values=np.stack(attended[1::2]))


def attentions_of(model: Any) -> list[Any]:
    """Return the attention nodes of an encoder, layer by layer."""
    return [operation for operation in model.get_ordered_ops() if operation.get_type_name() == SDPA]


def speech_frames(features: Features) -> int:
    """Count the frames of a window before its padding.

    Args:
        features: float32, shape (1, n_mels, 3000); all values of padding are the lowest of the window.
    """
    loud = np.flatnonzero((features[0] > features.min() + FLOOR_TOLERANCE).any(axis=0))
    return int(loud[-1]) + 1 if loud.size else 0


def _windows(calls: Calls) -> Iterator[tuple[Features, int]]:
    """Yield windows that end with padding, and the first position after speech and margin."""
    for call in islice(calls, 0, None, max(1, len(calls) // N_CLIPS)):
        features = _with_padding(call["input_features"])
        yield features, -(-speech_frames(features) // FRAMES_PER_POSITION) + MARGIN_POSITIONS


def _with_padding(features: Features) -> Features:
    """Return a window, its second half replaced by padding where it has too little."""
    if (
        speech_frames(features) // FRAMES_PER_POSITION + MARGIN_POSITIONS + MIN_PADDING_POSITIONS
        <= WINDOW_POSITIONS
    ):
        return features
    cut = features.copy()
    cut[:, :, WINDOW_FRAMES // 2 :] = features.min()
    return cut


def _means(sums: Floats, counts: NDArray[np.int64]) -> Floats:
    """Divide by the number of clips with padding; positions without any take the means of the next ones.

    Args:
        sums: shape (..., 1500, width).
        counts: clips with padding at each position, shape (1500,); never falls.
    """
    first = int(np.flatnonzero(counts)[0])
    measured: Floats = (sums[..., first:, :] / counts[first:, None]).astype(np.float32)
    before = measured[..., np.arange(first) % measured.shape[-2], :]
    means: Floats = np.concatenate([before, measured], axis=-2)
    return means


COUNT_STEP = POSITIONS_PER_S // 2
"""Positions between two rows of `counts_after`."""


def counts_after(labels: NDArray[np.uint8], n: int) -> Floats:
    """Count the positions of each cluster after speech of any length.

    Args:
        labels: the cluster of each position of a window, shape (1500,).

    Returns:
        float32, shape (61, n): after 0, 25, ... 1500 positions of speech.
    """
    starts = range(0, WINDOW_POSITIONS + 1, COUNT_STEP)
    return np.stack([np.bincount(labels[start:], minlength=n) for start in starts]).astype(np.float32)
