"""The audio of a live transcription as a FLAC file, which can be read while it grows and after a kill."""

from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.container import error_text
from sottovoce.runtime.audio.decode import Wave

FRAME_SAMPLES = 4096
"""0.26 s: a kill costs no more."""

_FULL_SCALE = 1 << 15


class Recording:
    """Writes one channel of 16 kHz and 16 bits."""

    def __init__(self, path: Path) -> None:
        """Create the file.

        Raises:
            InputError: it cannot be created.
        """
        self._path = path
        self._waiting = np.zeros(0, np.float32)
        self._container = av.open(path, "w", format="flac", options={"flush_packets": "1"})
        self._stream = self._container.add_stream("flac", rate=SAMPLE_RATE_HZ, layout="mono", format="s16")
        self._stream.codec_context.options = {"frame_size": str(FRAME_SAMPLES)}
        try:
            self._container.start_encoding()
        except (av.FFmpegError, OSError) as error:
            raise InputError(
                f"{path} cannot be created ({error_text(error)}); choose another --save"
            ) from error
        self._n_written = 0

    def write(self, block: Wave) -> None:
        """Append a block.

        Raises:
            InputError: it cannot be written, as on a full disk.
        """
        waiting = np.concatenate([self._waiting, block])
        n_whole = len(waiting) - len(waiting) % FRAME_SAMPLES
        for begin in range(0, n_whole, FRAME_SAMPLES):
            self._encode(waiting[begin : begin + FRAME_SAMPLES])
        self._waiting = waiting[n_whole:]

    def close(self) -> None:
        """Write the rest, and the length in the header.

        Raises:
            InputError: it cannot be written.
        """
        try:
            if len(self._waiting):
                self._encode(self._waiting)
            self._mux(None)
        finally:
            self._container.close()

    def _encode(self, samples: Wave) -> None:
        stored = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
        frame = AudioFrame.from_ndarray(stored[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts = self._n_written
        self._n_written += len(stored)
        self._mux(frame)

    def _mux(self, frame: AudioFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as error:
            raise InputError(f"{self._path} cannot be written ({error_text(error)})") from error
