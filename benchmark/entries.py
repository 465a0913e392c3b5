"""Choose what is measured: entries, each one variant in one engine."""

from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, ConvertingEngine, Engine, Entry, ModelSource
from sottovoce.benchmark.engines.registry import ENGINES, find_engine, list_engines
from sottovoce.benchmark.engines.sottovoce import SottovoceEngine
from sottovoce.benchmark.engines.variants import float_stateful
from sottovoce.benchmark.schema.failures import SkippedEngine
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.errors import MissingExtraError, SpecError
from sottovoce.optimize.checkpoint.resolve import find_checkpoint
from sottovoce.runs import Run, Variant


def engine_names(engines: Sequence[str]) -> tuple[str, ...]:
    """Name the engines of a choice, our own always first: the baseline runs in it.

    Raises:
        SpecError: there is no such engine.
    """
    chosen = (find_engine(item.partition(":")[0]).name for item in engines)
    return tuple(dict.fromkeys((DEFAULT_ENGINE, *chosen)))


def find_absent(names: Iterable[str]) -> tuple[SkippedEngine, ...]:
    """Return the engines that are not installed, without importing them.

    Raises:
        MissingExtraError: our own engine is not installed.
        SpecError: there is no engine of that name.
    """
    absent = []
    for engine in map(find_engine, names):
        missing = next((module for module in engine.modules if not _is_installed(module)), None)
        if missing is None:
            continue
        if engine.name == DEFAULT_ENGINE:
            raise MissingExtraError(missing, needed_for=f"the engine {engine.name}", extra=engine.extra)
        reason = f'{missing} is not installed; run: pip install "sottovoce[{engine.extra}]"'
        absent.append(SkippedEngine(engine=engine.name, reason=reason))
    return tuple(absent)


def choose_entries(
    run: Run, spec: BenchmarkSpec, convert: Callable[[type[ConvertingEngine], str], Path | None]
) -> tuple[Entry, ...]:
    """Choose what is measured: the baseline in our engine first, nothing twice.

    An entry for which the checkpoint cannot be converted is left out.

    Args:
        run: whose variants are measured.
        spec: variants, engines and threads.
        convert: converts the run's checkpoint for an engine and a type of weights; None where that fails.

    Raises:
        SpecError: an engine cannot load a variant.
        InputError: the run has no such variant.
    """
    _check_variants(spec)
    source = ModelSource(
        run=run,
        threads=spec.n_threads,
        checkpoint=lambda: find_checkpoint(run, spec.checkpoint).folder,
        convert=convert,
    )
    chosen = [SottovoceEngine.entry(source, _baseline(run, long=spec.long).name)]
    for item in spec.engines or (DEFAULT_ENGINE,):
        name, _, variant = item.partition(":")
        engine = find_engine(name)
        _check_length(engine, long=spec.long)
        names = (variant,) if variant else _default_variants(engine, run, spec)
        chosen += [engine.entry(source, each) for each in names]
    return tuple({entry.spec.name: entry for entry in chosen if entry is not None}.values())


def _check_variants(spec: BenchmarkSpec) -> None:
    """Refuse `--variants` that no engine would measure."""
    if spec.variants and spec.engines and DEFAULT_ENGINE not in spec.engines:
        raise SpecError(
            f"--variants are measured in the engine {DEFAULT_ENGINE}; add it to --engines, "
            "or name a variant as ENGINE:VARIANT"
        )


def _check_length(engine: type[Engine], *, long: bool) -> None:
    if long and not engine.takes_long:
        able = list_engines(each for each in ENGINES if each.takes_long)
        raise SpecError(f"{engine.name} takes no recordings over 30 s; with --long choose from {able}")


def _baseline(run: Run, *, long: bool) -> Variant:
    """Return what others are compared with; for long recordings the stateful layout, if the run has it."""
    stateful = float_stateful(run)
    return stateful if long and stateful is not None else run.baseline


def _default_variants(engine: type[Engine], run: Run, spec: BenchmarkSpec) -> tuple[str, ...]:
    chosen = spec.variants if engine.name == DEFAULT_ENGINE else ()
    return chosen or engine.default_variants(run)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
