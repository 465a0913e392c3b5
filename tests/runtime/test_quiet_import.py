"""OpenVINO without its converter: quick, silent, and complete for others in the process."""

import subprocess
import sys
from pathlib import Path

import pytest

IMPORT = """
import sys
from sottovoce.runtime.model.openvino.quiet_import import import_openvino
openvino = import_openvino()
"""


def run(program: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-c", IMPORT + program, *arguments], check=True, timeout=120)


def test_neither_converter_nor_telemetry_is_imported() -> None:
    run(
        "openvino.Core()\n"
        "found = [n for n, module in sys.modules.items() if module is not None]\n"
        "assert not any(n.startswith(('openvino.tools', 'openvino_telemetry')) for n in found)\n"
        "assert import_openvino() is openvino"
    )


def test_no_library_that_makes_runs_sends_usage_data() -> None:
    from nncf.telemetry.wrapper import NNCFTelemetry, telemetry
    from openvino.tools.ovc import telemetry_stub, utils

    assert not isinstance(telemetry, NNCFTelemetry)
    assert utils.tm is telemetry_stub


def test_an_openvino_that_is_imported_already_stays_as_it_is() -> None:
    before = "import openvino as first\nconvert = first.convert_model\n"
    after = "assert openvino is first\nassert openvino.convert_model is convert"
    subprocess.run([sys.executable, "-c", before + IMPORT + after], check=True, timeout=120)


def test_models_can_still_be_converted(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx to make a model to convert")
    shape, kind = [1, 2], onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["given"], ["result"])],
        "graph",
        [onnx.helper.make_tensor_value_info("given", kind, shape)],
        [onnx.helper.make_tensor_value_info("result", kind, shape)],
    )
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), tmp_path / "relu.onnx")
    run(
        "import numpy\n"
        "compiled = openvino.Core().compile_model(openvino.convert_model(sys.argv[1]), 'CPU')\n"
        "result = compiled([numpy.array([[-1.0, 2.0]], numpy.float32)])[0]\n"
        "assert result.tolist() == [[0.0, 2.0]]",
        str(tmp_path / "relu.onnx"),
    )
