"""Entries: their names and order, and the variants that no engine can load."""

import json
import shutil
from pathlib import Path

import pytest

from sottovoce.benchmark.engines.whisper_cpp import WhisperCppEngine
from sottovoce.benchmark.entries import choose_entries, engine_names, find_absent
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.errors import InputError, SpecError
from sottovoce.runs import Run, read_run
from sottovoce.runtime.model.elastic import PADDING_STATES_NAME


@pytest.fixture(scope="module")
def run(tiny_run: Path) -> Run:
    return read_run(tiny_run)


@pytest.fixture
def elastic_run(tiny_run: Path, tmp_path: Path) -> Run:
    folder = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    (folder / "int8" / PADDING_STATES_NAME).write_bytes(b"states of silence")
    return read_run(folder)


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    folder = tmp_path / "ctranslate2"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"12345")
    return folder


def names(
    run: Run,
    *engines: str,
    variants: tuple[str, ...] = (),
    long: bool = False,
    converted: Path | None = None,
) -> list[str]:
    spec = BenchmarkSpec(variants=variants, engines=engines, threads=1, long=long)
    entries = choose_entries(run, spec, lambda _engine, _kind: converted or Path("not converted"))
    return [entry.spec.name for entry in entries]


def test_without_engines_our_own_runs_the_baseline_and_the_quantized_variant(run: Run) -> None:
    assert names(run) == ["fp32", "int8"]
    entries = choose_entries(run, BenchmarkSpec(threads=3), lambda *_: Path())
    assert {entry.spec.engine for entry in entries} == {"sottovoce"}
    assert {entry.spec.compute.threads for entry in entries} == {3}


def test_variants_are_measured_once_with_the_baseline_first(run: Run) -> None:
    assert names(run, variants=("int8", "fp32", "fp16", "int8")) == ["fp32", "int8", "fp16"]


def test_each_engine_gets_variants_that_it_can_load_and_a_name_of_its_own(run: Run, converted: Path) -> None:
    found = names(run, "openvino-genai", "sottovoce", "optimum-intel", "faster-whisper", converted=converted)
    assert found == [
        "fp32",
        "openvino-genai:fp32-stateful",
        "int8",
        "optimum-intel:int8",
        "faster-whisper:int8",
    ]


def test_an_engine_can_be_given_its_variant(run: Run) -> None:
    found = names(run, "optimum-intel:fp32", "sottovoce:fp16", "optimum-intel")
    assert found == ["fp32", "optimum-intel:fp32", "fp16", "optimum-intel:int8"]


def test_a_converted_checkpoint_is_as_large_as_its_weights(run: Run, converted: Path) -> None:
    spec = BenchmarkSpec(engines=("faster-whisper",), threads=1)
    entry = choose_entries(run, spec, lambda *_: converted)[-1]
    assert entry.component_size_bytes == {"model": 5}
    assert entry.spec.folder == converted


def test_torch_runs_the_checkpoint_of_the_run(run: Run, tiny: Path) -> None:
    spec = BenchmarkSpec(engines=("torch", "torch-dynamic"), threads=2, checkpoint=str(tiny))
    _, plain, dynamic = choose_entries(run, spec, lambda *_: None)
    assert (plain.spec.name, dynamic.spec.name) == ("torch:fp32", "torch-dynamic:dynamic-int8")
    assert plain.spec.folder == dynamic.spec.folder == tiny
    assert plain.spec.compute.threads == 2
    assert plain.component_size_bytes == {"model": (tiny / "model.safetensors").stat().st_size}


def test_an_elastic_variant_runs_in_our_engine_only(elastic_run: Run) -> None:
    assert names(elastic_run, "sottovoce") == ["fp32", "int8"]
    assert names(elastic_run, "optimum-intel") == ["fp32", "optimum-intel:fp32"]
    with pytest.raises(SpecError, match=r"int8 is elastic.*only the engine sottovoce"):
        names(elastic_run, "optimum-intel:int8")


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("openvino-genai:int8", "int8 is stateless, openvino-genai runs the stateful layout only"),
        ("faster-whisper:fp32", r"faster-whisper is measured with int8, or .* \(it has none\)"),
        ("torch:int8", "torch is measured with fp32 only"),
        ("torch-dynamic:fp32", "torch-dynamic is measured with dynamic-int8 only"),
        ("faster-wisper", "unknown engine faster-wisper; did you mean faster-whisper"),
    ],
)
def test_a_variant_that_an_engine_cannot_load_is_refused(run: Run, engine: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        names(run, engine)


def test_an_unknown_variant_is_refused_with_the_nearest_name(run: Run) -> None:
    with pytest.raises(InputError, match="has no variant int9; did you mean int8"):
        names(run, "optimum-intel:int9")


def test_openvino_genai_gets_quantized_stateful_variants_too(tiny_run: Path, tmp_path: Path) -> None:
    """Compared with float32 alone, our INT8 variants would win too easily."""
    folder = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    manifest = folder / "int8" / "manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    content["facts"]["layout"] = "stateful"
    manifest.write_text(json.dumps(content), encoding="utf-8")
    assert names(read_run(folder), "openvino-genai")[1:] == [
        "openvino-genai:fp32-stateful",
        "openvino-genai:int8",
    ]


def test_openvino_genai_needs_a_stateful_variant(tiny_run: Path, tmp_path: Path) -> None:
    ignore = shutil.ignore_patterns("fp32-stateful")
    run = read_run(Path(shutil.copytree(tiny_run, tmp_path / "run", ignore=ignore)))
    with pytest.raises(SpecError, match="needs a stateful OpenVINO variant"):
        names(run, "openvino-genai")


def test_long_recordings_are_compared_with_the_stateful_baseline(run: Run, converted: Path) -> None:
    found = names(run, "sottovoce", "faster-whisper", long=True, converted=converted)
    assert found == ["fp32-stateful", "int8", "faster-whisper:int8"]


def test_long_recordings_are_not_for_optimum_intel(run: Run) -> None:
    with pytest.raises(SpecError, match="choose from sottovoce, openvino-genai, faster-whisper"):
        names(run, "optimum-intel", long=True)


def test_variants_that_no_engine_would_measure_are_refused(run: Run) -> None:
    with pytest.raises(SpecError, match="--variants are measured in the engine sottovoce"):
        names(run, "optimum-intel", variants=("fp16",))


def test_engines_are_named_once_with_our_own_first() -> None:
    assert engine_names(("faster-whisper", "optimum-intel:fp32", "optimum-intel")) == (
        "sottovoce",
        "faster-whisper",
        "optimum-intel",
    )


def test_an_unknown_engine_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(SpecError, match="unknown engine whisper"):
        find_absent(["whisper"])


def test_an_engine_that_is_not_installed_is_reported_with_the_extra_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(WhisperCppEngine, "modules", ("no_such_module",))
    (absent,) = find_absent(["sottovoce", "whisper.cpp"])
    assert absent.engine == "whisper.cpp"
    assert absent.reason == 'no_such_module is not installed; run: pip install "sottovoce[peers]"'


def test_whisper_cpp_takes_its_own_types_only(run: Run, converted: Path) -> None:
    assert names(run, "whisper.cpp", "whisper.cpp:f16", converted=converted)[1:] == [
        "whisper.cpp:q8_0",
        "whisper.cpp:f16",
    ]
    with pytest.raises(SpecError, match=r"whisper\.cpp is measured with f16 or q8_0"):
        names(run, "whisper.cpp:int8", converted=converted)
