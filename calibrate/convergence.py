"""The number of clips after which the ranges of activations no longer change.

    extremes of each clip -> range after k clips -> change from the range after all -> settled at k

Ranges are computed as in NNCF: SmoothQuant divides each channel by a scale that grows with the largest value of the
channel, and the range is the mean over calls of the smallest and of the largest value. Here the mean over clips replaces
that over calls; for the encoder, a clip is one call.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sottovoce.calibrate.coverage import Finding, Topic
from sottovoce.storage.documents import Document
from sottovoce.terms import Component

TOLERANCE = 0.05
"""Smaller changes of an end of a range, relative to its final size, count as none."""

QUIET_SHARE = 0.25
"""Ranges have converged if none changed during the last quarter of the clips."""

MAX_CHECKPOINTS = 32
"""Largest number of comparisons."""

INT8_LEVELS = 255
"""Steps between the ends of a range."""

LOST_LEVELS, MIN_LEVELS = 0.5, 1.0
"""A side of zero with less than half a level is lost: the zero point is rounded to the end of the range. Below one level
it is close to that. The encoder of whisper-tiny.en was destroyed at about half a level and worked at one
(docs/lab-notes.md)."""

SMALLEST = float(np.finfo(np.float32).eps)
SCALE_QUANTILE, LARGEST_SCALE = 0.1, 100.0
"""NNCF clips the scales of SmoothQuant to this quantile and this maximum."""

Extremes = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputExtremes:
    """The smallest and largest values of a tensor that is the input of operations with a weight.

    Attributes:
        operations: friendly name and type of each operation; `name` is that of the first one.
        lows: float32, shape (n_clips, n_channels).
        highs: the same shape.
        weight_maxima: the largest absolute weight of each input channel, for each operation, shape (n_channels,);
            empty if SmoothQuant does not apply.
    """

    name: str
    operations: tuple[tuple[str, str], ...]
    lows: Extremes
    highs: Extremes
    weight_maxima: tuple[NDArray[np.float32], ...]


class InputRange(Document):
    """The range of a tensor after all clips, and the number of clips after which it settled."""

    name: str = Field(description="Of the first operation that takes the tensor as input.")
    low: float = Field(description="Mean over clips, zero included, SmoothQuant applied.")
    high: float
    zero_point: float = Field(description="Of 255 levels, those below zero.")
    settled_at: int = Field(description="Clips from which on neither end changed by more than the tolerance.")


class CurvePoint(Document):
    """The distance of the ranges from the final ones after a number of clips."""

    n_clips: int
    settled_share: float = Field(description="Of the tensors, a fraction: they no longer change.")
    largest_change: float = Field(description="Of an end of any range, by its final size.")


class Convergence(Document):
    """How the ranges of a component changed as clips were added, in the order of the record."""

    component: Component
    is_quantized: bool = Field(description="The recipe turns its activations into INT8.")
    n_clips: int
    smooth_quant_alpha: float | None = Field(description="That of the recipe; null: without SmoothQuant.")
    tolerance: float
    settled_at: int = Field(description="Clips from which on no range changed by more than the tolerance.")
    converged: bool = Field(description="Nothing changed during the last quarter of the clips.")
    ranges: tuple[InputRange, ...]
    curve: tuple[CurvePoint, ...]


def measure_convergence(
    inputs: Sequence[InputExtremes], component: Component, *, alpha: float | None, is_quantized: bool
) -> Convergence:
    """Measure how the ranges of a component change as clips are added.

    Args:
        inputs: at least one input of the component, all over the same clips.
    """
    n_clips = inputs[0].lows.shape[0]
    counts = checkpoints(n_clips)
    ranges = np.array([[range_after(tensor, count, alpha) for tensor in inputs] for count in counts])
    changes = relative_changes(ranges)
    settled = [settled_at(counts, changes[:, i]) for i in range(len(inputs))]
    return Convergence(
        component=component,
        is_quantized=is_quantized,
        n_clips=n_clips,
        smooth_quant_alpha=alpha,
        tolerance=TOLERANCE,
        settled_at=max(settled),
        converged=has_converged(max(settled), n_clips),
        ranges=tuple(
            _input_range(tensor.name, low, high, at)
            for tensor, (low, high), at in zip(inputs, ranges[-1], settled, strict=True)
        ),
        curve=tuple(
            CurvePoint(
                n_clips=count,
                settled_share=sum(at <= count for at in settled) / len(settled),
                largest_change=float(change.max()),
            )
            for count, change in zip(counts, changes, strict=True)
        ),
    )


def checkpoints(n_clips: int) -> tuple[int, ...]:
    """Return the numbers of clips at which ranges are compared: at most 32, evenly spaced, the last is `n_clips`."""
    steps = min(n_clips, MAX_CHECKPOINTS)
    return tuple(round(n_clips * step / steps) for step in range(1, steps + 1))


def range_after(tensor: InputExtremes, n_clips: int, alpha: float | None) -> tuple[float, float]:
    """Return the range of a tensor over the first `n_clips` clips, zero included."""
    lows, highs = tensor.lows[:n_clips], tensor.highs[:n_clips]
    if alpha is not None and tensor.weight_maxima:
        scales = smoothing_scales(np.maximum(-lows, highs).max(axis=0), tensor.weight_maxima, alpha)
        lows, highs = lows / scales, highs / scales
    low, high = float(lows.min(axis=1).mean()), float(highs.max(axis=1).mean())
    return min(low, 0.0), max(high, 0.0)


def smoothing_scales(
    activation_maxima: NDArray[np.float32], weight_maxima: Sequence[NDArray[np.float32]], alpha: float
) -> NDArray[np.float32]:
    """Return the scales by which SmoothQuant divides the channels of an activation.

    Args:
        activation_maxima: largest absolute value of each channel, shape (n_channels,).
        weight_maxima: the same for the weights of each operation.
        alpha: 0 to 1; 1 moves the whole spread into the weights.

    Returns:
        shape (n_channels,), positive.

    Source: Xiao et al. 2022, equation 4. As in NNCF 3.4, scales are clipped to their 0.1 quantile and 100,
        and the operation with the most even scales is used.
    """
    candidates = [_scales(activation_maxima, maxima, alpha) for maxima in weight_maxima]
    return max(candidates, key=lambda scales: float(scales.min() / (scales.max() + SMALLEST)))


def _scales(
    activation_maxima: NDArray[np.float32], weight_maxima: NDArray[np.float32], alpha: float
) -> NDArray[np.float32]:
    activations = np.maximum(activation_maxima, SMALLEST)
    weights = np.maximum(weight_maxima, SMALLEST)
    scales = activations**alpha / (weights ** (1 - alpha) + SMALLEST)
    clipped = np.clip(scales, np.quantile(scales, SCALE_QUANTILE), LARGEST_SCALE)
    return np.asarray(clipped, dtype=np.float32)


def relative_changes(ranges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compare the ranges at each checkpoint with the last ones.

    The change of an end is relative to its own size: half of a small negative side is a large change for the many
    values on it. Ends of less than one level are compared with one level.

    Args:
        ranges: low and high, shape (n_checkpoints, n_tensors, 2).

    Returns:
        The larger change of both ends, shape (n_checkpoints, n_tensors), zeros in the last row.
    """
    final = ranges[-1]
    level = (final[:, 1] - final[:, 0]) / INT8_LEVELS
    size = np.maximum(np.abs(final), np.maximum(level, SMALLEST)[:, np.newaxis])
    changes: NDArray[np.float64] = (np.abs(ranges - final) / size).max(axis=2)
    return changes


def settled_at(
    counts: Sequence[int], changes: Sequence[float] | NDArray[np.float64], tolerance: float = TOLERANCE
) -> int:
    """Return the smallest of `counts` after which no change exceeds the tolerance.

    Args:
        counts: rising numbers of clips.
        changes: change from the last range at each of them; the last one is 0.
    """
    large = [i for i, change in enumerate(changes) if not change <= tolerance]
    return counts[large[-1] + 1] if large else counts[0]


def has_converged(settled: int, n_clips: int) -> bool:
    """Return whether no range changed during the last quarter of the clips."""
    return settled <= (1 - QUIET_SHARE) * n_clips


def _input_range(name: str, low: float, high: float, settled: int) -> InputRange:
    width = high - low
    return InputRange(
        name=name,
        low=low,
        high=high,
        zero_point=-low / width * INT8_LEVELS if width > 0 else 0.0,
        settled_at=settled,
    )


def describe_convergence(convergence: Convergence) -> tuple[Finding, ...]:
    """Describe ranges that did not settle, and ranges that almost lose one side of zero.

    Components with float activations are skipped.
    """
    if not convergence.is_quantized:
        return ()
    name = convergence.component.replace("_", " ")
    alpha = convergence.smooth_quant_alpha
    smoothing = " without SmoothQuant" if alpha is None else f" at SmoothQuant alpha {alpha:g}"
    texts = [
        f"{name}: values {side} zero at the input of {found.name} span {levels:.2f} of {INT8_LEVELS} levels"
        f"{smoothing}: {'INT8 turns' if levels < LOST_LEVELS else 'other clips may turn'} them all to 0; "
        "try another smooth_quant_alpha"
        for found in convergence.ranges
        for side, levels in (("below", found.zero_point), ("above", INT8_LEVELS - found.zero_point))
        if 0 < levels < MIN_LEVELS
    ]
    if not convergence.converged:
        last = max(convergence.ranges, key=lambda found: found.settled_at)
        texts.append(
            f"{name}: ranges still changed by more than {100 * convergence.tolerance:g} % after "
            f"{(1 - QUIET_SHARE) * convergence.n_clips:.0f} of {convergence.n_clips} clips (last {last.name}); "
            "record more clips"
        )
    return tuple(Finding(topic=Topic.RANGES, text=text) for text in texts)
