"""Count what onnxruntime computes in which precision: the nodes that it made of a variant's graphs.

A session does not tell its nodes, but it can write the graph that it has optimized. `python -m` this module
prints the counts of a variant as JSON.
"""

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from sottovoce.errors import MissingExtraError
from sottovoce.runtime.model.layout import components_of, onnx_path

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
"""Operations with INT8 products. `MatMulNBits` is one as `optimize.onnx_weights` writes it (`accuracy_level` 4)."""

FLOAT_KERNELS = frozenset({"Conv", "FusedConv", "FusedGemm", "FusedMatMul", "Gemm", "MatMul"})

LOG_ERRORS = 3

EXTERNAL_FILE = "session.optimized_model_external_initializers_file_name"
"""Constants are written beside the graph: they need not be read, and one file could not hold more than 2 GiB."""


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


def main() -> None:
    """Print the counts of each component of the variant in the folder that is named."""
    folder = Path(sys.argv[1])
    counts = {str(part): count_kernels(onnx_path(folder, part)) for part in components_of(folder)}
    sys.stdout.write(json.dumps(counts) + "\n")


if __name__ == "__main__":
    main()
