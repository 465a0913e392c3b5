"""Cold starts: a fresh process that imports only what the engine needs, and its errors."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE, EngineSpec
from sottovoce.benchmark.engines.sottovoce import SottovoceEngine
from sottovoce.benchmark.timing.cold import ColdRequest
from sottovoce.benchmark.timing.worker import COLD_COMMAND, ClipError, start_cold
from sottovoce.errors import StageError
from sottovoce.runtime import load
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.options import TranscribeOptions
from tests.support.engines import FakeEngines
from tests.support.tones import tone

NOT_NEEDED = {"jiwer", "pydantic", "psutil", "scipy", "tokenizers", "torch", "transformers"}

MEASURE = """
import os, sys, time
started = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, _, used = os.wait4(child, 0)
print(used.ru_maxrss, time.perf_counter() - started, file=sys.stderr)
"""
"""A parent that needs next to no memory: a child's figure starts with that of its parent."""

CHATTY = """
import os
from tests.support.engines import FakeEngines

def make(spec):
    os.write(1, b"hello")
    print("hello")
    return FakeEngines()(spec)
"""
"""An engine whose libraries print."""


def spec(folder: Path) -> EngineSpec:
    return EngineSpec(
        engine=DEFAULT_ENGINE, variant=folder.name, folder=folder, compute=ComputeSpec(threads=1)
    )


def test_a_cold_start_gives_the_transcript_with_its_time_and_memory(baseline: Path) -> None:
    cold = start_cold(spec(baseline), tone(1.0), "en")
    options = TranscribeOptions(language="en", without_timestamps=True, temperature=0.0)
    assert cold.text == load(baseline, threads=1).transcribe(tone(1.0), options).text
    assert cold.seconds > 0.1
    assert cold.peak_rss_bytes > 50 << 20


def test_a_cold_start_of_our_engine_imports_only_what_it_needs(baseline: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "clip.npy", tone(1.0))
    request = ColdRequest(
        spec=spec(baseline), clip=tmp_path / "clip.npy", language="en", engine=SottovoceEngine
    )
    *python, code = COLD_COMMAND
    list_modules = "; import sys; sys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run(
        [*python, code + list_modules], input=request.to_json().encode(), capture_output=True, check=True
    )
    loaded = set(done.stderr.decode().split())
    assert {"openvino", "sottovoce.runtime.transcriber"} <= loaded
    assert {name.split(".")[0] for name in loaded}.isdisjoint(NOT_NEEDED)
    ours = {name for name in loaded if name.startswith("sottovoce.benchmark.")}
    assert ours == {
        f"sottovoce.benchmark.{name}"
        for name in (
            "timing",
            "timing.cold",
            "engines",
            "engines.engine",
            "engines.sottovoce",
            "engines.transcription",
        )
    }


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs a system that reports a child's peak memory")
def test_memory_and_time_agree_with_those_that_the_system_reports(baseline: Path, tmp_path: Path) -> None:
    """`wait4` in a small parent gives what `/usr/bin/time -v` prints: maximum resident set size and elapsed time."""
    wave = tone(2.0)
    np.save(tmp_path / "clip.npy", wave)
    request = ColdRequest(
        spec=spec(baseline), clip=tmp_path / "clip.npy", language="en", engine=SottovoceEngine
    )
    inside = start_cold(spec(baseline), wave, "en")
    outside = subprocess.run(
        [sys.executable, "-c", MEASURE, *COLD_COMMAND],
        input=request.to_json().encode(),
        capture_output=True,
        check=True,
    )
    peak, elapsed_s = outside.stderr.decode().split()[-2:]
    unit = 1 if sys.platform == "darwin" else 1024
    assert inside.peak_rss_bytes == pytest.approx(int(peak) * unit, rel=0.1)
    assert inside.seconds < 1.1 * float(elapsed_s) + 0.3


def test_text_that_libraries_print_is_not_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chatty.py").write_text(CHATTY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    cold = start_cold(spec(tmp_path), tone(1.0), "fr", import_module("chatty").make)
    assert cold.text == "fr"


def test_a_variant_that_cannot_be_loaded_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"^missing: [^\n]+$"):
        start_cold(spec(tmp_path / "missing"), tone(1.0), "en")


def test_a_clip_that_fails_is_reported_in_one_line(baseline: Path) -> None:
    with pytest.raises(ClipError, match=r"^the wave given holds samples that are not finite numbers$"):
        start_cold(spec(baseline), np.full(16_000, np.nan, dtype=np.float32), "en")


def test_an_error_of_another_library_is_reported_with_its_type() -> None:
    make = FakeEngines(fails_on={"int8": frozenset({32_000})})
    with pytest.raises(ClipError, match=r"^RuntimeError: cannot transcribe 32000 samples$"):
        start_cold(spec(Path("int8")), tone(2.0), "en", make)


def test_a_process_that_dies_is_reported_with_its_exit_code() -> None:
    make = FakeEngines(dies_on={"int8": frozenset({48_000})})
    with pytest.raises(StageError, match=r"the process of int8 ended unexpectedly \(exit code 3"):
        start_cold(spec(Path("int8")), tone(3.0), "en", make)
