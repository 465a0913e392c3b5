"""What no module may do: run what it reads, or unpack what it was given. Read from the syntax tree of every module."""

import ast
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

import sottovoce

PACKAGE = Path(sottovoce.__file__).parent
STAGES = {"benchmark", "bundle", "calibrate", "configs", "optimize", "reports", "runtime", "serve", "speech"}

BANNED_MODULES = frozenset(
    {"_pickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "pickle", "shelve"}
)
"""Reading their files runs code."""

BANNED_CALLS = frozenset(
    {
        "eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec", "builtins.compile",
        "os.popen", "os.system", "subprocess.getoutput", "subprocess.getstatusoutput",
        "shutil.unpack_archive", "tempfile.mktemp", "torch.load", "pandas.read_pickle",
        "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.full_load_all", "yaml.unsafe_load", "yaml.unsafe_load_all",
    }
)  # fmt: skip
BANNED_METHODS = frozenset({"extract", "extractall", "read_pickle", "to_pickle"})
BANNED_UNLESS_FALSE = frozenset({"allow_pickle", "shell", "trust_remote_code"})
NEED_NO_PICKLES = frozenset({"numpy.load"})

SAMPLES = {
    "import pickle": "import pickle",
    "import dill": "import dill as d",
    "import joblib": "from joblib import load",
    "import marshal": "def f():\n    import marshal",
    "import shelve": "import os, shelve",
    "import cloudpickle": "import importlib\nimportlib.import_module('cloudpickle.x')",
    "eval": "eval('1')",
    "exec": "exec('a = 1')",
    "compile": "compile('1', '', 'eval')",
    "builtins.eval": "import builtins as b\nb.eval('1')",
    "__import__": "__import__('os')",
    "os.system": "from os import system as run\nrun('ls')",
    "os.popen": "import os\nos.popen('ls')",
    "subprocess.getoutput": "import subprocess as s\ns.getoutput('ls')",
    "tempfile.mktemp": "import tempfile\ntempfile.mktemp()",
    "torch.load": "import torch\ntorch.load('a.pt')",
    "yaml.load": "import yaml\nyaml.load('a', Loader=yaml.SafeLoader)",
    "yaml.full_load": "from yaml import full_load\nfull_load('a')",
    "yaml.unsafe_load": "import yaml as y\ny.unsafe_load('a')",
    "shutil.unpack_archive": "import shutil\nshutil.unpack_archive('a.zip')",
    "numpy.load without allow_pickle=False": "import numpy as np\nnp.load('a.npy')",
    "allow_pickle": "import numpy as np\nnp.load('a.npy', allow_pickle=True)",
    "shell": "import subprocess\nsubprocess.run('ls', shell=True)",
    "trust_remote_code": "Model.from_pretrained('a', trust_remote_code=True)",
    "extractall": "import tarfile\ntarfile.open('a.tar').extractall('b')",
    "extract": "archive.extract('a', 'b')",
    "**": "subprocess.run('ls', **{'shell': True})",
}
"""By finding: source that has it."""

HARMLESS = """
import re, yaml, numpy as np, subprocess, tempfile
model.eval()
re.compile('a')
core.compile_model(model)
yaml.safe_load('a')
exec('')
np.load('a.npy', allow_pickle=False)
np.save('a.npy', values, allow_pickle=False)
subprocess.run(['ls'], shell=False)
tempfile.mkdtemp()
json.load(file)
features.extractor(1)
"""


def modules() -> dict[str, Path]:
    """Name every module by its path in the package, stages behind links included."""
    found = (
        Path(folder) / name
        for folder, _, names in os.walk(PACKAGE, followlinks=True)
        for name in names
        if name.endswith(".py")
    )
    return {path.relative_to(PACKAGE).as_posix(): path for path in sorted(found)}


def findings(source: str) -> set[str]:
    tree = ast.parse(source)
    known = imported_names(tree)
    checks: tuple[Callable[[ast.AST, Mapping[str, str]], Iterator[str]], ...] = (
        banned_imports,
        banned_calls,
        banned_switches,
    )
    return {what for node in ast.walk(tree) for check in checks for what in check(node, known)}


def imported_names(tree: ast.AST) -> dict[str, str]:
    """Return what each imported name stands for, wherever in the module it is imported."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def dotted(node: ast.AST, known: Mapping[str, str]) -> str:
    if isinstance(node, ast.Name):
        return known.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, known)}.{node.attr}"
    return ""


def banned_imports(node: ast.AST, known: Mapping[str, str]) -> Iterator[str]:
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [str(node.module)]
    elif isinstance(node, ast.Call) and dotted(node.func, known) == "importlib.import_module":
        names = [str(each.value) for each in node.args if isinstance(each, ast.Constant)]
    tops = {name.split(".")[0] for name in names}
    yield from (f"import {name}" for name in tops & BANNED_MODULES)


def banned_calls(node: ast.AST, known: Mapping[str, str]) -> Iterator[str]:
    if not isinstance(node, ast.Call):
        return
    name = dotted(node.func, known)
    is_nothing = len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value == ""
    if name in BANNED_CALLS and not is_nothing:
        yield name
    if isinstance(node.func, ast.Attribute) and node.func.attr in BANNED_METHODS:
        yield node.func.attr
    if name in NEED_NO_PICKLES and "allow_pickle" not in {keyword.arg for keyword in node.keywords}:
        yield f"{name} without allow_pickle=False"


def banned_switches(node: ast.AST, _: Mapping[str, str]) -> Iterator[str]:
    """Yield what is switched on by a keyword of a call, or in a dictionary of such keywords."""
    if isinstance(node, ast.keyword) and node.arg in BANNED_UNLESS_FALSE and not is_false(node.value):
        yield node.arg
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        if any(
            isinstance(key, ast.Constant) and key.value in BANNED_UNLESS_FALSE and not is_false(value)
            for key, value in pairs
        ):
            yield "**"


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


@pytest.mark.parametrize("what", SAMPLES)
def test_the_detector_finds_what_is_banned(what: str) -> None:
    assert what in findings(SAMPLES[what])


def test_the_detector_leaves_the_harmless_alone() -> None:
    assert findings(HARMLESS) == set()


def test_every_stage_is_looked_through() -> None:
    assert {name.split("/")[0] for name in modules() if "/" in name} >= STAGES


def test_no_module_runs_or_unpacks_what_it_reads() -> None:
    assert {
        (name, what)
        for name, path in modules().items()
        for what in findings(path.read_text(encoding="utf-8"))
    } == set()
