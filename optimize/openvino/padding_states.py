"""What a window holds behind its speech, learned from calibration clips: a few centroids that are counted.

Behind the speech a window is padded with silence, but its positions there hold more than silence: they attend to the
speech, and the encoder leaves word in them that there is some. Encoded from silence alone they tell the decoder that
nobody speaks (docs/lab-notes.md). So they are taken from windows with speech, as means over clips, position by
position.

Neighbours differ as far as any two of them, since position embeddings turn quickly. So what stands for many positions
is the centroid of those that are alike, wherever they lie.

Source: k-means with k-means++ (Arthur and Vassilvitskii 2007), `scipy.cluster.vq.kmeans2`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from sottovoce.calibrate.store import CalibrationStore, Calls
from sottovoce.errors import StageError
from sottovoce.runtime.audio.features import WINDOW_FRAMES, Features
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.elastic import FRAMES_PER_POSITION, POSITIONS_PER_S, WINDOW_POSITIONS
from sottovoce.runtime.model.layout import component_path
from sottovoce.terms import Component

N_CLIPS = 32
"""13 gave means that stand for other clips as well as more do."""

MARGIN_POSITIONS = 25
"""Of padding behind the speech: what lies nearer to it is encoded."""

LEAST_SILENT = 250
"""Positions of padding that a clip has to have; a longer clip is cut."""

N_ITERATIONS = 30

N_TRIES = 4
"""Starts of k-means, of which the tightest is taken: some miss a kind that the decoder listens to."""

FLOOR_TOLERANCE = 1e-6

SDPA = "ScaledDotProductAttention"

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddingMeans:
    """What an encoder computes for each position behind the speech, means over clips.

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
    """Keys that the heads of an encoder keep for what lies behind the speech.

    Attributes:
        keys: float32, shape (n_layers, n_heads, n_keys, d_head).
        values: the same.
        counts: positions that each stands for, as `counts_behind` gives them; float32, shape
            (n_layers, n_heads, 61, n_keys).
    """

    keys: Floats
    values: Floats
    counts: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """What stands for many vectors, and for which.

    Attributes:
        kinds: the centroid of each vector, uint8, shape (n,).
        n: number of centroids.
    """

    kinds: NDArray[np.uint8]
    n: int

    def means(self, vectors: Floats) -> Floats:
        """Return the mean of the vectors of each kind.

        Args:
            vectors: float32, shape (n_vectors, width).

        Returns:
            float32, shape (n, width); zeros for a kind of no vector.
        """
        sums = np.zeros((self.n, vectors.shape[1]))
        np.add.at(sums, self.kinds, vectors)
        counts = np.bincount(self.kinds, minlength=self.n)
        means: Floats = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
        return means


def cluster(vectors: Floats, n: int) -> Clusters:
    """Divide vectors into kinds that are alike.

    Args:
        vectors: float32, shape (n_vectors, width).
        n: number of kinds, at most 255.
    """
    tries = [_divided(vectors.astype(np.float64), n, seed) for seed in range(N_TRIES)]
    return min(tries, key=lambda tried: float(np.square(vectors - tried.means(vectors)[tried.kinds]).sum()))


def _divided(vectors: NDArray[np.float64], n: int, seed: int) -> Clusters:
    random = np.random.default_rng(seed)
    _, kinds = kmeans2(vectors, n, iter=N_ITERATIONS, minit="++", rng=random, missing="warn")
    return Clusters(kinds=kinds.astype(np.uint8), n=n)


@lru_cache(maxsize=1)
def padding_of(source: Path, store: CalibrationStore) -> PaddingMeans:
    """Return what a float32 encoder computes behind the speech of a record's clips.

    The last answer is kept: the trials of a search and the blocks of a sensitivity study ask for the same.

    Args:
        source: folder of a float32 variant in OpenVINO.
        store: the calibration record.
    """
    import openvino

    encoder = openvino.Core().read_model(component_path(source, Component.ENCODER))
    return measure_padding(encoder, store.calls(Component.ENCODER, source))


@lru_cache(maxsize=1)
def padding_keys_of(source: Path, store: CalibrationStore, n: int) -> PaddingKeys:
    """Return the keys of silence that an elastic encoder keeps; the last answer is kept.

    Args:
        source: folder of a float32 variant in OpenVINO.
        store: the calibration record.
        n: keys for each head, at most 255.
    """
    return padding_keys(padding_of(source, store), n)


def padding_keys(silence: PaddingMeans, n: int) -> PaddingKeys:
    """Let a few keys stand for all of them, head by head."""
    divided = [[cluster(head, n) for head in layer] for layer in silence.keys]
    return PaddingKeys(
        keys=_means_of_heads(divided, silence.keys),
        values=_means_of_heads(divided, silence.values),
        counts=np.stack([[counts_behind(head.kinds, n) for head in layer] for layer in divided]),
    )


def _means_of_heads(divided: Sequence[Sequence[Clusters]], vectors: Floats) -> Floats:
    return np.stack(
        [
            [head.means(each) for head, each in zip(heads, layer, strict=True)]
            for heads, layer in zip(divided, vectors, strict=True)
        ]
    )


def measure_padding(encoder: Any, calls: Calls) -> PaddingMeans:
    """Run an encoder on clips and take the means of what it computes behind their speech.

    Args:
        encoder: `openvino.Model` as exported; it is not changed.
        calls: with `input_features`, float32, shape (1, n_mels, 3000).

    Raises:
        StageError: the graph has no attention of the form that this version of optimum-intel exports.
    """
    import openvino

    asked = encoder.clone()
    ports = [attention.input_value(port) for attention in attentions_of(asked) for port in (1, 2)]
    if not ports:
        raise StageError("encoder: found no attention; this version of optimum-intel is not supported")
    asked.add_outputs(ports)
    compiled = openvino.Core().compile_model(asked, "CPU", ComputeSpec().properties())
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
    """Return how many frames of a window come before the padding.

    Args:
        features: float32, shape (1, n_mels, 3000); frames of padding hold the lowest value.
    """
    loud = np.flatnonzero((features[0] > features.min() + FLOOR_TOLERANCE).any(axis=0))
    return int(loud[-1]) + 1 if loud.size else 0


def _windows(calls: Calls) -> Iterator[tuple[Features, int]]:
    """Yield windows with padding at their end, and the first position behind speech and margin."""
    for call in islice(calls, 0, None, max(1, len(calls) // N_CLIPS)):
        features = _with_padding(call["input_features"])
        yield features, -(-speech_frames(features) // FRAMES_PER_POSITION) + MARGIN_POSITIONS


def _with_padding(features: Features) -> Features:
    """Leave a window as it is, or turn its second half into padding where it has hardly any."""
    if speech_frames(features) // FRAMES_PER_POSITION + MARGIN_POSITIONS + LEAST_SILENT <= WINDOW_POSITIONS:
        return features
    cut = features.copy()
    cut[:, :, WINDOW_FRAMES // 2 :] = features.min()
    return cut


def _means(sums: Floats, counts: NDArray[np.int64]) -> Floats:
    """Divide by how many clips had padding; where none had, what comes next stands for it.

    Args:
        sums: shape (..., 1500, width).
        counts: of clips, shape (1500,); rises.
    """
    first = int(np.flatnonzero(counts)[0])
    heard: Floats = (sums[..., first:, :] / counts[first:, None]).astype(np.float32)
    before = heard[..., np.arange(first) % heard.shape[-2], :]
    means: Floats = np.concatenate([before, heard], axis=-2)
    return means


COUNT_STEP = POSITIONS_PER_S // 2
"""Positions between two rows of `counts_behind`."""


def counts_behind(kinds: NDArray[np.uint8], n: int) -> Floats:
    """Count the positions of each kind behind speech of any length.

    Args:
        kinds: of each position of a window, shape (1500,).
        n: number of kinds.

    Returns:
        float32, shape (61, n): behind 0, 25, ... 1500 positions.
    """
    starts = range(0, WINDOW_POSITIONS + 1, COUNT_STEP)
    return np.stack([np.bincount(kinds[start:], minlength=n) for start in starts]).astype(np.float32)
