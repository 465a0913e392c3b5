"""A forecast of the memory, disk space and time of a whole run.

The constants of time come from one run of whisper-tiny.en on a loaded machine, and are rounded up (docs/lab-notes.md).
"""

from dataclasses import dataclass

from sottovoce.calibrate.forecast import Forecast, gib, minutes
from sottovoce.optimize.ctranslate2.export import BYTES_PER_WEIGHT
from sottovoce.recipes.recipe import FloatVariant, QuantizedVariant, Recipe
from sottovoce.terms import Format, Layout, Weights

EXPORT_PROCESS_BYTES = 1 << 30
EXPORT_WEIGHT_COPIES = 4
"""Memory of the export: libraries, and the weights in PyTorch, traced, as constants, in the parity check."""

EXPORT_S = 30.0
EXPORT_BYTES_PER_S = 1e7
"""Time of the export: libraries and checkpoint; tracing, writing and comparing float variants, by their size."""

QUANTIZE_EXAMINATIONS = 6.0
"""Time of quantization, by that of the audit of the record, which also runs the encoder on all clips."""

TWO_DECODERS = 1.8
"""Size of the stateless layout relative to the checkpoint: it has the decoder's weights, about 0.8 of all, twice."""

MERGED_DECODERS = TWO_DECODERS - 1
"""Relative size of both decoders merged into one graph, which shares their weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunForecast:
    """The most that making a run needs.

    Attributes:
        memory_bytes: at once.
        disk_bytes: of the finished run, with its calibration record.
        time_s: on this machine, all steps.
        recording: the part of the calibration.
    """

    memory_bytes: int
    disk_bytes: int
    time_s: float
    recording: Forecast

    def describe(self) -> str:
        """Return memory, disk space and time as text."""
        return (
            f"{minutes(self.time_s)}, {gib(self.memory_bytes)} of memory and {gib(self.disk_bytes)} of disk"
        )


def forecast_run(recipe: Recipe, weight_bytes: int, recording: Forecast) -> RunForecast:
    """Forecast a run.

    Args:
        weight_bytes: size of the checkpoint's weights in float32.
        recording: of its calibration.
    """
    float_bytes = sum(_forecast_float(variant, weight_bytes) for variant in recipe.float_variants)
    export_bytes = EXPORT_PROCESS_BYTES + EXPORT_WEIGHT_COPIES * weight_bytes
    export_s = EXPORT_S + float_bytes / EXPORT_BYTES_PER_S
    quantize_s = QUANTIZE_EXAMINATIONS * recording.time.examination_s
    return RunForecast(
        memory_bytes=max(export_bytes, recording.peak_memory_bytes),
        disk_bytes=int(
            float_bytes + _forecast_quantized(recipe.quantize, weight_bytes) + recording.disk_bytes
        ),
        time_s=export_s + recording.time.total_s + quantize_s,
        recording=recording,
    )


def _forecast_float(variant: FloatVariant, weight_bytes: int) -> float:
    graphs = TWO_DECODERS if variant.layout is Layout.STATELESS else 1.0
    merged = MERGED_DECODERS if variant.merged else 0.0
    return weight_bytes * (graphs + merged) * (1.0 if variant.weights is Weights.FP32 else 0.5)


def _forecast_quantized(variant: QuantizedVariant, weight_bytes: int) -> float:
    """Forecast the quantized variant, as if its components stayed float."""
    if variant.format is Format.CTRANSLATE2:
        return weight_bytes * BYTES_PER_WEIGHT[variant.ctranslate2_type] / 4
    return weight_bytes * TWO_DECODERS
