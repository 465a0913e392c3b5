"""The language of a recording: of its speech, not of the first words."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.context import LanguageProbabilities, likeliest
from sottovoce.runtime.decoding.gap_recovery import GapRecovery
from sottovoce.runtime.decoding.window_decoder import WindowDecoder
from sottovoce.runtime.loading import load_model
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.pipeline import InferencePipeline
from sottovoce.runtime.transcriber import OpenVinoTranscriber
from sottovoce.runtime.vad.segmenter import AudioWindow
from tests.support.activity import LoudIsSpeech

OPTIONS = TranscribeOptions(temperature=0.0)

ANNOUNCEMENT_S = 5.0


def tone(seconds: float) -> Wave:
    times = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (0.3 * np.sin(2 * np.pi * 440.0 * times)).astype(np.float32)


class ShortIsEnglish(WindowDecoder):
    """Takes a short window for an English announcement, a longer one for German with a given probability."""

    german, dutch = 0.9, 0.09

    def language_probabilities(
        self, window: AudioWindow, clock: PhaseClock
    ) -> tuple[LanguageProbabilities, AudioWindow]:
        codes = super().language_probabilities(window, clock)[0]
        is_short = window.end_s - window.start_s < ANNOUNCEMENT_S
        if is_short:
            return dict.fromkeys(codes, 0.0) | {"en": 0.97, "de": 0.03}, window
        return dict.fromkeys(codes, 0.0) | {"de": self.german, "nl": self.dutch}, window


@pytest.fixture(scope="module")
def transcriber(tiny_run: Path) -> OpenVinoTranscriber:
    model = load_model(tiny_run / "fp32-stateful")
    session = model.session()
    session.window_decoder.__class__ = ShortIsEnglish
    return OpenVinoTranscriber(model, InferencePipeline(replace(session), GapRecovery(LoudIsSpeech())))


def test_an_announcement_in_another_language_does_not_decide(transcriber: OpenVinoTranscriber) -> None:
    wave = np.concatenate([tone(2.0), np.zeros(3 * SAMPLE_RATE_HZ, np.float32), tone(40.0)])
    transcript = transcriber.transcribe(wave, OPTIONS)
    assert transcript.language == "de"
    assert 0.8 < transcript.language_probability < 0.9
    assert transcript.notes == ()


def test_a_doubtful_language_is_noted(
    transcriber: OpenVinoTranscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShortIsEnglish, "german", 0.49)
    monkeypatch.setattr(ShortIsEnglish, "dutch", 0.4)
    transcript = transcriber.transcribe(tone(10.0), OPTIONS)
    assert transcript.language == "de"
    assert transcript.notes == (
        "the language is uncertain: de with a probability of 0.49; give it if that is wrong",
    )
    assert transcriber.transcribe(tone(10.0), replace(OPTIONS, language="de")).notes == ()


PROBABILITIES = st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3).map(
    lambda values: dict(zip(("de", "en", "nl"), [value / sum(values) for value in values], strict=True))
)


@given(st.lists(st.tuples(PROBABILITIES, st.floats(0.1, 30.0)), min_size=1, max_size=4))
def test_the_likeliest_language_is_the_best_on_average(
    found: list[tuple[dict[str, float], float]],
) -> None:
    chosen = likeliest(found)
    means = {
        code: np.average([probabilities[code] for probabilities, _ in found], weights=[s for _, s in found])
        for code in ("de", "en", "nl")
    }
    assert chosen.probability == pytest.approx(max(means.values()))
    assert means[chosen.language] == pytest.approx(max(means.values()))


@given(PROBABILITIES, st.floats(0.1, 30.0))
def test_a_window_alone_decides(probabilities: dict[str, float], length_s: float) -> None:
    chosen = likeliest([(probabilities, length_s)])
    assert chosen.probability == pytest.approx(max(probabilities.values()))
