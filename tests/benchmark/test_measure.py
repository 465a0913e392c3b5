"""Measuring in processes of their own: the order, clips that fail, processes that die."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, EngineSpec
from sottovoce.benchmark.measure import interleave
from sottovoce.benchmark.worker import ClipError, Worker
from sottovoce.errors import SpecError, StageError
from sottovoce.runtime.compute import ComputeSpec
from sottovoce.testing import FakeEngines, fake_precision, tone


def spec(variant: str, engine: str = DEFAULT_ENGINE) -> EngineSpec:
    return EngineSpec(engine=engine, variant=variant, folder=Path(variant), compute=ComputeSpec())


def test_variants_take_turns_forwards_and_backwards() -> None:
    assert interleave(("a", "b"), 3) == (("a", "b"), ("b", "a"), ("a", "b"))


@given(st.lists(st.text(min_size=1, max_size=3), unique=True, max_size=5), st.integers(1, 6))
def test_every_variant_has_its_turn_in_every_pass(names: list[str], passes: int) -> None:
    orders = interleave(names, passes)
    assert len(orders) == passes
    assert all(Counter(order) == Counter(names) for order in orders)


def test_a_worker_keeps_on_after_a_clip_that_fails_and_names_its_variant_when_it_dies() -> None:
    make = FakeEngines(
        factors={"int8": 0.5}, fails_on={"int8": frozenset({32_000})}, dies_on={"int8": frozenset({48_000})}
    )
    with Worker(spec("int8"), make) as worker:
        loaded = worker.load()
        assert loaded.precision == fake_precision()
        assert loaded.load_s >= 0
        assert worker.transcribe(tone(1.0), "fr").text == "fr"
        with pytest.raises(ClipError, match=r"^RuntimeError: cannot hear 32000 samples$"):
            worker.transcribe(tone(2.0), "fr")
        assert worker.transcribe(tone(1.0), None).latency_s == 0.5
        assert worker.peak_rss_bytes() > 10 << 20
        with pytest.raises(StageError, match=r"the process of int8 ended unexpectedly \(exit code 3"):
            worker.transcribe(tone(3.0), "fr")


def test_an_unknown_engine_is_named_with_those_there_are() -> None:
    from sottovoce.benchmark.engines.registry import make_engine

    with pytest.raises(SpecError, match="did you mean optimum-intel"):
        make_engine(spec("int8", engine="optimum-itnel"))
