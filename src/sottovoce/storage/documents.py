"""JSON documents and JSON lines: strict models, written whole or not at all, read with one form of error."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sottovoce.errors import InputError

Model = TypeVar("Model", bound=BaseModel)


class Document(BaseModel):
    """Base of the models of files: frozen, strict, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="null")


def read_document(path: Path, model: type[Model], *, advice: str) -> Model:
    """Read a JSON file.

    Args:
        advice: what the user can do if it is damaged; ends the message.

    Raises:
        InputError: it cannot be read, or does not fit the model.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as cause:
        raise _damaged(path, cause, advice) from cause


def read_json_lines(path: Path, model: type[Model], *, advice: str) -> tuple[Model, ...]:
    """Read a file with a JSON object on each line; empty lines are skipped.

    Raises:
        InputError: it cannot be read, or a line does not fit the model.
    """
    try:
        lines = path.read_bytes().split(b"\n")
        return tuple(model.model_validate_json(line) for line in lines if line.strip())
    except (OSError, ValidationError) as cause:
        raise _damaged(path, cause, advice) from cause


def write_json_lines(path: Path, rows: Iterable[BaseModel]) -> None:
    """Write a JSON object on each line."""
    write_text(path, "".join(f"{row.model_dump_json()}\n" for row in rows))


def format_validation_error(error: ValidationError) -> str:
    """Return the first problem of a document as `key.path: message`."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]


def write_text(path: Path, text: str) -> None:
    """Write a text file through a hidden sibling, so that it is there whole or not at all.

    The name of the sibling is fixed: the next writer overwrites what a killed one left. Two processes that may write
    the same path need a lock (`locks.output_lock`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException as cause:
        temporary.unlink(missing_ok=True)
        if isinstance(cause, OSError):
            cause.filename = str(path)
        raise


def _damaged(path: Path, cause: OSError | ValidationError, advice: str) -> InputError:
    problem = format_validation_error(cause) if isinstance(cause, ValidationError) else cause
    return InputError(f"{path} is damaged or of another version ({problem}); {advice}")
