"""`sottovoce benchmark`."""

from pathlib import Path
from typing import Annotated

import typer

from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.cli.commands.options import Data, Force, Json, RunFolder, Session, show
from sottovoce.cli.commands.spec_options import with_spec


@with_spec
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
    *,
    spec: BenchmarkSpec,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure speed, memory and word error rate of a run's variants against its fp32 baseline.

    The same command resumes an interrupted benchmark.

    Examples:

        sottovoce benchmark runs/tiny.en-int8 --data speech/manifest.jsonl --limit 60 --json

        sottovoce benchmark runs/base-int8 --data speech/manifest.jsonl --where source=librispeech-test-clean --variants fp16,int8

        sottovoce benchmark runs/base --data speech/manifest.jsonl --engines sottovoce,openvino-genai,faster-whisper,whisper.cpp --passes 3 --timing-clips 60 --self-check
    """
    from sottovoce.benchmark.run import benchmark as measure
    from sottovoce.cli.result_tables import results_table
    from sottovoce.runs import read_run
    from sottovoce.speech.sets import read_speech

    session: Session = context.obj
    run = read_run(run_folder)
    target = out or run_folder.with_name(f"{run_folder.name}-results")
    results = measure(run, read_speech(data), spec, target, force=force, reporter=session.terminal)
    show(session, results.model_dump_json(indent=2) if as_json else results_table(results))
    session.terminal.note(f"wrote {target}")
    session.terminal.note(f"next: sottovoce report {target} --out {target}.html")
