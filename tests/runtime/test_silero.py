import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import MAX_PEAK, Wave, decode_audio
from sottovoce.runtime.vad.frames import FRAME_SAMPLES, Probabilities, VoiceActivity
from sottovoce.runtime.vad.load import load_voice_activity
from sottovoce.runtime.vad.silero import SileroSource, SileroVoiceActivity, find_silero
from sottovoce.runtime.vad.speech_spans import SpeechSpan, speech_spans
from sottovoce.speech.synthetic import demo_speech

SPEECH = Path(__file__).resolve().parents[2].parent / "shared" / "speech"
NOISE = SPEECH / "noise"
ROUNDING = 1e-5
GRAPHS = {
    "silero_vad": "data/silero_vad_16k_sequence.onnx",
    "faster_whisper": "assets/silero_vad_v6.onnx",
}


@pytest.fixture(scope="module")
def source() -> SileroSource:
    found = find_silero()
    if found is None:
        pytest.skip("neither silero-vad 6.2.2 nor faster-whisper 1.2.1 is installed")
    return found


@pytest.fixture(scope="module")
def detector(source: SileroSource) -> SileroVoiceActivity:
    return SileroVoiceActivity.load(source)


@pytest.fixture(scope="module")
def speech() -> Wave:
    """Read half a minute of the synthetic demo speech."""
    manifest = demo_speech()
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    waves = [decode_audio(manifest.parent / row["audio"]) for row in rows[:8]]
    return np.concatenate(waves)[: 30 * SAMPLE_RATE_HZ]


def silence(duration_s: float) -> Wave:
    return np.zeros(round(duration_s * SAMPLE_RATE_HZ), np.float32)


def noise(duration_s: float, *, rms: float) -> Wave:
    n_samples = round(duration_s * SAMPLE_RATE_HZ)
    return (rms * np.random.default_rng(0).standard_normal(n_samples)).astype(np.float32)


def spans_of(detector: VoiceActivity, wave: Wave) -> tuple[SpeechSpan, ...]:
    probabilities = detector.probabilities(wave, is_last=True)
    return speech_spans(probabilities, duration_s=wave.size / SAMPLE_RATE_HZ)


def length_s(spans: Sequence[SpeechSpan]) -> float:
    return sum(span.end_s - span.start_s for span in spans)


def sound_s(wave: Wave) -> float:
    """Measure a clip without the silence before and after its sound, which is half of some recordings."""
    frame = SAMPLE_RATE_HZ // 10
    rms = np.sqrt(np.square(wave[: wave.size // frame * frame].reshape(-1, frame)).mean(axis=1))
    (loud,) = np.nonzero(rms > rms.max() * 10 ** (-30 / 20))
    return float(loud[-1] - loud[0] + 1) / 10


def clear_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Python search for the packages again, even if another test has imported them."""
    for module in GRAPHS:
        monkeypatch.delitem(sys.modules, module, raising=False)
    importlib.invalidate_caches()


def install(site: Path, module: str, name: str, *, data: bytes = b"no graph") -> Path:
    """Write a package that fails when it is imported, with a file in it."""
    path = site / module / name
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    (site / module / "__init__.py").write_text("raise RuntimeError('imported')\n", encoding="utf-8")
    return path


def reference(path: Path, wave: Wave) -> Probabilities:
    """Run the graph with onnxruntime, as faster-whisper does."""
    vad: Any = pytest.importorskip("faster_whisper.vad", reason="faster-whisper is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    probabilities: Probabilities = vad.SileroVADModel(str(path))(wave.copy()).reshape(-1)
    return probabilities


def test_it_computes_what_faster_whisper_computes(speech: Wave) -> None:
    package: Any = pytest.importorskip("faster_whisper", reason="faster-whisper is not installed")
    path = Path(package.__file__).parent / GRAPHS["faster_whisper"]
    if not path.is_file():
        pytest.skip("this faster-whisper is older than 1.2.1")
    # The reference takes only whole frames.
    wave = np.concatenate([speech, 0.3 * speech + noise(30.0, rms=0.02)[: speech.size], silence(1.0)])
    wave = wave[: wave.size // FRAME_SAMPLES * FRAME_SAMPLES]

    ours = SileroVoiceActivity.load(SileroSource(module="faster_whisper", path=path))

    np.testing.assert_allclose(
        ours.probabilities(wave, is_last=True), reference(path, wave), rtol=0, atol=1e-3
    )


def test_it_computes_what_silero_computes_frame_by_frame(speech: Wave) -> None:
    package: Any = pytest.importorskip("silero_vad", reason="silero-vad is not installed")
    path = Path(package.__file__).parent / GRAPHS["silero_vad"]
    if not path.is_file():
        pytest.skip("this silero-vad is older than 6.2.2")
    torch: Any = pytest.importorskip("torch", reason="torch is not installed")
    stock = package.load_silero_vad(onnx=True).audio_forward(torch.from_numpy(speech[None]), SAMPLE_RATE_HZ)

    ours = SileroVoiceActivity.load(SileroSource(module="silero_vad", path=path))

    np.testing.assert_allclose(
        ours.probabilities(speech, is_last=True), stock.numpy().reshape(-1), rtol=0, atol=1e-3
    )


def test_the_name_has_the_package_and_its_version(detector: SileroVoiceActivity) -> None:
    assert detector.name.startswith(("silero of silero_vad 6.", "silero of faster_whisper 1."))


def test_speech_is_found_where_it_is(detector: SileroVoiceActivity, speech: Wave) -> None:
    wave = np.concatenate([silence(3.0), speech, silence(3.0)])

    spans = spans_of(detector, wave)

    assert spans[0].start_s == pytest.approx(3.0, abs=0.5)
    assert spans[-1].end_s == pytest.approx(3.0 + speech.size / SAMPLE_RATE_HZ, abs=0.7)
    assert length_s(spans) > 0.7 * speech.size / SAMPLE_RATE_HZ


@pytest.mark.parametrize(
    "wave",
    [silence(20.0), silence(20.0) + np.float32(0.2), noise(20.0, rms=0.001), noise(20.0, rms=0.1)],
    ids=["silence", "offset", "soft noise", "loud noise"],
)
def test_silence_and_noise_have_no_speech(detector: SileroVoiceActivity, wave: Wave) -> None:
    assert spans_of(detector, wave) == ()


@settings(max_examples=25)
@given(data=st.data())
def test_chunks_do_not_change_the_probabilities(
    detector: SileroVoiceActivity, speech: Wave, data: st.DataObject
) -> None:
    wave = np.concatenate([speech[: 20 * SAMPLE_RATE_HZ], silence(0.01)])
    cuts = data.draw(st.lists(st.integers(0, wave.size), max_size=30))
    whole = detector.probabilities(wave, is_last=True)

    probabilities = [detector.probabilities(piece) for piece in np.split(wave, sorted(cuts))]
    probabilities.append(detector.probabilities(silence(0.0), is_last=True))

    np.testing.assert_allclose(np.concatenate(probabilities), whole, rtol=0, atol=ROUNDING)


def test_a_stream_does_not_depend_on_the_one_before(detector: SileroVoiceActivity, speech: Wave) -> None:
    first = detector.probabilities(speech, is_last=True)
    detector.probabilities(speech[5_000:100_003])
    detector.reset()

    np.testing.assert_array_equal(detector.probabilities(speech, is_last=True), first)


def test_a_new_stream_does_not_change_the_first(detector: SileroVoiceActivity, speech: Wave) -> None:
    detector.reset()
    whole = detector.new_stream().probabilities(speech, is_last=True)
    before = detector.probabilities(speech[:20_000])
    detector.new_stream().probabilities(speech[::-1].copy(), is_last=True)
    after = detector.probabilities(speech[20_000:], is_last=True)
    np.testing.assert_allclose(np.concatenate([before, after]), whole, atol=1e-5)


def test_probabilities_stay_between_0_and_1_for_the_loudest_audio(
    detector: SileroVoiceActivity, speech: Wave
) -> None:
    probabilities = detector.probabilities(speech / np.abs(speech).max() * np.float32(MAX_PEAK), is_last=True)

    assert probabilities.dtype == np.float32
    assert probabilities.shape == (-(-speech.size // FRAME_SAMPLES),)
    assert np.all((probabilities >= 0.0) & (probabilities <= 1.0))


def test_samples_that_are_not_finite_are_refused_and_the_stream_continues(
    detector: SileroVoiceActivity, speech: Wave
) -> None:
    whole = detector.probabilities(speech, is_last=True)
    broken = speech.copy()
    broken[-1] = np.nan

    before = detector.probabilities(speech[:50_000])
    with pytest.raises(InputError, match="not finite"):
        detector.probabilities(broken)
    after = detector.probabilities(speech[50_000:], is_last=True)

    np.testing.assert_allclose(np.concatenate([before, after]), whole, rtol=0, atol=ROUNDING)


def test_memory_does_not_grow_with_the_stream(detector: SileroVoiceActivity, speech: Wave) -> None:
    random = np.random.default_rng(0)
    process = psutil.Process()

    def memory_after(n_chunks: int) -> int:
        for size in random.integers(1, speech.size, n_chunks):
            detector.probabilities(speech[:size])
        return int(process.memory_info().rss)

    memory_after(20)
    sizes = [memory_after(20) for _ in range(4)]
    detector.reset()

    # A leak grows each time; other threads of the process add to single ones.
    assert min(late - early for early, late in pairwise(sizes)) < 5e6


def test_a_graph_is_found_without_importing_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (install(tmp_path, module, name) for module, name in GRAPHS.items())
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    clear_imports(monkeypatch)

    found = find_silero()
    assert found == SileroSource(module="silero_vad", path=first)
    assert found.name == "silero of silero_vad"

    first.unlink()
    assert find_silero() == SileroSource(module="faster_whisper", path=second)


def test_without_a_package_the_energy_detector_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "silero_vad", "data/silero_vad.onnx")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    clear_imports(monkeypatch)

    assert find_silero() is None
    assert load_voice_activity().name == "energy"


def test_a_file_that_is_not_a_graph_is_refused(tmp_path: Path) -> None:
    path = install(tmp_path, "silero_vad", GRAPHS["silero_vad"])

    with pytest.raises(
        InputError, match=r"silero_vad_16k_sequence\.onnx is not a supported graph .*reinstall silero_vad"
    ):
        SileroVoiceActivity.load(SileroSource(module="silero_vad", path=path))


def test_a_graph_of_another_network_is_refused(tmp_path: Path) -> None:
    import openvino
    from openvino import opset13

    taken = opset13.parameter([1, 576], np.float32, name="input")
    path = tmp_path / "other.xml"
    openvino.save_model(openvino.Model([opset13.relu(taken)], [taken]), path)

    with pytest.raises(InputError, match="is not a supported graph of Silero's network"):
        SileroVoiceActivity.load(SileroSource(module="silero_vad", path=path))


@pytest.mark.usefixtures("source")
def test_it_loads_without_torch_and_without_the_package() -> None:
    code = (
        "import sys\n"
        "from sottovoce.runtime.vad.load import load_voice_activity\n"
        "print(load_voice_activity().name)\n"
        "heavy = ('torch', 'onnxruntime', 'ctranslate2', 'faster_whisper', 'silero_vad')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    name, loaded = done.stdout.splitlines()
    assert name.startswith("silero")
    assert loaded == "[]"


def test_recordings_of_noise_have_almost_no_speech(detector: SileroVoiceActivity) -> None:
    if not NOISE.is_dir():
        pytest.skip("recordings of noise are not on this machine: ../shared/speech/noise is missing")
    waves = [decode_audio(path) for path in sorted(NOISE.glob("*.wav"))]

    found = [spans_of(detector, wave) for wave in waves]

    assert max(len(spans) for spans in found) <= 1
    assert sum(map(length_s, found)) < 0.02 * sum(wave.size for wave in waves) / SAMPLE_RATE_HZ


def test_real_speech_is_found(detector: SileroVoiceActivity) -> None:
    manifest = SPEECH / "manifest.jsonl"
    if not manifest.is_file():
        pytest.skip("real speech is not on this machine: ../shared/speech/manifest.jsonl is missing")
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    clips = [row for row in rows if row["split"] == "calib"][::3]

    waves = {clip["id"]: decode_audio(SPEECH / clip["audio"]) for clip in clips}
    speech_s = {clip_id: length_s(spans_of(detector, wave)) for clip_id, wave in waves.items()}
    shares = [speech_s[clip_id] / (wave.size / SAMPLE_RATE_HZ) for clip_id, wave in waves.items()]
    shares_of_sound = {clip_id: speech_s[clip_id] / sound_s(wave) for clip_id, wave in waves.items()}

    assert min(shares_of_sound.values()) > 0.7, min(shares_of_sound, key=lambda clip: shares_of_sound[clip])
    assert float(np.median(shares)) > 0.9
