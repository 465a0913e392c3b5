"""A machine that cannot run a variant is refused before any work, in one line with a recipe that works."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sottovoce.benchmark.plan import make_plan
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.calibrate import forecast
from sottovoce.cli.app import app
from sottovoce.errors import ResourceError
from sottovoce.machine import cpu
from sottovoce.machine.cpu import X86
from sottovoce.optimize.pipeline import quantize_again
from sottovoce.optimize.plan import check_cpu, plan
from sottovoce.optimize.sensitivity.sensitivity import SensitivitySpec, measure_sensitivity
from sottovoce.progress import Silent
from sottovoce.recipes.load import load_recipe
from sottovoce.runs import read_run
from sottovoce.runtime import load
from sottovoce.runtime.model import compute as computing
from sottovoce.runtime.model import requirements
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.requirements import check_machine, least_memory_bytes, recommended_recipe
from sottovoce.speech.sets import read_speech
from sottovoce.terms import InferencePrecision

MB = 1_000_000

needs_x86 = pytest.mark.skipif(
    cpu.architecture() != X86 or "avx2" not in (cpu.cpu_flags() or ()), reason="limits an x86 CPU with AVX2"
)


@pytest.fixture
def old_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """An x86 CPU with AVX2 and no VNNI."""
    monkeypatch.setattr(cpu, "architecture", lambda: X86)
    monkeypatch.setattr(cpu, "cpu_flags", lambda: frozenset({"avx2"}))


@pytest.mark.usefixtures("old_cpu")
def test_every_command_refuses_int8_activations_without_vnni(
    tiny: Path, tiny_run: Path, tones: Path, tmp_path: Path
) -> None:
    run, speech, recipe = read_run(tiny_run), read_speech(str(tones)), load_recipe("int8")
    works = "needs VNNI, which this CPU does not have.* int8-no-vnni or int8-weights works here"
    with pytest.raises(ResourceError, match=works):
        load(tiny_run)
    with pytest.raises(ResourceError, match=works):
        make_plan(run, speech, BenchmarkSpec(), Silent())
    with pytest.raises(ResourceError, match=works):
        plan(str(tiny), recipe, speech, tmp_path / "out", force=False)
    with pytest.raises(ResourceError, match=works):
        quantize_again(run, recipe, Silent())
    with pytest.raises(ResourceError, match=works):
        measure_sensitivity(run, speech, SensitivitySpec(variant="int8"), Silent())
    done = CliRunner().invoke(app, ["transcribe", str(tiny_run), "talk.mp3"])
    assert isinstance(done.exception, ResourceError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("old_cpu")
def test_float_variants_and_weights_of_seven_bits_need_no_vnni(tiny_run: Path, tmp_path: Path) -> None:
    check_machine(tiny_run / "fp32")
    shutil.copytree(tiny_run / "int8", tmp_path / "int8")
    path = tmp_path / "int8" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["recipe"]["quantize"]["instruction_set"] = "avx2"
    path.write_text(json.dumps(manifest))
    check_machine(tmp_path / "int8")


@pytest.mark.parametrize("recipe", ["int8-no-vnni", "int8-weights", "ct2-int8"])
@pytest.mark.usefixtures("old_cpu")
def test_the_recipes_that_are_said_to_work_are_not_refused(
    recipe: str, tiny: Path, tones: Path, tmp_path: Path
) -> None:
    plan(str(tiny), load_recipe(recipe), read_speech(str(tones)), tmp_path / "out", force=False)


def test_openvino_variants_are_refused_without_avx2(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "architecture", lambda: X86)
    monkeypatch.setattr(cpu, "cpu_flags", lambda: frozenset({"sse4_1"}))
    with pytest.raises(
        ResourceError, match=r"needs AVX2, which this CPU does not have; .* ct2-int8 runs here"
    ):
        check_machine(tiny_run / "fp32")


def test_too_little_memory_is_refused_with_both_figures(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = least_memory_bytes(tiny_run / "fp32")
    monkeypatch.setattr(requirements, "available_memory_bytes", lambda: 100 * MB)
    with pytest.raises(
        ResourceError, match=f"at least {needed / 1e6:.0f} MB of memory, 100 MB are available"
    ):
        load(tiny_run / "fp32")


@pytest.mark.parametrize(
    ("architecture", "flags", "recipe"),
    [
        ("x86_64", {"avx2", "avx_vnni"}, "int8-fast"),
        ("x86_64", {"avx2"}, "int8-no-vnni"),
        ("aarch64", {"asimd", "asimddp", "i8mm"}, "int8-weights"),
    ],
)
def test_the_recommended_recipe_runs_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, architecture: str, flags: set[str], recipe: str
) -> None:
    for module in (cpu, requirements):
        monkeypatch.setattr(module, "architecture", lambda: architecture)
    monkeypatch.setattr(cpu, "cpu_flags", lambda: frozenset(flags))
    assert recommended_recipe() == recipe
    check_cpu(load_recipe(recipe))


def test_int8_activations_are_refused_on_arm(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO 2026.4 gives other numbers there; weights alone are right."""
    for module in (cpu, requirements):
        monkeypatch.setattr(module, "architecture", lambda: "aarch64")
    with pytest.raises(ResourceError, match=r"wrongly on ARM; the recipe int8-weights works here"):
        load(tiny_run)
    with pytest.raises(ResourceError, match=r"the recipe int8-weights works here"):
        check_cpu(load_recipe("int8-no-vnni"))
    check_machine(tiny_run / "fp32")


def test_a_dry_run_shows_the_plan_and_refuses_what_the_command_refuses(
    tiny: Path, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["optimize", str(tiny), "--data", str(tones), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(forecast, "available_memory_bytes", lambda: 500 * MB)
    for arguments, shown in (([*command, "--dry-run"], "in all: about"), (command, "")):
        done = CliRunner().invoke(app, arguments)
        assert isinstance(done.exception, ResourceError)
        assert "making the run is forecast to need" in str(done.exception)
        assert shown in done.stdout
        assert bool(shown) == bool(done.stdout)


@pytest.mark.parametrize("raw", ["{}", '{"facts": 3}', '{"facts": {"components": {"x": 1}}, "recipe": []}'])
def test_a_strange_manifest_does_not_stop_the_check(raw: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(raw)
    check_machine(tmp_path)


@pytest.mark.usefixtures("old_cpu")
def test_without_bf16_and_vnni_float_nodes_are_float32_and_nothing_is_quantized_on_the_fly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(computing, "_capabilities", lambda: ("FP32", "BF16", "INT8"))
    spec = ComputeSpec(precision=InferencePrecision.BF16, dynamic_quantization_group_size=32)
    found = spec.properties()
    assert found["INFERENCE_PRECISION_HINT"] == found["KV_CACHE_PRECISION"] == "f32"
    assert found["DYNAMIC_QUANTIZATION_GROUP_SIZE"] == "0"


def limited(limit: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": limit},
        capture_output=True,
        text=True,
        check=False,
    )


@needs_x86
@pytest.mark.parametrize("limit", ["AVX2", "AVX512_CORE"])
def test_a_limit_on_onednn_gives_one_line(tiny_run: Path, tones: Path, limit: str) -> None:
    clip = str(next(tones.parent.glob("**/*.wav")))
    done = limited(limit, "-m", "sottovoce", "transcribe", str(tiny_run), clip)
    assert done.returncode == 1
    note, error = done.stderr.splitlines()
    assert note.endswith("uses the variant int8")
    assert error.startswith("error: ")
    assert "recipe int8-no-vnni or int8-weights works here" in error


@needs_x86
@pytest.mark.parametrize("limit", ["AVX2", "AVX512_CORE"])
def test_a_variant_made_for_bf16_runs_where_a_limit_hides_bf16(
    tiny_run: Path, tones: Path, limit: str
) -> None:
    code = """
import sys
from sottovoce.runtime import TranscribeOptions, load
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.terms import InferencePrecision

compute = ComputeSpec(precision=InferencePrecision.BF16, dynamic_quantization_group_size=32)
transcriber = load(sys.argv[1], compute=compute)
transcriber.transcribe(sys.argv[2], TranscribeOptions(language="en", temperature=0))
"""
    clip = str(next(tones.parent.glob("**/*.wav")))
    done = limited(limit, "-c", code, str(tiny_run / "fp32-stateful"), clip)
    assert done.returncode == 0, done.stderr
