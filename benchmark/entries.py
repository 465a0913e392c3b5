"""What is measured: entries, each a variant in an engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, EngineSpec
from sottovoce.benchmark.engines.ggml_export import GgmlType
from sottovoce.benchmark.engines.registry import ENGINES, engine_kind
from sottovoce.errors import SpecError
from sottovoce.optimize.checkpoint.files import weight_files
from sottovoce.optimize.checkpoint.resolve import find_checkpoint
from sottovoce.runs import Run, Variant
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.elastic import SILENCE_NAME
from sottovoce.terms import Ctranslate2Type, Format, Layout, Scheme, Weights

FASTER_WHISPER = ("faster-whisper", "faster-whisper-batched")

WHISPER_CPP = "whisper.cpp"

PEER_VARIANT = "int8"
"""Of faster-whisper, where the run has no CTranslate2 variant: the checkpoint, converted for the comparison."""

OPENVINO_ENGINES = ("optimum-intel", "openvino-genai")
"""Engines that run OpenVINO variants only."""

TORCH_VARIANTS = {"torch": "fp32", "torch-dynamic": "dynamic-int8"}
"""What engines that run the checkpoint itself make of it."""

ConvertedFolder = Callable[[str, str], Path | None]
"""Gives the folder of the run's checkpoint in another format: of an engine, in a type. None where it cannot be converted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A variant in an engine, and what it is on disk.

    Attributes:
        spec: enough to load it.
        component_size_bytes: graph and weights of each component.
        int8_nodes: operations with an INT8 weight, by component; empty where nobody tells.
    """

    spec: EngineSpec
    component_size_bytes: dict[str, int]
    int8_nodes: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrySpec:
    """What a person asks to be measured.

    Attributes:
        variants: of the run, in our engine; empty for the quantized one.
        engines: `ENGINE` or `ENGINE:VARIANT`; empty for our engine alone.
        threads: inference threads of every entry.
        long: recordings over 30 s.
        checkpoint: what the run was made of, for engines that run it; None looks for it.
    """

    variants: tuple[str, ...]
    engines: tuple[str, ...]
    threads: int
    long: bool = False
    checkpoint: str | None = None


def engine_names(engines: Sequence[str]) -> tuple[str, ...]:
    """Name the engines of a choice, our own always first since the baseline runs in it.

    Raises:
        SpecError: there is no such engine.
    """
    asked = [item.partition(":")[0] for item in engines]
    for name in asked:
        engine_kind(name)
    return tuple(dict.fromkeys((DEFAULT_ENGINE, *asked)))


def choose_entries(run: Run, asked: EntrySpec, converted: ConvertedFolder) -> tuple[Entry, ...]:
    """Choose what is measured, the baseline in our engine always first, nothing twice.

    What the checkpoint cannot be converted for is left out.

    Args:
        run: whose variants are measured.
        asked: variants and engines.
        converted: converts the run's checkpoint; called where it is needed.

    Raises:
        SpecError: an engine cannot run what is asked of it.
        InputError: the run has no such variant.
    """
    _check_variants(asked)
    chosen = [_run_entry(_baseline(run, long=asked.long), DEFAULT_ENGINE, asked.threads)]
    for item in asked.engines or (DEFAULT_ENGINE,):
        engine, _, variant = item.partition(":")
        kind = engine_kind(engine)
        if asked.long and not kind.takes_long:
            able = ", ".join(name for name, kind in ENGINES.items() if kind.takes_long)
            raise SpecError(f"{engine} takes no recordings over 30 s; with --long choose from {able}")
        names = (variant,) if variant else _variants_for(engine, run, asked.variants)
        found = (_entry(run, engine, name, asked, converted) for name in names)
        chosen += [entry for entry in found if entry is not None]
    return tuple({entry.spec.name: entry for entry in chosen}.values())


def _check_variants(asked: EntrySpec) -> None:
    """Refuse variants that nothing would measure."""
    if asked.variants and asked.engines and DEFAULT_ENGINE not in asked.engines:
        raise SpecError(
            f"--variants are measured in the engine {DEFAULT_ENGINE}; add it to --engines, "
            "or name a variant as ENGINE:VARIANT"
        )


def _baseline(run: Run, *, long: bool) -> Variant:
    """Return what others are compared with; the stateful layout for long recordings, where there is one."""
    stateful = _float_stateful(run)
    return stateful if long and stateful is not None else run.baseline


def _variants_for(engine: str, run: Run, wanted: tuple[str, ...]) -> tuple[str, ...]:
    match engine:
        case "optimum-intel":
            return (_quantized_stateless(run) or run.baseline.name,)
        case "openvino-genai":
            names = _stateful(run)
            if not names:
                raise SpecError(
                    f"openvino-genai needs a stateful OpenVINO variant that is not elastic, and {run.folder} has none; "
                    "make the run with a recipe that exports one, such as int8"
                )
            return names
        case "faster-whisper" | "faster-whisper-batched":
            return (_int8_ctranslate2(run) or PEER_VARIANT,)
        case "whisper.cpp":
            return (str(GgmlType.Q8_0),)
        case "torch" | "torch-dynamic":
            return (TORCH_VARIANTS[engine],)
        case _:
            return wanted or (run.recipe.quantize.name,)


def _quantized_stateless(run: Run) -> str | None:
    found = (
        variant.name
        for variant in run.variants
        if variant.facts.format is Format.OPENVINO
        and variant.facts.layout is Layout.STATELESS
        and _is_quantized(variant)
        and not is_elastic(variant)
    )
    return next(found, None)


def _int8_ctranslate2(run: Run) -> str | None:
    """Name the variant that is what would be converted for faster-whisper."""
    found = (
        variant.name for variant in run.variants if variant.facts.ctranslate2_type is Ctranslate2Type.INT8
    )
    return next(found, None)


def _float_stateful(run: Run) -> Variant | None:
    found = (
        variant
        for variant in run.variants
        if variant.facts.format is Format.OPENVINO
        and variant.facts.layout is Layout.STATEFUL
        and variant.facts.weights is Weights.FP32
        and not _is_quantized(variant)
        and not is_elastic(variant)
    )
    return next(found, None)


def _stateful(run: Run) -> tuple[str, ...]:
    """Name what openvino-genai can run: the float32 variant, and the quantized ones."""
    float_variant = _float_stateful(run)
    return tuple(
        variant.name
        for variant in run.variants
        if variant is float_variant
        or (
            variant.facts.format is Format.OPENVINO
            and variant.facts.layout is Layout.STATEFUL
            and _is_quantized(variant)
            and not is_elastic(variant)
        )
    )


def _is_quantized(variant: Variant) -> bool:
    return any(part.scheme is not Scheme.FLOAT for part in variant.facts.components.values())


def is_elastic(variant: Variant) -> bool:
    """Tell whether a variant encodes the speech of a window only."""
    return (variant.folder / SILENCE_NAME).is_file()


def _entry(run: Run, engine: str, name: str, asked: EntrySpec, converted: ConvertedFolder) -> Entry | None:
    if engine in TORCH_VARIANTS:
        return _torch_entry(run, engine, name, asked)
    if engine in FASTER_WHISPER:
        return _faster_whisper_entry(run, engine, name, asked.threads, converted)
    if engine == WHISPER_CPP:
        return _whisper_cpp_entry(engine, name, asked.threads, converted)
    variant = run.variant(name)
    if engine in OPENVINO_ENGINES and variant.facts.format is not Format.OPENVINO:
        raise SpecError(
            f"{engine}:{name}: {name} is a variant in {variant.facts.format}, {engine} runs OpenVINO variants only; "
            f"the engine {DEFAULT_ENGINE} runs it"
        )
    if engine != DEFAULT_ENGINE and is_elastic(variant):
        raise SpecError(
            f"{engine}:{name}: {name} is elastic, it encodes the speech of a window only; "
            f"only the engine {DEFAULT_ENGINE} runs it"
        )
    if engine == "openvino-genai" and variant.facts.layout is not Layout.STATEFUL:
        raise SpecError(
            f"{engine}:{name}: {name} is {variant.facts.layout}, openvino-genai runs the stateful layout only"
        )
    return _run_entry(variant, engine, asked.threads)


def _torch_entry(run: Run, engine: str, name: str, asked: EntrySpec) -> Entry:
    if name != TORCH_VARIANTS[engine]:
        raise SpecError(f"{engine}:{name}: {engine} is measured with {TORCH_VARIANTS[engine]} only")
    folder = find_checkpoint(run, asked.checkpoint).folder
    return Entry(
        spec=EngineSpec(
            engine=engine, variant=name, folder=folder, compute=ComputeSpec(threads=asked.threads)
        ),
        component_size_bytes={"model": sum(part.stat().st_size for part in weight_files(folder))},
        int8_nodes={},
    )


def _faster_whisper_entry(
    run: Run, engine: str, name: str, threads: int, converted: ConvertedFolder
) -> Entry | None:
    """Choose a CTranslate2 variant of the run, or the checkpoint converted for the comparison."""
    ours = {variant.name: variant for variant in run.variants if variant.facts.format is Format.CTRANSLATE2}
    if name in ours:
        return _run_entry(ours[name], engine, threads)
    if name != PEER_VARIANT:
        raise SpecError(
            f"{engine}:{name}: {engine} is measured with {PEER_VARIANT}, or with a CTranslate2 variant of "
            f"the run ({', '.join(ours) or 'it has none'})"
        )
    return _converted_entry(engine, name, converted(engine, name), threads)


def _whisper_cpp_entry(engine: str, name: str, threads: int, converted: ConvertedFolder) -> Entry | None:
    types = [str(kind) for kind in GgmlType]
    if name not in types:
        raise SpecError(f"{engine}:{name}: {engine} is measured with {' or '.join(types)}")
    return _converted_entry(engine, name, converted(engine, name), threads)


def _run_entry(variant: Variant, engine: str, threads: int) -> Entry:
    components = variant.facts.components
    return Entry(
        spec=EngineSpec(
            engine=engine,
            variant=variant.name,
            folder=variant.folder,
            compute=replace(variant.facts.compute, threads=threads),
        ),
        component_size_bytes={str(part): facts.size_bytes for part, facts in components.items()},
        int8_nodes={str(part): facts.int8_weights for part, facts in components.items()},
    )


def _converted_entry(engine: str, name: str, folder: Path | None, threads: int) -> Entry | None:
    if folder is None:
        return None
    return Entry(
        spec=EngineSpec(engine=engine, variant=name, folder=folder, compute=ComputeSpec(threads=threads)),
        component_size_bytes={"model": sum(part.stat().st_size for part in folder.glob("*model.bin"))},
        int8_nodes={},
    )
