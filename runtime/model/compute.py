"""The precision that a model computes in: set in OpenVINO, and read back from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sottovoce.machine.cpu import BF16, VNNI, lacks_all
from sottovoce.machine.resources import usable_cores
from sottovoce.runtime.model.openvino.quiet_import import shared_core
from sottovoce.terms import InferencePrecision, KvPrecision, MemoryUse

COMPUTING_OPERATIONS = frozenset(
    {
        "Convolution",
        "FullyConnected",
        "MatMul",
        "Gemm",
        "ScaledDotProductAttention",
        "ScaledDotProductAttentionWithKVCache",
    }
)
"""Nodes of an execution graph where the arithmetic is; the rest moves or reshapes data."""


NAMED_CAPABILITIES = {
    InferencePrecision.F32: "FP32",
    InferencePrecision.BF16: "BF16",
    InferencePrecision.F16: "FP16",
}
"""What OpenVINO calls them in `OPTIMIZATION_CAPABILITIES`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeSpec:
    """What a variant computes in and with how many threads.

    f32 means f32: with only `INFERENCE_PRECISION_HINT` pinned OpenVINO would still keep a
    stateful decoder's keys and values in 8 bits and quantize activations on the fly.

    Attributes:
        precision: of the nodes that stay float.
        dynamic_quantization_group_size: activations before INT8 weights are quantized on the fly, in groups of so
            many with one scale each; 0: they stay float.
        kv_cache_precision: what a stateful decoder keeps self-attention's keys and values in; None: `precision`.
        threads: of inference.
        memory: what a process of the variant may keep.
    """

    precision: InferencePrecision = InferencePrecision.F32
    dynamic_quantization_group_size: int = 0
    kv_cache_precision: KvPrecision | None = None
    threads: int = field(default_factory=usable_cores)
    memory: MemoryUse = MemoryUse.NORMAL

    @classmethod
    def from_simple(cls, values: Mapping[str, Any]) -> "ComputeSpec":
        """Read what `dataclasses.asdict` gives, as JSON has it: precisions by their names."""
        kv_cache = values["kv_cache_precision"]
        return cls(
            precision=InferencePrecision(values["precision"]),
            dynamic_quantization_group_size=values["dynamic_quantization_group_size"],
            kv_cache_precision=None if kv_cache is None else KvPrecision(kv_cache),
            threads=values["threads"],
            memory=MemoryUse(values["memory"]),
        )

    def properties(self) -> dict[str, str]:
        """Return the properties to compile with on this machine.

        Without VNNI nothing is quantized on the fly: OpenVINO has no kernels for it there.
        """
        precision = usable_precision(self.precision)
        group_size = 0 if lacks_all(VNNI) else self.dynamic_quantization_group_size
        return {
            "INFERENCE_PRECISION_HINT": precision.value,
            "EXECUTION_MODE_HINT": "ACCURACY",
            "KV_CACHE_PRECISION": (self.kv_cache_precision or precision).value,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(group_size),
            "INFERENCE_NUM_THREADS": str(self.threads),
            "NUM_STREAMS": "1",
        }


def usable_precision(precision: InferencePrecision) -> InferencePrecision:
    """Return what float nodes compute in when a precision is set: f32 where the CPU lacks it."""
    if precision is InferencePrecision.F32:
        return precision
    # OpenVINO lists BF16 although a limit hides the instructions from oneDNN, and then fails.
    is_hidden = precision is InferencePrecision.BF16 and lacks_all(BF16)
    can = not is_hidden and NAMED_CAPABILITIES[precision] in _capabilities()
    return precision if can else InferencePrecision.F32


@cache
def _capabilities() -> tuple[str, ...]:
    return tuple(shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def computing_nodes(compiled: Any) -> dict[str, int]:
    """Count the computing nodes of a compiled model by the precision that they run in.

    Source: `CompiledModel.get_runtime_model`, whose nodes carry `layerType` and
    `runtimePrecision`.
    """
    counts: dict[str, int] = {}
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if str(_rt_value(info, "layerType")) in COMPUTING_OPERATIONS:
            precision = str(_rt_value(info, "runtimePrecision"))
            counts[precision] = counts.get(precision, 0) + 1
    return dict(sorted(counts.items()))


def _rt_value(info: Any, key: str) -> Any:
    value = info[key] if key in info else ""  # noqa: SIM401 - an OVDict has no get
    return getattr(value, "value", value)
