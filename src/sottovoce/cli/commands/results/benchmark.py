"""`sottovoce benchmark`; its options are the fields of `BenchmarkSpec`."""

import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from sottovoce.benchmark.engines.registry import ENGINES
from sottovoce.benchmark.spec import OPTION, BenchmarkSpec
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


def with_spec(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter `spec` of a command by the options that `BenchmarkSpec` declares, and list the engines."""
    hints = get_type_hints(BenchmarkSpec)
    declared = [(each, hints[each.name]) for each in fields(BenchmarkSpec) if OPTION in each.metadata]
    own = inspect.signature(command)
    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        added = [_parameter(*each) for each in declared] if parameter.name == "spec" else [parameter]
        parameters += [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in added]

    @wraps(command)
    def run(**values: Any) -> None:
        chosen = {each.name: _read_option(each, hint, values.pop(each.name)) for each, hint in declared}
        command(**values, spec=BenchmarkSpec(**chosen))

    vars(run)["__signature__"] = own.replace(parameters=parameters)
    engines = "\n".join(f"- {engine.name}: {engine.help}" for engine in ENGINES)
    run.__doc__ = f"{inspect.getdoc(command)}\n\nEngines:\n\n{engines}"
    return run


def _parameter(declared: Field[Any], hint: Any) -> inspect.Parameter:
    """Make the command's parameter for a field; lists are text with commas, or a repeated option."""
    option, name = declared.metadata[OPTION], _flag(declared)
    is_list = isinstance(declared.default, tuple)
    shown = typer.Option(
        f"{name}/--no-{name[2:]}" if declared.default is True else name,
        metavar=option.metavar,
        help=option.text,
        min=option.minimum,
    )
    kind = (list[str] if option.is_repeated else str) | None if is_list else hint
    default = None if is_list else declared.default
    return inspect.Parameter(
        declared.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default if option.factor == 1 else default * option.factor,
        annotation=Annotated[kind, shown],
    )


def _read_option(declared: Field[Any], hint: Any, value: Any) -> Any:
    option = declared.metadata[OPTION]
    if option.is_repeated:
        return tuple(value or ())
    if hint == tuple[int, ...]:
        return parse_numbers(value, _flag(declared))
    if hint == tuple[str, ...]:
        return parse_names(value)
    return value if option.factor == 1 else value / option.factor


def _flag(declared: Field[Any]) -> str:
    return f"--{declared.name.replace('_', '-')}"


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

        sottovoce benchmark runs/tiny.en --data speech/manifest.jsonl --limit 60 --json

        sottovoce benchmark runs/base --data speech/manifest.jsonl --where source=librispeech-test-clean --variants fp16,int8

        sottovoce benchmark runs/base --data speech/manifest.jsonl --engines sottovoce,openvino-genai,faster-whisper,whisper.cpp --passes 3 --timing-clips 60 --self-check
    """
    from sottovoce.benchmark.run import benchmark as measure
    from sottovoce.benchmark.schema.results import read_results
    from sottovoce.cli.tables import results_table
    from sottovoce.runs import read_run
    from sottovoce.speech.sets import read_speech

    session: Session = context.obj
    run = read_run(run_folder)
    target = out or run_folder.with_name(f"{run_folder.name}-results")
    results = measure(run, read_speech(data), spec, target, force=force, reporter=session.terminal)
    shown = results.model_dump_json(indent=2) if as_json else results_table(*read_results(target))
    show(session, shown)
    session.terminal.note(f"wrote {target}")
    session.terminal.note(f"next: sottovoce report {target} --out {target}.html")
