"""Listening loses no audio, says what is wrong with it, and always ends with the last words."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave, decode_audio
from sottovoce.runtime.audio.track import Note
from sottovoce.runtime.live import listen
from sottovoce.runtime.live.events import Committed, Lagging, LiveEvent
from sottovoce.runtime.live.listen import Listener, LiveTranscription
from sottovoce.runtime.live.options import LiveOptions
from sottovoce.runtime.live.recording import FRAME_SAMPLES, Recording
from sottovoce.runtime.live.session import LiveSession
from tests.support.live import ENGLISH, Loudness, Script, spoken, words_of

SPANS = [(0.5 + 0.4 * number, 0.8 + 0.4 * number) for number in range(10)]
SPEECH = spoken(SPANS, 6.0)
BLOCK = 640


@dataclass
class Blocks:
    """A source that gives a wave, then fails, waits or ends."""

    wave: Wave
    error: Exception | None = None
    pause_s: float = 0.0
    notes: Sequence[str] = ()
    label: str = "the fake"
    stopped: threading.Event = field(default_factory=threading.Event)

    def blocks(self, note: Note) -> Iterator[Wave]:
        for text in self.notes:
            note(text)
        for begin in range(0, len(self.wave), BLOCK):
            yield self.wave[begin : begin + BLOCK]
        self.stopped.wait(self.pause_s)
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        self.stopped.set()


@dataclass
class Events:
    found: list[LiveEvent] = field(default_factory=list)

    def write(self, event: LiveEvent) -> None:
        self.found.append(event)

    @property
    def text(self) -> str:
        words = [word for event in self.found if isinstance(event, Committed) for word in event.words]
        return "".join(word.text for word in words).strip()


ALL = " ".join(f"w{number}" for number in range(len(SPANS)))


def run(
    source: Blocks, *, script: Script | None = None, recording: Recording | None = None
) -> tuple[Events, list[str]]:
    events, notes = Events(), list[str]()
    script = script or Script(words_of(SPANS))
    session = LiveSession(script, Loudness(), LiveOptions(), language=ENGLISH, clock=script.clock)
    with Listener(source) as listener:
        try:
            LiveTranscription(session, [events], notes.append, recording).run(listener)
        except InputError as error:
            notes.append(f"error: {error}")
    return events, notes


def test_all_words_of_a_source_are_written() -> None:
    events, notes = run(Blocks(SPEECH, notes=["a note of the source"]))
    assert events.text == ALL
    assert notes == ["a note of the source"]


def test_a_device_that_vanishes_ends_with_an_error_after_the_last_words() -> None:
    events, notes = run(Blocks(SPEECH[: 4 * SAMPLE_RATE_HZ], InputError("it was unplugged")))
    assert events.text == " ".join(f"w{number}" for number in range(9))
    assert notes == ["error: it was unplugged"]


def test_a_pipe_that_stalls_is_reported_once_and_can_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "STALL_S", 0.05)
    source = Blocks(SPEECH, pause_s=30.0)
    threading.Timer(0.5, source.stop).start()
    events, notes = run(source)
    assert events.text == ALL
    assert notes == ["the fake: no audio for 0.05 s; waits for more, Ctrl-C ends the transcript"]


def test_audio_that_arrives_while_words_are_decoded_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there is room for few blocks: then the source waits."""
    monkeypatch.setattr(listen, "MAX_WAITING_BLOCKS", 3)
    script = Script(words_of(SPANS))
    recognize = script.recognize

    def slowly(*values: object, **options: object) -> object:
        time.sleep(0.05)
        return recognize(*values, **options)  # type: ignore[arg-type]

    script.recognize = slowly  # type: ignore[assignment, method-assign]
    assert run(Blocks(SPEECH), script=script)[0].text == ALL


def test_a_listener_that_is_left_early_ends_its_thread() -> None:
    with Listener(Blocks(np.zeros(BLOCK * 100_000, np.float32))) as listener:
        next(listener.blocks(lambda _: None))
    assert not any(thread.name == "audio" for thread in threading.enumerate())


def test_a_machine_that_cannot_keep_up_is_reported_once_in_a_while() -> None:
    spans = [(0.5 + 0.4 * number, 0.8 + 0.4 * number) for number in range(50)]
    events, notes = run(Blocks(spoken(spans, 22.0)), script=Script(words_of(spans), cost_s=1.5))
    assert sum(isinstance(event, Lagging) for event in events.found) > 1
    assert sum("s behind; no audio is lost, and a smaller model keeps up" in note for note in notes) == 1


LONG = np.zeros(35 * SAMPLE_RATE_HZ, np.float32)
HUM = (0.1 * np.sin(np.arange(len(LONG)) / 50)).astype(np.float32)


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (LONG, "silent for 30 s"),
        (np.clip(HUM * 20, -1, 1), "clipped: many samples are at full scale"),
        (HUM + np.float32(0.2), "its samples have a mean of 0.20, want 0"),
    ],
)
def test_audio_that_is_recorded_badly_is_reported_once(wave: Wave, message: str) -> None:
    _, notes = run(Blocks(np.concatenate([wave, wave])), script=Script([]))
    (note,) = notes
    assert note.startswith(f"the fake: {message}")


def test_audio_that_is_recorded_well_has_no_notes() -> None:
    assert run(Blocks(HUM), script=Script([]))[1] == []


def test_the_recording_is_the_audio(tmp_path: Path) -> None:
    run(Blocks(SPEECH), recording=Recording(tmp_path / "talk.flac"))
    saved = decode_audio(tmp_path / "talk.flac")
    assert np.abs(saved - SPEECH).max() <= 0.5 / 32768 + 1e-6
    assert len(saved) == len(SPEECH)


def test_a_recording_can_be_read_while_it_grows(tmp_path: Path) -> None:
    """As after a kill: nothing is written at the end."""
    path = tmp_path / "talk.flac"
    recording = Recording(path)
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * FRAME_SAMPLES + 100).astype(np.float32)
    recording.write(samples)
    path.with_name("copy.flac").write_bytes(path.read_bytes())
    saved = decode_audio(path.with_name("copy.flac"))
    assert len(saved) >= 2 * FRAME_SAMPLES
    np.testing.assert_allclose(saved, samples[: len(saved)], atol=1 / 32768)
    recording.close()
    assert len(decode_audio(path)) == len(samples)


def test_a_full_disk_ends_the_recording_and_not_the_transcript() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    events, notes = run(Blocks(SPEECH), recording=Recording(full))
    assert events.text == ALL
    assert notes[0].startswith("/dev/full cannot be written (No space left on device)")
    assert notes[1].startswith("error: /dev/full cannot be written")


def test_a_recording_that_cannot_be_created_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be created"):
        Recording(tmp_path / "missing" / "talk.flac")
