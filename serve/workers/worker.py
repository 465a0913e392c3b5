"""A process with a model, and the thread that receives from it.

Imports little: workers load their models while the server still imports its libraries, and the first one imports its own while
the command line is read.
"""

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from sottovoce.serve.workers.channel import Channel, Message

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

Receive = Callable[["Worker", Message | None], None]
"""Takes a message of a worker; None: its process is gone."""

log = logging.getLogger("sottovoce.serve")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerModel:
    """What a worker loads.

    Attributes:
        variant: folder.
        threads: of inference.
    """

    variant: Path
    threads: int


Spawned = tuple[subprocess.Popen[bytes], Channel]
"""A process without a model so far, and the channel to it."""

_ahead: list[Spawned] = []


def spawn_ahead() -> None:
    """Start the process of the next worker, which imports its libraries until its model is known."""
    _ahead.append(_spawn())


def _spawn() -> Spawned:
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-m", "sottovoce.serve.workers.process", str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is the server's
    )
    theirs.close()
    return process, Channel(ours)


class Worker:
    """A process with a model.

    Attributes:
        process: of the operating system.
        started_s: by the monotonic clock.
        is_ready: its model is loaded.
    """

    def __init__(self, model: WorkerModel) -> None:
        """Start the process, which loads a model."""
        self.process, self._channel = _ahead.pop() if _ahead else _spawn()
        self.started_s = time.monotonic()
        self.is_ready = False
        self._model = model
        self.send(Message(fields={"type": "load", "variant": str(model.variant), "threads": model.threads}))

    def listen(self, loop: "AbstractEventLoop", receive: Receive) -> None:
        """Pass messages on: `receive` is called in the event loop."""
        Thread(target=self._listen, args=(loop, receive), daemon=True, name="sottovoce-worker").start()

    def again(self) -> "Worker":
        """Start another worker of the same model."""
        return Worker(self._model)

    def send(self, message: Message) -> None:
        """Send a message; one to a process that is gone is lost, which `receive` reports."""
        try:
            self._channel.send(message)
        except OSError:
            log.debug("worker is gone")

    def close(self) -> None:
        """End the process."""
        self._channel.close()

    def _listen(self, loop: "AbstractEventLoop", receive: Receive) -> None:
        message: Message | None = Message(fields={})
        while message is not None:
            message = self._channel.receive()
            try:
                loop.call_soon_threadsafe(receive, self, message)
            except RuntimeError:  # the loop is closed
                return
        self.process.wait()


def start_workers(models: Sequence[WorkerModel], *, each: int) -> tuple[tuple[Worker, ...], ...]:
    """Start the workers of several models.

    Args:
        models: that they load.
        each: processes of each model.

    Returns:
        The workers of each model.
    """
    return tuple(tuple(Worker(model) for _ in range(each)) for model in models)
