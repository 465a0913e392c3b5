"""The examples do what their README says, and are short."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sottovoce.runtime import Committed, Partial, Transcriber, Word, load
from sottovoce.speech.synthetic import demo_speech
from tests.support.tones import tone

FOLDER = Path(__file__).parents[2] / "examples"
LONGEST = 60

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no examples/ here: an sdist leaves them out")


def example(name: str, *needs: str) -> Any:
    """Import an example; skip where a package that it shows is not installed."""
    for package in needs:
        pytest.importorskip(package, reason=f"{package} is not installed")
    spec = spec_from_file_location(f"examples_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def transcriber(tiny_run: Path) -> Transcriber:
    return load(tiny_run / "fp32-stateful", threads=1)


@pytest.fixture(scope="module")
def recording() -> Path:
    return demo_speech().parent / "clips" / "c01.flac"


def test_each_example_is_short_and_listed() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    files = sorted(FOLDER.glob("*.py"))
    assert len(files) >= 5
    for file in files:
        assert len(file.read_text(encoding="utf-8").splitlines()) < LONGEST
        assert f"[`{file.name}`]({file.name})" in readme
        assert f"python examples/{file.name}" in readme


def test_the_flask_page_shows_a_transcript_or_what_is_wrong(
    transcriber: Transcriber, recording: Path
) -> None:
    client = example("flask_upload", "flask").create_app(transcriber).test_client()
    assert b'type="file"' in client.get("/").data
    page = client.post("/", data={"audio": (io.BytesIO(recording.read_bytes()), "talk.wav")})
    assert page.status_code == 200
    assert b"</small>" in page.data
    broken = client.post("/", data={"audio": (io.BytesIO(b"<b>no audio</b>"), "<i>.wav")})
    assert broken.status_code == 400
    assert b'role="alert">&lt;i&gt;.wav' in broken.data


def test_the_fastapi_application_answers_in_json(transcriber: Transcriber, recording: Path) -> None:
    module = example("fastapi_transcribe", "fastapi", "uvicorn", "httpx")
    from starlette.testclient import TestClient

    client = TestClient(module.create_app(transcriber))
    files = {"audio": ("talk.wav", recording.read_bytes())}
    answer = client.post("/transcribe", params={"language": "de", "words": True}, files=files).json()
    assert answer["language"] == "de"
    assert answer["text"] == " ".join(segment["text"] for segment in answer["segments"])
    assert answer["segments"][0]["words"]
    refused = client.post("/transcribe", params={"language": "klingon"}, files=files)
    assert (refused.status_code, "klingon" in refused.json()["detail"]) == (400, True)


class Recorder(BaseHTTPRequestHandler):
    """Answers as OpenAI's API does, and keeps what it was sent."""

    received: dict[str, Any]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        message = BytesParser().parsebytes(
            b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + body
        )
        parts = {
            str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True)
            for part in message.walk()
            if not part.is_multipart()
        }
        type(self).received = {"path": self.path, "key": self.headers["Authorization"], **parts}
        segments = [
            {"start": 0.0, "end": 1.5, "text": " Hello."},
            {"start": 2.0, "end": 3.0, "text": " Bye."},
        ]
        answer = json.dumps({"text": "Hello. Bye.", "segments": segments}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None:
        """Write nothing."""


@contextmanager
def openai_server() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Recorder)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_loader_gives_a_document_for_each_segment(recording: Path) -> None:
    loader = example("recording_loader", "requests").RecordingLoader
    with openai_server() as url:
        documents = list(loader([recording], url=url, key="secret").lazy_load())
    assert [document.page_content for document in documents] == ["Hello.", "Bye."]
    assert documents[1].metadata == {"source": str(recording), "start": 2.0, "end": 3.0}
    assert Recorder.received == {
        "path": "/v1/audio/transcriptions",
        "key": "Bearer secret",
        "file": recording.read_bytes(),
        "model": b"whisper-1",
        "response_format": b"verbose_json",
    }


def words(text: str) -> tuple[Word, ...]:
    return tuple(Word(text=f" {part}", start_s=0.0, end_s=0.0, probability=0.9) for part in text.split())


def test_captions_are_the_last_two_lines_with_the_tail(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    captions = example("captions").Captions(path)
    captions.show(
        [Committed(words=words("one two three"), audio_s=1.0), Partial(words=words("for"), audio_s=1.0)]
    )
    assert path.read_text() == "one two three for\n"
    captions.show([Committed(words=words("four"), audio_s=2.0)])
    assert path.read_text() == "one two three four\n"
    captions.show([Committed(words=words("and so on " * 20), audio_s=3.0)])
    lines = path.read_text().splitlines()
    assert [len(line) <= 42 for line in lines] == [True, True]
    assert lines[-1].endswith("and so on")


def test_the_captions_of_a_recording_are_in_the_file_at_its_end(
    tiny_run: Path, recording: Path, tmp_path: Path
) -> None:
    example("captions").main(str(tiny_run / "fp32-stateful"), str(tmp_path / "captions.txt"), str(recording))
    assert (tmp_path / "captions.txt").read_text().endswith("\n")


def test_the_gradio_demo_transcribes_files_and_streams(transcriber: Transcriber, recording: Path) -> None:
    module = example("gradio_demo", "gradio")
    from gradio_client import Client, handle_file

    demo = module.create_demo(transcriber)
    assert demo.analytics_enabled is False
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    try:
        client = Client(url, verbose=False, analytics_enabled=False)
        text = client.predict(handle_file(str(recording)), api_name="/transcribe")
    finally:
        demo.close()
    assert text == transcriber.transcribe(recording).text
    stream = module.Stream(transcriber, 48_000)
    loud = (np.repeat(tone(3.0), 3) * 32767).astype(np.int16)
    shown = [stream.feed(part) for part in np.array_split(np.stack([loud, loud], axis=1), 6)]
    assert stream.session.audio_s == pytest.approx(3.0, abs=0.2)
    assert isinstance(shown[-1], str)
