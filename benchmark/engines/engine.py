"""The base class of engines: all that the benchmark needs of an engine stands in one subclass.

A cold start (`timing/cold.py`) imports this module and the engine's own. They import pydantic and an engine's
libraries inside functions only.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from sottovoce.runtime.audio.constants import WINDOW_SAMPLES
from sottovoce.runtime.model.compute import ComputeSpec

if TYPE_CHECKING:
    from sottovoce.benchmark.engines.transcription import DetailedTranscript, TimedTranscript
    from sottovoce.benchmark.schema.precision import Precision
    from sottovoce.runs import Run, Variant
    from sottovoce.runtime.audio.decode import Wave

DEFAULT_ENGINE = "sottovoce"
"""Our runtime."""

AA_SUFFIX = " again"
"""Suffix of the entry that measures another one in a second process (A/A check)."""

Transcribe = Callable[["Wave", str | None], str]
"""Transcribes a wave, float32, shape (n_samples,), 16 kHz, in a language; None detects it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """What a fresh process needs to load an entry; with `is_aa_check` a second process measures the same again."""

    engine: str
    variant: str
    folder: Path
    compute: ComputeSpec
    is_aa_check: bool = False

    @property
    def name(self) -> str:
        """The name of the entry in results: the variant's alone for the default engine."""
        name = self.variant if self.engine == DEFAULT_ENGINE else f"{self.engine}:{self.variant}"
        return f"{name}{AA_SUFFIX}" if self.is_aa_check else name


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One variant in one engine, with its size on disk.

    Attributes:
        component_size_bytes: graph and weights of each component.
        int8_nodes: operations with an INT8 weight, by component; empty where they are unknown.
    """

    spec: EngineSpec
    component_size_bytes: dict[str, int]
    int8_nodes: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """What engines can load: a run's variants, its checkpoint, and the checkpoint in other formats.

    Attributes:
        threads: inference threads of every entry.
        checkpoint: finds the run's checkpoint (Hugging Face's layout); raises SpecError.
        convert: converts it for an engine and a type of weights; None where that fails.
    """

    run: "Run"
    threads: int
    checkpoint: Callable[[], Path]
    convert: "Callable[[type[ConvertingEngine], str], Path | None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A variant's encoder and decode step, timed alone.

    Attributes:
        encoder_s: one window of 30 s, median of several calls.
        encoder_macs: multiply-accumulates of the window, by the type that they run in.
        step_s: one token after 100 others, median of several.
        step_bytes: weights, keys and values that a step reads.
    """

    encoder_s: float
    encoder_macs: dict[str, int]
    step_s: float
    step_bytes: int


class Engine(ABC):
    """An engine; an instance of it is one loaded variant.

    To add an engine, write a subclass and append it to `ENGINES` in `registry.py`.

    Attributes:
        name: in `--engines` and in results.
        help: one line for `sottovoce benchmark --help`.
        modules: must be installed.
        extra: of sottovoce, which installs them.
        distributions: packages that only this engine uses; results record their versions.
        default_variant: what is measured where `--engines` names the engine alone; None: the quantized one.
        needs_checkpoint: loads the run's checkpoint instead of a variant of the run.
        takes_long: transcribes recordings over 30 s.

    An engine that decodes batches also has `transcribe_batch(waves, languages, batch_size)`: clips up to 30 s, float32, shape
    (n_samples,) each, 16 kHz; it returns the seconds of work.
    """

    name: ClassVar[str]
    help: ClassVar[str]
    modules: ClassVar[tuple[str, ...]]
    extra: ClassVar[str]
    distributions: ClassVar[tuple[str, ...]] = ()
    default_variant: ClassVar[str | None] = None
    needs_checkpoint: ClassVar[bool] = False
    takes_long: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        """Load a variant."""

    @abstractmethod
    def transcribe(self, wave: "Wave", language: str | None) -> "TimedTranscript":
        """Transcribe a wave, float32, shape (n_samples,), 16 kHz, greedily.

        A language that the model does not know is detected, as None is.
        """

    @abstractmethod
    def precision(self) -> "Precision":
        """Return what the variant computes in."""

    @classmethod
    def default_variants(cls, run: "Run") -> tuple[str, ...]:
        """Name the variants for an engine that `--engines` names alone; raise SpecError if the run has none for it."""
        return (cls.default_variant or run.recipe.quantize.name,)

    @classmethod  # noqa: B027 - most engines override it
    def check_variant(cls, variant: "Variant") -> None:
        """Raise SpecError where the engine cannot load a variant of a run."""

    @classmethod
    def entry(cls, source: ModelSource, variant: str) -> Entry | None:
        """Choose a variant by its name; None if the checkpoint cannot be converted.

        Raises:
            InputError: the run has no such variant.
            SpecError: the engine cannot load it.
        """
        found = source.run.variant(variant)
        cls.check_variant(found)
        return cls._variant_entry(found, source.threads)

    @classmethod
    def import_libraries(cls, folder: Path) -> None:  # noqa: ARG003 - others import what the variant takes
        """Import the engine's libraries before the load time of a variant is taken."""
        for module in cls.modules:
            import_module(module)

    @classmethod
    def open(cls, spec: EngineSpec) -> "Load":
        """Import the engine's libraries and return what loads a variant."""
        cls.import_libraries(spec.folder)
        return partial(cls, spec.folder, spec.compute)

    @classmethod
    def open_cold(cls, spec: EngineSpec) -> Transcribe:
        """Load a variant as a user of the engine does, without clocks."""
        engine = cls.open(spec)()
        return lambda wave, language: engine.transcribe(wave, language).text

    @classmethod
    def _variant_entry(cls, variant: "Variant", threads: int) -> Entry:
        components = variant.facts.components
        return Entry(
            spec=EngineSpec(
                engine=cls.name,
                variant=variant.name,
                folder=variant.folder,
                compute=replace(variant.facts.compute, threads=threads),
            ),
            component_size_bytes={str(part): facts.size_bytes for part, facts in components.items()},
            int8_nodes={str(part): facts.int8_weights for part, facts in components.items()},
        )

    @classmethod
    def _model_entry(cls, variant: str, folder: Path, weights: Collection[Path], threads: int) -> Entry:
        """Return the entry of a model that is no variant of the run."""
        return Entry(
            spec=EngineSpec(
                engine=cls.name, variant=variant, folder=folder, compute=ComputeSpec(threads=threads)
            ),
            component_size_bytes={"model": sum(file.stat().st_size for file in weights)},
            int8_nodes={},
        )


class ConvertingEngine(Engine):
    """An engine that loads the checkpoint in a format of its own; `conversion.py` converts it once."""

    needs_checkpoint = True

    @staticmethod
    @abstractmethod
    def converter() -> str:
        """Name the converter with its version: a folder that another one wrote is not used."""

    @staticmethod
    @abstractmethod
    def convert(checkpoint: Path, into: Path, kind: str) -> None:
        """Convert a checkpoint (Hugging Face's layout) into a folder, with weights of a type.

        Raises:
            InputError: the checkpoint cannot be converted.
        """

    @classmethod
    def _converted_entry(cls, source: ModelSource, kind: str) -> Entry | None:
        folder = source.convert(cls, kind)
        if folder is None:
            return None
        return cls._model_entry(kind, folder, tuple(folder.glob("*model.bin")), source.threads)


@runtime_checkable
class SupportsProbe(Protocol):
    """An engine that can time its parts alone."""

    def probe(self) -> Probe | None:
        """Time encoder and decode step alone, and count their work; None where it cannot be counted."""


@runtime_checkable
class SupportsDetail(Protocol):
    """An engine that returns tokens, words and languages."""

    def detail(self, wave: "Wave", language: str | None) -> "DetailedTranscript":
        """Transcribe a wave, float32, shape (n_samples,), 16 kHz, in a language; detect its language too."""


def is_long(wave: "Wave") -> bool:
    """Whether a wave takes several windows."""
    return len(wave) > WINDOW_SAMPLES


def group_by_language(
    waves: "Sequence[Wave]", languages: "Sequence[str | None]", known: Collection[str]
) -> "dict[str | None, list[Wave]]":
    """Group clips for batches, each of one language; under None those in a language that the model does not know."""
    groups: dict[str | None, list[Wave]] = {}
    for wave, language in zip(waves, languages, strict=True):
        groups.setdefault(language if language in known else None, []).append(wave)
    return groups


Load = Callable[[], Engine]
MakeEngine = Callable[[EngineSpec], Load]
"""Imports an engine's libraries and returns what loads it: `Engine.open`, or what takes its place in tests."""
