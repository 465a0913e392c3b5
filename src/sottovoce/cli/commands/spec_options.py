"""The options of `sottovoce benchmark`, made from the fields of `BenchmarkSpec`."""

import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from sottovoce.benchmark.spec import OPTION, BenchmarkSpec
from sottovoce.cli.commands.options import parse_names, parse_numbers


def with_spec(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter `spec` of a command by an option for each option of `BenchmarkSpec`."""
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
    return inspect.Parameter(
        declared.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None
        if is_list
        else declared.default * option.factor
        if option.factor != 1
        else declared.default,
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
