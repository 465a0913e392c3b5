"""A forecast of the memory, disk space and time of a whole run.

The constants of memory come from whisper-tiny.en, base and large-v3-turbo's shape; those of time from one run of whisper-tiny.en
on a loaded machine, rounded up (docs/lab-notes.md).
"""

from dataclasses import dataclass

from sottovoce.calibrate.forecast import FLOAT_BYTES, Forecast, ModelShape, gib, minutes
from sottovoce.optimize.ctranslate2.export import BYTES_PER_WEIGHT
from sottovoce.recipes.recipe import FloatVariant, QuantizedVariant, Recipe
from sottovoce.terms import Format, Layout, Weights

EXPORT_PROCESS_BYTES = 1 << 30
EXPORT_WEIGHT_COPIES = 2
"""Memory of the export: libraries, and the weights in PyTorch and as constants. Its parity check takes no more than recording."""

QUANTIZE_PROCESS_BYTES = 1_400 << 20
QUANTIZE_WEIGHT_COPIES = 4.5
"""Memory of quantization: libraries and statistics, and the encoder's weights, which NNCF copies while both graphs exist."""

EXPORT_S = 30.0
EXPORT_BYTES_PER_S = 1e7
"""Time of the export: libraries and checkpoint; tracing, writing and comparing float variants, by their size."""

QUANTIZE_EXAMINATIONS = 6.0
"""Time of quantization, by that of the audit of the record, which also runs the encoder on all clips."""


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


def forecast_run(recipe: Recipe, shape: ModelShape, recording: Forecast) -> RunForecast:
    """Forecast a run.

    Args:
        recording: of its calibration.
    """
    float_bytes = sum(_forecast_float(variant, shape) for variant in recipe.float_variants)
    export_bytes = EXPORT_PROCESS_BYTES + EXPORT_WEIGHT_COPIES * shape.checkpoint_bytes
    quantize_bytes = QUANTIZE_PROCESS_BYTES + QUANTIZE_WEIGHT_COPIES * shape.encoder_bytes
    export_s = EXPORT_S + float_bytes / EXPORT_BYTES_PER_S
    quantize_s = QUANTIZE_EXAMINATIONS * recording.time.examination_s
    return RunForecast(
        memory_bytes=int(max(export_bytes, recording.peak_memory_bytes, quantize_bytes)),
        disk_bytes=int(float_bytes + _forecast_quantized(recipe.quantize, shape) + recording.disk_bytes),
        time_s=export_s + recording.time.total_s + quantize_s,
        recording=recording,
    )


def _forecast_float(variant: FloatVariant, shape: ModelShape) -> float:
    # Both decoders merged into one graph share their weights.
    merged_bytes = shape.decoder_bytes if variant.merged else 0
    return (_float_bytes(variant.layout, shape) + merged_bytes) * (
        1.0 if variant.weights is Weights.FP32 else 0.5
    )


def _forecast_quantized(variant: QuantizedVariant, shape: ModelShape) -> float:
    """Forecast the quantized variant, as if its components stayed float."""
    if variant.format is Format.CTRANSLATE2:
        return shape.checkpoint_bytes * BYTES_PER_WEIGHT[variant.ctranslate2_type] / FLOAT_BYTES
    return _float_bytes(variant.layout, shape)


def _float_bytes(layout: Layout, shape: ModelShape) -> int:
    return shape.weight_bytes if layout is Layout.STATELESS else shape.checkpoint_bytes
