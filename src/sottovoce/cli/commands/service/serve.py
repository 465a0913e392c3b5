"""`sottovoce serve`."""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sottovoce.cli.commands.device.transcribe import find_model
from sottovoce.progress import Reporter

if TYPE_CHECKING:
    from sottovoce.cli.commands.options import Session
    from sottovoce.serve.options import ServedModel

_ARCHIVE = re.compile(r"(\.tar)?\.gz\Z|\.tgz\Z")


def serve(
    context: typer.Context,
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="As for transcribe: folders of runs, variants or bundles, bundles as .tar.gz, or names (base, tiny.en, a hub id). "
            "Requests have the name of the folder or file, and whisper-1 for the first one.",
            show_default=False,
        ),
    ],
    host: Annotated[
        str,
        typer.Option("--host", help="Address to listen on; a public one needs --api-key-file or --insecure."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes for each model.")] = 1,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", min=1, help="Inference threads of each process; the cores shared out by default."
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file", metavar="FILE", help="API keys, one a line; a request must have one of them."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host", metavar="NAME", help="Another name under which browsers reach the server."
        ),
    ] = None,
    wyoming_port: Annotated[
        int | None,
        typer.Option(
            "--wyoming-port",
            min=1,
            max=65535,
            help="Speak the Wyoming protocol of Home Assistant on this port too; 10300 is usual.",
            show_default=False,
        ),
    ] = None,
    live_sessions: Annotated[
        int, typer.Option("--live-sessions", min=0, help="Live sessions that may be open at once.")
    ] = 4,
    max_upload_mb: Annotated[int, typer.Option("--max-upload-mb", min=1, help="Refuse larger files.")] = 1024,
    max_hours: Annotated[
        float | None,
        typer.Option(
            "--max-hours", min=0, help="Refuse longer audio; as for transcribe.", show_default=False
        ),
    ] = None,
    queue_hours: Annotated[
        float,
        typer.Option(
            "--queue-hours",
            min=0.001,
            help="Audio that waits or is transcribed; requests beyond come back later.",
        ),
    ] = 6.0,
    *,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let anyone who reaches a public address use the server.")
    ] = False,
) -> None:
    """Serve OpenAI's audio API and a page, for one model or several.

    Examples:

        sottovoce serve runs/base

        sottovoce serve runs/base runs/base/fp32 --port 9000

        sottovoce serve base-int8-fast.tar.gz

        sottovoce serve runs/base --host 0.0.0.0 --api-key-file keys.txt

        curl -F file=@talk.mp3 http://127.0.0.1:8000/v1/audio/transcriptions
    """
    from sottovoce.serve.keys import read_keys
    from sottovoce.serve.options import ServeOptions, UploadLimits, share_threads
    from sottovoce.serve.scheduler.admission import AdmissionLimits
    from sottovoce.serve.workers.worker import WorkerModel, start_workers

    session: Session = context.obj
    with ExitStack() as stack:
        options = ServeOptions(
            models=tuple(_open(model, stack, session.terminal) for model in models),
            host=host,
            port=port,
            workers=workers,
            threads=threads or share_threads(workers),
            api_keys=() if api_key_file is None else read_keys(api_key_file),
            is_insecure=insecure,
            hosts=tuple(allow_host or ()),
            max_duration_s=None if max_hours is None else 3600 * max_hours,
            live_sessions=live_sessions,
            wyoming_port=wyoming_port,
            uploads=UploadLimits(file_bytes=max_upload_mb * 1024**2, all_bytes=4 * max_upload_mb * 1024**2),
            admission=AdmissionLimits(audio_s=3600 * queue_hours),
        )
        loaded = [WorkerModel(variant=model.variant, threads=options.threads) for model in options.models]
        started = start_workers(loaded, each=workers)
        from sottovoce.serve.server import serve as run  # while the models are loaded

        run(options, started, lambda address: session.terminal.note(f"listens on {address}"))


def _open(model: str, stack: ExitStack, reporter: Reporter) -> "ServedModel":
    """Find a model; a bundle is checked, and an archive unpacked until the stack is closed.

    Raises:
        BundleError: a bundle is damaged.
        InputError: there is no such model.
        SpecError: its format is not served.
    """
    from sottovoce.bundle.open_model import open_model
    from sottovoce.serve.options import find_model as served

    path = find_model(model, (), reporter)
    folder = stack.enter_context(open_model(path))
    if not Path(model).exists():
        return served(folder, model)
    return served(folder, _ARCHIVE.sub("", path.resolve().name) if folder != path else None)
