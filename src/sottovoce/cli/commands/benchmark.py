"""`sottovoce benchmark`."""

from pathlib import Path
from typing import Annotated

import typer

from sottovoce.cli.commands.options import (
    Data,
    Force,
    Json,
    RunFolder,
    Session,
    parse_names,
    parse_numbers,
    show,
)


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
            help="Compare engines on the same clips: sottovoce, optimum-intel, openvino-genai, faster-whisper, faster-whisper-batched, whisper.cpp, torch, torch-dynamic, with commas; ENGINE:VARIANT names a variant.",
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            metavar="MODEL",
            help="What RUN was made of, for faster-whisper, whisper.cpp and torch; looked for in the cache by default.",
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
    timing_clips: Annotated[
        int | None,
        typer.Option(
            "--timing-clips",
            min=1,
            metavar="N",
            help="Clips that count for speed and are heard in every pass, as long and as short as all are; the others are heard once, for accuracy. All by default.",
            show_default=False,
        ),
    ] = None,
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
    batch_sizes: Annotated[
        str | None,
        typer.Option(
            "--batch-sizes",
            metavar="N,...",
            help="Measure the throughput of clips decoded N at a time, such as 1,8,32; of engines that do so.",
            show_default=False,
        ),
    ] = None,
    thread_sweep: Annotated[
        str | None,
        typer.Option(
            "--thread-sweep",
            metavar="N,...",
            help="Time our entries with these numbers of threads as well, such as 1,2,4.",
            show_default=False,
        ),
    ] = None,
    side_effects: Annotated[
        bool,
        typer.Option(
            "--side-effects/--no-side-effects",
            help="Compare tokens, detected languages, times of words and words for noise, after the timed passes.",
        ),
    ] = True,
    audio: Annotated[
        bool,
        typer.Option(
            "--audio/--no-audio",
            help="Keep recordings whose transcripts differ beside the results, so that the report can play them.",
        ),
    ] = True,
    self_check: Annotated[
        bool,
        typer.Option(
            "--self-check",
            help="Measure our variant in a second process too: what the machine's noise makes of it.",
        ),
    ] = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Throw away what an interrupted benchmark left, instead of going on."),
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure speed, memory and word error rate of a run's variants against its fp32 baseline.

    An interrupted benchmark goes on where it was when the same command is given again.

    Examples:

        sottovoce benchmark runs/tiny.en-int8 --data speech/manifest.jsonl --limit 60 --json

        sottovoce benchmark runs/base-int8 --data speech/manifest.jsonl --where source=librispeech-test-clean --variants fp16,int8

        sottovoce benchmark runs/base --data speech/manifest.jsonl --engines sottovoce,openvino-genai,faster-whisper,whisper.cpp --passes 3 --timing-clips 60 --self-check
    """
    from sottovoce.benchmark.run import benchmark as measure
    from sottovoce.benchmark.spec import BenchmarkSpec
    from sottovoce.cli.tables import results_table
    from sottovoce.runs import read_run
    from sottovoce.speech.clips import filter_clips
    from sottovoce.speech.sets import read_speech

    session: Session = context.obj
    run = read_run(run_folder)
    speech = filter_clips(read_speech(data), where or ())
    target = out or run_folder.with_name(f"{run_folder.name}-results")
    spec = BenchmarkSpec(
        split=split,
        limit=limit,
        variants=parse_names(variants),
        engines=parse_names(engines),
        checkpoint=checkpoint,
        long=long,
        cold_starts=cold_starts,
        ceilings=ceilings,
        timing_clips=timing_clips,
        side_effects=side_effects,
        audio=audio,
        self_check=self_check,
        batch_sizes=parse_numbers(batch_sizes, "--batch-sizes"),
        thread_sweep=parse_numbers(thread_sweep, "--thread-sweep"),
        restart=restart,
        passes=passes,
        threads=threads,
        seed=seed,
        margin=margin / 100,
    )
    results = measure(run, speech, spec, target, force=force, reporter=session.terminal)
    show(session, results.model_dump_json(indent=2) if as_json else results_table(results))
    session.terminal.note(f"wrote {target}")
    session.terminal.note(f"next: sottovoce report {target} --out {target}.html")
