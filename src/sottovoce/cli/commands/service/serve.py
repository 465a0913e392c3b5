"""`sottovoce serve`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sottovoce.cli.commands.options import Session


def serve(
    context: typer.Context,
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Folders of runs or variants; requests name them by the folder, and the first one also as whisper-1.",
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
    """Serve OpenAI's audio API and a page, for one run or several.

    Examples:

        sottovoce serve runs/base

        sottovoce serve runs/base runs/base/fp32 --port 9000

        sottovoce serve runs/base --host 0.0.0.0 --api-key-file keys.txt

        curl -F file=@talk.mp3 http://127.0.0.1:8000/v1/audio/transcriptions
    """
    from sottovoce.serve.keys import read_keys
    from sottovoce.serve.options import ServeOptions, UploadLimits, find_models, share_threads
    from sottovoce.serve.scheduler.admission import AdmissionLimits
    from sottovoce.serve.workers.worker import start_workers

    session: Session = context.obj
    options = ServeOptions(
        models=find_models(runs),
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
    started = start_workers(
        [model.variant for model in options.models], each=workers, threads=options.threads
    )
    from sottovoce.serve.server import serve as run  # while the models are loaded

    run(options, started, lambda address: session.terminal.note(f"listens on {address}"))
