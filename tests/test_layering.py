"""The direction of imports, and what importing costs."""

import ast
import json
import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import sottovoce

PACKAGE = Path(sottovoce.__file__).parent
STAGES = (
    "benchmark",
    "bundle",
    "calibrate",
    "configs",
    "optimize",
    "reports",
    "runtime",
    "serve",
    "speech",
    "train",
)
LAYERS = (
    ("errors", "languages", "progress", "terms"),
    ("machine",),
    ("storage",),
    ("configs", "recipes", "statistics"),
    ("runtime",),
    ("reference_pipeline", "runs", "speech"),
    ("calibrate",),
    ("optimize",),
    ("train",),
    ("benchmark", "bundle", "faster_whisper", "serve"),
    ("reports",),
    ("cli", "__main__"),
)
"""Each part may import from its own layer and from those before it."""

RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
HEAVY = ("matplotlib", "nncf", "onnx", "onnxruntime", "openvino", "optimum", "scipy", "torch", "transformers")
ONLY_OPTIMIZE = ("matplotlib", "nncf", "onnx", "optimum", "scipy", "torch", "transformers")

MAX_MODULES = 14
"""In one folder: more are grouped."""

HELP_S, HELP_CALLS = 1.0, 3
"""Of the processor, whatever else it does meanwhile; typically 0.4 s."""


def modules() -> dict[str, Path]:
    """Name every module by its dotted name, stages behind links included."""
    found = (
        Path(folder) / name
        for folder, _, names in os.walk(PACKAGE, followlinks=True)
        for name in names
        if name.endswith(".py")
    )
    return {module_name(path): path for path in sorted(found)}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(("sottovoce", *(part for part in parts if part != "__init__")))


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imported(node: ast.AST, known: dict[str, Path]) -> Iterator[str]:
    """Name the modules of ours that an import statement loads."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "sottovoce")
    elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sottovoce":
        for alias in node.names:
            deeper = f"{node.module}.{alias.name}"
            yield deeper if deeper in known else str(node.module)


def test_every_module_belongs_to_a_layer() -> None:
    assert {part_of(name) for name in modules()} - {""} <= set(RANK)


def test_imports_go_from_later_layers_to_earlier_ones_only() -> None:
    known = modules()
    wrong = [
        f"{name} imports {target}"
        for name, path in known.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for target in imported(node, known)
        if part_of(name) and part_of(target) and RANK[part_of(target)] > RANK[part_of(name)]
    ]
    assert wrong == []


def test_stages_of_one_layer_do_not_know_each_other() -> None:
    known = modules()
    wrong = [
        f"{name} imports {target}"
        for name, path in known.items()
        if part_of(name) in STAGES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for target in imported(node, known)
        if part_of(target) in STAGES
        and part_of(target) != part_of(name)
        and RANK[part_of(target)] == RANK[part_of(name)]
    ]
    assert wrong == []


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    """Imports inside functions count: they would only hide the circle."""
    known = modules()
    graph = {
        name: {
            target
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            for target in imported(node, known)
        }
        - {"sottovoce", name}
        for name, path in known.items()
    }
    assert len(tuple(TopologicalSorter(graph).static_order())) >= len(known)


def test_a_folder_holds_no_more_modules_than_a_reader_can_survey() -> None:
    folders = Counter(path.parent for path in modules().values() if path.stem != "__init__")
    assert {str(folder): n for folder, n in folders.items() if n > MAX_MODULES} == {}


def test_no_import_is_relative() -> None:
    wrong = [
        name
        for name, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert wrong == []


@pytest.mark.parametrize("stage", STAGES)
def test_the_link_to_a_stage_is_relative_and_resolves(stage: str) -> None:
    link = PACKAGE / stage
    if not link.is_symlink():
        pytest.skip("installed from a wheel, where stages are folders")
    assert link.readlink() == Path("..") / ".." / stage
    assert (link / "__init__.py").is_file()


def loaded_by(code: str) -> set[str]:
    """Run code in a fresh interpreter and name the top-level modules that it loaded."""
    listing = "import json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{listing}"], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout))


def test_the_command_line_loads_no_heavy_library_before_it_works() -> None:
    assert loaded_by("from sottovoce.cli.app import make_app; make_app()").isdisjoint(HEAVY)


def test_a_command_that_is_called_imports_no_other() -> None:
    """A server starts its workers after this."""
    code = """import sys
from sottovoce.cli import app
sys.argv = ["sottovoce", "serve", "--help"]
try:
    app.main()
except SystemExit:
    print(sorted(name for name in sys.modules if name.startswith("sottovoce.cli.commands.run.")))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_folder_of_a_model_is_found_without_what_reads_bundles(tmp_path: Path) -> None:
    code = f"import pathlib; from sottovoce.bundle.open_model import open_model\nwith open_model(pathlib.Path({str(tmp_path)!r})): pass"
    assert loaded_by(code).isdisjoint({*HEAVY, "numpy", "pydantic", "tarfile"})


def test_audio_needs_nothing_that_a_device_does_not_install() -> None:
    assert loaded_by("import sottovoce.runtime.audio.decode").isdisjoint(HEAVY)


@pytest.mark.parametrize("name", [name for name in modules() if part_of(name) == "runtime"])
def test_a_module_of_the_runtime_names_no_library_of_the_extra_optimize(name: str) -> None:
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    names = {
        (alias.name if isinstance(node, ast.Import) else str(node.module)).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert names.isdisjoint(ONLY_OPTIMIZE)


def test_help_answers_at_once() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(HELP_CALLS):
        subprocess.run(
            [sys.executable, "-m", "sottovoce", "--help"],
            capture_output=True,
            check=True,
            env={**os.environ, "COLUMNS": "100"},
            timeout=60,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds / HELP_CALLS < HELP_S
