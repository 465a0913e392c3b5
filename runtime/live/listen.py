"""Listen to a source in a thread while the main thread transcribes: no audio is dropped, however slow that is."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from queue import Empty, Queue
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from sottovoce.errors import InputError, SottovoceError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave, is_silent
from sottovoce.runtime.audio.track import Note
from sottovoce.runtime.live.events import Lagging, LiveEvent
from sottovoce.runtime.live.recording import Recording
from sottovoce.runtime.live.session import LiveSession
from sottovoce.runtime.live.sources import Source

STALL_S = 5.0
"""So long without audio is reported."""

MAX_WAITING_BLOCKS = 16_384
"""Of 40 ms mostly: 10 minutes. Then the writer of a pipe waits; a microphone's samples wait elsewhere, without a limit."""

LEVEL_S = 10.0
SILENT_S = 30.0
MAX_CLIPPED = 0.001
MAX_OFFSET = 0.05
"""Shares of full scale: clipped samples in `LEVEL_S`, and the mean of the samples."""

FULL_SCALE = 0.9999

LAGGING_EVERY_S = 30.0


class Writer(Protocol):
    """Shows or prints the events of a session."""

    def write(self, event: LiveEvent) -> None:
        """Take the next event."""


class Listener:
    """Reads a source in a thread from the start of the `with` block on."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._items: Queue[Wave | str | Exception | None] = Queue(MAX_WAITING_BLOCKS)
        self._thread = threading.Thread(target=self._read, name="audio", daemon=True)

    @property
    def label(self) -> str:
        """Names the audio in messages."""
        return self._source.label

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.stop()
        while self._thread.is_alive():  # it may wait for room
            with suppress(Empty):
                self._items.get(timeout=STALL_S / 100)

    def stop(self) -> None:
        """End the audio; what arrived before is still given. From any thread, and from the handler of a signal."""
        self._source.stop()

    def blocks(self, note: Note) -> Iterator[Wave]:
        """Yield the audio; wait for it, and say so where there is none.

        Raises:
            InputError: the source cannot be read, or no further; raised after its last block.
        """
        is_stalled = False
        while True:
            try:
                item = self._items.get(timeout=STALL_S)
            except Empty:
                if not is_stalled:
                    note(
                        f"{self.label}: no audio for {STALL_S:g} s; waits for more, Ctrl-C ends the transcript"
                    )
                is_stalled = True
                continue
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            if isinstance(item, str):
                note(item)
                continue
            is_stalled = False
            yield item

    def _read(self) -> None:
        try:
            for block in self._source.blocks(self._items.put):
                self._items.put(block)
            self._items.put(None)
        except Exception as error:  # noqa: BLE001 - raised again in the main thread
            self._items.put(error)


class LevelWatch:
    """Finds audio that is recorded badly; says each fault once."""

    def __init__(self, label: str, note: Note) -> None:
        self._label = label
        self._note = note
        self._noted: set[str] = set()
        self._blocks: list[Wave] = []
        self._n_samples = 0
        self._silent_s = 0.0

    def follow(self, block: Wave) -> None:
        """Take the next block."""
        self._blocks.append(block)
        self._n_samples += len(block)
        if self._n_samples >= LEVEL_S * SAMPLE_RATE_HZ:
            self._check(np.concatenate(self._blocks))
            self._blocks, self._n_samples = [], 0

    def _check(self, wave: Wave) -> None:
        self._silent_s = self._silent_s + len(wave) / SAMPLE_RATE_HZ if is_silent(wave) else 0.0
        if self._silent_s >= SILENT_S:
            self._say(
                f"silent for {SILENT_S:g} s; check that the microphone is on and the right one is chosen"
            )
        n_clipped = np.count_nonzero(np.abs(wave) >= FULL_SCALE)
        if n_clipped > MAX_CLIPPED * len(wave):
            self._say("clipped: many samples are at full scale; lower the recording level")
        offset = float(np.mean(wave, dtype=np.float64))
        if abs(offset) > MAX_OFFSET:
            self._say(
                f"its samples have a mean of {offset:.2f}, want 0; the recording device has a DC offset"
            )

    def _say(self, text: str) -> None:
        fault = text.partition(" ")[0]
        if fault not in self._noted:
            self._noted.add(fault)
            self._note(f"{self._label}: {text}")


class LiveTranscription:
    """Feeds a session with the audio of a listener, and hands on what it finds."""

    def __init__(
        self, session: LiveSession, writers: Sequence[Writer], note: Note, recording: Recording | None = None
    ) -> None:
        """Prepare a transcription.

        Args:
            session: of this stream.
            writers: take each event.
            note: called with one sentence that the user should know.
            recording: of the audio.
        """
        self._session = session
        self._writers = writers
        self._note = note
        self._recording = recording
        self._next_lagging_s = 0.0

    def run(self, listener: Listener) -> None:
        """Transcribe to the end of the audio.

        Raises:
            InputError: the audio could not be read, or no further, or not be recorded; the words until then are written.
        """
        levels = LevelWatch(listener.label, self._note)
        error: SottovoceError | None = None
        try:
            for block in listener.blocks(self._note):
                error = self._record(block) or error
                levels.follow(block)
                self._write(self._session.feed(block))
        except InputError as cause:
            error = cause
        finally:
            error = self._record(None) or error
        self._write(self._session.finish())
        if error is not None:
            raise error

    def _record(self, block: Wave | None) -> SottovoceError | None:
        """Record a block, or the end; stop recording where that fails, and go on."""
        recording = self._recording
        if recording is None:
            return None
        try:
            if block is None:
                recording.close()
            else:
                recording.write(block)
        except InputError as error:
            self._recording = None
            self._note(f"{error}; the transcript goes on")
            return error
        return None

    def _write(self, events: Sequence[LiveEvent]) -> None:
        for event in events:
            for writer in self._writers:
                writer.write(event)
            if isinstance(event, Lagging) and event.audio_s >= self._next_lagging_s:
                self._next_lagging_s = event.audio_s + LAGGING_EVERY_S
                self._note(
                    f"this machine is {event.backlog_s:.0f} s behind; no audio is lost, and a smaller model keeps up"
                )
