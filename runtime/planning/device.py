"""The speed of a device, measured in some ten seconds without a model, and written as JSON that travels."""

import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from sottovoce.machine.environment import Host, read_host
from sottovoce.machine.resources import available_memory_bytes
from sottovoce.runtime.audio.constants import HOP_SAMPLES
from sottovoce.runtime.audio.features import log_mel
from sottovoce.runtime.model.compute import ComputeSpec, usable_precision
from sottovoce.runtime.model.openvino.quiet_import import import_openvino, shared_core
from sottovoce.storage.documents import Document, read_document
from sottovoce.terms import InferencePrecision

INT8 = "int8"

INT8_LEVELS = 255

COPIES, MEMORY_SHARE = 3, 4
"""A graph takes three times its weights; those that would take more than a quarter of the available memory are left out."""

SMALL_WIDTH, N_SMALL = 64, 64
"""Width and number of products that are all overhead."""

FRAMES = 1000
"""Of the features that are computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSpec:
    """What is measured.

    Attributes:
        rows: of the products that stand for an encoder; 500 are 10 s of audio.
        widths: inputs and outputs of the products, in turns.
        depth: products in a chain.
        step_bytes: weights of the graphs that stand for a decode step: those of tiny.en, base and small.
        seconds: of each graph, after it was run twice.
        disk_bytes: of the file that is read back.
    """

    rows: int = 500
    widths: tuple[int, int] = (512, 2048)
    depth: int = 4
    step_bytes: tuple[int, ...] = (28_000_000, 50_000_000, 140_000_000)
    seconds: float = 0.6
    disk_bytes: int = 32 << 20


DEFAULT_SPEC = MeasureSpec()


class StepRate(Document):
    """How fast products of one row read INT8 weights of a size."""

    weight_bytes: int
    bytes_per_s: float = Field(gt=0)


class Device(Document):
    """What a device computes and reads in a second; `sottovoce plan --json` prints it under `device`."""

    host: Host
    threads: int = Field(ge=1, description="That the figures were measured with.")
    available_memory_bytes: int = Field(description="Without swapping, when they were measured.")
    macs_per_s: dict[str, float] = Field(
        description="Multiply-accumulates of products of 500 rows by type: int8, f32, and bf16 where the CPU has it."
    )
    steps: tuple[StepRate, ...] = Field(min_length=1, description="By the size of all weights, ascending.")
    operation_s: float = Field(gt=0, description="Overhead of a node of a graph.")
    frame_s: float = Field(gt=0, description="Log-mel features of 10 ms.")
    disk_bytes_per_s: float | None = Field(
        description="Of a file that is in no cache; null where that cannot be measured."
    )

    def products_per_s(self, kind: str) -> float:
        """Return the multiply-accumulates a second of a type; those of f32 where the CPU lacks it."""
        return self.macs_per_s.get(kind, self.macs_per_s["f32"])

    def read_bytes_per_s(self, weight_bytes: float) -> float:
        """Return how fast a step reads so many weights, between the sizes that were measured."""
        sizes = [rate.weight_bytes for rate in self.steps]
        return float(np.interp(weight_bytes, sizes, [rate.bytes_per_s for rate in self.steps]))


class _PlanDocument(BaseModel):
    """What `sottovoce plan --json` prints, as far as a device needs it."""

    device: Device


def read_device(path: Path) -> Device:
    """Read the device of what `sottovoce plan --json` printed there.

    Raises:
        InputError: the file cannot be read, or describes no device.
    """
    advice = "print one on the device with `sottovoce plan --json`"
    return read_document(path, _PlanDocument, advice=advice).device


def measure_device(threads: int, spec: MeasureSpec = DEFAULT_SPEC) -> Device:
    """Measure this machine: products of three types, weights read at three sizes, overhead, features, disk."""
    import_openvino()
    small = _products(1, (SMALL_WIDTH, SMALL_WIDTH), N_SMALL, _Weights.FLOAT)
    return Device(
        host=read_host(),
        threads=threads,
        available_memory_bytes=available_memory_bytes(),
        macs_per_s=_product_rates(threads, spec),
        steps=_step_rates(threads, spec),
        operation_s=_call_s(small, ComputeSpec(threads=threads), spec.seconds) / N_SMALL,
        frame_s=_frame_s(spec.seconds),
        disk_bytes_per_s=_disk_rate(spec.disk_bytes),
    )


def _product_rates(threads: int, spec: MeasureSpec) -> dict[str, float]:
    kinds = {"f32": InferencePrecision.F32}
    if usable_precision(InferencePrecision.BF16) is InferencePrecision.BF16:
        kinds["bf16"] = InferencePrecision.BF16

    def rate(weights: _Weights, precision: InferencePrecision) -> float:
        model = _products(spec.rows, spec.widths, spec.depth, weights)
        seconds = _call_s(model, ComputeSpec(precision=precision, threads=threads), spec.seconds)
        return spec.depth * spec.rows * math.prod(spec.widths) / seconds

    return {
        INT8: rate(_Weights.INT8_PRODUCTS, InferencePrecision.F32),
        **{name: rate(_Weights.FLOAT, precision) for name, precision in kinds.items()},
    }


def _step_rates(threads: int, spec: MeasureSpec) -> tuple[StepRate, ...]:
    room = available_memory_bytes() / (COPIES * MEMORY_SHARE)
    sizes = [size for size in spec.step_bytes if size <= room] or spec.step_bytes[:1]
    return tuple(_step_rate(size, threads, spec) for size in sizes)


def _step_rate(weight_bytes: int, threads: int, spec: MeasureSpec) -> StepRate:
    depth = max(1, round(weight_bytes / math.prod(spec.widths)))
    read = depth * math.prod(spec.widths)
    compute = ComputeSpec(precision=InferencePrecision.BF16, threads=threads)
    seconds = _call_s(_products(1, spec.widths, depth, _Weights.INT8), compute, spec.seconds)
    return StepRate(weight_bytes=read, bytes_per_s=read / seconds)


class _Weights(Enum):
    """Of a product: float; INT8 on disk, activations float; INT8 with INT8 activations."""

    FLOAT = auto()
    INT8 = auto()
    INT8_PRODUCTS = auto()


def _products(n_rows: int, widths: tuple[int, int], depth: int, kind: _Weights) -> Any:
    """Build a chain of matrix products (`openvino.Model`) of `n_rows` rows, with inputs and outputs of `widths` in turns."""
    import openvino
    from openvino import opset13 as ops

    ends = (np.float32(-1), np.float32(1))
    scale = np.float32(1 / INT8_LEVELS)
    random = np.random.default_rng(0)
    first = ops.parameter([n_rows, widths[0]], np.float32)
    node = first
    for number in range(depth):
        n_in, n_out = widths if number % 2 == 0 else widths[::-1]
        stored = random.integers(-127, 127, (n_out, n_in), dtype=np.int8)
        weights = (
            ops.constant(stored * scale)
            if kind is _Weights.FLOAT
            else ops.multiply(ops.convert(ops.constant(stored), "f32"), scale)
        )
        if kind is _Weights.INT8_PRODUCTS:
            node = ops.fake_quantize(node, *ends, *ends, INT8_LEVELS)
        node = ops.matmul(node, weights, transpose_a=False, transpose_b=True)
    return openvino.Model([node], [first], "products")


def _call_s(model: Any, compute: ComputeSpec, seconds: float) -> float:
    """Return the seconds of the fastest call of a graph."""
    request = shared_core().compile_model(model, "CPU", compute.properties()).create_infer_request()
    data = np.ones(tuple(model.inputs[0].get_shape()), dtype=np.float32)
    return _fastest(
        lambda: request.infer([data]), seconds, clock=process_time if compute.threads == 1 else perf_counter
    )


def _fastest(
    call: Callable[[], object], seconds: float, *, clock: Callable[[], float] = process_time
) -> float:
    """Return the seconds of the fastest call: noise only makes calls slower.

    The time of the processor is that of one thread, whatever else the machine does.
    """
    for _ in range(2):
        call()
    found: list[float] = []
    until = perf_counter() + seconds
    while not found or perf_counter() < until:
        started = clock()
        call()
        found.append(clock() - started)
    return min(found)


def _frame_s(seconds: float) -> float:
    wave = np.random.default_rng(0).standard_normal(FRAMES * HOP_SAMPLES).astype(np.float32)
    return _fastest(lambda: log_mel(wave, n_mels=80, n_frames=FRAMES), seconds) / FRAMES


def _disk_rate(n_bytes: int) -> float | None:
    """Read a file back that was written to the disk and dropped from the cache."""
    if not hasattr(os, "posix_fadvise"):
        return None
    try:
        with tempfile.NamedTemporaryFile(buffering=0) as file:
            file.write(os.urandom(n_bytes))
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.seek(0)
            started = perf_counter()
            file.read(n_bytes)
            return n_bytes / (perf_counter() - started)
    except OSError:
        return None
