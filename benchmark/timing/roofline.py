"""The roofline of this machine, and the efficiency of a variant against it.

The rates are measured in OpenVINO, with the threads of the benchmark and shapes that suit its kernels. Arithmetic
limits the encoder; memory limits a decode step, which reads every weight for one token.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sottovoce.benchmark.engines.engine import Probe
from sottovoce.benchmark.engines.probe import INT8
from sottovoce.benchmark.schema.machine import RooflinePart, RooflinePoint
from sottovoce.machine.environment import MachineRates
from sottovoce.runtime.audio.constants import WINDOW_POSITIONS
from sottovoce.runtime.model.compute import ComputeSpec, usable_precision
from sottovoce.runtime.model.openvino.quiet_import import shared_core
from sottovoce.terms import InferencePrecision

N_CALLS = 5
INT8_LEVELS = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSpec:
    """The sizes of the products that measure the rates.

    Attributes:
        rows: of the inputs; Whisper's encoder has 1500 positions.
        size: of the square weights, larger than the caches of a core.
        depth: products in a chain, so that the overhead of a call is small.
        gemv_size: of the square float32 weights that are read once: 256 MiB, larger than any cache.
    """

    rows: int = WINDOW_POSITIONS
    size: int = 2048
    depth: int = 4
    gemv_size: int = 8192


DEFAULT_RATES = RateSpec()


def measure_rates(threads: int, spec: RateSpec = DEFAULT_RATES) -> MachineRates:
    """Measure the highest rates of matrix products by type, and of reading weights from memory."""
    kinds = {"f32": InferencePrecision.F32}
    if usable_precision(InferencePrecision.BF16) is InferencePrecision.BF16:
        kinds["bf16"] = InferencePrecision.BF16
    rates = {
        kind: _product_rate(spec, ComputeSpec(precision=precision, threads=threads), quantized=False)
        for kind, precision in kinds.items()
    }
    rates[INT8] = _product_rate(spec, ComputeSpec(threads=threads), quantized=True)
    return MachineRates(macs_per_s=rates, bytes_per_s=_read_rate(spec, threads))


def best_rates(one: MachineRates, other: MachineRates) -> MachineRates:
    """Take the higher of two measurements of each rate: noise only lowers them."""
    return MachineRates(
        macs_per_s={kind: max(rate, other.macs_per_s[kind]) for kind, rate in one.macs_per_s.items()},
        bytes_per_s=max(one.bytes_per_s, other.bytes_per_s),
    )


def roofline_points(probe: Probe, rates: MachineRates) -> tuple[RooflinePoint, ...]:
    """Compare encoder and decode step with their lower bounds from arithmetic and memory traffic.

    Args:
        probe: times and work of a variant.
        rates: of this machine; a type without a rate counts as f32.
    """
    return (
        _point(
            RooflinePart.ENCODER_WINDOW, _arithmetic_s(probe.encoder_macs, rates.macs_per_s), probe.encoder_s
        ),
        _point(RooflinePart.DECODE_STEP, probe.step_bytes / rates.bytes_per_s, probe.step_s),
    )


def _point(part: RooflinePart, bound_s: float, achieved_s: float) -> RooflinePoint:
    return RooflinePoint(part=part, ceiling_s=bound_s, achieved_s=achieved_s, share=bound_s / achieved_s)


def _arithmetic_s(macs: Mapping[str, int], rates: Mapping[str, float]) -> float:
    return sum(count / rates.get(kind, rates["f32"]) for kind, count in macs.items())


def _product_rate(spec: RateSpec, compute: ComputeSpec, *, quantized: bool) -> float:
    seconds = _best_seconds(_products(spec, quantized=quantized), (spec.rows, spec.size), compute)
    return spec.depth * spec.rows * spec.size * spec.size / seconds


def _products(spec: RateSpec, *, quantized: bool) -> Any:
    """Build a chain of matrix products, with INT8 inputs and weights if it is quantized."""
    import openvino
    from openvino import opset13 as ops

    def quantize(node: Any, limit: float) -> Any:
        ends = (np.float32(-limit), np.float32(limit))
        return ops.fake_quantize(node, *ends, *ends, INT8_LEVELS) if quantized else node

    rng = np.random.default_rng(0)
    first = ops.parameter([spec.rows, spec.size], np.float32)
    node = first
    for i in range(spec.depth):
        weight = ops.constant(rng.standard_normal((spec.size, spec.size), dtype=np.float32))
        spread = 4.0 * spec.size ** (i / 2)  # sums of many products grow from one to the next
        node = ops.matmul(quantize(node, spread), quantize(weight, 4.0), transpose_a=False, transpose_b=True)
    return openvino.Model([node], [first], "products")


def _read_rate(spec: RateSpec, threads: int) -> float:
    """Measure the product of a vector and a large matrix, the access pattern of a decode step."""
    import openvino
    from openvino import opset13 as ops

    weight = np.ones((spec.gemv_size, spec.gemv_size), dtype=np.float32)
    row = ops.parameter([1, spec.gemv_size], np.float32)
    product = ops.matmul(row, ops.constant(weight), transpose_a=False, transpose_b=True)
    model = openvino.Model([product], [row], "gemv")
    return weight.nbytes / _best_seconds(model, (1, spec.gemv_size), ComputeSpec(threads=threads))


def _best_seconds(model: Any, shape: tuple[int, int], compute: ComputeSpec) -> float:
    """Return the seconds of the fastest call: noise only makes calls slower."""
    request = shared_core().compile_model(model, "CPU", compute.properties()).create_infer_request()
    data = np.ones(shape, dtype=np.float32)
    seconds = []
    for _ in range(1 + N_CALLS):
        started = time.perf_counter()
        request.infer([data])
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
