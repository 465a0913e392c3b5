"""The same graph has the same text, independent of the numbers that the process gave its nodes."""

from pathlib import Path

import pytest

from sottovoce.optimize.openvino.tensor_names import renumber_nodes, renumbered, sort_states

GRAPH = """<net name="Model{0}" version="11">
<layer id="0" name="Constant_{1}" type="Const">
<layer id="1" name="__module.encoder/aten::view/Reshape_2" type="Reshape">
<port id="0" names="Result_{2},text"/>
<layer id="2" name="Constant_{1}/fq_output_0" type="FakeQuantize">
<layer id="3" name="Convert_{2}.0" type="Convert">
<layer id="4" name="present.1.key/int8/Constant_{3}" type="Const" output_names="Result_{2},text">
"""


def test_numbers_of_a_process_make_no_difference() -> None:
    one, other = renumbered(GRAPH.format(14, 23009, 7, 8)), renumbered(GRAPH.format(0, 5, 88, 99))
    assert one == other
    assert one == GRAPH.format(0, 0, 1, 3).replace("Convert_1.0", "Convert_2.0")


def test_a_module_of_pytorch_keeps_its_name() -> None:
    assert "__module.encoder/aten::view/Reshape_2" in renumbered(GRAPH.format(1, 2, 3, 4))


def test_settled_names_stay() -> None:
    settled = renumbered(GRAPH.format(14, 23009, 7, 8))
    assert renumbered(settled) == settled


def test_every_graph_of_a_run_is_settled(tiny_run: Path) -> None:
    graphs = list(tiny_run.glob("*/*.xml"))
    assert graphs
    for path in graphs:
        text = path.read_text(encoding="utf-8")
        assert renumbered(text) == text, path


def test_the_states_of_a_decoder_stand_in_the_order_of_their_names(tiny_run: Path, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    source = tiny_run / "fp32-stateful" / "openvino_decoder_model.xml"
    model = openvino.Core().read_model(source)
    names = [sink.get_attributes()["variable_id"] for sink in model.get_sinks()]
    assert names == sorted(names)
    shuffled = tmp_path / source.name
    for sink in sorted(
        model.get_sinks(), key=lambda sink: str(sink.get_attributes()["variable_id"]), reverse=True
    ):
        model.remove_sink(sink)
        model.add_sinks([sink])
    openvino.save_model(model, shuffled, compress_to_fp16=False)
    sort_states(shuffled)
    renumber_nodes(tmp_path)
    assert shuffled.with_suffix(".bin").read_bytes() == source.with_suffix(".bin").read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"{source.stem}.bin", source.name]
