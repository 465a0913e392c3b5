"""What a recording is forecast to need."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.calibrate.forecast import (
    ModelShape,
    check_disk,
    check_memory,
    check_resources,
    forecast_recording,
    gib,
    read_shape,
)
from sottovoce.errors import ResourceError

TINY_EN = ModelShape(n_mels=80, d_model=384, decoder_layers=4, vocab_size=51864, weight_bytes=250 << 20)
LARGE_V3 = ModelShape(n_mels=128, d_model=1280, decoder_layers=32, vocab_size=51866, weight_bytes=10 << 30)
SHAPES = st.builds(
    ModelShape,
    n_mels=st.sampled_from([80, 128]),
    d_model=st.integers(64, 1280),
    decoder_layers=st.integers(1, 32),
    vocab_size=st.integers(1000, 51866),
    weight_bytes=st.integers(0, 16 << 30),
)


def test_the_shape_of_a_variant_is_read_from_its_folder(baseline: Path) -> None:
    shape = read_shape(baseline)
    assert (shape.n_mels, shape.d_model, shape.decoder_layers) == (80, 64, 2)
    assert shape.weight_bytes == sum(
        (baseline / f"openvino_{part}_model.bin").stat().st_size
        for part in ("encoder", "decoder", "decoder_with_past")
    )


def test_a_sequence_of_large_v3_takes_9_mb() -> None:
    assert LARGE_V3.encoder_states_bytes == 1500 * 1280 * 4
    assert LARGE_V3.sequence_bytes == 128 * 3000 * 4 + 1500 * 1280 * 4 == 9_216_000


def test_keys_and_values_of_large_v3_are_what_a_transformer_keeps() -> None:
    assert LARGE_V3.keys_and_values_bytes == 32 * 2 * (1500 + 448) * 1280 * 4


def test_large_v3_needs_much_more_memory_than_tiny_and_far_less_disk_than_naive_recording() -> None:
    large, tiny = forecast_recording(LARGE_V3, 64), forecast_recording(TINY_EN, 64)
    assert large.peak_memory_bytes > 10 * tiny.peak_memory_bytes
    assert large.naive_memory_bytes > 500 << 30
    assert large.disk_bytes < 1 << 30


@given(SHAPES, st.integers(1, 10_000))
def test_more_clips_take_more_disk_but_no_more_memory(shape: ModelShape, n_clips: int) -> None:
    one, more = forecast_recording(shape, n_clips), forecast_recording(shape, n_clips + 1)
    assert more.disk_bytes > one.disk_bytes
    assert more.peak_memory_bytes == one.peak_memory_bytes


@given(SHAPES, st.sampled_from(["n_mels", "d_model", "decoder_layers", "vocab_size", "weight_bytes"]))
def test_a_larger_model_never_needs_less(shape: ModelShape, grown: str) -> None:
    larger = replace(shape, **{grown: 2 * getattr(shape, grown)})
    before, after = forecast_recording(shape, 10), forecast_recording(larger, 10)
    assert after.peak_memory_bytes >= before.peak_memory_bytes
    assert after.disk_bytes >= before.disk_bytes


def test_too_little_memory_is_told_in_figures() -> None:
    with pytest.raises(
        ResourceError, match=r"recording is forecast to need 1048576\.00 GiB of memory, [\d.]+ GiB are"
    ):
        check_memory(1 << 50, "recording")


def test_too_little_disk_is_told_in_figures_and_names_the_place(tmp_path: Path) -> None:
    with pytest.raises(
        ResourceError, match=r"need 1073741824\.00 GiB of disk, .* has [\d.]+ GiB free"
    ) as caught:
        check_disk(1 << 60, tmp_path / "not" / "there" / "yet", "the run")
    assert str(tmp_path) in str(caught.value)


def test_what_fits_is_not_refused(tmp_path: Path) -> None:
    check_memory(1, "recording")
    check_disk(1, tmp_path / "new", "recording")


def test_an_impossible_recording_is_refused_before_it_starts(tmp_path: Path) -> None:
    shape = replace(LARGE_V3, weight_bytes=1 << 50)
    with pytest.raises(ResourceError):
        check_resources(forecast_recording(shape, 64), tmp_path)


@pytest.mark.parametrize(("n_bytes", "text"), [(0, "0.00 GiB"), (1 << 30, "1.00 GiB"), (3 << 29, "1.50 GiB")])
def test_bytes_are_told_in_gib(n_bytes: int, text: str) -> None:
    assert gib(n_bytes) == text
