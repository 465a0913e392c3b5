"""OpenAI's package for Node: `npm install openai`, and its `node_modules` in NODE_PATH."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.javascript import find_node
from tests.support.server import RunningServer, wav

CLIENT = Path(__file__).with_name("openai_client.cjs")


@pytest.fixture(scope="module")
def found(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    node = find_node()
    if node is None:
        pytest.skip("node is not installed")
    if subprocess.run([node, "-e", 'require("openai")'], capture_output=True, check=False).returncode:
        pytest.skip("the npm package openai is not installed, or NODE_PATH does not name its node_modules")
    audio = tmp_path_factory.mktemp("node") / "a.wav"
    audio.write_bytes(wav())
    done = subprocess.run(
        [node, str(CLIENT), server.url, str(audio)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_texts_come_in_each_format(found: Any) -> None:
    text = found["json"]["text"]
    assert text
    assert found["json"]["usage"] == {"type": "duration", "seconds": 2}
    assert found["verbose"]["text"] == text
    assert found["verbose"]["duration"] == 2
    assert "".join(segment["text"] for segment in found["verbose"]["segments"]).strip() == text
    assert found["verbose"]["words"][-1]["end"] <= 2
    assert found["srt"].startswith("1\n00:00:0")
    assert all(each["logprob"] <= 0 for each in found["logprobs"])
    assert isinstance(found["translation"]["text"], str)


def test_a_stream_has_the_text_of_the_whole(found: Any) -> None:
    *deltas, done = found["events"]
    assert "".join(event["delta"] for event in deltas) == done["text"] == found["json"]["text"]


def test_models_are_listed_and_errors_have_their_kinds(found: Any) -> None:
    assert found["models"][-1] == "whisper-1"
    assert found["unknown"] == {
        "isOfItsKind": True,
        "status": 404,
        "code": "model_not_found",
        "param": "model",
    }
    assert found["refused"]["isOfItsKind"]
    assert found["refused"]["param"] == "response_format"
