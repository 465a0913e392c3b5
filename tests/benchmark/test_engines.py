"""The real engines on the tiny checkpoint: their figures, and the libraries that they load."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sottovoce.benchmark.conversion import convert_checkpoint
from sottovoce.benchmark.engines.engine import Engine, EngineSpec
from sottovoce.benchmark.engines.faster_whisper import FasterWhisperEngine
from sottovoce.benchmark.engines.registry import ENGINES, make_engine
from sottovoce.benchmark.engines.whisper_cpp import WhisperCppEngine
from sottovoce.errors import SpecError
from sottovoce.optimize.checkpoint.resolve import find_checkpoint, resolve_checkpoint
from sottovoce.runs import read_run
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.terms import Stage
from tests.support.tones import tone

FOLDERS = {"sottovoce": "fp32", "optimum-intel": "fp32", "openvino-genai": "fp32-stateful"}
LABELS = {
    "faster-whisper": "int8_float32",
    "faster-whisper-batched": "int8_float32",
    "torch-dynamic": "int8+f32",
}
WITH_BATCHES = {"sottovoce", "faster-whisper-batched"}
ON_TORCH = {"optimum-intel", "torch", "torch-dynamic"}
HEAVY = {"torch", "transformers", "optimum", "nncf"}


@pytest.fixture(scope="module")
def converted(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("ctranslate2", reason="the extra `peers` is not installed")
    return convert(tiny, tmp_path_factory.mktemp("cache"))


def convert(checkpoint: Path, cache: Path) -> Path:
    return convert_checkpoint(resolve_checkpoint(str(checkpoint)), FasterWhisperEngine, "int8", cache=cache)


# whisper.cpp ends the process on a vocabulary this small
@pytest.fixture(
    params=[engine for engine in ENGINES if engine is not WhisperCppEngine], ids=lambda each: each.name
)
def engine_spec(request: pytest.FixtureRequest, tiny_run: Path) -> EngineSpec:
    kind: type[Engine] = request.param
    name = kind.name
    if kind.extra == "peers":
        for module in kind.modules:
            pytest.importorskip(module, reason="the extra `peers` is not installed")
    if name in ON_TORCH - FOLDERS.keys():
        folder = request.getfixturevalue("tiny")
    else:
        folder = tiny_run / FOLDERS[name] if name in FOLDERS else request.getfixturevalue("converted")
    return EngineSpec(engine=name, variant=folder.name, folder=folder, compute=ComputeSpec(threads=1))


@pytest.fixture
def engine(engine_spec: EngineSpec) -> Engine:
    return make_engine(engine_spec)()


def test_an_engine_accounts_for_the_whole_time_of_a_clip(engine: Engine) -> None:
    timed = engine.transcribe(tone(2.0), "en")
    assert sum(timed.stage_s.values()) == pytest.approx(timed.latency_s)
    assert timed.stage_s[Stage.ENCODER] > 0
    assert timed.calls[Stage.ENCODER] == 1


def test_an_engine_repeats_itself_word_for_word(engine: Engine) -> None:
    once, again = engine.transcribe(tone(2.0), "en"), engine.transcribe(tone(2.0), "en")
    assert once.text == again.text
    assert once.n_tokens == again.n_tokens


def test_an_engine_opened_for_a_cold_start_gives_the_same_text(
    engine: Engine, engine_spec: EngineSpec
) -> None:
    transcribe = type(engine).open_cold(engine_spec)
    for wave in map(tone, (2.0, 35.0) if engine.takes_long else (2.0,)):
        assert transcribe(wave, "en") == engine.transcribe(wave, "en").text


def test_a_language_that_the_model_does_not_know_is_detected(engine: Engine) -> None:
    assert engine.transcribe(tone(1.0), "tlh").latency_s > 0


def test_an_engine_reports_its_threads_and_precision(engine: Engine, engine_spec: EngineSpec) -> None:
    precision = engine.precision()
    assert precision.threads == 1
    assert precision.label == LABELS.get(engine_spec.engine, "f32")


def test_engines_for_long_recordings_take_them(engine: Engine) -> None:
    if not engine.takes_long:
        pytest.skip(f"{engine.name} takes no long recordings")
    timed = engine.transcribe(tone(35.0), "en")
    assert sum(timed.stage_s.values()) == pytest.approx(timed.latency_s)


def test_engines_with_batches_take_clips_of_several_languages(engine: Engine) -> None:
    assert hasattr(engine, "transcribe_batch") is (engine.name in WITH_BATCHES)
    if hasattr(engine, "transcribe_batch"):
        clips = [tone(1.0), tone(2.0), tone(1.5)]
        assert 0 < engine.transcribe_batch(clips, ["en", "tlh", "en"], 2) < 60


def test_only_engines_on_torch_load_it(engine_spec: EngineSpec) -> None:
    if engine_spec.engine in ON_TORCH:
        pytest.skip(f"{engine_spec.engine} runs on torch and transformers")
    code = f"""
import json, pathlib, sys
import sottovoce.benchmark.timing.worker
from sottovoce.benchmark.engines.engine import EngineSpec
from sottovoce.benchmark.engines.registry import make_engine
from sottovoce.runtime.model.compute import ComputeSpec
from tests.support.tones import tone
folder = pathlib.Path({str(engine_spec.folder)!r})
spec = EngineSpec(engine={engine_spec.engine!r}, variant="x", folder=folder, compute=ComputeSpec(threads=1))
engine = make_engine(spec)()
engine.transcribe(tone(1.0), "en")
engine.precision()
print(json.dumps(sorted({{name.split(".")[0] for name in sys.modules}})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert loaded.isdisjoint(HEAVY)


def test_a_checkpoint_is_converted_once(tiny: Path, converted: Path) -> None:
    changed = (converted / "model.bin").stat().st_mtime_ns
    again = convert(tiny, converted.parent)
    assert again == converted
    assert (again / "model.bin").stat().st_mtime_ns == changed
    assert [path.name for path in converted.parent.iterdir() if path.name.startswith(".")] == []


def test_the_checkpoint_of_a_run_is_found_by_name(tiny_run: Path, tiny: Path) -> None:
    assert find_checkpoint(read_run(tiny_run), str(tiny)).folder == tiny


def test_another_checkpoint_than_the_run_s_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    from tests.support.checkpoints import tiny_checkpoint

    other = tiny_checkpoint(tmp_path / "other", seed=1)
    with pytest.raises(SpecError, match="is not the checkpoint of"):
        find_checkpoint(read_run(tiny_run), str(other))


def test_a_checkpoint_that_is_not_found_has_to_be_named(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="name it with --checkpoint"):
        find_checkpoint(read_run(tiny_run), None, cache=tmp_path)
