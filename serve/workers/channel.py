"""Messages between the server and a worker: JSON with bytes and an open file, over a socket.

Both sides are our own, but a worker reads strangers' audio: what comes from it is data, never code.
"""

import json
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any

_HEAD = struct.Struct("!II")
MAX_MESSAGE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent.

    Attributes:
        fields: what JSON holds; `type` names the message.
        content: bytes beside it.
        file: descriptor of an open file; the receiver has one of its own, which it closes.
    """

    fields: dict[str, Any]
    content: bytes = b""
    file: int | None = None


class Channel:
    """One end of a socket; one thread receives, any may send."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._lock = Lock()

    def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            OSError: the other end is gone.
        """
        fields = json.dumps(message.fields, separators=(",", ":")).encode()
        head = _HEAD.pack(len(fields), len(message.content))
        with self._lock:
            if message.file is None:
                self._socket.sendall(head + fields + message.content)
            else:
                sent = socket.send_fds(self._socket, [head], [message.file])
                self._socket.sendall(head[sent:] + fields + message.content)

    def receive(self) -> Message | None:
        """Wait for a message; None: the other end is gone."""
        try:
            head, files, _, _ = socket.recv_fds(self._socket, _HEAD.size, 1)
            head += self._read(_HEAD.size - len(head)) if head else b""
            if len(head) < _HEAD.size:
                return None
            n_fields, n_content = _HEAD.unpack(head)
            if n_fields + n_content > MAX_MESSAGE_BYTES:
                return None
            body = self._read(n_fields + n_content)
        except OSError:
            return None
        if len(body) < n_fields + n_content:
            for file in files:
                os.close(file)
            return None
        return Message(
            fields=json.loads(body[:n_fields]), content=body[n_fields:], file=files[0] if files else None
        )

    def _read(self, n_bytes: int) -> bytes:
        parts: list[bytes] = []
        while n_bytes and (part := self._socket.recv(min(n_bytes, 1 << 20))):
            parts.append(part)
            n_bytes -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close this end; a thread that waits in `receive` returns."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
