"""The documentation says what the code does."""

import dataclasses
import json
import re
import runpy
import shlex
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum
from functools import cache
from itertools import dropwhile, takewhile
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sottovoce import errors
from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results
from sottovoce.bundle.check import Checked
from sottovoce.bundle.manifest import BundleManifest
from sottovoce.calibrate.audit import DoctorReport
from sottovoce.calibrate.coverage import RecordedClip
from sottovoce.calibrate.store import SequenceEntry
from sottovoce.cli.app import app
from sottovoce.optimize.sensitivity.report import SensitivityReport
from sottovoce.recipes.load import load_recipe, override_recipe, parse_recipe
from sottovoce.recipes.recipe import ComponentQuantization, ComponentSpecs, Recipe
from sottovoce.runs import VariantFacts
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.output.formats import TranscriptFormat, format_transcript
from sottovoce.runtime.transcript import Phase, Segment, Timings, Transcript, Word
from sottovoce.storage.artifacts import Manifest
from sottovoce.terms import ElasticSpec
from sottovoce.train.distil.report import DistilReport
from sottovoce.train.finetune.report import FinetuneReport
from sottovoce.train.variant.report import HealReport, QatReport

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted([*DOCS.rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))])

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="no docs/ here: an sdist leaves them out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    path: str
    kind: str
    default: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of a page under a heading that lists every key of a model."""

    page: str
    heading: str
    model: type[BaseModel]


TABLES = (
    Table(page="recipe.md", heading="Keys", model=Recipe),
    Table(page="results.md", heading="results.json", model=Results),
    Table(page="results.md", heading="clips.jsonl", model=ClipRow),
    Table(page="run-folder.md", heading="manifest.json", model=Manifest),
    Table(page="run-folder.md", heading="Facts of a variant", model=VariantFacts),
    Table(page="run-folder.md", heading="sequences.jsonl", model=SequenceEntry),
    Table(page="run-folder.md", heading="doctor.json", model=DoctorReport),
    Table(page="run-folder.md", heading="sensitivity.json", model=SensitivityReport),
    Table(page="run-folder.md", heading="heal.json", model=HealReport),
    Table(page="run-folder.md", heading="qat.json", model=QatReport),
    Table(page="run-folder.md", heading="finetune.json", model=FinetuneReport),
    Table(page="run-folder.md", heading="distil.json", model=DistilReport),
    Table(page="run-folder.md", heading="clips.jsonl", model=RecordedClip),
    Table(page="bundle.md", heading="bundle.json", model=BundleManifest),
    Table(page="bundle.md", heading="verify --json", model=Checked),
)


Model = type[BaseModel] | type[ElasticSpec]


def fields_of(model: Model) -> dict[str, FieldInfo]:
    if issubclass(model, BaseModel):
        return model.model_fields
    kinds = get_type_hints(model)
    return {
        field.name: FieldInfo.from_annotated_attribute(kinds[field.name], field.default)
        for field in dataclasses.fields(model)
    }


def keys_of(model: Model, prefix: str = "") -> Iterator[Key]:
    for name, field in fields_of(model).items():
        path = f"{prefix}{name}"
        yield Key(path=path, kind=kind_of(field.annotation), default=default_of(field))
        nested = nested_in(field.annotation, path)
        if nested is not None and model is not ComponentSpecs:
            yield from keys_of(*nested)
    if model is ComponentSpecs:  # three components of one kind are described once
        kinds_of_component = {field.annotation for field in model.model_fields.values()}
        assert kinds_of_component == {ComponentQuantization}
        yield from keys_of(ComponentQuantization, f"{prefix}<component>.")


def nested_in(annotation: Any, path: str) -> tuple[Model, str] | None:
    """Find the model inside a field, with the prefix of its keys."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel | ElasticSpec):
        return annotation, f"{path}."
    arguments = [part for part in get_args(annotation) if part not in {NoneType, ...}]
    if get_origin(annotation) in {tuple, list}:
        return nested_in(arguments[0], f"{path}[]")
    if get_origin(annotation) is dict:
        key = arguments[0].__name__.lower() if issubclass(arguments[0], StrEnum) else "name"
        return nested_in(arguments[1], f"{path}.<{key}>")
    if get_origin(annotation) in {Union, UnionType}:
        return nested_in(arguments[0], path)
    return None


SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean", datetime: "time", object: "any"}


def kind_of(annotation: Any) -> str:
    """Name a type as people do."""
    if get_origin(annotation) is not None:
        return generic_kind_of(get_origin(annotation), get_args(annotation))
    if annotation in SCALARS:
        return SCALARS[annotation]
    if issubclass(annotation, StrEnum):
        return " or ".join(f"`{choice}`" for choice in annotation)
    assert issubclass(annotation, BaseModel | ElasticSpec), annotation
    return "object"


def generic_kind_of(origin: Any, arguments: Sequence[Any]) -> str:
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in {Union, UnionType}:
        return " or ".join("null" if part is NoneType else kind_of(part) for part in arguments)
    if origin is dict:
        return f"map of {kind_of(arguments[1])}"
    assert origin in {tuple, list}, origin
    return f"list of {kind_of(arguments[0])}"


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    match field.get_default(call_default_factory=True):
        case BaseModel():
            return "see its keys"
        case str() as text:
            return f"`{text}`"
        case value:
            return f"`{json.dumps(value)}`"


def section(text: str, heading: str) -> str:
    """Cut the section under a heading out of a page."""
    (found,) = re.findall(rf"(?ms)^##+ `?{re.escape(heading)}`?$(.*?)(?=^## |\Z)", text)
    return str(found)


def rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.page}-{table.heading}")
def test_reference_lists_every_key_with_its_type(table: Table) -> None:
    rows = rows_of(section((REFERENCE / table.page).read_text(encoding="utf-8"), table.heading))
    written = [(row[0].strip("`"), row[1]) for row in rows]
    assert sorted(written) == sorted((key.path, key.kind) for key in keys_of(table.model))
    assert all(row[-1] for row in rows), "each key has a meaning"


def test_recipe_reference_lists_every_default() -> None:
    rows = rows_of(section((REFERENCE / "recipe.md").read_text(encoding="utf-8"), "Keys"))
    assert {row[0].strip("`"): row[2] for row in rows} == {key.path: key.default for key in keys_of(Recipe)}


def test_recipe_reference_names_every_ready_recipe() -> None:
    rows = rows_of(section((REFERENCE / "recipe.md").read_text(encoding="utf-8"), "Ready recipes"))
    assert {row[0].strip("`") for row in rows} == {path.stem for path in (ROOT / "configs").glob("*.yaml")}


def test_every_extra_is_listed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = rows_of((REFERENCE / "extras.md").read_text(encoding="utf-8"))
    assert {row[0].strip("`") for row in rows} == set(project["optional-dependencies"])


def test_transcript_reference_lists_every_option_with_its_default() -> None:
    rows = rows_of(section((REFERENCE / "transcript.md").read_text(encoding="utf-8"), "From Python"))
    documented = {row[0].strip("`"): row[1].strip("`") for row in rows}
    options = {field.name: field.default for field in dataclasses.fields(TranscribeOptions)}
    assert documented == {
        name: f"{type(default).__name__}.{default.name}" if isinstance(default, Enum) else repr(default)
        for name, default in options.items()
    }


def test_transcript_reference_shows_the_keys_that_are_written() -> None:
    page = (REFERENCE / "transcript.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"(?s)```json\n(.*?)```", page)
    word = Word(text=" Hello.", start_s=0.0, end_s=0.4, probability=0.97)
    segment = Segment(start_s=0.0, end_s=3.2, text="Hello.", tokens=(2425, 13), words=(word,), mean_log_probability=-0.31,
                      no_speech_probability=0.01, compression_ratio=0.9, temperature=0.0)  # fmt: skip
    written = format_transcript(
        Transcript(
            segments=(segment,), language="en", language_probability=0.98, duration_s=3.2,
            timings=Timings(total_s=0.5, phase_s={Phase.ENCODER: 0.2}, calls={Phase.ENCODER: 1}),
        ),
        TranscriptFormat.JSON,
        source="talk.mp3",
        variant="int8-fast",
    )  # fmt: skip
    assert json.loads(shown) == json.loads(written)


def test_error_reference_lists_every_kind_with_its_exit_code() -> None:
    rows = rows_of((REFERENCE / "errors.md").read_text(encoding="utf-8"))
    assert {row[0].strip("`"): int(row[1]) for row in rows} == {
        kind.__name__: kind.exit_code for kind in kinds(errors.SottovoceError)
    }


def kinds(base: type[errors.SottovoceError]) -> Iterator[type[errors.SottovoceError]]:
    for kind in base.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield kind
            yield from kinds(kind)


def test_command_line_reference_is_what_help_says() -> None:
    script = REFERENCE / "generate_cli.py"
    cli_reference: Callable[[], str] = runpy.run_path(str(script))["cli_reference"]
    assert (REFERENCE / "cli.md").read_text(encoding="utf-8") == cli_reference(), (
        f"run: python {script.relative_to(ROOT)}"
    )


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for language, body in re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8")):
        if language in languages:
            yield body


def shell_commands(page: Path) -> Iterator[list[str]]:
    """Yield each command of a page's shell blocks, split into words, up to a pipe or redirection."""
    for body in blocks(page, "console", "sh", "bash", "shell"):
        for line in body.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|<>;&")
            lexer.whitespace_split = True
            words = list(takewhile(lambda word: not word or word[0] not in "|<>;&", lexer))
            command = list(dropwhile(lambda word: re.fullmatch(r"[A-Z_]+=.*", word), words))
            if command:
                yield command


def commands_named(program: str) -> list[tuple[Path, list[str]]]:
    return [(page, words[1:]) for page in PAGES for words in shell_commands(page) if words[0] == program]


@cache
def command_group() -> Any:
    return typer.main.get_command(app)


def flags_of(command: Any) -> set[str]:
    found = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    return found | {"--help", "-h"}


def flags_in(words: Sequence[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}


def test_pages_show_commands_and_flags_that_exist() -> None:
    shown = commands_named("sottovoce")
    wrong = []
    for page, words in shown:
        place = next((i for i, word in enumerate(words) if not word.startswith("-")), len(words))
        command = command_group().commands.get(words[place]) if place < len(words) else command_group()
        known = flags_in(words[:place]) <= flags_of(command_group())
        if command is None or not known or not flags_in(words[place + 1 :]) <= flags_of(command):
            wrong.append(f"{page.relative_to(ROOT)}: sottovoce {shlex.join(words)}")
    assert shown
    assert not wrong


def test_pages_name_commands_that_exist() -> None:
    named = {
        (page.relative_to(ROOT).as_posix(), name)
        for page in PAGES
        for name in re.findall(r"`sottovoce ([a-z][\w-]*)", page.read_text(encoding="utf-8"))
    }
    assert {name for _, name in named} <= set(command_group().commands), named


def test_pages_set_keys_that_recipes_have() -> None:
    overrides = [
        words[i + 1]
        for _, words in commands_named("sottovoce")
        for i in range(len(words))
        if words[i] == "--set"
    ]
    assert overrides
    for override in overrides:
        override_recipe(load_recipe("int8"), [override])


def test_recipes_shown_in_pages_can_be_read() -> None:
    recipes = [body for page in PAGES for body in blocks(page, "yaml") if re.search(r"(?m)^name:", body)]
    assert recipes
    for body in recipes:
        parse_recipe(yaml.safe_load(body), "the page")


def test_pages_show_make_targets_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?m)^([a-z]+):", makefile))
    shown = {words[0] for _, words in commands_named("make") if words}
    assert {"demo", "test", "check"} <= shown <= targets


def test_python_shown_in_pages_compiles() -> None:
    for page in PAGES:
        for body in blocks(page, "python"):
            compile(body, str(page), "exec")


def links_of(page: Path) -> Iterator[str]:
    prose = re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8"))
    for target in re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", prose):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors_of(page: Path) -> set[str]:
    """Name the anchors of a page as GitHub makes them from headings."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_resolve(page: Path) -> None:
    broken = []
    for link in links_of(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    assert not broken


def test_every_page_is_linked_from_the_index() -> None:
    linked = {(DOCS / link).resolve() for link in links_of(DOCS / "README.md")}
    assert {page.resolve() for page in DOCS.rglob("*.md")} - {(DOCS / "README.md").resolve()} <= linked
