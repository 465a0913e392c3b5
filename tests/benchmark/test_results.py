"""A benchmark of the tiny run, written and read again."""

import json
import shutil
from pathlib import Path

import numpy as np
import openvino
import pytest

from sottovoce.benchmark.run import benchmark
from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import CLIPS_NAME, RESULTS_NAME, Results, read_results
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.errors import InputError, OutputExistsError
from sottovoce.progress import Silent
from sottovoce.runs import check_files, read_run
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import decode_audio
from sottovoce.speech.sets import read_speech
from sottovoce.storage.artifacts import read_manifest
from sottovoce.terms import Stage
from tests.support.engines import FakeEngines
from tests.support.tones import tone, write_tone_set, write_wav

REFERENCE = "one\u2028two\u2029three\x85four \N{GRINNING FACE}"
"""With what Python, but not JSON lines, takes for the end of a line."""


@pytest.fixture(scope="module")
def written(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    manifest = write_tone_set(tmp_path_factory.mktemp("eval"), n_clips=3, splits=())
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").split("\n") if line]
    rows[0]["text"] = REFERENCE
    manifest.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    out = tmp_path_factory.mktemp("results") / "tiny-int8"
    spec = BenchmarkSpec(passes=2, warm_up_clips=1, threads=1, robustness=("level-20",))
    results = benchmark(
        read_run(tiny_run), read_speech(str(manifest)), spec, out, force=False, reporter=Silent()
    )
    return out, results


def rows_of(rows: tuple[ClipRow, ...], variant: str) -> list[ClipRow]:
    return [row for row in rows if row.variant == variant]


def test_results_are_read_back(written: tuple[Path, Results]) -> None:
    folder, results = written
    assert read_results(folder)[0] == results
    assert read_results(folder / RESULTS_NAME)[0] == results
    check_files(folder, read_manifest(folder))


def test_conditions_are_measured_beside_the_clean_speech_of_the_passes(written: tuple[Path, Results]) -> None:
    _, results = written
    for variant in results.variants:
        assert [each.condition for each in variant.conditions] == ["clean", "level-20"]
        assert variant.conditions[0].words == variant.words
    (comparison,) = results.comparisons
    clean, quiet = comparison.conditions
    assert clean.wer_delta.value == comparison.wer_delta.value
    rates = [variant.conditions[1].wer for variant in results.variants]
    assert quiet.wer_delta.value == pytest.approx(rates[1] - rates[0])


def test_a_reference_with_line_separators_stays_one_clip(written: tuple[Path, Results]) -> None:
    _, rows = read_results(written[0])
    assert len(rows) == 6
    assert REFERENCE in {row.reference for row in rows}


def test_every_clip_is_timed_in_every_pass_of_every_variant(written: tuple[Path, Results]) -> None:
    folder, results = written
    _, rows = read_results(folder)
    for variant in ("fp32", "int8"):
        for row in rows_of(rows, variant):
            assert row.error is None
            assert len(row.latency_s) == len(row.stage_s) == 2
            assert row.calls[Stage.ENCODER] == row.calls[Stage.DECODER] == 1
            assert row.calls[Stage.DECODER_WITH_PAST] > 1
            for latency, stages in zip(row.latency_s, row.stage_s, strict=True):
                assert sum(stages.values()) == pytest.approx(latency, rel=1e-6)
    assert results.method.order == ("fp32", "int8", "int8", "fp32")


def test_the_precision_is_that_of_the_recipe(written: tuple[Path, Results]) -> None:
    _, results = written
    assert results.variant("fp32").precision.label == "f32"
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    rest = "bf16" if "BF16" in capabilities else "f32"
    assert results.variant("int8").precision.label == f"int8+{rest}"
    assert {variant.precision.threads for variant in results.variants} == {1}
    assert {variant.precision.streams for variant in results.variants} == {1}


def test_tones_do_not_count_as_synthetic_speech(written: tuple[Path, Results]) -> None:
    assert written[1].dataset.synthetic is False
    assert written[1].dataset.sources == {"tones": 3}
    assert written[1].dataset.split is None


def test_results_have_no_folder_of_this_machine(written: tuple[Path, Results], tiny_run: Path) -> None:
    for name in (RESULTS_NAME, CLIPS_NAME, "manifest.json"):
        text = (written[0] / name).read_text(encoding="utf-8")
        assert str(tiny_run.parents[1]) not in text


def test_clips_are_distinguished_by_their_audio_and_checkpoints_by_their_files(
    written: tuple[Path, Results], tiny_run: Path, tmp_path: Path
) -> None:
    results = written[1]
    assert results.checkpoint_version is not None
    assert results.checkpoint_version.startswith("sha256 ")
    datasets = []
    for noise in (0.0, 0.001):
        manifest = write_tone_set(tmp_path / f"{noise}", n_clips=2, splits=())
        for index, path in enumerate(sorted((manifest.parent / "clips").iterdir())):
            write_wav(path, tone(1.0 + index) + np.float32(noise))
        out, make = tmp_path / f"{noise}-results", FakeEngines()
        spec = BenchmarkSpec(passes=1, warm_up_clips=0, audio=False)
        speech = read_speech(str(manifest))
        datasets.append(
            benchmark(
                read_run(tiny_run), speech, spec, out, force=False, reporter=Silent(), make=make
            ).dataset
        )
    assert datasets[0].sha256 == datasets[1].sha256
    assert datasets[0].audio_sha256 != datasets[1].audio_sha256


def test_results_are_not_replaced_without_force(written: tuple[Path, Results], tiny_run: Path) -> None:
    speech = read_speech(str(write_tone_set(written[0].parent / "speech", n_clips=1)))
    with pytest.raises(OutputExistsError):
        benchmark(read_run(tiny_run), speech, BenchmarkSpec(), written[0], force=False, reporter=Silent())


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        (RESULTS_NAME, b""),
        (RESULTS_NAME, b"{}"),
        (RESULTS_NAME, b'{"schema_version": 2}'),
        (RESULTS_NAME, b"\xff"),
        (CLIPS_NAME, b"{"),
        (CLIPS_NAME, b'{"clip_id": "a"}\n'),
        (CLIPS_NAME, b"\xff"),
    ],
)
def test_damaged_results_are_an_input_error(
    written: tuple[Path, Results], tmp_path: Path, file: str, damage: bytes
) -> None:
    folder = Path(shutil.copytree(written[0], tmp_path / "damaged"))
    (folder / file).write_bytes(damage)
    with pytest.raises(InputError, match="damaged"):
        read_results(folder)


@pytest.mark.parametrize("file", [RESULTS_NAME, CLIPS_NAME])
def test_results_without_a_part_name_it(written: tuple[Path, Results], tmp_path: Path, file: str) -> None:
    folder = Path(shutil.copytree(written[0], tmp_path / "half"))
    (folder / file).unlink()
    with pytest.raises(InputError, match=f"holds no {file}"):
        read_results(folder)


def test_output_drift_and_word_times_of_our_entries_are_in_the_results(written: tuple[Path, Results]) -> None:
    folder, results = written
    (found,) = results.side_effects
    assert (found.variant, found.n_clips) == ("int8", 3)
    assert 0 <= found.token_agreement <= 1
    assert found.language is not None
    assert found.language.n_clips == 3
    assert {each.sound for each in found.hallucinations} >= {"digital silence", "pink noise, -20 dB"}
    assert next(each for each in found.hallucinations if each.sound == "digital silence").baseline_words == 0
    assert results.noise is not None
    assert results.noise.n_blocks == 6
    _, rows = read_results(folder)
    for row in rows:
        assert len(row.disturbed) == 2
        assert "".join(word.text for word in row.spoken).split() == row.hypothesis.split()
        assert all(0 <= word.start_s <= word.end_s <= row.audio_s + 0.5 for word in row.spoken)


def test_clips_that_changed_have_an_audio_file(written: tuple[Path, Results]) -> None:
    folder, results = written
    _, rows = read_results(folder)
    by_clip = {(row.variant, row.clip_id): row.normalized_hypothesis for row in rows}
    changed = {row.clip_id for row in rows if by_clip["fp32", row.clip_id] != by_clip["int8", row.clip_id]}
    assert {row.clip_id for row in rows if row.audio is not None} == changed
    for row in rows:
        if row.audio is not None:
            assert len(decode_audio(folder / row.audio)) / SAMPLE_RATE_HZ == pytest.approx(
                row.audio_s, abs=0.2
            )
    assert results.comparisons[0].n_changed == len(changed)
