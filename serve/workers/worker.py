"""A process with a model, and the threads that talk to it."""

import asyncio
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from sottovoce.serve.workers.channel import Channel, Message

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

    def __init__(self, variant: Path, threads: int, receive: Receive) -> None:
        """Start the process.

        Args:
            variant: folder.
            threads: of inference.
            receive: called in the event loop with each message.
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
        self._channel = Channel(ours)
        self._receive = receive

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Pass messages on to the event loop."""
        Thread(target=self._listen, args=(loop,), daemon=True, name="sottovoce-worker").start()

    def send(self, message: Message) -> None:
        """Send a message; one to a process that is gone is lost, which `receive` reports."""
        try:
            self._channel.send(message)
        except OSError:
            log.debug("worker is gone")

    def close(self) -> None:
        """End the process."""
        self._channel.close()

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        message: Message | None = Message(fields={})
        while message is not None:
            message = self._channel.receive()
            try:
                loop.call_soon_threadsafe(self._receive, self, message)
            except RuntimeError:  # the loop is closed
                return
        self.process.wait()
