"""Runs with variants in ONNX and CTranslate2's format."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sottovoce.benchmark.entries import choose_entries
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.calibrate.store import CalibrationStore
from sottovoce.cli.inspection import inspect_run
from sottovoce.cli.tables import run_table
from sottovoce.errors import MissingExtraError, ParityError, SpecError
from sottovoce.optimize.checkpoint.ctranslate2_reader import list_variables
from sottovoce.optimize.checkpoint.identity import read_identity
from sottovoce.optimize.ctranslate2 import export as ctranslate2_export
from sottovoce.optimize.ctranslate2.export import BYTES_PER_WEIGHT, check_ctranslate2, export_ctranslate2
from sottovoce.optimize.onnx.merge import MERGED_NAME
from sottovoce.optimize.pipeline import optimize, quantize_again
from sottovoce.optimize.plan import describe, plan
from sottovoce.progress import Silent
from sottovoce.recipes.load import load_recipe, override_recipe
from sottovoce.runs import Run, VariantFacts, read_run
from sottovoce.runtime import TranscribeOptions, load
from sottovoce.runtime.model.elastic import PADDING_STATES_NAME
from sottovoce.runtime.model.layout import CTRANSLATE2_FILE
from sottovoce.speech.sets import read_speech
from sottovoce.terms import Component, Ctranslate2Type, Format, Layout, Scheme
from tests.support.checkpoints import tiny_checkpoint
from tests.support.tones import tone

EXPORTS = (
    "exports=[{name: onnx-fp32, format: onnx, merged: true}, {name: onnx-fp16, format: onnx, weights: fp16}]"
)
N_WEIGHTS = 318_464
"""Weights in the matrices of the tiny checkpoint, without tables of positions."""

GREEDY = TranscribeOptions(language="en", temperature=0.0, vad_filter=False)


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an English-only checkpoint, since CTranslate2 takes any other vocabulary than Whisper's for English-only."""
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny.en", multilingual=False)


@pytest.fixture(scope="module")
def onnx_run(english: Path, tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run of `sottovoce optimize --recipe onnx-int8` with two ONNX exports. Must not be changed."""
    out = tmp_path_factory.mktemp("formats") / "run"
    recipe = load_recipe("onnx-int8", [EXPORTS])
    planned = plan(str(english), recipe, read_speech(str(tones)), out, force=False)
    return optimize(planned, force=False, reporter=Silent())


@pytest.fixture(scope="module")
def both_run(onnx_run: Run, english: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a copy of it with an INT8 and a bfloat16 variant of CTranslate2. Must not be changed."""
    pytest.importorskip("faster_whisper", reason="the extra `ct2` is not installed")
    folder = Path(shutil.copytree(onnx_run.folder, tmp_path_factory.mktemp("both") / "run"))
    run = read_run(folder)
    for kind in (Ctranslate2Type.BFLOAT16, Ctranslate2Type.INT8):
        recipe = load_recipe("ct2-int8", [f"quantize.ctranslate2_type={kind}", f"quantize.name=ct2-{kind}"])
        run = quantize_again(run, recipe, Silent(), checkpoint=str(english), as_own=True)
    return run


def test_the_plan_shows_formats(english: Path, tones: Path, tmp_path: Path) -> None:
    recipe = load_recipe("onnx-int8", [EXPORTS])
    planned = plan(str(english), recipe, read_speech(str(tones)), tmp_path / "run", force=False)
    lines = describe(planned)
    assert "onnx-fp32 (onnx, stateless, fp32, decoders merged too)" in lines[2]
    assert "quantize: onnx-int8 (onnx): encoder w8a8, decoder w8, decoder_with_past w8" in lines
    pytest.importorskip("faster_whisper", reason="the extra `ct2` is not installed")
    other = plan(str(english), load_recipe("ct2-int8"), planned.speech, tmp_path / "run", force=False)
    assert "quantize: ct2-int8 (ctranslate2): all components int8" in describe(other)
    assert other.forecast.disk_bytes < planned.forecast.disk_bytes


def test_onnx_exports_are_checked_and_recorded(onnx_run: Run) -> None:
    assert [v.name for v in onnx_run.variants] == ["fp32", "onnx-fp32", "onnx-fp16", "onnx-int8"]
    for name in ("onnx-fp32", "onnx-fp16"):
        facts = onnx_run.variant(name).facts
        assert (facts.format, facts.layout) == (Format.ONNX, Layout.STATELESS)
        assert facts.parity is not None
        assert facts.parity.identical_tokens
    sizes = [
        sum(part.size_bytes for part in onnx_run.variant(name).facts.components.values())
        for name in ("onnx-fp32", "onnx-fp16")
    ]
    assert sizes[1] < 0.55 * sizes[0]
    assert (onnx_run.folder / "onnx-fp32" / MERGED_NAME).is_file()
    assert not (onnx_run.folder / "onnx-int8" / MERGED_NAME).exists()


def test_the_onnx_int8_variant_is_quantized_and_transcribes(onnx_run: Run) -> None:
    variant = onnx_run.variant("onnx-int8")
    parts = variant.facts.components
    assert {part: (facts.scheme, facts.int8_weights) for part, facts in parts.items()} == {
        Component.ENCODER: (Scheme.W8A8, 12),
        Component.DECODER: (Scheme.W8, 21),
        Component.DECODER_WITH_PAST: (Scheme.W8, 17),
    }
    assert all(facts.fidelity is not None for facts in parts.values())
    assert (variant.folder / PADDING_STATES_NAME).is_file()
    assert load(onnx_run.folder).transcribe(tone(3.0), GREEDY).text != ""


def test_an_onnx_variant_is_quantized_again_with_other_settings(onnx_run: Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(onnx_run.folder, tmp_path / "run"))
    changed = ["quantize.components.encoder.scheme=w8", "quantize.name=onnx-w8"]
    run = quantize_again(read_run(folder), override_recipe(onnx_run.recipe, changed), Silent())
    facts = run.variant("onnx-w8").facts
    assert facts.format is Format.ONNX
    assert facts.components[Component.ENCODER].scheme is Scheme.W8
    assert not any(summary.is_stale for summary in inspect_run(run).variants)


def test_a_run_without_an_onnx_export_cannot_be_quantized_as_onnx(tiny_run: Path) -> None:
    with pytest.raises(SpecError, match="exports has no ONNX variant with fp32 weights"):
        quantize_again(read_run(tiny_run), load_recipe("onnx-int8"), Silent())


def test_ctranslate2_variants_are_made_from_the_checkpoint(both_run: Run) -> None:
    origin = both_run.manifest.parents[0]
    facts = {kind: both_run.variant(f"ct2-{kind}").facts for kind in ("int8", "bfloat16")}
    for kind, found in facts.items():
        variant = both_run.variant(f"ct2-{kind}")
        assert variant.manifest.parents == (origin,)
        assert found.ctranslate2_type == kind
        assert (found.format, found.weights, found.is_multilingual) == (Format.CTRANSLATE2, None, False)
        assert sum(part.size_bytes for part in found.components.values()) == (
            (variant.folder / CTRANSLATE2_FILE).stat().st_size
        )
        fidelity = found.components[Component.ENCODER].fidelity
        assert fidelity is not None
        assert 0 < fidelity.relative_error < 0.1
    assert {part.scheme for part in facts["int8"].components.values()} == {Scheme.W8}
    assert [part.int8_weights for part in facts["int8"].components.values()] == [10, 15]
    assert [part.int8_weights for part in facts["bfloat16"].components.values()] == [0, 0]


def test_inspect_shows_the_format_of_each_variant(both_run: Run) -> None:
    from rich.console import Console

    console = Console(width=160)
    with console.capture() as captured:
        console.print(run_table(inspect_run(both_run)))
    for label in ("stateless, fp32", "ONNX, stateless, fp16", "CTranslate2, bfloat16", "CTranslate2, int8"):
        assert label in captured.get()


def test_manifests_without_a_format_are_openvino() -> None:
    facts = VariantFacts.model_validate(
        {
            "layout": "stateful",
            "weights": "fp32",
            "inference_precision": "f32",
            "is_multilingual": True,
            "components": {},
        },
        strict=False,
    )
    assert (facts.format, facts.ctranslate2_type) == (Format.OPENVINO, None)


def test_a_checkpoint_that_is_not_found_must_be_named(onnx_run: Run, tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper", reason="the extra `ct2` is not installed")
    folder = Path(shutil.copytree(onnx_run.folder, tmp_path / "run"))
    with pytest.raises(SpecError, match=r"this needs the checkpoint .*--checkpoint"):
        quantize_again(read_run(folder), load_recipe("ct2-int8"), Silent())
    assert not (folder / "ct2-int8").exists()


def test_without_the_extra_nothing_is_started(
    english: Path, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctranslate2_export, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"sottovoce\[ct2\]"):
        plan(str(english), load_recipe("ct2-int8"), read_speech(str(tones)), tmp_path / "run", force=False)


def test_languages_that_ctranslate2_would_lose_are_an_error(
    tiny: Path, tiny_run: Path, tmp_path: Path
) -> None:
    pytest.importorskip("faster_whisper", reason="the extra `ct2` is not installed")
    into = tmp_path / "int8"
    export_ctranslate2(tiny, into, Ctranslate2Type.INT8)
    store = CalibrationStore(tiny_run / "calibration")
    with pytest.raises(ParityError, match="takes the model for English-only, which it is not"):
        check_ctranslate2(into, store, tiny_run / "fp32", read_identity(tiny))


def test_a_setting_that_is_lost_is_named(both_run: Run, english: Path) -> None:
    store = CalibrationStore(both_run.folder / "calibration")
    expected = replace(read_identity(english), suppress_tokens=(1, 2, 3))
    with pytest.raises(ParityError, match=r"suppress_ids in config\.json is not what the checkpoint has"):
        check_ctranslate2(both_run.folder / "ct2-int8", store, both_run.baseline.folder, expected)


@pytest.mark.parametrize("kind", list(Ctranslate2Type))
def test_every_type_takes_the_disk_that_is_forecast(
    english: Path, tmp_path: Path, kind: Ctranslate2Type
) -> None:
    pytest.importorskip("faster_whisper", reason="the extra `ct2` is not installed")
    export_ctranslate2(english, tmp_path / kind, kind)
    matrices = [
        variable
        for variable in list_variables(tmp_path / kind / CTRANSLATE2_FILE)
        if variable.name.endswith("/weight") and len(variable.shape) > 1
    ]
    n_weights = sum(variable.raw.nbytes for variable in matrices) / BYTES_PER_WEIGHT[kind]
    assert n_weights == N_WEIGHTS


def names(run: Run, *engines: str) -> list[str]:
    entries = choose_entries(run, BenchmarkSpec(engines=engines, threads=1), lambda *_: Path("none"))
    return [entry.spec.name for entry in entries]


def test_engines_choose_what_they_can_run(both_run: Run) -> None:
    assert names(both_run, "sottovoce") == ["fp32", "ct2-int8"]
    assert names(both_run, "optimum-intel") == ["fp32", "optimum-intel:fp32"]
    assert names(both_run, "faster-whisper") == ["fp32", "faster-whisper:ct2-int8"]
    assert names(both_run, "faster-whisper:ct2-bfloat16") == ["fp32", "faster-whisper:ct2-bfloat16"]
    with pytest.raises(SpecError, match="openvino-genai needs a stateful OpenVINO variant"):
        names(both_run, "openvino-genai")


@pytest.mark.parametrize("engine", ["optimum-intel", "openvino-genai"])
@pytest.mark.parametrize(("variant", "kind"), [("onnx-int8", "onnx"), ("ct2-int8", "ctranslate2")])
def test_engines_of_openvino_refuse_other_formats(
    both_run: Run, engine: str, variant: str, kind: str
) -> None:
    with pytest.raises(
        SpecError, match=f"{variant} is a variant in {kind}, {engine} runs OpenVINO variants only"
    ):
        names(both_run, f"{engine}:{variant}")


def test_faster_whisper_names_the_variants_that_it_could_run(both_run: Run) -> None:
    with pytest.raises(
        SpecError,
        match=r"a CTranslate2 variant of the run \(ct2-bfloat16, ct2-int8\)|\(ct2-int8, ct2-bfloat16\)",
    ):
        names(both_run, "faster-whisper:onnx-int8")
