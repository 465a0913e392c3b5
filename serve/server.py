"""Run a server until a signal ends it."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence

import uvicorn

from sottovoce.errors import InputError
from sottovoce.machine.os_errors import translate_os_error
from sottovoce.serve.app import import_live, make_app
from sottovoce.serve.connections import http_config
from sottovoce.serve.logs import log_to_stderr
from sottovoce.serve.metrics import Metrics
from sottovoce.serve.models import Models
from sottovoce.serve.options import ServeOptions
from sottovoce.serve.service import Service
from sottovoce.serve.workers.pool import Pool
from sottovoce.serve.workers.worker import Worker
from sottovoce.serve.wyoming import start_wyoming

SIGNALS = (signal.SIGTERM, signal.SIGINT)

Announce = Callable[[str], None]
"""Takes the address of the server."""

log = logging.getLogger("sottovoce.serve")


def serve(options: ServeOptions, workers: Sequence[Sequence[Worker]], announce: Announce) -> None:
    """Serve until SIGTERM or Ctrl-C, which let finish what was begun.

    Args:
        options: of the server.
        workers: of each model; see `start_workers`.
        announce: called when requests are answered.

    Raises:
        InputError: the address is taken, or is none of this machine.
        ResourceError: a model cannot be loaded.
    """
    log_to_stderr(logging.INFO)
    metrics = Metrics()
    pools = [Pool(each, limits=options.admission, on_batch=metrics.count_batch) for each in workers]
    models = Models(list(zip(options.models, pools, strict=True)))
    try:
        service = Service(options=options, models=models, metrics=metrics)
        with _listen(options.host, options.port) as listener:
            asyncio.run(_run(service, listener, announce))
    finally:
        models.close()


class _Server(uvicorn.Server):
    """Leaves signals to us: the server is to finish its work before it stops listening."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _run(service: Service, listener: socket.socket, announce: Announce) -> None:
    server = _Server(http_config(make_app(service), service.options.connections))
    loop = asyncio.get_running_loop()
    ending = _Ending(service, server)
    for number in SIGNALS:
        loop.add_signal_handler(number, ending.receive)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        loading = asyncio.create_task(service.models.open())
        await asyncio.wait([serving, loading], return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loading.result()
            await _speak_wyoming(service)
            announce(_address(listener))
            await asyncio.to_thread(import_live)
        await serving
    finally:
        server.should_exit = True
        for number in SIGNALS:
            loop.remove_signal_handler(number)


async def _speak_wyoming(service: Service) -> None:
    """Listen for Wyoming clients too, where that is wanted.

    Raises:
        InputError: the port is taken.
    """
    options = service.options
    if options.wyoming_port is None:
        return
    try:
        await start_wyoming(service, options.host, options.wyoming_port)
    except OSError as error:
        raise InputError(
            f"--wyoming-port {options.wyoming_port} cannot be listened on ({error.strerror}); choose another"
        ) from error


class _Ending:
    """Ends the server: a first signal lets it finish, a second one does not."""

    def __init__(self, service: Service, server: uvicorn.Server) -> None:
        self._service = service
        self._server = server
        self._drain: asyncio.Task[None] | None = None

    def receive(self) -> None:
        """Take a signal."""
        if self._drain is None:
            self._service.draining.set()
            self._drain = asyncio.create_task(self._finish())
        else:
            self._server.should_exit = self._server.force_exit = True

    async def _finish(self) -> None:
        log.info("draining")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._service.options.drain_s):
                await self._service.done()
        self._server.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    """Listen on an address.

    Raises:
        InputError: it is taken, or none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small answers at once only where the protocol is stated.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        known = translate_os_error(error) or error
        raise InputError(
            f"--host {host} --port {port} cannot be listened on ({getattr(error, 'strerror', None) or known}); choose another"
        ) from error
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
