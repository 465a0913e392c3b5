"""The roofline of the machine, and the work that is compared with it."""

from pathlib import Path

import pytest

from sottovoce.benchmark.engines.engine import EngineSpec, Probe
from sottovoce.benchmark.engines.registry import make_engine
from sottovoce.benchmark.schema.machine import RooflinePart
from sottovoce.benchmark.timing.roofline import RateSpec, best_rates, measure_rates, roofline_points
from sottovoce.benchmark.timing.worker import Worker
from sottovoce.machine.environment import MachineRates
from sottovoce.runtime.model.compute import ComputeSpec
from tests.support.checkpoints import TINY_D_MODEL, TINY_ENCODER_LAYERS, TINY_FFN
from tests.support.engines import FakeEngines

SMALL = RateSpec(rows=64, size=128, depth=2, gemv_size=256)
POSITIONS = 1500


def spec(run: Path, variant: str, engine: str = "sottovoce") -> EngineSpec:
    return EngineSpec(engine=engine, variant=variant, folder=run / variant, compute=ComputeSpec(threads=1))


@pytest.fixture(scope="module")
def probes(tiny_run: Path) -> dict[str, Probe]:
    return {variant: probed(tiny_run, variant) for variant in ("fp32", "fp32-stateful", "int8")}


def probed(run: Path, variant: str) -> Probe:
    with Worker(spec(run, variant), make_engine) as worker:
        worker.wait_until_loaded()
        probe = worker.probe()
    assert probe is not None
    return probe


def test_rates_are_measured_for_every_supported_type() -> None:
    rates = measure_rates(1, SMALL)
    assert {"f32", "i8"} <= set(rates.macs_per_s)
    assert all(rate > 0 for rate in (*rates.macs_per_s.values(), rates.bytes_per_s))


def test_the_higher_of_two_measurements_of_a_rate_counts() -> None:
    one = MachineRates(macs_per_s={"f32": 2.0, "i8": 3.0}, bytes_per_s=9.0)
    other = MachineRates(macs_per_s={"f32": 1.0, "i8": 5.0}, bytes_per_s=8.0)
    assert best_rates(one, other) == MachineRates(macs_per_s={"f32": 2.0, "i8": 5.0}, bytes_per_s=9.0)


def test_efficiency_is_the_lower_bound_divided_by_the_time() -> None:
    rates = MachineRates(macs_per_s={"f32": 1e9, "i8": 4e9}, bytes_per_s=1e10)
    probe = Probe(
        encoder_s=3.0, encoder_macs={"f32": 10**9, "i8": 4 * 10**9}, step_s=0.1, step_bytes=10**9 // 2
    )
    encoder, step = roofline_points(probe, rates)
    assert [encoder.part, step.part] == list(RooflinePart)
    assert [encoder.ceiling_s, encoder.share] == pytest.approx([2, 2 / 3])
    assert [step.ceiling_s, step.share] == pytest.approx([0.05, 0.5])


def test_the_work_of_an_encoder_is_that_of_its_dimensions(probes: dict[str, Probe]) -> None:
    d, ffn = TINY_D_MODEL, TINY_FFN
    convolutions = 2 * POSITIONS * 80 * d * 3 + POSITIONS * d * d * 3
    layer = POSITIONS * (4 * d * d + 2 * d * ffn) + 2 * POSITIONS * POSITIONS * d
    probe = probes["fp32"]
    assert probe.encoder_macs == {"f32": convolutions + TINY_ENCODER_LAYERS * layer}
    assert probe.encoder_s > 0


def test_int8_work_is_counted_separately_from_attention_and_what_is_quantized_on_the_fly(
    probes: dict[str, Probe],
) -> None:
    whole, found = probes["fp32"].encoder_macs["f32"], probes["int8"].encoder_macs
    attention = TINY_ENCODER_LAYERS * 2 * POSITIONS * POSITIONS * TINY_D_MODEL
    assert sum(found.values()) == whole
    on_the_fly = TINY_ENCODER_LAYERS * POSITIONS * TINY_FFN * TINY_D_MODEL
    assert whole - found["i8"] == attention + on_the_fly


def test_a_step_reads_fewer_bytes_of_int8_weights_than_of_float_ones(probes: dict[str, Probe]) -> None:
    assert probes["int8"].step_bytes < probes["fp32"].step_bytes
    assert probes["fp32-stateful"].step_bytes == probes["fp32"].step_bytes


def test_an_engine_without_probes_returns_none() -> None:
    with Worker(spec(Path("run"), "fp32", "other"), FakeEngines()) as worker:
        worker.wait_until_loaded()
        assert worker.probe() is None
