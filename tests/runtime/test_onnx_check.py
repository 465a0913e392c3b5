"""Our walk over ONNX's protobuf finds the tensors that the package `onnx` finds."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from sottovoce.errors import InputError
from sottovoce.runtime.model.onnx.graph_check import MalformedError, check_onnx, external_tensors
from tests.support.crafted_models import external_tensor, onnx_graph, onnx_model

Entries = Mapping[str, tuple[str, ...]]

NAMES = st.text(alphabet="ab./\0é", max_size=6)
TENSORS = st.builds(lambda name, at: external_tensor(location=name, offset=str(at)), NAMES, st.integers(0, 9))


def in_attribute(tensor: Any) -> Any:
    return onnx_graph(nodes=(helper.make_node("Constant", [], ["w"], value=tensor),))


def in_list(tensor: Any) -> Any:
    return onnx_graph(nodes=(helper.make_node("Own", [], ["w"], values=[tensor, tensor]),))


def in_sparse_attribute(tensor: Any) -> Any:
    sparse = onnx.SparseTensorProto(values=tensor, indices=tensor, dims=[8])
    return onnx_graph(nodes=(helper.make_node("Own", [], ["w"], value=sparse, values=[sparse]),))


def in_branches(graph: Any) -> Any:
    return onnx_graph(nodes=(helper.make_node("If", ["x"], ["w"], then_branch=graph, others=[graph]),))


GRAPHS = st.recursive(
    st.one_of(
        st.lists(TENSORS, max_size=3).map(lambda tensors: onnx_graph(*tensors)),
        TENSORS.map(in_attribute),
        TENSORS.map(in_list),
        TENSORS.map(in_sparse_attribute),
    ),
    lambda inner: inner.map(in_branches),
    max_leaves=4,
)


@st.composite
def models(draw: st.DrawFn) -> bytes:
    graph = draw(GRAPHS)
    node = draw(GRAPHS.map(lambda inner: helper.make_node("If", ["x"], ["w"], then_branch=inner)))
    function = helper.make_function("own", "F", [], ["w"], [node], [helper.make_opsetid("", 17)])
    model = onnx.ModelProto.FromString(onnx_model(graph, functions=(function,)))
    model.training_info.add(initialization=draw(GRAPHS), algorithm=draw(GRAPHS))
    return bytes(model.SerializeToString())


def found_by_onnx(message: Any) -> Iterator[Entries]:
    """Look through every field of a message, whatever it is called."""
    if isinstance(message, onnx.TensorProto) and message.external_data:
        entries: dict[str, tuple[str, ...]] = {}
        for entry in message.external_data:
            entries[entry.key] = (*entries.get(entry.key, ()), entry.value)
        yield entries
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in [value] if hasattr(value, "ListFields") else value:
                yield from found_by_onnx(each)


def in_order(tensors: Iterator[Entries]) -> list[str]:
    return sorted(str(sorted(entries.items())) for entries in tensors)


def locations(tensors: Iterator[Entries]) -> set[str]:
    return {location for entries in tensors for location in entries.get("location", ())}


@given(models())
def test_every_tensor_is_found_wherever_a_model_has_it(model: bytes) -> None:
    expected = in_order(found_by_onnx(onnx.ModelProto.FromString(model)))
    assert in_order(external_tensors(model)) == expected


@given(models(), st.integers(0, 2**32))
def test_of_a_damaged_model_no_tensor_is_missed(
    tmp_path_factory: pytest.TempPathFactory, model: bytes, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    damaged = bytearray(model)
    for at in rng.integers(len(damaged), size=rng.integers(1, 8)):
        damaged[at] = rng.integers(256)
    path = tmp_path_factory.mktemp("damaged") / "model.onnx"
    path.write_bytes(damaged)
    is_refused(path)
    try:
        expected = locations(found_by_onnx(onnx.ModelProto.FromString(bytes(damaged))))
        found = locations(external_tensors(bytes(damaged)))
    except (DecodeError, MalformedError, UnicodeDecodeError):
        return
    assert found >= expected


def is_refused(path: Path) -> bool:
    try:
        check_onnx(path)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 - whether it is refused is the question
        return True
    return False


@given(st.binary(max_size=200).map(lambda noise: noise + b"location"))
def test_noise_is_refused_or_has_no_tensors(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = tmp_path_factory.mktemp("noise") / "model.onnx"
    path.write_bytes(noise)
    is_refused(path)


def test_an_empty_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(InputError, match="it is empty; make the variant again"):
        check_onnx(tmp_path / "model.onnx")


def test_a_missing_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.onnx is not there; make the variant again"):
        check_onnx(tmp_path / "model.onnx")
