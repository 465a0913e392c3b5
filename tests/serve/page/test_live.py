"""The live view with a microphone that plays a file."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from sottovoce.speech.synthetic import demo_speech
from tests.support.browser import chromium, needs_chromium
from tests.support.server import RunningServer

pytestmark = needs_chromium

FILE_RATE = 48_000
TRANSCRIPTION = "conversation.item.input_audio_transcription"


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write what the microphone gives: a second of silence, two of a tone, silence, 4 s of speech, silence."""
    path = tmp_path_factory.mktemp("microphone") / "sound.wav"
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * FILE_RATE) / FILE_RATE)
    speech, rate = soundfile.read(demo_speech().parent / "clips" / "e02.flac")
    silence = np.zeros(FILE_RATE)
    wave = np.concatenate([silence, tone, silence, soxr.resample(speech, rate, FILE_RATE), silence, silence])
    soundfile.write(path, wave, FILE_RATE, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def listening_browser(microphone: Path) -> Iterator[Any]:
    arguments = (
        "--headless=new",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}%noloop",
    )
    with chromium(arguments, headless=False) as started:
        yield started


class Service:
    """Answers as the realtime API does, and keeps what it was sent."""

    def __init__(self) -> None:
        self.session: dict[str, Any] = {}
        self.samples = np.zeros(0, np.int16)
        self.socket: Any = None

    def open(self, socket: Any) -> None:
        self.socket = socket
        socket.on_message(self._receive)

    def _receive(self, message: str) -> None:
        event = json.loads(message)
        if event["type"] == "session.update":
            self.session = event["session"]
        elif event["type"] == "input_audio_buffer.append":
            block = np.frombuffer(base64.b64decode(event["audio"]), "<i2")
            self.samples = np.concatenate([self.samples, block])
        elif event["type"] == "input_audio_buffer.commit":
            self.send(f"{TRANSCRIPTION}.completed", item_id="b", transcript="Next.")

    def send(self, kind: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **fields}))


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def open_live(listening_browser: Any, pair: RunningServer) -> Iterator[Callable[..., Any]]:
    """Return a function that opens the live view, with a service in the place of the server's."""
    context = listening_browser.new_context(permissions=["microphone"])
    context.set_default_timeout(60_000)

    def open_live(service: Service | None = None) -> Any:
        page = context.new_page()
        if service is not None:
            page.route_web_socket("**/v1/realtime**", service.open)
        page.goto(f"{pair.url}/#live")
        page.wait_for_selector("#model option", state="attached")
        return page

    yield open_live
    context.close()


@pytest.fixture
def page(open_live: Callable[..., Any], service: Service) -> Any:
    return open_live(service)


def test_speech_is_sent_and_its_text_shown(open_live: Callable[..., Any]) -> None:
    page = open_live()
    page.get_by_label("Language of the live speech").select_option("en")
    with page.expect_websocket() as opened:
        page.get_by_role("button", name="Start").click()
    received: list[dict[str, Any]] = []
    opened.value.on("framereceived", lambda message: received.append(json.loads(message)))
    page.wait_for_selector("#live-time:text-matches('0:(09|1.)')")
    with opened.value.expect_event("close"):
        page.get_by_role("button", name="Stop").click()
    kinds = {event["type"] for event in received}
    assert {"session.updated", "input_audio_buffer.speech_started", f"{TRANSCRIPTION}.completed"} <= kinds
    assert "error" not in kinds
    transcripts = [event["transcript"] for event in received if event["type"] == f"{TRANSCRIPTION}.completed"]
    assert page.locator("#captions").text_content().split() == " ".join(transcripts).split()


def test_committed_words_are_announced_and_the_tail_is_not(page: Any, service: Service) -> None:
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Stop").wait_for()
    page.wait_for_timeout(2500)
    service.send(
        f"{TRANSCRIPTION}.delta",
        item_id="a",
        delta=" Let us",
        words=[{"word": "us", "start": 0.5, "end": 1.0}],
    )
    service.send("x_sottovoce.hypothesis", item_id="a", text=" start with")
    page.wait_for_selector(".tail")
    assert page.inner_text("#captions").split() == ["Let", "us", "start", "with"]
    assert page.get_by_role("log").aria_snapshot().count("start") == 0
    assert "Let us" in page.get_by_role("log").aria_snapshot()
    assert page.get_attribute("#captions", "aria-live") == "polite"
    service.send(f"{TRANSCRIPTION}.delta", item_id="a", delta=" start.", words=[])
    page.wait_for_selector(".tail", state="detached")
    assert page.inner_text("#captions") == "Let us start."
    assert page.inner_text("#latency").startswith(("words after", "behind by"))


def test_the_microphone_is_sent_at_its_own_rate_and_kept_as_a_file(page: Any, service: Service) -> None:
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector("#live-time:text-is('0:04')")
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector("text=Next.")
    audio = service.session["audio"]["input"]
    assert service.session["type"] == "transcription"
    assert audio["transcription"]["model"] == page.input_value("#model")
    rate = audio["format"]["rate"]
    assert len(service.samples) >= 4 * rate
    loud = service.samples[round(1.5 * rate) : round(2.5 * rate)].astype(float)
    spectrum = np.abs(np.fft.rfft(loud * np.hanning(len(loud))))
    assert np.argmax(spectrum) * rate / len(loud) == pytest.approx(440, abs=3)
    with page.expect_request("**/v1/audio/transcriptions") as sent:
        page.get_by_role("button", name="Open in Files").click()
    assert b"RIFF" in (sent.value.post_data_buffer or b"RIFF")
    page.wait_for_selector("body[data-view=files]")


def test_a_refused_connection_says_so(page: Any, service: Service) -> None:
    page.get_by_role("button", name="Start").click()
    page.wait_for_timeout(500)
    service.send("error", error={"message": "the model is not multilingual"})
    page.wait_for_selector("#live-empty >> text=the model is not multilingual")
    page.get_by_role("button", name="Start").wait_for()


def test_a_recording_becomes_a_file_of_the_queue(page: Any) -> None:
    page.get_by_role("link", name="Files").click()
    page.get_by_role("button", name="record", exact=True).click()
    page.wait_for_selector("#recording:text-is('recording · 0:02')")
    page.get_by_role("button", name="stop recording").click()
    page.wait_for_selector("#jobs .name:text-matches('^recording .*wav$')")
    page.wait_for_selector("#jobs .length:text-is('0:02')")
