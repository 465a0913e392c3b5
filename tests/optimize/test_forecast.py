"""What a whole run is forecast to need."""

import pytest

from sottovoce.calibrate.forecast import ModelShape, TimeForecast, Work, forecast_recording
from sottovoce.optimize.forecast import forecast_run
from sottovoce.recipes.load import load_recipe
from tests.support import shapes


@pytest.mark.parametrize(
    ("shape", "measured_mib"),
    [
        pytest.param(shapes.TINY_EN, 1889, id="tiny.en"),
        pytest.param(shapes.BASE, 2396, id="base"),
        pytest.param(shapes.TURBO, 12268, id="shape of large-v3-turbo"),
        pytest.param(shapes.LARGE_V3, 17848, id="shape of large-v3"),
    ],
)
def test_the_forecast_of_memory_is_what_was_measured(shape: ModelShape, measured_mib: int) -> None:
    """The most of all steps of `optimize --recipe int8-fast`, with pages of files."""
    work = Work(n_clips=12, n_sequences=12, n_transcribed=8, transcribed_s=60.0)
    recording = forecast_recording(shape, work, TimeForecast(recording_s=60.0, examination_s=60.0))
    found = forecast_run(load_recipe("int8-fast"), shape, recording)
    assert found.memory_bytes == pytest.approx(measured_mib << 20, rel=0.15)
