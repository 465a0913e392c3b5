"""Predictions from the rates of a device and the dimensions of a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.runtime.model.shape import PUBLISHED
from sottovoce.runtime.planning.choose import ACCURACY, Needs, choose, fits, predict_all
from sottovoce.runtime.planning.costs import RECIPES, recipes_for
from sottovoce.runtime.planning.device import Device
from sottovoce.runtime.planning.predict import USUAL_CLIP, Clip, clip_s, memory_bytes, predict, rtfx
from sottovoce.terms import MemoryUse
from tests.support.devices import LAPTOP, with_instructions

FAST = RECIPES["int8-fast"]
SIZES = {name: PUBLISHED[name] for name in ("tiny", "base", "small")}
EVERY = predict_all(LAPTOP, SIZES)


def test_dimensions_give_the_published_numbers_of_weights() -> None:
    """Encoder and decoder of OpenAI's model card, in millions, positions and norms left out."""
    for name, encoder, decoder in (("base", 20, 52), ("small", 87, 153), ("large-v3-turbo", 635, 172)):
        shape = PUBLISHED[name]
        assert round(shape.encoder_weights / 1e6) == pytest.approx(encoder, abs=1)
        of_decoder = shape.step_weights + shape.cross_weights + shape.table_weights
        assert round(of_decoder / 1e6) == pytest.approx(decoder, abs=1)


def test_a_larger_model_is_slower_and_takes_more_memory_and_disk() -> None:
    found = [predict(LAPTOP, name, shape, FAST, MemoryUse.NORMAL) for name, shape in SIZES.items()]
    assert [each.rtfx for each in found] == sorted((each.rtfx for each in found), reverse=True)
    assert [each.memory_bytes for each in found] == sorted(each.memory_bytes for each in found)
    assert [each.disk_bytes for each in found] == sorted(each.disk_bytes for each in found)


@given(factor=st.floats(1.1, 10))
def test_a_device_of_twice_the_rates_takes_half_of_the_time(factor: float) -> None:
    faster = LAPTOP.model_copy(
        update={
            "macs_per_s": {kind: factor * rate for kind, rate in LAPTOP.macs_per_s.items()},
            "steps": tuple(
                rate.model_copy(update={"bytes_per_s": factor * rate.bytes_per_s}) for rate in LAPTOP.steps
            ),
            "operation_s": LAPTOP.operation_s / factor,
            "frame_s": LAPTOP.frame_s / factor,
        }
    )
    slow, fast = (clip_s(device, SIZES["base"], FAST, USUAL_CLIP) for device in (LAPTOP, faster))
    assert slow / factor <= fast < slow


def test_padding_that_is_encoded_costs_short_clips_most() -> None:
    def ratio(audio_s: float) -> float:
        clips = (Clip(audio_s=audio_s, n_tokens=round(3 * audio_s)),)
        shape = SIZES["base"]
        return rtfx(LAPTOP, shape, FAST, clips) / rtfx(LAPTOP, shape, RECIPES["int8-weights"], clips)

    assert ratio(3.0) > ratio(10.0) > ratio(29.0) > 1.0


def test_low_memory_takes_less() -> None:
    shape = SIZES["base"]
    assert memory_bytes(shape, FAST, MemoryUse.LOW) < memory_bytes(shape, FAST, MemoryUse.NORMAL)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (LAPTOP, ["int8-fast", "int8-weights"]),
        (with_instructions("avx2"), ["int8-no-vnni", "int8-weights"]),
        (with_instructions("asimd", machine="aarch64"), ["int8-weights"]),
    ],
)
def test_recipes_are_those_that_give_right_words_on_the_cpu(device: Device, expected: list[str]) -> None:
    assert [costs.name for costs in recipes_for(device.host)] == expected


def test_the_choice_is_the_most_accurate_model_that_fits_and_its_fastest_recipe() -> None:
    needs = Needs(max_memory_bytes=4e9, min_rtfx=1.0)
    choice = choose(EVERY, needs)
    assert choice is not None
    assert choice.model == "small"
    assert choice.rtfx == max(each.rtfx for each in EVERY if each.model == "small" and fits(each, needs))


def test_speed_and_memory_limit_the_choice() -> None:
    base = predict(LAPTOP, "base", SIZES["base"], FAST, MemoryUse.LOW)
    slow = choose(EVERY, Needs(max_memory_bytes=4e9, min_rtfx=base.rtfx * 0.9))
    small = choose(EVERY, Needs(max_memory_bytes=base.memory_bytes * 1.16, min_rtfx=1.0))
    assert slow is not None
    assert small is not None
    assert (slow.model, small.model) == ("base", "base")


def test_a_prediction_within_a_seventh_of_the_limit_does_not_fit() -> None:
    base = predict(LAPTOP, "base", SIZES["base"], FAST, MemoryUse.LOW)
    assert not fits(base, Needs(max_memory_bytes=1.1 * base.memory_bytes, min_rtfx=0))
    assert fits(base, Needs(max_memory_bytes=1.2 * base.memory_bytes, min_rtfx=0))


def test_nothing_may_fit() -> None:
    assert choose(EVERY, Needs(max_memory_bytes=50e6, min_rtfx=1.0)) is None


def test_every_published_size_has_a_rank_of_accuracy() -> None:
    assert set(ACCURACY) == set(PUBLISHED)
