"""A microphone, through sounddevice and PortAudio."""

from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError, MissingExtraError, ResourceError, nearest
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.audio.mixing import new_resampler
from sottovoce.runtime.audio.track import Note

WITHOUT = "arecord -f S16_LE -r 16000 -c 1 | sottovoce live MODEL -"
"""The way around a microphone: another program records."""

BLOCK_S = 0.03


class Microphone:
    """Records one channel; see `Source`."""

    def __init__(self, device: str | None = None) -> None:
        """Find a device.

        Args:
            device: its number, or a part of its name; None: the system's default.

        Raises:
            MissingExtraError: sounddevice is not installed.
            ResourceError: PortAudio is not installed.
            InputError: there is no such device.
        """
        self._library = _sounddevice()
        self._device = int(device) if device is not None and device.isdecimal() else device
        self._found = self._find()
        self._chunks: SimpleQueue[NDArray[np.float32] | None] = SimpleQueue()
        self._is_stopped = False
        self._has_overflowed = False

    @property
    def label(self) -> str:
        """Names the microphone in messages."""
        return f"microphone {self._found['name']}"

    def stop(self) -> None:
        """End the audio."""
        self._is_stopped = True
        self._chunks.put(None)

    def blocks(self, note: Note) -> Iterator[Wave]:
        """Yield the audio; see `Source`."""
        try:
            stream, rate_hz = self._open()
        except self._library.PortAudioError as error:
            raise InputError(f"{self.label} cannot be opened ({error}); choose another --device") from error
        resampler = new_resampler(rate_hz)
        is_noted = False
        with stream:
            while (chunk := self._chunks.get()) is not None:
                if self._has_overflowed and not is_noted:
                    note(f"{self.label}: the system dropped samples, because this machine is too busy")
                    is_noted = True
                yield chunk if resampler is None else resampler.resample_chunk(chunk)
        if resampler is not None:
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        if not self._is_stopped:
            raise InputError(f"{self.label} stopped: it was unplugged, or another program took it")

    def _find(self) -> Any:
        try:
            found = self._library.query_devices(self._device, "input")
        except (ValueError, self._library.PortAudioError) as error:
            names = [
                f"{each['index']} {each['name']}"
                for each in self._library.query_devices()
                if each["max_input_channels"]
            ]
            known = f"devices: {'; '.join(names)}" if names else f"there is none here; without one: {WITHOUT}"
            what = "no default microphone" if self._device is None else f"no microphone {self._device}"
            hint = nearest(str(self._device), names)
            raise InputError(f"{what} ({' '.join(str(error).split())}){hint}; {known}") from error
        return found

    def _open(self) -> tuple[Any, int]:
        """Open the device at 16 kHz, or at its own rate if it has no other."""
        try:
            return self._stream(SAMPLE_RATE_HZ), SAMPLE_RATE_HZ
        except self._library.PortAudioError:
            rate_hz = round(self._found["default_samplerate"])
            return self._stream(rate_hz), rate_hz

    def _stream(self, rate_hz: int) -> Any:
        return self._library.InputStream(
            samplerate=rate_hz,
            channels=1,
            dtype="float32",
            device=self._device,
            blocksize=round(BLOCK_S * rate_hz),
            callback=self._receive,
            finished_callback=lambda: self._chunks.put(None),
        )

    def _receive(self, chunk: NDArray[np.float32], _n: int, _time: Any, status: Any) -> None:
        """Keep the samples; called by PortAudio's thread, whose array is reused."""
        self._has_overflowed |= bool(status.input_overflow)
        self._chunks.put(chunk[:, 0].copy())


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "sounddevice", needed_for=f"the microphone (without it: {WITHOUT})", extra="live"
        ) from error
    except OSError as error:
        raise ResourceError(
            f"the library PortAudio is not installed, which the microphone needs ({error}); "
            f"install it (apt-get install libportaudio2), or go without it: {WITHOUT}"
        ) from error
    return sounddevice
