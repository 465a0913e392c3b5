"""`sottovoce live`."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sottovoce.cli.commands.device.transcribe import find_model
from sottovoce.cli.commands.options import Force, Session
from sottovoce.errors import SpecError
from sottovoce.runtime.live.output import LiveFormat
from sottovoce.runtime.transcript import Task
from sottovoce.terms import STDIN

if TYPE_CHECKING:
    from sottovoce.runtime.live.sources import Source


def live(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Folder of a run, a variant or a bundle; a bundle as .tar.gz; or a name (base, tiny.en, a hub id).",
            show_default=False,
        ),
    ],
    audio: Annotated[
        str | None,
        typer.Argument(
            metavar="[AUDIO]",
            help="A pipe or a file; - reads standard input, raw PCM or any container. By default a microphone.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="NAME",
            help="Microphone: a part of its name, or its number; the system's default otherwise.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        LiveFormat | None,
        typer.Option("--format", help="By default text on a terminal, jsonl elsewhere.", show_default=False),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(
            "--language",
            help="Code or name, such as de or German, or auto; by default a fine-tuned model's own, else auto.",
        ),
    ] = None,
    task: Annotated[
        Task | None,
        typer.Option("--task", help="Transcribe (the default), or translate to English.", show_default=False),
    ] = None,
    hotwords: Annotated[
        str | None,
        typer.Option("--hotwords", metavar="TEXT", help="Words that the audio is likely to contain."),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FLAC", help="Record the audio while it is transcribed."),
    ] = None,
    rate: Annotated[
        int | None, typer.Option("--rate", help="Of raw PCM, in Hz; 16000 by default.", show_default=False)
    ] = None,
    channels: Annotated[
        int | None, typer.Option("--channels", help="Of raw PCM; 1 by default.", show_default=False)
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Inference threads; all cores by default.")
    ] = None,
    *,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine", help="Transcribe the recording of --save again afterwards, and write that beside it."
        ),
    ] = False,
    force: Force = False,
) -> None:
    """Transcribe speech while it goes on. Words that are committed do not change any more; Ctrl-C finishes the last ones.

    Examples:

        sottovoce live runs/base

        sottovoce live runs/base --language de --task translate --save talk.flac --refine

        arecord -f S16_LE -r 16000 -c 1 | sottovoce live runs/base -

        ffmpeg -i ADDRESS -f wav - | sottovoce live runs/base - --format vtt
    """
    from sottovoce.bundle.open_model import open_model
    from sottovoce.cli.live import REFINED, default_format, plan_recording, run_live
    from sottovoce.runtime.live.options import LiveOptions
    from sottovoce.runtime.loading import load
    from sottovoce.runtime.model.variant import find_variant, variant_name
    from sottovoce.runtime.options import TranscribeOptions
    from sottovoce.runtime.output.formats import format_transcript
    from sottovoce.storage.documents import write_text

    session: Session = context.obj
    options = LiveOptions(language=language, task=task, hotwords=hotwords)
    kind = kind or default_format()
    refined = plan_recording(save, kind, refine=refine, force=force)
    source = _open(audio, device, rate, channels)
    path = find_model(model, [audio or STDIN], session.terminal)
    with open_model(path) as folder:
        variant = find_variant(folder)
        loaded = cache(lambda: load(variant, threads=threads))
        run_live(session, source, lambda: loaded().live(options), kind, save)
        if save is None or refined is None:
            return
        again = TranscribeOptions(language=language, task=task, hotwords=hotwords)
        transcript = loaded().transcribe(save, again)
    write_text(
        refined, format_transcript(transcript, REFINED[kind], source=str(save), variant=variant_name(variant))
    )
    session.terminal.note(f"wrote {refined}")


def _open(audio: str | None, device: str | None, rate: int | None, channels: int | None) -> "Source":
    """Open the audio.

    Raises:
        SpecError: options that do not go together.
    """
    from sottovoce.runtime.live.microphone import Microphone
    from sottovoce.runtime.live.pipe import RawFormat
    from sottovoce.runtime.live.sources import open_audio

    is_raw = rate is not None or channels is not None
    if audio is None:
        if is_raw:
            raise SpecError("--rate and --channels are for raw PCM; give AUDIO too, such as -")
        return Microphone(device)
    if device is not None:
        raise SpecError(f"--device is for a microphone; drop it, or AUDIO ({audio})")
    raw = RawFormat(rate_hz=rate or 16_000, n_channels=channels or 1) if is_raw else None
    return open_audio(audio, raw)
