"""`sottovoce transcribe`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sottovoce.cli.commands.options import Force, Session
from sottovoce.errors import InputError, SpecError
from sottovoce.progress import Reporter
from sottovoce.runtime.output.formats import TranscriptFormat
from sottovoce.runtime.transcript import Task
from sottovoce.terms import STDIN, MemoryUse

if TYPE_CHECKING:
    from sottovoce.runtime.options import TranscribeOptions

EXIT_SOME_FAILED = 1

SUBTITLES = frozenset({TranscriptFormat.SRT, TranscriptFormat.VTT})
"""They have the times of words where those cost nothing."""


def transcribe(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Folder of a run, a variant or a bundle; a bundle as .tar.gz; or a name (base, tiny.en, a hub id): the model is "
            "made once, with the extra all.",
            show_default=False,
        ),
    ],
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Audio or video files in any format; - reads standard input.",
            show_default=False,
        ),
    ],
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
    kind: Annotated[TranscriptFormat, typer.Option("--format", help="Format of the transcript.")] = (
        TranscriptFormat.TXT
    ),
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir", metavar="DIR", help="Write DIR/NAME.FORMAT for each file; printed by default."
        ),
    ] = None,
    beam_size: Annotated[int, typer.Option("--beam-size", min=1, max=16, help="Beams; 1 is greedy.")] = 1,
    initial_prompt: Annotated[
        str | None,
        typer.Option(
            "--initial-prompt", metavar="TEXT", help="Text before the first window: names, spelling, style."
        ),
    ] = None,
    hotwords: Annotated[
        str | None,
        typer.Option("--hotwords", metavar="TEXT", help="Words that the audio is likely to contain."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, max=32, help="Windows of long audio per batch.")
    ] = 12,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Inference threads; all cores by default.")
    ] = None,
    memory: Annotated[
        MemoryUse | None,
        typer.Option(
            "--memory",
            help="Memory of the process: low is for small devices, and slower; by default what the recipe says, else normal.",
            show_default=False,
        ),
    ] = None,
    max_hours: Annotated[
        float | None,
        typer.Option(
            "--max-hours",
            min=0,
            help="Refuse longer audio; by default 24, or less if the file is too small for so much speech.",
            show_default=False,
        ),
    ] = None,
    audio_track: Annotated[
        int | None,
        typer.Option(
            "--audio-track",
            min=1,
            help="Audio track of a film, from 1; by default its default track, or another if that is silent.",
            show_default=False,
        ),
    ] = None,
    *,
    allow_damaged: Annotated[
        bool, typer.Option("--allow-damaged", help="Take what can be decoded of files that end early.")
    ] = False,
    word_timestamps: Annotated[
        bool,
        typer.Option("--word-timestamps", help="Times of words, in json and for the borders of subtitles."),
    ] = False,
    condition_on_previous_text: Annotated[
        bool,
        typer.Option(
            "--condition-on-previous-text",
            help="Long audio window by window, with the text before each as its prompt.",
        ),
    ] = False,
    vad_filter: Annotated[
        bool | None,
        typer.Option(
            "--vad-filter/--no-vad-filter",
            help="Look for speech first; by default in long audio and where a text is doubtful.",
        ),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="Print while a file grows or a pipe is written, as `sottovoce live` does; Ctrl-C ends it.",
        ),
    ] = False,
    sequential: Annotated[bool, typer.Option("--sequential", hidden=True)] = False,
    voice_activity: Annotated[
        bool | None, typer.Option("--voice-activity/--no-voice-activity", hidden=True)
    ] = None,
    force: Force = False,
) -> None:
    """Transcribe audio of any length with a variant, without torch.

    Examples:

        sottovoce transcribe base talk.mp3

        sottovoce transcribe runs/base talk.mp3

        sottovoce transcribe runs/base *.wav --format srt --output-dir subtitles --language de

        sottovoce transcribe base-int8-fast.tar.gz talk.mp3

        ffmpeg -i film.mkv -f wav - | sottovoce transcribe runs/base - --task translate --format vtt
    """
    from sottovoce.bundle.open_model import open_model
    from sottovoce.runtime.loading import load
    from sottovoce.runtime.model.variant import find_variant, variant_name
    from sottovoce.runtime.options import TranscribeOptions
    from sottovoce.runtime.output.files import plan_files, transcribe_files

    session: Session = context.obj
    if sequential:
        session.terminal.note("--sequential is deprecated; use --condition-on-previous-text")
    if voice_activity is not None:
        session.terminal.note("--[no-]voice-activity is deprecated; use --[no-]vad-filter")
    options = TranscribeOptions(
        language=language,
        task=task,
        word_timestamps=word_timestamps or (None if kind in SUBTITLES else False),
        beam_size=beam_size,
        initial_prompt=initial_prompt,
        hotwords=hotwords,
        condition_on_previous_text=condition_on_previous_text or sequential,
        vad_filter=voice_activity if vad_filter is None else vad_filter,
        batch_size=batch_size,
        max_duration_s=None if max_hours is None else 3600 * max_hours,
        audio_track=audio_track,
        allow_damaged=allow_damaged,
    )
    if follow:
        _check_follow(files, options, kind, output_dir)
        _follow(session, model, files[0], options, kind, threads, memory)
        return
    planned = plan_files(files, _read_stdin, kind, output_dir, force=force)
    path = find_model(model, files, session.terminal)
    with open_model(path) as folder:
        found = find_variant(folder)
        variant = variant_name(found)
        if found != Path(model):
            session.terminal.note(f"{model}: uses the variant {variant}")
        n_failed = transcribe_files(
            load(found, threads=threads, memory=memory),
            planned,
            options,
            kind,
            variant=variant,
            print_text=lambda text: typer.echo(text, nl=False),
            print_error=session.terminal.error,
            reporter=session.terminal,
        )
    if n_failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _check_follow(
    files: Sequence[str], options: "TranscribeOptions", kind: TranscriptFormat, output_dir: Path | None
) -> None:
    """Refuse what needs the whole audio.

    Raises:
        SpecError: there is such an option.
    """
    from sottovoce.runtime.options import TranscribeOptions

    same = TranscribeOptions(
        language=options.language,
        task=options.task,
        hotwords=options.hotwords,
        word_timestamps=options.word_timestamps,
    )
    if len(files) > 1 or options != same or output_dir is not None or kind is TranscriptFormat.TSV:
        raise SpecError(
            "--follow takes one file, and of the options --language, --task, --hotwords, --threads, --memory and --format (no tsv)"
        )


def _follow(
    session: Session,
    model: str,
    audio: str,
    options: "TranscribeOptions",
    kind: TranscriptFormat,
    threads: int | None,
    memory: MemoryUse | None,
) -> None:
    from sottovoce.bundle.open_model import open_model
    from sottovoce.cli.live import REFINED, run_live
    from sottovoce.runtime.live.sources import open_audio
    from sottovoce.runtime.loading import load

    source = open_audio(audio, follows=True)
    with open_model(find_model(model, [audio], session.terminal)) as folder:
        run_live(
            session,
            source,
            lambda: load(folder, threads=threads, memory=memory).live(
                language=options.language, task=options.task, hotwords=options.hotwords
            ),
            next(live for live, refined in REFINED.items() if refined is kind),
        )


def _read_stdin() -> bytes:
    """Read standard input.

    Raises:
        InputError: it is closed.
    """
    if sys.stdin is None:
        raise InputError(f"standard input ({STDIN}) is closed; redirect a file to it, or name a file")
    return sys.stdin.buffer.read()


def find_model(model: str, files: Sequence[str], reporter: Reporter) -> Path:
    """Return the path of a model; one of a name is made when it is first needed.

    Args:
        model: a path or a name.
        files: audio, of which one must exist before a model is made; empty: a model is made without audio.
        reporter: receives notes.

    Raises:
        InputError: the model would be made, and there is no audio for it.
    """
    path = Path(model)
    try:
        from sottovoce.optimize.checkpoint.names import is_model_name, is_short_name
    except ModuleNotFoundError:  # on a device
        return path
    if path.exists():
        if is_short_name(model):
            reporter.note(f"takes {model} in this folder, not the model of that name")
        return path
    if not is_model_name(model):
        return path
    from sottovoce.optimize.cached_model import cached_model

    if files and not any(name == STDIN or Path(name).exists() for name in files):
        raise InputError(f"{files[0]} does not exist; check the path")
    return cached_model(model, reporter)
