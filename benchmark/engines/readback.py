"""What compiled models of OpenVINO compute in, read back from them."""

from collections.abc import Mapping
from typing import Any

from sottovoce.benchmark.results import ComponentPrecision, Precision
from sottovoce.runtime.compute import computing_nodes
from sottovoce.terms import Component

INT8_PRECISIONS = frozenset({"i8", "u8"})


def read_precision(compiled: Mapping[Component, Any]) -> Precision:
    """Read back the precision of a variant.

    Args:
        compiled: its compiled models (`openvino.CompiledModel`), the encoder's among them.
    """
    components = {str(part): _component_precision(model) for part, model in compiled.items()}
    nodes = {kind for component in components.values() for kind in component.nodes}
    floats = sorted(nodes - INT8_PRECISIONS)
    first = compiled[Component.ENCODER]
    return Precision(
        label="+".join((["int8"] if nodes & INT8_PRECISIONS else []) + floats),
        components=components,
        threads=int(first.get_property("INFERENCE_NUM_THREADS")),
        streams=int(first.get_property("NUM_STREAMS")),
    )


def _component_precision(compiled: Any) -> ComponentPrecision:
    return ComponentPrecision(
        inference=compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name(),
        kv_cache=compiled.get_property("KV_CACHE_PRECISION").get_type_name(),
        execution_mode=compiled.get_property("EXECUTION_MODE_HINT").name,
        dynamic_quantization_group_size=int(compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")),
        nodes=computing_nodes(compiled),
    )
