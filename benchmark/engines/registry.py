"""Engines by name, imported when they are made."""

from sottovoce.benchmark.engines.engine import Engine, EngineSpec
from sottovoce.errors import SpecError, nearest

ENGINES = ("optimum-intel",)


def make_engine(spec: EngineSpec) -> Engine:
    """Load a variant in an engine.

    Raises:
        SpecError: there is no engine of that name.
    """
    if spec.engine == "optimum-intel":
        from sottovoce.benchmark.engines.optimum_intel import OptimumIntelEngine

        return OptimumIntelEngine(spec.folder, spec.compute)
    raise SpecError(
        f"unknown engine {spec.engine}{nearest(spec.engine, ENGINES)} (engines: {', '.join(ENGINES)})"
    )
