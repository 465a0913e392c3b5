"""Models made to reach out of their folder, or to make a parser work for them: thirty, the same each time."""

import os
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sottovoce.machine.environment import read_host
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.onnx.session import open_session
from sottovoce.runtime.model.openvino.memory import GraphFile
from sottovoce.storage.artifacts import FileEntry, Manifest, check_hashes, list_files

Craft = Callable[[Path], None]
"""Makes a model in a folder and opens it as the runtime does, which must refuse it."""

GRAPH_NAME = "encoder_model.onnx"
WEIGHTS_NAME = "weights"
N_WEIGHT_BYTES = 32


def external_tensor(**entries: str) -> Any:
    """Return a tensor of eight floats that are in another file (`onnx.TensorProto`)."""
    from onnx import TensorProto

    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[8], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def onnx_graph(*constants: Any, nodes: tuple[Any, ...] = ()) -> Any:
    """Return a graph that adds eight floats to its input (`onnx.GraphProto`)."""
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [8]) for name in ("x", "y")]
    add = helper.make_node("Add", ["x", "w"], ["y"])
    return helper.make_graph([*nodes, add], "g", values[:1], values[1:], list(constants))


def onnx_model(graph: Any, functions: tuple[Any, ...] = ()) -> bytes:
    """Return a graph as the bytes of a file."""
    from onnx import helper

    sets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    made: bytes = helper.make_model(
        graph, opset_imports=sets, ir_version=10, functions=functions
    ).SerializeToString()
    return made


def _open_onnx(folder: Path, model: bytes) -> None:
    (folder / GRAPH_NAME).write_bytes(model)
    (folder / WEIGHTS_NAME).write_bytes(bytes(N_WEIGHT_BYTES))
    open_session(folder / GRAPH_NAME, ComputeSpec())


def _external(**entries: str) -> Craft:
    return lambda folder: _open_onnx(folder, onnx_model(onnx_graph(external_tensor(**entries))))


def _beside(make: Callable[[Path], object]) -> Craft:
    """Put something that is no plain file where the weights are said to be."""

    def craft(folder: Path) -> None:
        make(folder / "trap")
        _external(location="trap")(folder)

    return craft


def _out_of_sight(place: Callable[[Any], bytes]) -> Craft:
    return lambda folder: _open_onnx(folder, place(external_tensor(location="../secret")))


def _in_attribute(tensor: Any) -> bytes:
    from onnx import helper

    return onnx_model(onnx_graph(nodes=(helper.make_node("Constant", [], ["w"], value=tensor),)))


def _in_branch(tensor: Any) -> bytes:
    from onnx import helper

    branch = onnx_graph(tensor)
    node = helper.make_node("If", ["x"], ["w"], then_branch=branch, else_branch=branch)
    return onnx_model(onnx_graph(nodes=(node,)))


def _in_sparse(tensor: Any) -> bytes:
    from onnx import SparseTensorProto

    graph = onnx_graph()
    graph.sparse_initializer.append(SparseTensorProto(values=tensor, indices=tensor, dims=[8]))
    return onnx_model(graph)


def _in_function(tensor: Any) -> bytes:
    from onnx import helper

    node = helper.make_node("Constant", [], ["w"], value=tensor)
    function = helper.make_function("own", "F", [], ["w"], [node], [helper.make_opsetid("", 17)])
    return onnx_model(onnx_graph(), functions=(function,))


def _twice(folder: Path) -> None:
    tensor = external_tensor(location=WEIGHTS_NAME)
    tensor.external_data.add(key="location", value="../secret")
    _open_onnx(folder, onnx_model(onnx_graph(tensor)))


def _cut(folder: Path) -> None:
    _open_onnx(folder, onnx_model(onnx_graph(external_tensor(location=WEIGHTS_NAME)))[:-4])


def _nested(folder: Path) -> None:
    """Open a graph in an attribute of a node of a graph, and so on, far over protobuf's limit."""
    message = onnx_graph(external_tensor(location=WEIGHTS_NAME)).SerializeToString()
    for _ in range(200):
        for number in (6, 5, 1):  # attribute.g, node.attribute, graph.node
            message = bytes([number << 3 | 2]) + _varint(len(message)) + message
    _open_onnx(folder, bytes([7 << 3 | 2]) + _varint(len(message)) + message)


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes([value])
    return bytes([value & 0x7F | 0x80]) + _varint(value >> 7)


HEAD = '<?xml version="1.0"?>'
IR = (
    '<net name="m" version="11"><layers>'
    '<layer id="0" name="w" type="Const" version="{operations}">'
    '<data element_type="f32" shape="8" offset="{offset}" size="{size}"/>'
    '<output><port id="0" precision="FP32"><dim>8</dim></port></output></layer>'
    '<layer id="1" name="y" type="Result" version="opset1">'
    '<input><port id="0" precision="FP32"><dim>8</dim></port></input></layer>{inside}'
    '</layers><edges><edge from-layer="0" from-port="0" to-layer="1" to-port="0"/></edges></net>'
)
LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))


def ir_graph(
    *,
    head: str = HEAD,
    operations: str = "opset1",
    offset: str = "0",
    size: str = str(N_WEIGHT_BYTES),
    inside: str = "",
) -> bytes:
    """Return an IR of one constant of eight floats, with one thing wrong in it."""
    return (head + IR.format(operations=operations, offset=offset, size=size, inside=inside)).encode()


def _ir(**wrong: str) -> Craft:
    def craft(folder: Path) -> None:
        path = folder / "openvino_encoder_model.xml"
        path.write_bytes(ir_graph(**wrong))
        path.with_suffix(".bin").write_bytes(bytes(N_WEIGHT_BYTES))
        GraphFile(path).read()

    return craft


def sealed(folder: Path, *more: FileEntry) -> Manifest:
    """Fill a folder with a variant that is right, and return its manifest, with entries more."""
    (folder / "openvino_encoder_model.xml").write_bytes(ir_graph())
    (folder / "openvino_encoder_model.bin").write_bytes(struct.pack("<8f", *range(8)))
    return Manifest(
        kind="variant",
        name="crafted",
        created=datetime(2026, 1, 1, tzinfo=UTC),
        made_by="tests",
        host=read_host(),
        versions={},
        files=(*list_files(folder), *more),
    )


def _changed(change: Callable[[Path], object]) -> Craft:
    def craft(folder: Path) -> None:
        manifest = sealed(folder)
        change(folder / "openvino_encoder_model.bin")
        _open_sealed(folder, manifest)

    return craft


def _listed(path: str) -> Craft:
    entry = FileEntry(path=path, size_bytes=1, sha256="0" * 64)
    return lambda folder: _open_sealed(folder, sealed(folder, entry))


def _open_sealed(folder: Path, manifest: Manifest) -> None:
    check_hashes(folder, manifest)
    GraphFile(folder / "openvino_encoder_model.xml").read()


def _link_to_a_copy(path: Path) -> None:
    path.rename(path.parent.parent / "copy")
    path.symlink_to("../copy")


SOUND_MODELS: Mapping[str, Craft] = {
    "onnx": _external(location=WEIGHTS_NAME, offset="0", length=str(N_WEIGHT_BYTES)),
    "ir": _ir(),
    "manifest": _changed(lambda path: path.touch()),
}
"""The same with nothing wrong, which shows that it is the fault that is refused."""

CRAFTED_MODELS: Mapping[str, Craft] = {
    "onnx: a folder above": _external(location="../secret"),
    "onnx: an absolute path": _external(location="/etc/passwd"),
    "onnx: a folder below and above": _external(location="a/../../secret"),
    "onnx: a path of Windows": _external(location="..\\secret"),
    "onnx: a name that ends early": _external(location=f"{WEIGHTS_NAME}\0.txt"),
    "onnx: a place in memory": _external(location="*/_ORT_MEM_ADDR_/*", offset="4096", length="32"),
    "onnx: a negative offset": _external(location=WEIGHTS_NAME, offset="-4"),
    "onnx: an offset behind the end": _external(location=WEIGHTS_NAME, offset="64"),
    "onnx: a length over the end": _external(location=WEIGHTS_NAME, length=str(2**62)),
    "onnx: a file that is not there": _external(location="nowhere"),
    "onnx: a link out": _beside(lambda path: path.symlink_to("/etc/passwd")),
    "onnx: a pipe": _beside(os.mkfifo),
    "onnx: a device": _beside(lambda path: path.symlink_to("/dev/zero")),
    "onnx: two places": _twice,
    "onnx: in an attribute": _out_of_sight(_in_attribute),
    "onnx: in a branch": _out_of_sight(_in_branch),
    "onnx: in a sparse constant": _out_of_sight(_in_sparse),
    "onnx: in a function": _out_of_sight(_in_function),
    "onnx: cut": _cut,
    "onnx: 200 graphs deep": _nested,
    "ir: an offset behind the end": _ir(offset=str(10**12)),
    "ir: an offset that wraps around": _ir(offset=str(2**64 - N_WEIGHT_BYTES)),
    "ir: a billion laughs": _ir(
        head=f'{HEAD}<!DOCTYPE net [<!ENTITY l0 "ha">{LAUGHS}]>', inside="<a b='&l9;'/>"
    ),
    "ir: a document type elsewhere": _ir(head=f'{HEAD}<!DOCTYPE net SYSTEM "file:///etc/passwd">'),
    "ir: another file included": _ir(inside='<xi:include href="/etc/passwd"/>'),
    "ir: foreign operations": _ir(operations="extension"),
    "manifest: a changed byte": _changed(lambda path: path.write_bytes(bytes(N_WEIGHT_BYTES))),
    "manifest: another size": _changed(lambda path: path.write_bytes(bytes(N_WEIGHT_BYTES + 1))),
    "manifest: a link": _changed(_link_to_a_copy),
    "manifest: a path out": _listed("../copy"),
}
"""By what is wrong: what makes and opens it."""
