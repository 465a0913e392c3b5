"""Live transcription is measured from clips to the report, without a model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sottovoce.benchmark.engines.engine import Entry
from sottovoce.benchmark.live.clock import Trace
from sottovoce.benchmark.live.measure import choose_systems, measure_live
from sottovoce.benchmark.live.recordings import PAUSE_S, TAIL_S, make_recordings, sounds_without_speech
from sottovoce.benchmark.live.summary import memory_slope, summarize_live
from sottovoce.benchmark.schema.failures import FailedIn
from sottovoce.benchmark.schema.live import LiveReport
from sottovoce.benchmark.spec import BenchmarkSpec, check_spec
from sottovoce.benchmark.timing.excluded import FailedPeers
from sottovoce.errors import InputError, SpecError
from sottovoce.progress import Silent
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.speech.clips import Clip
from sottovoce.speech.loading import LoadedClip, LoadedClips
from tests.support.live_systems import (
    DELAY_S,
    WORDS,
    make_counting,
    make_counting_systems,
    make_systems,
)
from tests.support.plans import engine_spec, tone_plan
from tests.support.tones import tone


def clip(name: str, length_s: float, language: str | None = "en") -> LoadedClip:
    text = " ".join(WORDS[number % 10] for number in range(int(length_s)))
    return LoadedClip(clip=Clip(clip_id=name, audio=b"", text=text, language=language), wave=tone(length_s))


def test_short_clips_are_joined_with_pauses_and_long_ones_stay_alone() -> None:
    clips = [clip("a", 25.0), clip("b", 40.0), clip("c", 25.0), clip("d", 25.0), clip("e", 5.0)]
    found = make_recordings(clips)
    assert [recording.name for recording in found] == ["b", "a and 2 more", "e"]
    joined = found[1]
    assert joined.clip_ends_s == pytest.approx((25.0, 50.0 + PAUSE_S, 75.0 + 2 * PAUSE_S))
    assert joined.audio_s == pytest.approx(75.0 + 2 * PAUSE_S + TAIL_S)
    assert len(joined.reference.split()) == 75
    pause = joined.wave[round(25.0 * SAMPLE_RATE_HZ) : round((25.0 + PAUSE_S) * SAMPLE_RATE_HZ)]
    assert not pause.any()


def test_clips_of_different_languages_are_not_joined() -> None:
    found = make_recordings([clip("a", 2.0, "en"), clip("b", 2.0, "de"), clip("c", 2.0, None)], "en")
    assert [(recording.name, recording.language) for recording in found] == [
        ("a", "en"),
        ("b", "de"),
        ("c", "en"),
    ]


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no recordings"):
        sounds_without_speech(tmp_path)
    ((name, wave),) = sounds_without_speech(None)
    assert (name, len(wave), bool(wave.any())) == ("silence", 600 * SAMPLE_RATE_HZ, False)


@pytest.mark.parametrize("spec", [BenchmarkSpec(live_noise="noise"), BenchmarkSpec(live_real_time=True)])
def test_options_of_live_without_it_are_refused(spec: BenchmarkSpec) -> None:
    with pytest.raises(SpecError, match="give both"):
        check_spec(spec)


def entry(variant: str, engine: str = "sottovoce") -> Entry:
    return Entry(spec=engine_spec(variant, engine), component_size_bytes={}, int8_nodes={})


def test_each_variant_but_the_baseline_is_measured_under_each_method() -> None:
    entries = [entry("fp32"), entry("int8"), entry("int8", "faster-whisper"), entry("q8_0", "whisper.cpp")]
    entries.append(replace(entries[1], spec=replace(entries[1].spec, is_aa_check=True)))
    assert [system.name for system in choose_systems(entries)] == [
        "int8, alignment",
        "int8, agreement",
        "int8, window",
        "faster-whisper:int8, LocalAgreement-2",
    ]
    assert choose_systems(entries[:1])[0].name == "fp32, alignment"


@pytest.fixture(scope="module")
def measured() -> tuple[LiveReport, FailedPeers]:
    plan = tone_plan([engine_spec("fp32"), engine_spec("int8", "faster-whisper")])
    plan = replace(plan, clips=LoadedClips(loaded=(clip("long", 31.0), clip("short", 3.0)), rejected=()))
    failed = FailedPeers(Silent())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sottovoce.benchmark.live.recordings.WITHOUT_SPEECH_S", 1.0)
        found = measure_live(plan, Silent(), failed, make=make_counting, make_system=make_systems)
    return summarize_live(found, seed=0), failed


def test_the_delays_of_a_system_are_those_of_its_words(measured: tuple[LiveReport, FailedPeers]) -> None:
    report, _ = measured
    assert (report.n_recordings, report.n_words, report.n_timed) == (2, 34, 34)
    assert report.audio_s == pytest.approx(34.0 + 2 * TAIL_S)
    assert [system.name for system in report.systems] == [
        f"fp32, {name}" for name in ("alignment", "agreement", "window")
    ]
    found = report.systems[0].not_counted
    assert found.committed is not None
    assert found.shown is not None
    assert found.committed.n == 34
    assert found.committed.p50 == pytest.approx(DELAY_S, abs=0.1)
    # A word is known when its second is over, 0.4 s after it ends.
    assert found.shown.p50 == pytest.approx(0.4, abs=0.1)
    assert found.max_backlog_s == 0.0
    assert (found.erasure, found.n_retracted, found.wer) == (0.0, 0, 0.0)
    assert report.systems[0].counted.max_backlog_s > 0.0


def test_the_text_is_compared_with_that_of_the_same_model_offline(
    measured: tuple[LiveReport, FailedPeers],
) -> None:
    system = measured[0].systems[0]
    assert system.offline_words.deletions == 2
    assert system.offline_wer == pytest.approx(2 / 34)
    delta = system.not_counted.wer_delta
    assert delta is not None
    assert delta.value == pytest.approx(-2 / 34)
    assert delta.low <= delta.value <= delta.high


def test_a_peer_that_decodes_all_of_a_silence_again_is_fed_less_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sottovoce.benchmark.live.recordings.WITHOUT_SPEECH_S", 1.0)
    monkeypatch.setattr("sottovoce.benchmark.live.measure.LOCAL_AGREEMENT_SOUND_S", 0.4)
    plan = tone_plan([engine_spec("fp32"), engine_spec("int8", "faster-whisper")])
    plan = replace(plan, clips=LoadedClips(loaded=(clip("short", 3.0),), rejected=()))
    failed = FailedPeers(Silent())
    found = measure_live(plan, Silent(), failed, make=make_counting, make_system=make_counting_systems)
    assert [each.sounds["silence"].audio_s for each in found.systems] == [1.0, 1.0, 1.0, 0.4]


def fed(sizes_mb: Sequence[float]) -> Trace:
    """Two hundred seconds with two readings of memory in each."""
    rss = tuple((100.0 * number, round(1e6 * size)) for number, size in enumerate(sizes_mb))
    return Trace(displays=(), audio_s=200.0, cpu_s=1.0, max_backlog_s=0.0, rss=rss)


def test_memory_grows_by_what_comes_after_a_process_has_met_most_lengths() -> None:
    slope = memory_slope([fed((100, 300)), fed((400, 500)), fed((501, 502)), fed((503, 504))])
    assert slope == pytest.approx(36e6)
    assert memory_slope([fed((100, 300)), fed((400, 500))]) is None


def test_a_peer_that_fails_is_left_out_and_named(measured: tuple[LiveReport, FailedPeers]) -> None:
    (failure,) = measured[1].found
    assert (failure.entry, failure.failed_in) == ("faster-whisper:int8", FailedIn.LIVE)
    assert "no stream" in failure.reason


def test_the_report_has_a_time_line_and_sounds_without_speech(
    measured: tuple[LiveReport, FailedPeers],
) -> None:
    report, _ = measured
    (silence,) = report.systems[0].without_speech
    assert (silence.sound, silence.n_words) == ("silence", 0)
    assert report.timeline is not None
    assert (report.timeline.recording, len(report.timeline.words)) == ("long", 31)
    assert np.diff([word.committed_s for word in report.timeline.words]).min() >= 0
    assert all(word.end_s < word.shown_s <= word.committed_s for word in report.timeline.words)
    assert LiveReport.model_validate_json(report.model_dump_json()) == report
