"""What the endpoints share."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sottovoce.serve.metrics import Metrics
from sottovoce.serve.models import Models
from sottovoce.serve.openai.errors import ApiError
from sottovoce.serve.options import ServeOptions
from sottovoce.serve.uploads import Uploads

LIVE_RETRY_S = 30

DRAIN_RETRY_S = 5
"""When another server may have taken over."""


@dataclass(slots=True, kw_only=True)
class Service:
    """The models and what counts and limits their use.

    Attributes:
        options: of the server.
        models: with their workers.
        metrics: count what is done.
        uploads: that arrive.
        draining: set when it takes no more, and finishes what it has.
    """

    options: ServeOptions
    models: Models
    metrics: Metrics
    uploads: Uploads = field(init=False)
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    _n_working: int = 0
    _n_live: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.uploads = Uploads(self.options.uploads)
        self._idle.set()
        self.metrics.watch("sottovoce_queue_length", "Recordings in the server.", lambda: self.n_jobs)
        self.metrics.watch("sottovoce_live_sessions", "Live sessions that are open.", lambda: self._n_live)
        self.metrics.watch(
            "sottovoce_backlog_audio_seconds",
            "Audio that waits or is transcribed.",
            lambda: sum(pool.backlog.audio_s for pool in self.models.pools),
        )

    @property
    def n_jobs(self) -> int:
        """Recordings and live sessions that are not over."""
        return sum(pool.n_jobs for pool in self.models.pools)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count a request that is to be finished before the server ends.

        Raises:
            ApiError: the server ends.
        """
        self.check_open()
        self._n_working += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._n_working -= 1
            if not self._n_working:
                self._idle.set()

    async def done(self) -> None:
        """Wait until no request is left."""
        await self._idle.wait()

    @property
    def is_ready(self) -> bool:
        """Whether it takes requests."""
        return self.models.is_ready and not self.draining.is_set()

    @contextmanager
    def live(self) -> Iterator[None]:
        """Count a live session.

        Raises:
            ApiError: enough are open, or the server ends.
        """
        if self._n_live >= self.options.live_sessions:
            raise ApiError(
                503,
                f"{self.options.live_sessions} live sessions are open, as many as the server takes; try again later",
                code="overloaded",
                headers={"Retry-After": str(LIVE_RETRY_S)},
            )
        self._n_live += 1
        try:
            with self.working():
                yield
        finally:
            self._n_live -= 1

    def check_open(self) -> None:
        """Refuse a request while the server ends.

        Raises:
            ApiError: it does.
        """
        if self.draining.is_set():
            raise ApiError(
                503,
                "the server is shutting down",
                code="shutting_down",
                headers={"Retry-After": str(DRAIN_RETRY_S), "Connection": "close"},
            )
