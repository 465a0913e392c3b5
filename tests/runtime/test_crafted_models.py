"""Models that reach out of their folder are refused before a library reads them."""

import os
from pathlib import Path

import onnxruntime
import openvino
import pytest

from sottovoce.errors import InputError
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.onnx.session import open_session
from sottovoce.runtime.model.openvino.memory import GraphFile
from tests.support.crafted_models import CRAFTED_MODELS, SOUND_MODELS


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Hold the parsers that were called; none of them does anything."""
    called: list[str] = []
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: called.append("onnxruntime"))
    monkeypatch.setattr(openvino.Core, "read_model", lambda *_: called.append("openvino"))
    return called


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", CRAFTED_MODELS)
def test_a_crafted_model_is_refused_before_it_is_read(tmp_path: Path, read: list[str], name: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(32))
    folder = tmp_path / "variant"
    folder.mkdir()
    with pytest.raises(InputError) as caught:
        CRAFTED_MODELS[name](folder)
    assert read == []
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(folder))


@pytest.mark.parametrize("name", SOUND_MODELS)
def test_a_sound_model_is_read(tmp_path: Path, read: list[str], name: str) -> None:
    SOUND_MODELS[name](tmp_path)
    assert len(read) == 1


def test_onnxruntime_and_openvino_take_what_is_sound(tmp_path: Path) -> None:
    for make in SOUND_MODELS.values():
        make(tmp_path)


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_a_pipe_for_a_graph_is_not_waited_for(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "model.xml"
    for each in (".xml", ".bin"):
        (os.mkfifo if each == suffix else Path.touch)(path.with_suffix(each))
    with pytest.raises(InputError, match="is no regular file"):
        GraphFile(path)


def test_a_graph_may_be_a_link(tmp_path: Path) -> None:
    """The hub's cache keeps files elsewhere."""
    kept = tmp_path / "kept"
    kept.mkdir()
    SOUND_MODELS["onnx"](kept)
    shown = tmp_path / "shown"
    shown.mkdir()
    (shown / "weights").write_bytes(bytes(32))
    (shown / "model.onnx").symlink_to(kept / "encoder_model.onnx")
    open_session(shown / "model.onnx", ComputeSpec())


def test_weights_may_be_a_link_within_the_folder(tmp_path: Path) -> None:
    SOUND_MODELS["onnx"](tmp_path)
    (tmp_path / "weights").rename(tmp_path / "real")
    (tmp_path / "weights").symlink_to("real")
    open_session(tmp_path / "encoder_model.onnx", ComputeSpec())
