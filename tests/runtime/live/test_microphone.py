"""A microphone that is not there, has another rate, or is unplugged: with a sounddevice of the test's own."""

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest

from sottovoce.errors import InputError, MissingExtraError, ResourceError
from sottovoce.runtime.audio.decode import Wave, ignore
from sottovoce.runtime.live.microphone import WITHOUT, Microphone


class PortAudioError(Exception):
    pass


@dataclass
class FakeLibrary:
    """What `Microphone` uses of sounddevice: a device that gives a wave, then stays silent or ends."""

    wave: Wave = field(default_factory=lambda: np.zeros(0, np.float32))
    rates_hz: Sequence[int] = (16_000,)
    is_unplugged: bool = False
    overflows: bool = False
    names: Sequence[str] = ("USB Audio", "Webcam")
    opened: list[dict[str, Any]] = field(default_factory=list)
    given: threading.Event = field(default_factory=threading.Event)
    PortAudioError: type[Exception] = PortAudioError

    def query_devices(self, device: int | str | None = None, kind: str | None = None) -> Any:
        known = [
            {"index": i, "name": name, "max_input_channels": 1, "default_samplerate": float(self.rates_hz[0])}
            for i, name in enumerate(self.names)
        ]
        if kind is None:
            return known
        if not known:
            raise PortAudioError("Error querying device -1")
        if device is None:
            return known[0]
        found = [each for each in known if device == each["index"] or str(device) in str(each["name"])]
        if not found:
            raise ValueError(f"No input device matching {device!r}")
        return found[0]

    def InputStream(self, **values: Any) -> "FakeStream":  # noqa: N802 - sounddevice's name
        if values["samplerate"] not in self.rates_hz:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")
        self.opened.append(values)
        return FakeStream(self, values["callback"], values["finished_callback"], values["blocksize"])


class FakeStream:
    def __init__(
        self, library: FakeLibrary, callback: Callable[..., None], finished: Callable[[], None], size: int
    ) -> None:
        self._library, self._callback, self._finished, self._size = library, callback, finished, size
        self._thread = threading.Thread(target=self._give)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _give(self) -> None:
        buffer = np.zeros((self._size, 1), np.float32)  # PortAudio reuses its own
        status = SimpleNamespace(input_overflow=self._library.overflows)
        for begin in range(0, len(self._library.wave), self._size):
            buffer[:, 0] = self._library.wave[begin : begin + self._size]
            self._callback(buffer, self._size, None, status)
        self._library.given.set()
        if self._library.is_unplugged:
            self._finished()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeLibrary], FakeLibrary]:
    def install(library: FakeLibrary) -> FakeLibrary:
        monkeypatch.setitem(sys.modules, "sounddevice", library)
        return library

    return install


Install = Callable[[FakeLibrary], FakeLibrary]


def stop_when_given(library: FakeLibrary, microphone: Microphone) -> None:
    def stop() -> None:
        library.given.wait(20)
        microphone.stop()

    threading.Thread(target=stop).start()


def ramp(n_samples: int) -> Wave:
    return np.linspace(-1, 1, n_samples, dtype=np.float32)


def test_the_default_microphone_gives_its_samples_until_it_is_stopped(installed: Install) -> None:
    library = installed(FakeLibrary(ramp(480 * 20)))
    microphone = Microphone()
    stop_when_given(library, microphone)
    np.testing.assert_array_equal(np.concatenate(list(microphone.blocks(ignore))), library.wave)
    assert (microphone.label, library.opened[0]["samplerate"]) == ("microphone USB Audio", 16_000)


@pytest.mark.parametrize(("device", "expected"), [("Webcam", "Webcam"), ("1", 1)])
def test_a_microphone_is_chosen_by_name_or_number(
    device: str, expected: int | str, installed: Install
) -> None:
    library = installed(FakeLibrary(is_unplugged=True))
    microphone = Microphone(device)
    with pytest.raises(InputError):
        list(microphone.blocks(ignore))
    assert microphone.label == "microphone Webcam"
    assert library.opened[0]["device"] == expected


def test_a_microphone_of_another_rate_is_resampled(installed: Install) -> None:
    wave = np.sin(np.arange(1440 * 50) * 2 * np.pi * 440 / 48_000).astype(np.float32)
    library = installed(FakeLibrary(wave, rates_hz=(48_000,)))
    microphone = Microphone()
    stop_when_given(library, microphone)
    found = np.concatenate(list(microphone.blocks(ignore)))
    assert len(found) == pytest.approx(len(wave) / 3, abs=2)
    expected = np.sin(np.arange(len(found)) * 2 * np.pi * 440 / 16_000)
    assert np.abs(found - expected)[200:-200].max() < 0.01


def test_a_microphone_that_is_unplugged_gives_all_it_recorded_then_an_error(installed: Install) -> None:
    library = installed(FakeLibrary(ramp(480 * 20), is_unplugged=True))
    found: list[Wave] = []
    with pytest.raises(InputError, match="microphone USB Audio stopped: it was unplugged"):
        found.extend(Microphone().blocks(ignore))
    np.testing.assert_array_equal(np.concatenate(found), library.wave)


def test_samples_that_the_system_drops_are_reported_once(installed: Install) -> None:
    installed(FakeLibrary(ramp(480 * 20), is_unplugged=True, overflows=True))
    notes: list[str] = []
    with pytest.raises(InputError):
        list(Microphone().blocks(notes.append))
    assert notes == ["microphone USB Audio: the system dropped samples, because this machine is too busy"]


def test_a_microphone_that_no_rate_opens_is_one_line(installed: Install) -> None:
    installed(FakeLibrary())
    microphone = Microphone()
    microphone._library.InputStream = _fail  # noqa: SLF001 - another program took it
    with pytest.raises(InputError, match=r"microphone USB Audio cannot be opened .*choose another --device"):
        list(microphone.blocks(ignore))


def _fail(**_: object) -> None:
    raise PortAudioError("Device unavailable [PaErrorCode -9985]")


def test_a_microphone_that_is_not_there_names_those_that_are(installed: Install) -> None:
    installed(FakeLibrary())
    with pytest.raises(InputError, match=r"no microphone Webcan .*devices: 0 USB Audio; 1 Webcam"):
        Microphone("Webcan")


def test_a_machine_without_a_microphone_says_the_way_around(installed: Install) -> None:
    installed(FakeLibrary(names=()))
    with pytest.raises(InputError, match="no default microphone") as error:
        Microphone()
    assert WITHOUT in str(error.value)


def test_without_sounddevice_the_extra_and_the_way_around_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtraError) as error:
        Microphone()
    assert WITHOUT in str(error.value)
    assert 'pip install "sottovoce[live]"' in str(error.value)


def test_without_portaudio_both_ways_around_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("site")
    (folder / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(ResourceError) as error:
        Microphone()
    assert "apt-get install libportaudio2" in str(error.value)
    assert WITHOUT in str(error.value)
