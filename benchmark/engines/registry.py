"""The list of engines. Importing it imports no engine's libraries."""

from collections.abc import Iterable

from sottovoce.benchmark.engines.engine import Engine, EngineSpec, Load
from sottovoce.benchmark.engines.faster_whisper import BatchedFasterWhisperEngine, FasterWhisperEngine
from sottovoce.benchmark.engines.openvino_genai import OpenVinoGenAiEngine
from sottovoce.benchmark.engines.optimum_intel import OptimumIntelEngine
from sottovoce.benchmark.engines.sottovoce import SottovoceEngine
from sottovoce.benchmark.engines.torch import DynamicTorchEngine, TorchEngine
from sottovoce.benchmark.engines.whisper_cpp import WhisperCppEngine
from sottovoce.errors import SpecError, nearest

ENGINES: list[type[Engine]] = [
    SottovoceEngine,
    OptimumIntelEngine,
    OpenVinoGenAiEngine,
    FasterWhisperEngine,
    BatchedFasterWhisperEngine,
    WhisperCppEngine,
    TorchEngine,
    DynamicTorchEngine,
]


def find_engine(name: str) -> type[Engine]:
    """Return an engine by its name.

    Raises:
        SpecError: there is no engine of that name.
    """
    engines = {engine.name: engine for engine in ENGINES}
    if name not in engines:
        raise SpecError(f"unknown engine {name}{nearest(name, engines)} (engines: {list_engines(ENGINES)})")
    return engines[name]


def list_engines(engines: Iterable[type[Engine]]) -> str:
    """Join the names of engines with commas."""
    return ", ".join(engine.name for engine in engines)


def engine_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of the libraries that only some engines use."""
    from importlib.metadata import version

    return {
        distribution: version(distribution)
        for name in names
        for distribution in find_engine(name).distributions
    }


def make_engine(spec: EngineSpec) -> Load:
    """Import an engine's libraries and return what loads the variant.

    Raises:
        SpecError: there is no engine of that name.
    """
    return find_engine(spec.engine).open(spec)
