"""Read back what compiled models of OpenVINO and sessions of onnxruntime compute in.

A session shows no nodes, but it can write the graph that it has optimized. `python -m` this module prints the node
counts of an ONNX variant as JSON.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sottovoce.benchmark.schema.precision import ComponentPrecision, Precision
from sottovoce.errors import MissingExtraError, StageError
from sottovoce.runtime.model.compute import computing_nodes
from sottovoce.runtime.model.layout import components_of, onnx_path
from sottovoce.terms import Component

INT8_PRECISIONS = frozenset({"i8", "u8"})

INT8_KERNELS = frozenset(
    {
        "ConvInteger",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "QGemm",
        "QLinearConv",
        "QLinearMatMul",
    }
)
"""onnxruntime's operations with INT8 products. `MatMulNBits` has them with `accuracy_level` 4, which we write."""

FLOAT_KERNELS = frozenset({"Conv", "FusedConv", "FusedGemm", "FusedMatMul", "Gemm", "MatMul"})

ONNX_FLOAT = "f32"
"""What onnxruntime's float kernels on CPUs compute in; x86 has no others."""

LOG_ERRORS = 3

EXTERNAL_FILE = "session.optimized_model_external_initializers_file_name"
"""Constants are written beside the graph: they need not be read, and one file could not hold more than 2 GiB."""


def read_precision(compiled: Mapping[Component, Any]) -> Precision:
    """Read back the precision of an OpenVINO variant.

    Args:
        compiled: its compiled models (`openvino.CompiledModel`), the encoder's among them.
    """
    components = {str(part): _component_precision(model) for part, model in compiled.items()}
    first = compiled[Component.ENCODER]
    return Precision(
        label=label_of(components),
        components=components,
        threads=int(first.get_property("INFERENCE_NUM_THREADS")),
        streams=int(first.get_property("NUM_STREAMS")),
    )


def read_onnx_precision(folder: Path, sessions: Mapping[Component, Any]) -> Precision:
    """Read back the precision of an ONNX variant.

    Its nodes are counted in another process, since the memory of this one is measured.

    Args:
        folder: of the variant.
        sessions: that run it (`onnxruntime.InferenceSession`), the encoder's among them.

    Raises:
        StageError: the nodes cannot be counted.
    """
    nodes = _count_in_another_process(folder)
    first = sessions[Component.ENCODER]
    components = {
        str(part): ComponentPrecision(
            inference=ONNX_FLOAT,
            kv_cache=ONNX_FLOAT,
            execution_mode=session.get_providers()[0],
            dynamic_quantization_group_size=0,
            nodes=nodes[str(part)],
        )
        for part, session in sessions.items()
    }
    return Precision(
        label=label_of(components),
        components=components,
        threads=int(first.get_session_options().intra_op_num_threads),
        streams=1,
    )


def count_kernels(path: Path) -> dict[str, int]:
    """Count the computing nodes of a graph as onnxruntime runs it, by `f32` and `i8`; zero is left out.

    Raises:
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as cause:
        raise MissingExtraError(
            str(cause.name), needed_for="reading an ONNX variant's precision back", extra="optimize"
        ) from cause
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = LOG_ERRORS
        options.optimized_model_filepath = str(optimized)
        options.add_session_config_entry(EXTERNAL_FILE, "constants")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        graph = onnx.load_model(optimized, load_external_data=False).graph
    kinds = Counter(node.op_type for node in graph.node)
    counts = {
        "f32": sum(kinds[kind] for kind in FLOAT_KERNELS),
        "i8": sum(kinds[kind] for kind in INT8_KERNELS),
    }
    return {kind: count for kind, count in counts.items() if count}


def label_of(components: Mapping[str, ComponentPrecision]) -> str:
    """Name the types of all nodes, INT8 first: `int8+f32`."""
    nodes = {kind for component in components.values() for kind in component.nodes}
    floats = sorted(nodes - INT8_PRECISIONS)
    return "+".join((["int8"] if nodes & INT8_PRECISIONS else []) + floats)


def _component_precision(compiled: Any) -> ComponentPrecision:
    return ComponentPrecision(
        inference=compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name(),
        kv_cache=compiled.get_property("KV_CACHE_PRECISION").get_type_name(),
        execution_mode=compiled.get_property("EXECUTION_MODE_HINT").name,
        dynamic_quantization_group_size=int(compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")),
        nodes=computing_nodes(compiled),
    )


def _count_in_another_process(folder: Path) -> dict[str, dict[str, int]]:
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise StageError(f"the precision of {folder.name} in onnxruntime cannot be read back: {reason[0]}")
    nodes: dict[str, dict[str, int]] = json.loads(done.stdout)
    return nodes


def main() -> None:
    """Print the node counts of each component of the ONNX variant in the folder that is named."""
    folder = Path(sys.argv[1])
    counts = {str(part): count_kernels(onnx_path(folder, part)) for part in components_of(folder)}
    sys.stdout.write(json.dumps(counts) + "\n")


if __name__ == "__main__":
    main()
