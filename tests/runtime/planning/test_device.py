"""The rates of a device, measured and read back."""

from pathlib import Path

import pytest

from sottovoce.errors import InputError
from sottovoce.runtime.planning.device import INT8, MeasureSpec, measure_device, read_device
from tests.support.devices import LAPTOP, plan_file

QUICK = MeasureSpec(
    rows=16, widths=(64, 128), depth=2, step_bytes=(20_000, 60_000), seconds=0.01, disk_bytes=1 << 20
)


def test_every_rate_of_this_machine_is_measured() -> None:
    device = measure_device(1, QUICK)
    assert {INT8, "f32"} <= set(device.macs_per_s)
    assert min(device.macs_per_s.values()) > 1e6
    assert [rate.weight_bytes for rate in device.steps] == [16_384, 57_344]
    assert 0 < device.operation_s < 1e-3
    assert 0 < device.frame_s < 1e-2
    assert device.threads == 1


def test_a_plan_that_was_printed_elsewhere_gives_its_device_back(tmp_path: Path) -> None:
    assert read_device(plan_file(tmp_path / "device.json")) == LAPTOP


@pytest.mark.parametrize("text", ["", "[]", '{"device": {"threads": 1}}', '{"predictions": []}'])
def test_another_file_is_refused_in_one_line_that_says_how_to_make_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "device.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"device\.json.*sottovoce plan --json") as raised:
        read_device(path)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


def test_weights_between_two_sizes_are_read_at_a_rate_between() -> None:
    slow, fast = LAPTOP.read_bytes_per_s(140e6), LAPTOP.read_bytes_per_s(28e6)
    assert slow < LAPTOP.read_bytes_per_s(90e6) < fast
    assert LAPTOP.read_bytes_per_s(1e9) == slow
