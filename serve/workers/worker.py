"""A process with a model, and the thread that receives from it.

Imports little: workers load their models while the server still imports its libraries.
"""

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from sottovoce.serve.workers.channel import Channel, Message

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

Receive = Callable[["Worker", Message | None], None]
"""Takes a message of a worker; None: its process is gone."""

log = logging.getLogger("sottovoce.serve")


class Worker:
    """A process with a model.

    Attributes:
        process: of the operating system.
        started_s: by the monotonic clock.
        is_ready: its model is loaded.
    """

    def __init__(self, variant: Path, threads: int) -> None:
        """Start the process.

        Args:
            variant: folder.
            threads: of inference.
        """
        ours, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "sottovoce.serve.workers.process",
                str(theirs.fileno()),
                str(variant),
                str(threads),
            ],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the server's
        )
        theirs.close()
        self.started_s = time.monotonic()
        self.is_ready = False
        self._variant = variant
        self._threads = threads
        self._channel = Channel(ours)

    def listen(self, loop: "AbstractEventLoop", receive: Receive) -> None:
        """Pass messages on: `receive` is called in the event loop."""
        Thread(target=self._listen, args=(loop, receive), daemon=True, name="sottovoce-worker").start()

    def again(self) -> "Worker":
        """Start another worker of the same model."""
        return Worker(self._variant, self._threads)

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


def start_workers(variants: Sequence[Path], *, each: int, threads: int) -> tuple[tuple[Worker, ...], ...]:
    """Start the workers of several models.

    Args:
        variants: folder of each model.
        each: processes of each model.
        threads: of inference, of each process.

    Returns:
        The workers of each model.
    """
    return tuple(tuple(Worker(variant, threads) for _ in range(each)) for variant in variants)
