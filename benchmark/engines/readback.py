"""What compiled models of OpenVINO and sessions of onnxruntime compute in, read back from them."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sottovoce.benchmark.schema.precision import ComponentPrecision, Precision
from sottovoce.errors import StageError
from sottovoce.runtime.model.compute import computing_nodes
from sottovoce.terms import Component

INT8_PRECISIONS = frozenset({"i8", "u8"})


def read_precision(compiled: Mapping[Component, Any]) -> Precision:
    """Read back the precision of a variant.

    Args:
        compiled: its compiled models (`openvino.CompiledModel`), the encoder's among them.
    """
    components = {str(part): _component_precision(model) for part, model in compiled.items()}
    first = compiled[Component.ENCODER]
    return Precision(
        label=_label(components),
        components=components,
        threads=int(first.get_property("INFERENCE_NUM_THREADS")),
        streams=int(first.get_property("NUM_STREAMS")),
    )


def _label(components: Mapping[str, ComponentPrecision]) -> str:
    nodes = {kind for component in components.values() for kind in component.nodes}
    floats = sorted(nodes - INT8_PRECISIONS)
    return "+".join((["int8"] if nodes & INT8_PRECISIONS else []) + floats)


def read_onnx_precision(folder: Path, sessions: Mapping[Component, Any]) -> Precision:
    """Read back the precision of an ONNX variant.

    Its nodes are counted in a process of their own, since the memory of this one is measured.

    Args:
        folder: of the variant.
        sessions: that run it (`onnxruntime.InferenceSession`), the encoder's among them.

    Raises:
        StageError: the nodes cannot be counted.
    """
    nodes = _onnx_nodes(folder)
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
        label=_label(components),
        components=components,
        threads=int(first.get_session_options().intra_op_num_threads),
        streams=1,
    )


ONNX_FLOAT = "f32"
"""What onnxruntime's float kernels on CPUs compute in; they know nothing else on x86."""


def _onnx_nodes(folder: Path) -> dict[str, dict[str, int]]:
    done = subprocess.run(
        [sys.executable, "-m", "sottovoce.benchmark.engines.onnx_nodes", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        told = done.stderr.strip().splitlines()[-1:] or ["no reason told"]
        raise StageError(f"what onnxruntime computes {folder.name} in cannot be read back: {told[0]}")
    nodes: dict[str, dict[str, int]] = json.loads(done.stdout)
    return nodes


def _component_precision(compiled: Any) -> ComponentPrecision:
    return ComponentPrecision(
        inference=compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name(),
        kv_cache=compiled.get_property("KV_CACHE_PRECISION").get_type_name(),
        execution_mode=compiled.get_property("EXECUTION_MODE_HINT").name,
        dynamic_quantization_group_size=int(compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")),
        nodes=computing_nodes(compiled),
    )
