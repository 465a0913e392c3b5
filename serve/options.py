"""How a server runs."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from sottovoce.errors import SpecError
from sottovoce.machine.resources import usable_cores
from sottovoce.runtime.model.layout import format_of
from sottovoce.runtime.model.variant import MANIFEST_NAME, find_variant, variant_name
from sottovoce.serve.scheduler.admission import AdmissionLimits
from sottovoce.terms import Format

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
"""Addresses that only this machine reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """What a request may send.

    Attributes:
        file_bytes: of one upload.
        all_bytes: of the uploads that arrive at once.
        fields: of a form, beside the file.
        field_bytes: of each.
        idle_s: without a byte, after which a request is dropped.
        least_bytes_per_s: on average, after `idle_s`: a slow upload keeps room from others.
    """

    file_bytes: int = 1024**3
    all_bytes: int = 4 * 1024**3
    fields: int = 32
    field_bytes: int = 64 * 1024
    idle_s: float = 30.0
    least_bytes_per_s: int = 4 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How long a client may hold a connection, and how many there may be.

    Attributes:
        head_s: from the first byte of a request, or the start of a connection, to the end of the head.
        keep_alive_s: from an answer to the next request.
        unread_s: without reading of an answer.
        silent_s: of a live session without a message: the server has few of them.
        count: beyond which the oldest connection without a request is closed; each may need two descriptors, of 1024.
    """

    head_s: float = 10.0
    keep_alive_s: int = 5
    unread_s: float = 30.0
    silent_s: float = 300.0
    count: int = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model that is served.

    Attributes:
        name: in requests.
        variant: folder.
    """

    name: str
    variant: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """How a server runs.

    Attributes:
        models: the first one is also `whisper-1`.
        host: address to listen on.
        port: 0 takes a free one.
        workers: processes of each model.
        threads: of inference, of each process.
        api_keys: one of which a request must have; empty: none is needed.
        is_insecure: a public address needs no key.
        hosts: further names under which browsers may reach the server.
        max_duration_s: longer audio is refused.
        live_sessions: that may be open at once.
        wyoming_port: of the Wyoming protocol; None: it is not spoken.
        drain_s: after SIGTERM, until what is not done is dropped.
        connections: limits of connections.
        uploads: limits of requests.
        admission: limits of the audio that waits.
    """

    models: tuple[ServedModel, ...]
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    threads: int = 1
    api_keys: tuple[str, ...] = ()
    is_insecure: bool = False
    hosts: tuple[str, ...] = ()
    max_duration_s: float | None = None
    live_sessions: int = 4
    wyoming_port: int | None = None
    drain_s: float = 30.0
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    uploads: UploadLimits = field(default_factory=UploadLimits)
    admission: AdmissionLimits = field(default_factory=AdmissionLimits)

    def __post_init__(self) -> None:
        name, n = Counter(model.name for model in self.models).most_common(1)[0]
        if n > 1:
            raise SpecError(f"two of the models are called {name}; rename one of the folders")
        if self.host not in LOCAL_HOSTS and not self.api_keys and not self.is_insecure:
            raise SpecError(
                f"--host {self.host} can be reached by other machines; give --api-key-file, or --insecure to let anyone in"
            )
        if self.host not in LOCAL_HOSTS and self.wyoming_port is not None and not self.is_insecure:
            raise SpecError(
                f"--wyoming-port has no keys, and --host {self.host} can be reached by other machines; give --insecure to let "
                "anyone in"
            )


def find_model(path: Path, name: str | None = None) -> ServedModel:
    """Return the model in the folder of a run or a variant.

    Args:
        path: the folder.
        name: in requests; by default that of a run's folder, or both names of a variant in a run, such as `base-fp32`.

    Raises:
        InputError: the folder holds no variant.
        SpecError: the variant is of a format that is not served.
    """
    variant = find_variant(path)
    if format_of(variant) is Format.CTRANSLATE2:
        raise SpecError(
            f"{path} holds a CTranslate2 variant, which is not served; give an OpenVINO or ONNX variant of the run"
        )
    return ServedModel(name=name or _name_of(path, variant), variant=variant)


def _name_of(path: Path, variant: Path) -> str:
    folder = path.resolve()
    is_in_run = variant == path and (folder.parent / MANIFEST_NAME).is_file()
    return f"{folder.parent.name}-{variant_name(variant)}" if is_in_run else folder.name


def share_threads(n_processes: int) -> int:
    """Return the threads of each process where the cores are shared out."""
    return max(1, usable_cores() // n_processes)
