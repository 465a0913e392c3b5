"""The command line: parse, call one stage, print. Stages are imported when used."""

import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import click
import typer

from sottovoce import __version__
from sottovoce.console import Terminal, show_log
from sottovoce.errors import GateError, SottovoceError
from sottovoce.runtime.subtitles import TranscriptFormat
from sottovoce.runtime.transcript import Task

EXIT_INTERRUPTED = 130
EXIT_UNEXPECTED = 1
EXIT_SOME_FAILED = 1

app = typer.Typer(
    name="sottovoce",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    add_completion=False,
    suggest_commands=False,  # click suggests already
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the flags before the command say."""

    terminal: Terminal


def _print_version(*, value: bool) -> None:
    if value:
        typer.echo(f"sottovoce {__version__}")
        raise typer.Exit


@app.callback()
def configure(
    context: typer.Context,
    *,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Log each step; twice: everything.")
    ] = 0,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour; NO_COLOR does the same.")] = False,
    debug: Annotated[  # noqa: ARG001 - read by main, which handles errors
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Make a Whisper small and quick on CPUs, with proof.

    Examples:

        sottovoce optimize tiny.en --recipe int8 --data speech/manifest.jsonl --out runs/tiny.en-int8

        sottovoce benchmark runs/tiny.en-int8 --data speech/manifest.jsonl --out results/tiny.en-int8
    """
    terminal = Terminal(quiet=quiet, colour=not no_color)
    show_log(terminal, verbose)
    context.obj = Session(terminal=terminal)


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="tiny.en, base, ... ; a hub id (openai/whisper-small); a Hugging Face or CTranslate2 folder.",
        show_default=False,
    ),
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="SPEECH",
        help="Speech: a manifest (.jsonl), a .csv or .tsv, a LibriSpeech folder, a folder of audio, hf:NAME[:CONFIG]:SPLIT.",
        show_default=False,
    ),
]
RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder that `sottovoce optimize` wrote.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="Ready recipe, or the path of a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a key of the recipe; may be repeated."),
]


@app.command()
def optimize(
    context: typer.Context,
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder to write.", show_default=False)],
    recipe: RecipeName = "int8",
    overrides: Overrides = None,
    *,
    force: Force = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and show the plan; write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Export a checkpoint, record calibration, quantize: MODEL and SPEECH in, RUN out.

    Examples:

        sottovoce optimize tiny.en --recipe int8 --data speech/manifest.jsonl --out runs/tiny.en-int8

        sottovoce optimize ./my-finetuned-whisper --data LibriSpeech/dev-clean --out runs/mine --set calibration.n_clips=32
    """
    from sottovoce.calibrate.speech import read_speech
    from sottovoce.config import load_recipe
    from sottovoce.inspection import inspect_run
    from sottovoce.optimize import pipeline
    from sottovoce.tables import run_table

    session: Session = context.obj
    chosen = load_recipe(recipe, overrides or ())
    planned = pipeline.plan(model, chosen, read_speech(data), out, force=force)
    if dry_run:
        for line in pipeline.describe(planned):
            typer.echo(line)
        return
    run = pipeline.optimize(planned, force=force, reporter=session.terminal)
    summary = inspect_run(run)
    _show(session, summary.model_dump_json(indent=2) if as_json else run_table(summary))
    session.terminal.note(f"wrote {out}")
    session.terminal.note(f"next: sottovoce benchmark {out} --data {data} --out {out}-results")


@app.command()
def search(
    context: typer.Context,
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder to write.", show_default=False)],
    max_wer_increase: Annotated[
        float,
        typer.Option("--max-wer-increase", min=0, help="Budget of word errors over fp32's, in points."),
    ] = 0.2,
    minutes: Annotated[
        float, typer.Option("--minutes", min=0, help="Budget of time, all sittings together.")
    ] = 30,
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=1, help="Trials at most; by default as many as the time allows."),
    ] = None,
    recipe: RecipeName = "search",
    overrides: Overrides = None,
    workers: Annotated[
        str,
        typer.Option(
            "--workers", help="local, or ray (ray:N) for the workers of a Ray cluster on one file system."
        ),
    ] = "local",
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="Inference threads of a worker; all cores by default."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Chooses clips and what is tried.")] = 0,
    *,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Find the fastest variant within a budget of word errors: MODEL and SPEECH in, RUN out.

    Interrupted, or with more minutes, the same command goes on where it was.

    Examples:

        sottovoce search tiny.en --data speech/manifest.jsonl --max-wer-increase 0.2 --out runs/tiny.en-best

        sottovoce search base --data speech/manifest.jsonl --minutes 60 --out runs/base-best

        sottovoce search base --data speech/manifest.jsonl --workers ray:4 --threads 4 --out runs/base-best
    """
    from sottovoce.calibrate.speech import read_speech
    from sottovoce.config import load_recipe
    from sottovoce.optimize.search.search import Budget, SearchSpec
    from sottovoce.optimize.search.search import search as find
    from sottovoce.optimize.search.workers import parse_workers
    from sottovoce.tables import search_table

    session: Session = context.obj
    kind, n_workers = parse_workers(workers)
    spec = SearchSpec(
        budget=Budget(max_wer_increase=max_wer_increase / 100, minutes=minutes, max_trials=trials),
        workers=kind,
        n_workers=n_workers,
        threads=threads,
        seed=seed,
    )
    chosen = load_recipe(recipe, overrides or ())
    report = find(model, chosen, read_speech(data), out, spec, force=force, reporter=session.terminal)
    _show(session, report.model_dump_json(indent=2) if as_json else search_table(report))
    session.terminal.note(f"wrote {out}")
    session.terminal.note(f"next: sottovoce benchmark {out} --data {data} --out {out}-results")
    if not report.is_within_budget:
        raise GateError(
            f"no trial is within {max_wer_increase:g} points of WER; {out} holds the one that parts least from fp32. "
            "Give the search more --minutes, or a recipe with more careful choices"
        )


@app.command()
def calibrate(
    context: typer.Context,
    run_folder: RunFolder,
    data: Data,
    overrides: Overrides = None,
    *,
    as_json: Json = False,
) -> None:
    """Record a run's calibration again, with other speech or other clips.

    Examples:

        sottovoce calibrate runs/tiny.en-int8 --data speech/manifest.jsonl

        sottovoce calibrate runs/tiny.en-int8 --data my-recordings/ --set calibration.n_clips=128
    """
    import json

    from sottovoce.calibrate.doctor import read_report
    from sottovoce.calibrate.speech import read_speech
    from sottovoce.config import override_recipe
    from sottovoce.optimize.pipeline import calibrate_again
    from sottovoce.runs import CALIBRATION_NAME, read_run
    from sottovoce.tables import doctor_table

    session: Session = context.obj
    run = read_run(run_folder)
    recipe = override_recipe(run.recipe, overrides or ())
    manifest = calibrate_again(run, read_speech(data), recipe, session.terminal)
    doctor = read_report(run_folder / CALIBRATION_NAME)
    if as_json:
        told = {**manifest.facts, "doctor": None if doctor is None else doctor.model_dump(mode="json")}
        typer.echo(json.dumps(told, indent=2))
    else:
        typer.echo(_recorded(manifest.facts))
        if doctor is not None:
            _show(session, doctor_table(doctor))
    session.terminal.note(f"wrote {run_folder / 'calibration'}")
    session.terminal.note(f"next: sottovoce quantize {run_folder}")


@app.command()
def quantize(
    context: typer.Context,
    run_folder: RunFolder,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Ready recipe or YAML file; the run's own by default.")
    ] = None,
    overrides: Overrides = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            metavar="MODEL",
            help="What RUN was made of, for a CTranslate2 variant; looked for in the cache by default.",
            show_default=False,
        ),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Quantize a run again from its calibration record, with other settings.

    Examples:

        sottovoce quantize runs/tiny.en-int8 --set quantize.components.encoder.smooth_quant_alpha=0.8

        sottovoce quantize runs/tiny.en-int8 --set quantize.name=int8-a8 --set quantize.components.decoder.scheme=w8a8

        sottovoce quantize runs/tiny.en-int8 --recipe ct2-int8 --checkpoint tiny.en
    """
    from sottovoce.config import load_recipe, override_recipe
    from sottovoce.inspection import inspect_run
    from sottovoce.optimize.pipeline import quantize_again
    from sottovoce.runs import read_run
    from sottovoce.tables import run_table

    session: Session = context.obj
    run = read_run(run_folder)
    base = run.recipe if recipe is None else load_recipe(recipe)
    recipe_now = override_recipe(base, overrides or ())
    summary = inspect_run(quantize_again(run, recipe_now, session.terminal, checkpoint=checkpoint))
    _show(session, summary.model_dump_json(indent=2) if as_json else run_table(summary))
    session.terminal.note(f"wrote {run_folder}")


@app.command()
def sensitivity(
    context: typer.Context,
    run_folder: RunFolder,
    data: Data,
    variant: Annotated[
        str | None,
        typer.Option(
            "--variant", help="Whose recipe; by default the run's quantized variant.", show_default=False
        ),
    ] = None,
    clips: Annotated[
        int, typer.Option("--clips", min=1, help="Calibration clips that judge each block.")
    ] = 24,
    calibration_clips: Annotated[
        int | None,
        typer.Option(
            "--calibration-clips",
            min=1,
            help="Recorded clips for the ranges of single blocks; all by default, fewer are quicker and can mislead.",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Inference threads; all cores by default.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Measure what each block of a run's model costs when it alone is quantized, and what should stay float.

    Examples:

        sottovoce sensitivity runs/tiny.en --data speech/manifest.jsonl

        sottovoce sensitivity runs/tiny.en --data speech/manifest.jsonl --variant int8 --clips 12 --json
    """
    from sottovoce.calibrate.speech import read_speech
    from sottovoce.optimize.sensitivity.study import SensitivitySpec, study
    from sottovoce.runs import read_run
    from sottovoce.tables import sensitivity_lines, sensitivity_table

    session: Session = context.obj
    spec = SensitivitySpec(
        variant=variant, n_clips=clips, n_calibration_clips=calibration_clips, threads=threads
    )
    report = study(read_run(run_folder), read_speech(data), spec, session.terminal)
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
        return
    _show(session, sensitivity_table(report))
    for line in sensitivity_lines(report):
        typer.echo(line)
    session.terminal.note(f"wrote {run_folder / 'sensitivity'}")


@app.command()
def benchmark(
    context: typer.Context,
    run_folder: RunFolder,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="RESULTS", help="Folder to write; RUN-results by default.", show_default=False
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="Split to measure, where the set has splits.")
    ] = "eval",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Clips to measure, chosen by the seed.")
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(
            "--variants",
            help="Names, with commas, measured in engine sottovoce; the quantized one by default.",
        ),
    ] = None,
    engines: Annotated[
        str | None,
        typer.Option(
            "--engines",
            metavar="ENGINE,...",
            help="Compare engines on the same clips: sottovoce, optimum-intel, openvino-genai, faster-whisper, torch, torch-dynamic, with commas; ENGINE:VARIANT names a variant, faster-whisper takes those in CTranslate2's format.",
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            metavar="MODEL",
            help="What RUN was made of, for faster-whisper, torch and torch-dynamic; looked for in the cache by default.",
            show_default=False,
        ),
    ] = None,
    cold_starts: Annotated[
        int,
        typer.Option(
            "--cold-starts",
            min=0,
            help="Fresh processes of each entry, timed from start to first transcript.",
        ),
    ] = 0,
    passes: Annotated[
        int, typer.Option("--passes", min=1, help="Counted passes over the clips, interleaved.")
    ] = 2,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Inference threads; all cores by default.")
    ] = None,
    margin: Annotated[
        float, typer.Option("--margin", min=0, help="Tolerated WER increase, in points.")
    ] = 0.5,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="KEY=VALUE",
            help="Only clips of a language, source, speaker or split; may be repeated.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Chooses the clips and the resamples.")] = 0,
    *,
    long: Annotated[
        bool, typer.Option("--long", help="Take only recordings over 30 s; not for optimum-intel and torch.")
    ] = False,
    ceilings: Annotated[
        bool,
        typer.Option(
            "--ceilings", help="Measure what this machine can do at most, and how near our variants come."
        ),
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure speed, memory and word error rate of a run's variants against its fp32 baseline.

    Examples:

        sottovoce benchmark runs/tiny.en-int8 --data speech/manifest.jsonl --limit 60 --json

        sottovoce benchmark runs/base-int8 --data speech/manifest.jsonl --where source=librispeech-test-clean --variants fp16,int8

        sottovoce benchmark runs/base --data speech/manifest.jsonl --engines sottovoce,optimum-intel,openvino-genai,faster-whisper
    """
    from sottovoce.benchmark.run import BenchmarkSpec
    from sottovoce.benchmark.run import benchmark as measure
    from sottovoce.calibrate.clips import filter_clips
    from sottovoce.calibrate.speech import read_speech
    from sottovoce.runs import read_run
    from sottovoce.tables import results_table

    session: Session = context.obj
    run = read_run(run_folder)
    speech = filter_clips(read_speech(data), where or ())
    target = out or run_folder.with_name(f"{run_folder.name}-results")
    spec = BenchmarkSpec(
        split=split,
        limit=limit,
        variants=_names(variants),
        engines=_names(engines),
        checkpoint=checkpoint,
        long=long,
        cold_starts=cold_starts,
        ceilings=ceilings,
        passes=passes,
        threads=threads,
        seed=seed,
        margin=margin / 100,
    )
    results = measure(run, speech, spec, target, force=force, reporter=session.terminal)
    _show(session, results.model_dump_json(indent=2) if as_json else results_table(results))
    session.terminal.note(f"wrote {target}")
    session.terminal.note(f"next: sottovoce report {target} --out {target}.html")


@app.command()
def transcribe(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_VARIANT", help="Folder of a run, or of one of its variants.", show_default=False
        ),
    ],
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Audio, or video with audio, in any format; - reads standard input.",
            show_default=False,
        ),
    ],
    language: Annotated[
        str | None, typer.Option("--language", help="Code such as en or de; detected by default.")
    ] = None,
    task: Annotated[
        Task, typer.Option("--task", help="Transcribe, or translate to English.")
    ] = Task.TRANSCRIBE,
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
        typer.Option("--initial-prompt", metavar="TEXT", help="Text before the first: names, style."),
    ] = None,
    hotwords: Annotated[
        str | None, typer.Option("--hotwords", metavar="TEXT", help="Words to look out for.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, max=32, help="Windows of long audio decoded together.")
    ] = 12,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Inference threads; all cores by default.")
    ] = None,
    *,
    word_timestamps: Annotated[
        bool, typer.Option("--word-timestamps", help="Place each word (json; splits long subtitles).")
    ] = False,
    sequential: Annotated[
        bool,
        typer.Option("--sequential", help="Long audio window by window, each told the text before it."),
    ] = False,
    voice_activity: Annotated[
        bool | None,
        typer.Option(
            "--voice-activity/--no-voice-activity",
            help="Look for speech first; by default in long audio and where a text is doubtful.",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Transcribe audio of any length with a variant; needs no torch.

    Examples:

        sottovoce transcribe runs/base talk.mp3

        sottovoce transcribe runs/base *.wav --format srt --output-dir subtitles --language de

        ffmpeg -i film.mkv -f wav - | sottovoce transcribe runs/base - --task translate --format vtt
    """
    from sottovoce.runtime.files import plan_files, transcribe_files
    from sottovoce.runtime.options import TranscribeOptions
    from sottovoce.runtime.transcriber import Transcriber

    session: Session = context.obj
    options = TranscribeOptions(
        language=language,
        task=task,
        word_timestamps=word_timestamps,
        beam_size=beam_size,
        initial_prompt=initial_prompt,
        hotwords=hotwords,
        condition_on_previous=sequential,
        use_voice_activity=voice_activity,
        batch_size=batch_size,
    )
    planned = plan_files(files, sys.stdin.buffer.read, kind, output_dir, force=force)
    n_failed = transcribe_files(
        Transcriber.load(model, threads=threads),
        planned,
        options,
        kind,
        show=lambda text: typer.echo(text, nl=False),
        reporter=session.terminal,
        complain=session.terminal.error,
    )
    if n_failed:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command()
def report(
    context: typer.Context,
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS", help="Folder that `sottovoce benchmark` wrote.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="HTML file to write.")] = Path(
        "report.html"
    ),
    *,
    force: Force = False,
) -> None:
    """Write the comparison as one HTML file that needs no network and no scripts.

    Examples:

        sottovoce report results/tiny.en-int8 --out report.html

        sottovoce report results/tiny.en-int8 --out report.html --force
    """
    from sottovoce.reports.report import write_report

    session: Session = context.obj
    session.terminal.note(f"wrote {write_report(results, out, force=force)}")


@app.command()
def inspect(
    context: typer.Context,
    run_folder: RunFolder,
    *,
    as_json: Json = False,
) -> None:
    """Show what is in a run: variants, sizes, INT8 nodes, precision, recipe and lineage.

    Examples:

        sottovoce inspect runs/tiny.en-int8

        sottovoce inspect runs/tiny.en-int8 --json
    """
    from sottovoce.inspection import inspect_run
    from sottovoce.runs import read_run
    from sottovoce.tables import doctor_table, run_lines, run_table

    session: Session = context.obj
    summary = inspect_run(read_run(run_folder))
    if as_json:
        typer.echo(summary.model_dump_json(indent=2))
        return
    _show(session, run_table(summary))
    for line in run_lines(summary):
        typer.echo(line)
    if summary.doctor is not None:
        _show(session, doctor_table(summary.doctor))


@app.command()
def demo(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for run, results and report.")
    ] = Path("sottovoce-demo"),
    *,
    force: Force = False,
) -> None:
    """Do the whole job on whisper-tiny.en and the synthetic speech that comes with sottovoce.

    Examples:

        sottovoce demo

        sottovoce demo --out /tmp/demo --force
    """
    from sottovoce.benchmark.results import read_results
    from sottovoce.demo import SYNTHETIC_NOTICE, run_demo
    from sottovoce.tables import results_table

    session: Session = context.obj
    paths = run_demo(out, force=force, reporter=session.terminal)
    _show(session, results_table(read_results(paths.results)[0]))
    typer.echo(SYNTHETIC_NOTICE)
    typer.echo(f"report: {paths.report}")


def _names(told: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (told or "").split(",") if name.strip())


def _recorded(facts: dict[str, object]) -> str:
    return (
        f"recorded {facts['n_clips']} clips, {facts['n_steps']} decoder steps, {facts['audio_s']} s of audio"
    )


def _show(session: Session, what: object) -> None:
    """Print data on standard output: a table for people, or text as it is."""
    if isinstance(what, str):
        typer.echo(what)
        return
    from rich.console import Console

    no_color = session.terminal.console.no_color
    Console(no_color=no_color, width=None if sys.stdout.isatty() else PIPE_WIDTH).print(what)


PIPE_WIDTH = 170
"""Columns of a table that goes to a file or a pipe."""


def main() -> None:
    """Run the command line; turn errors into one line and an exit code."""
    is_debug = "--debug" in sys.argv
    terminal = Terminal(colour="--no-color" not in sys.argv)
    try:
        _leave(terminal, app(standalone_mode=False))
    except SottovoceError as error:
        _fail(terminal, str(error), error.exit_code, is_debug=is_debug)
    except click.ClickException as error:
        _fail(
            terminal,
            f"{error.format_message()} (--help shows what there is)",
            error.exit_code,
            is_debug=is_debug,
        )
    except (KeyboardInterrupt, click.Abort):
        _leave(terminal, EXIT_INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the edge of the program
        told = f"unexpected {type(error).__name__}: {error} (--debug shows where; please report it)"
        _fail(terminal, told, EXIT_UNEXPECTED, is_debug=is_debug)


def _leave(terminal: Terminal, code: int | None) -> NoReturn:
    """Exit; typer turns Ctrl-C into an exit code."""
    if code == EXIT_INTERRUPTED:
        terminal.note("interrupted; nothing was half-written")
    sys.exit(code)


def _fail(terminal: Terminal, message: str, code: int, *, is_debug: bool) -> NoReturn:
    if is_debug:
        traceback.print_exc()
    terminal.error(message)
    sys.exit(code)
