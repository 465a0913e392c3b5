"""What `/metrics` shows, in Prometheus's format."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import Scope

from sottovoce.serve.workers.pool import Batch

SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
LATENCY_SECONDS = (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5)
WINDOWS = (1, 2, 4, 6, 8, 12)

PATHS = frozenset(
    {
        "/",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/models",
        "/v1/realtime",
        "/healthz",
        "/readyz",
        "/metrics",
    }
)
"""Those that count under their own name: what clients make up must not become labels."""


class Metrics:
    """Counts what the server does."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter("sottovoce_requests", "Requests.", ("endpoint", "code"), registry=registry)
        self._request_seconds = Histogram(
            "sottovoce_request_seconds",
            "From request to answer.",
            ("endpoint",),
            buckets=SECONDS,
            registry=registry,
        )
        self._batch_windows = Histogram(
            "sottovoce_batch_size", "Windows decoded at once.", buckets=WINDOWS, registry=registry
        )
        self._queue_seconds = Histogram(
            "sottovoce_queue_seconds",
            "From arrival to the first batch.",
            buckets=SECONDS,
            registry=registry,
        )
        self._audio_s = Counter("sottovoce_audio_seconds", "Audio transcribed.", registry=registry)
        self._work_s = Counter("sottovoce_work_seconds", "Time of decoding.", registry=registry)
        self._speed = Gauge(
            "sottovoce_real_time_factor", "Audio seconds per second of the last batch.", registry=registry
        )
        self._rejected = Counter("sottovoce_rejected", "Requests refused.", ("reason",), registry=registry)
        self._cancelled = Counter(
            "sottovoce_cancelled", "Requests whose client went away.", registry=registry
        )
        self.live_latency = Histogram(
            "sottovoce_live_word_latency_seconds",
            "From the end of a word to its being final, in seconds of audio.",
            buckets=LATENCY_SECONDS,
            registry=registry,
        )

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a number that is read at each request."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def count_batch(self, batch: Batch) -> None:
        """Count a batch that was decoded."""
        self._batch_windows.observe(batch.n_windows)
        for waited_s in batch.queued_s:
            self._queue_seconds.observe(waited_s)
        self._audio_s.inc(batch.audio_s)
        self._work_s.inc(batch.work_s)
        if batch.work_s > 0:
            self._speed.set(batch.audio_s / batch.work_s)

    def count_request(self, scope: Scope, status: int, seconds: float) -> str:
        """Count a request; return the name of its endpoint."""
        path: str = scope["path"]
        endpoint = path if path in PATHS else "/page" if path.startswith("/page/") else "other"
        self._requests.labels(endpoint, str(status)).inc()
        self._request_seconds.labels(endpoint).observe(seconds)
        if status == 499:  # noqa: PLR2004 - the client went away
            self._cancelled.inc()
        elif status in (401, 403, 413, 429, 503):
            self._rejected.labels(_REASONS.get(status, "busy")).inc()
        return endpoint

    def text(self) -> bytes:
        """Return all metrics."""
        return generate_latest(self.registry)


_REASONS = {401: "key", 403: "origin", 413: "size"}
