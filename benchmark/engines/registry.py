"""Engines by name: what each needs, and how it is made. Each is imported when it is made."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, Engine, EngineSpec, Load
from sottovoce.benchmark.schema.failures import SkippedEngine
from sottovoce.errors import MissingExtraError, SpecError, nearest
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import format_of
from sottovoce.terms import Format

Open = Callable[[Path, ComputeSpec], Engine]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKind:
    """An engine.

    Attributes:
        open: imports its libraries and returns what loads a folder.
        modules: what must be importable.
        extra: of sottovoce, that installs the modules.
        distributions: whose versions can change its figures.
        takes_long: whether it transcribes recordings over 30 s.
        takes_batches: whether it decodes clips together.
    """

    open: Callable[[], Open]
    modules: tuple[str, ...]
    extra: str
    distributions: tuple[str, ...]
    takes_long: bool
    takes_batches: bool = False


def _open_sottovoce() -> Open:
    from sottovoce.benchmark.engines.sottovoce import SottovoceEngine

    return SottovoceEngine


def _open_optimum_intel() -> Open:
    from optimum.intel import OVModelForSpeechSeq2Seq  # noqa: F401
    from transformers import WhisperProcessor  # noqa: F401

    from sottovoce.benchmark.engines.optimum_intel import OptimumIntelEngine

    return OptimumIntelEngine


def _open_openvino_genai() -> Open:
    import openvino_genai  # noqa: F401

    from sottovoce.benchmark.engines.openvino_genai import OpenVinoGenAiEngine

    return OpenVinoGenAiEngine


def _open_faster_whisper(*, is_batched: bool) -> Open:
    import faster_whisper  # noqa: F401

    from sottovoce.benchmark.engines.faster_whisper import BatchedFasterWhisperEngine, FasterWhisperEngine

    return BatchedFasterWhisperEngine if is_batched else FasterWhisperEngine


def _open_whisper_cpp() -> Open:
    import pywhispercpp.model  # noqa: F401

    from sottovoce.benchmark.engines.whisper_cpp import WhisperCppEngine

    return WhisperCppEngine


def _open_torch(*, is_dynamic: bool) -> Open:
    import torch  # noqa: F401
    from transformers import WhisperForConditionalGeneration, WhisperProcessor  # noqa: F401

    from sottovoce.benchmark.engines.torch_whisper import TorchEngine

    return partial(TorchEngine, is_dynamic=is_dynamic)


ENGINES: dict[str, EngineKind] = {
    DEFAULT_ENGINE: EngineKind(
        open=_open_sottovoce,
        modules=("openvino",),
        extra="benchmark",
        distributions=(),
        takes_long=True,
        takes_batches=True,
    ),
    "optimum-intel": EngineKind(
        open=_open_optimum_intel,
        modules=("optimum.intel",),
        extra="optimize",
        distributions=(),
        takes_long=False,
    ),
    "openvino-genai": EngineKind(
        open=_open_openvino_genai,
        modules=("openvino_genai",),
        extra="peers",
        distributions=("openvino-genai",),
        takes_long=True,
    ),
    "faster-whisper": EngineKind(
        open=partial(_open_faster_whisper, is_batched=False),
        modules=("faster_whisper", "ctranslate2", "threadpoolctl"),
        extra="peers",
        distributions=("faster-whisper", "ctranslate2"),
        takes_long=True,
    ),
    "faster-whisper-batched": EngineKind(
        open=partial(_open_faster_whisper, is_batched=True),
        modules=("faster_whisper", "ctranslate2", "threadpoolctl"),
        extra="peers",
        distributions=("faster-whisper", "ctranslate2"),
        takes_long=True,
        takes_batches=True,
    ),
    "whisper.cpp": EngineKind(
        open=_open_whisper_cpp,
        modules=("pywhispercpp", "gguf"),
        extra="peers",
        distributions=("pywhispercpp",),
        takes_long=True,
    ),
    "torch": EngineKind(
        open=partial(_open_torch, is_dynamic=False),
        modules=("transformers", "torch"),
        extra="optimize",
        distributions=(),
        takes_long=False,
    ),
    "torch-dynamic": EngineKind(
        open=partial(_open_torch, is_dynamic=True),
        modules=("transformers", "torch"),
        extra="optimize",
        distributions=(),
        takes_long=False,
    ),
}


def engine_kind(name: str) -> EngineKind:
    """Return an engine by its name.

    Raises:
        SpecError: there is no engine of that name.
    """
    if name not in ENGINES:
        raise SpecError(f"unknown engine {name}{nearest(name, ENGINES)} (engines: {', '.join(ENGINES)})")
    return ENGINES[name]


def find_absent(names: Iterable[str]) -> tuple[SkippedEngine, ...]:
    """Tell which engines are not installed, without importing them.

    Raises:
        MissingExtraError: it is our own.
        SpecError: there is no engine of that name.
    """
    missing = [
        (name, kind.extra, module)
        for name in names
        for kind in (engine_kind(name),)
        if (module := next((each for each in kind.modules if not _is_installed(each)), None)) is not None
    ]
    for name, extra, module in missing:
        if name == DEFAULT_ENGINE:
            raise MissingExtraError(module, needed_for=f"the engine {name}", extra=extra)
    return tuple(
        SkippedEngine(engine=name, reason=f'{module} is not installed; run: pip install "sottovoce[{extra}]"')
        for name, extra, module in missing
    )


def engine_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of the libraries that only some engines use."""
    return {
        distribution: version(distribution) for name in names for distribution in ENGINES[name].distributions
    }


def make_engine(spec: EngineSpec) -> Load:
    """Import an engine's libraries and return what loads the variant.

    Our own engine has a library for each format of variants.

    Raises:
        SpecError: there is no engine of that name.
    """
    if spec.engine == DEFAULT_ENGINE:
        library = LIBRARIES[format_of(spec.folder)]
        if _is_installed(library):  # loading says which extra it comes with
            import_module(library)
    return partial(engine_kind(spec.engine).open(), spec.folder, spec.compute)


LIBRARIES = {
    Format.OPENVINO: "openvino",
    Format.ONNX: "onnxruntime",
    Format.CTRANSLATE2: "faster_whisper",
}
"""What runs each format in our engine."""


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
