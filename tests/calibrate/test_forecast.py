"""What a recording is forecast to need."""

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from sottovoce.calibrate.forecast import (
    Forecast,
    ModelShape,
    TimeForecast,
    Work,
    check_disk,
    check_memory,
    check_resources,
    estimate_rates,
    forecast_recording,
    forecast_time,
    gib,
    minutes,
    read_shape,
    shape_of_checkpoint,
)
from sottovoce.errors import ResourceError
from sottovoce.machine.environment import MachineRates
from tests.support import shapes

TINY_EN = ModelShape(
    n_mels=80, d_model=384, encoder_layers=4, decoder_layers=4, vocab_size=51864, weight_bytes=250 << 20
)
LARGE_V3 = ModelShape(
    n_mels=128, d_model=1280, encoder_layers=32, decoder_layers=32, vocab_size=51866, weight_bytes=10 << 30
)
MACHINE = MachineRates(macs_per_s={"f32": 1e11}, bytes_per_s=2e10)
INSTANT = TimeForecast(recording_s=0.0, examination_s=0.0)
SHAPES = st.builds(
    ModelShape,
    n_mels=st.sampled_from([80, 128]),
    d_model=st.integers(64, 1280),
    encoder_layers=st.integers(1, 32),
    decoder_layers=st.integers(1, 32),
    vocab_size=st.integers(1000, 51866),
    weight_bytes=st.integers(0, 16 << 30),
)


def forecast(shape: ModelShape, n_clips: int) -> Forecast:
    return forecast_recording(shape, work(n_clips), INSTANT)


def decoders(shape: ModelShape) -> int:
    return shape.decoder_bytes + shape.second_decoder_bytes


@pytest.mark.parametrize(
    ("shape", "measured_mib"),
    [
        pytest.param(shapes.TINY_EN, 1889, id="tiny.en"),
        pytest.param(shapes.BASE, 2375, id="base"),
        pytest.param(shapes.SMALL, 4577, id="shape of small"),
        pytest.param(shapes.TURBO, 6697, id="shape of large-v3-turbo"),
        pytest.param(shapes.LARGE_V3, 17848, id="shape of large-v3"),
    ],
)
def test_the_forecast_of_a_recording_is_what_was_measured(shape: ModelShape, measured_mib: int) -> None:
    """Measured with `tests/measure/command_memory.py`; docs/lab-notes.md has the table."""
    assert forecast(shape, 12).peak_memory_bytes == pytest.approx(measured_mib << 20, rel=0.15)


def work(n_clips: int, clip_s: float = 7.0, n_transcribed: int | None = None) -> Work:
    n_transcribed = n_clips if n_transcribed is None else n_transcribed
    return Work(
        n_clips=n_clips,
        n_sequences=n_clips,
        n_transcribed=n_transcribed,
        transcribed_s=n_transcribed * clip_s,
    )


def test_the_shape_of_a_variant_is_read_from_its_folder(baseline: Path) -> None:
    shape = read_shape(baseline)
    assert (shape.n_mels, shape.d_model, shape.encoder_layers, shape.decoder_layers) == (80, 64, 2, 2)
    assert shape.weight_bytes == sum(
        (baseline / f"openvino_{part}_model.bin").stat().st_size
        for part in ("encoder", "decoder", "decoder_with_past")
    )


def test_the_sizes_of_the_graphs_of_base_are_those_of_its_exported_files() -> None:
    encoder, decoder, with_past = 82_362_480, 208_013_464, 195_418_264
    base = ModelShape(
        n_mels=80,
        d_model=512,
        encoder_layers=6,
        decoder_layers=6,
        vocab_size=51865,
        weight_bytes=encoder + decoder + with_past,
    )
    assert base.second_decoder_bytes == pytest.approx(with_past, rel=0.01)
    assert base.decoder_bytes == pytest.approx(decoder, rel=0.01)
    assert base.encoder_bytes == pytest.approx(encoder, rel=0.01)


def test_the_stateless_variant_of_a_checkpoint_has_its_decoder_twice(tiny: Path, baseline: Path) -> None:
    n_weights = sum(tensor.size for tensor in load_file(tiny / "model.safetensors").values())
    planned = shape_of_checkpoint(tiny, checkpoint_bytes=4 * n_weights)
    # Its feed-forward layers are half as wide as a real one's.
    assert planned.weight_bytes == pytest.approx(read_shape(baseline).weight_bytes, rel=0.1)


def test_a_sequence_of_large_v3_takes_9_mb() -> None:
    assert LARGE_V3.encoder_states_bytes == 1500 * 1280 * 4
    assert LARGE_V3.sequence_bytes == 128 * 3000 * 4 + 1500 * 1280 * 4 == 9_216_000


def test_keys_and_values_of_large_v3_are_what_a_transformer_keeps() -> None:
    assert LARGE_V3.keys_and_values_bytes == 32 * 2 * (1500 + 448) * 1280 * 4


def test_large_v3_needs_much_more_memory_than_tiny_and_far_less_disk_than_naive_recording() -> None:
    large, tiny = forecast(LARGE_V3, 64), forecast(TINY_EN, 64)
    assert large.peak_memory_bytes > 5 * tiny.peak_memory_bytes
    assert large.naive_memory_bytes > 500 << 30
    assert large.disk_bytes < 1 << 30


@given(SHAPES, st.integers(1, 10_000))
def test_more_clips_take_more_disk_but_no_more_memory(shape: ModelShape, n_clips: int) -> None:
    one, more = forecast(shape, n_clips), forecast(shape, n_clips + 1)
    assert more.disk_bytes > one.disk_bytes
    assert more.peak_memory_bytes == one.peak_memory_bytes


@given(SHAPES, st.sampled_from(["n_mels", "d_model", "decoder_layers", "vocab_size", "weight_bytes"]))
def test_a_larger_model_never_needs_less(shape: ModelShape, grown: str) -> None:
    larger = replace(shape, **{grown: 2 * getattr(shape, grown)})
    if grown != "weight_bytes":  # the encoder keeps its size
        larger = replace(larger, weight_bytes=larger.weight_bytes + decoders(larger) - decoders(shape))
    before, after = forecast(shape, 10), forecast(larger, 10)
    assert after.peak_memory_bytes >= before.peak_memory_bytes
    assert after.disk_bytes >= before.disk_bytes


def test_fewer_transcripts_take_less_time_and_the_same_disk() -> None:
    few, all_ = (forecast_time(TINY_EN, work(64, n_transcribed=number), MACHINE) for number in (8, 64))
    assert few.recording_s < all_.recording_s
    assert few.examination_s < all_.examination_s
    disks = [forecast_recording(TINY_EN, work(64, n_transcribed=n), INSTANT).disk_bytes for n in (8, 64)]
    assert disks[0] == disks[1]


def test_too_little_memory_is_an_error_with_figures() -> None:
    with pytest.raises(
        ResourceError, match=r"recording is forecast to need 1048576\.00 GiB of memory, [\d.]+ GiB are"
    ):
        check_memory(1 << 50, "recording")


def test_too_little_disk_space_is_an_error_with_figures_and_folder(tmp_path: Path) -> None:
    with pytest.raises(
        ResourceError, match=r"need 1073741824\.00 GiB of disk, .* has [\d.]+ GiB free"
    ) as caught:
        check_disk(1 << 60, tmp_path / "not" / "there" / "yet", "the run")
    assert str(tmp_path) in str(caught.value)


def test_what_fits_is_not_refused(tmp_path: Path) -> None:
    check_memory(1, "recording")
    check_disk(1, tmp_path / "new", "recording")


def test_memory_that_the_process_has_already_does_not_count_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sottovoce.calibrate.forecast.available_memory_bytes", lambda: 1 << 30)
    check_memory(3 << 30, "recording", held=2 << 30)
    with pytest.raises(ResourceError, match=r"need 3\.00 GiB of memory, 2\.00 GiB are available"):
        check_memory(3 << 30, "recording", held=1 << 30)


def test_an_impossible_recording_is_refused_before_it_starts(tmp_path: Path) -> None:
    shape = replace(LARGE_V3, weight_bytes=1 << 50)
    with pytest.raises(ResourceError):
        check_resources(forecast(shape, 64), tmp_path)


@pytest.mark.parametrize(("n_bytes", "text"), [(0, "0.00 GiB"), (1 << 30, "1.00 GiB"), (3 << 29, "1.50 GiB")])
def test_bytes_are_formatted_in_gib(n_bytes: int, text: str) -> None:
    assert gib(n_bytes) == text


def test_the_encoder_of_tiny_takes_as_many_multiply_accumulates_as_torch_counts() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import WhisperConfig, WhisperModel

    config = WhisperConfig(
        d_model=384,
        encoder_layers=4,
        encoder_attention_heads=6,
        encoder_ffn_dim=1536,
        decoder_layers=1,
        decoder_attention_heads=6,
        vocab_size=51864,
        attn_implementation="eager",
    )
    encoder = WhisperModel(config).eval().get_encoder()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(torch.zeros(1, 80, 3000))
    assert TINY_EN.encoder_macs == pytest.approx(counter.get_total_flops() / 2, rel=0.01)


def test_a_step_of_tiny_en_reads_its_114_mb_of_weights_and_the_keys_of_the_audio() -> None:
    cross = 2 * 4 * 1500 * 384 * 4
    assert TINY_EN.step_bytes - cross == pytest.approx(114e6, rel=0.02)


@given(SHAPES, st.integers(1, 1000), st.floats(0.1, 30))
def test_more_clips_take_more_time(shape: ModelShape, n_clips: int, clip_s: float) -> None:
    one, more = (forecast_time(shape, work(n, clip_s), MACHINE) for n in (n_clips, n_clips + 1))
    assert more.recording_s > one.recording_s
    assert more.examination_s > one.examination_s
    assert one.total_s == pytest.approx(one.recording_s + one.examination_s)


@given(SHAPES)
def test_a_machine_of_twice_the_speed_takes_less_time(shape: ModelShape) -> None:
    twice = MachineRates(
        macs_per_s={"f32": 2 * MACHINE.macs_per_s["f32"]}, bytes_per_s=2 * MACHINE.bytes_per_s
    )
    assert forecast_time(shape, work(64), twice).total_s < forecast_time(shape, work(64), MACHINE).total_s


def test_large_v3_takes_much_longer_than_tiny() -> None:
    large, tiny = (forecast_time(shape, work(64), MACHINE) for shape in (LARGE_V3, TINY_EN))
    assert large.recording_s > 20 * tiny.recording_s


def test_the_speed_of_a_machine_follows_from_the_best_of_its_tries() -> None:
    ticks = count()
    rates = estimate_rates(clock=lambda: float(next(ticks)))
    assert (rates.macs_per_s["f32"], rates.bytes_per_s) == (1500 * 1024 * 1024, 1 << 27)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "about 10 s"),
        (44, "about 40 s"),
        (119, "about 120 s"),
        (121, "about 2 min"),
        (7200, "about 120 min"),
    ],
)
def test_a_forecast_of_time_is_rounded(seconds: float, text: str) -> None:
    assert minutes(seconds) == text
