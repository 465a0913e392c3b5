"""Comparing the results of several benchmarks: what is refused, and the figures."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sottovoce.benchmark.compare_results import (
    Condition,
    LoadedResults,
    ResultsComparison,
    compare_results,
    find_differences,
)
from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results
from sottovoce.cli.app import app
from sottovoce.errors import GateError, InputError, SpecError
from tests.support.results import build_sample, save_sample

SAMPLE = build_sample()


def loaded(
    name: str, results: Results = SAMPLE.results, rows: tuple[ClipRow, ...] = SAMPLE.rows
) -> LoadedResults:
    return LoadedResults(name=name, results=results, rows=rows)


def twice_as_fast(rows: tuple[ClipRow, ...]) -> tuple[ClipRow, ...]:
    return tuple(
        row.model_copy(update={"latency_s": tuple(seconds / 2 for seconds in row.latency_s)}) for row in rows
    )


def compare(*others: LoadedResults, despite: tuple[Condition, ...] = ()) -> ResultsComparison:
    return compare_results([loaded("first"), *others], despite=despite, rng=np.random.default_rng(0))


def on_other_host() -> Results:
    host = SAMPLE.results.host.model_copy(update={"cpu": "another"})
    return SAMPLE.results.model_copy(update={"host": host})


def with_dataset(results: Results = SAMPLE.results, **changes: str | None) -> Results:
    return results.model_copy(update={"dataset": results.dataset.model_copy(update=changes)})


def with_model(**changes: str | None) -> Results:
    return SAMPLE.results.model_copy(update=changes)


def find(first: Results, other: Results) -> set[Condition]:
    return set(find_differences(first, other))


def test_an_entry_is_compared_with_the_entry_of_the_same_name_in_the_first_result() -> None:
    found = compare(loaded("second", rows=twice_as_fast(SAMPLE.rows)))
    assert [entry.entry for entry in found.entries] == ["fp32", "fp16", "int8"] * 2
    for entry in found.entries[3:]:
        assert entry.speedup is not None
        assert entry.wer_delta is not None
        assert entry.speedup.value == pytest.approx(2)
        assert (entry.wer_delta.value, entry.n_clips) == (0, 12)


@pytest.mark.parametrize(
    ("condition", "changed"),
    [
        (
            Condition.MODEL,
            with_model(checkpoint="openai/whisper-base", model="whisper-base"),
        ),
        (Condition.HOST, on_other_host()),
        (
            Condition.THREADS,
            SAMPLE.results.model_copy(
                update={"method": SAMPLE.results.method.model_copy(update={"threads": 1})}
            ),
        ),
        (Condition.CLIPS, with_dataset(sha256="ef" * 32)),
        (
            Condition.NORMALIZER,
            SAMPLE.results.model_copy(
                update={"method": SAMPLE.results.method.model_copy(update={"normalizer": "none"})}
            ),
        ),
    ],
)
def test_a_difference_is_refused_unless_it_is_accepted(condition: Condition, changed: Results) -> None:
    other = loaded("second", results=changed)
    with pytest.raises(GateError, match=f"{condition} differs .* --despite {condition}"):
        compare(other)
    assert compare(other, despite=(condition,)).differences.keys() == {"second"}


@pytest.mark.parametrize(
    ("here", "there", "differs"),
    [
        ({"checkpoint": None, "model": "mine"}, {"checkpoint": None, "model": "yours"}, True),
        ({"checkpoint": "openai/whisper-base"}, {"checkpoint": None}, False),
        ({"checkpoint_version": "sha256 ab"}, {"checkpoint_version": "sha256 cd"}, True),
        ({"checkpoint_version": "sha256 ab"}, {"checkpoint_version": "revision cd"}, False),
        ({"checkpoint_version": "sha256 ab"}, {"checkpoint_version": None}, False),
    ],
    ids=[
        "folders of two names",
        "an older result has no hub id",
        "two folders of one name",
        "the package and the hub",
        "an older result has no version",
    ],
)
def test_models_differ_only_in_fields_that_both_results_have(
    here: dict[str, str | None], there: dict[str, str | None], *, differs: bool
) -> None:
    assert find(with_model(**here), with_model(**there)) == ({Condition.MODEL} if differs else set())


def test_a_noisy_copy_of_the_clips_is_refused(tmp_path: Path) -> None:
    folder, noisy = tmp_path / "clean", tmp_path / "noisy"
    save_sample(with_dataset(audio_sha256="ab" * 32), SAMPLE.rows, folder)
    save_sample(with_dataset(audio_sha256="ef" * 32), SAMPLE.rows, noisy)
    command = ["compare", str(folder), str(noisy)]
    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, GateError)
    assert "audio differs (samples abababababab against samples efefefefefef)" in str(refused.exception)
    assert CliRunner().invoke(app, [*command, "--despite", "audio"]).exit_code == 0


def test_audio_is_compared_if_both_results_have_its_hash_and_the_same_clips() -> None:
    one, other = with_dataset(audio_sha256="ab" * 32), with_dataset(audio_sha256="ef" * 32)
    assert find(one, other) == {Condition.AUDIO}
    assert find(one, SAMPLE.results) == find(SAMPLE.results, one) == set()
    assert find(one, with_dataset(other, sha256="01" * 32)) == {Condition.CLIPS}


def test_times_of_two_hosts_are_never_compared() -> None:
    found = compare(loaded("second", results=on_other_host()), despite=(Condition.HOST,))
    assert all(entry.speedup is None for entry in found.entries)
    assert all(entry.wer_delta is not None for entry in found.entries[3:])


def test_clips_in_only_one_result_are_left_out() -> None:
    fewer = tuple(row for row in SAMPLE.rows if not row.clip_id.endswith("0003"))
    assert {entry.n_clips for entry in compare(loaded("second", rows=fewer)).entries[3:]} == {11}


def test_a_single_result_is_refused() -> None:
    with pytest.raises(InputError, match="at least two"):
        compare()


def test_results_without_a_common_entry_are_an_error() -> None:
    variants = tuple(
        variant.model_copy(update={"name": f"new-{variant.name}"}) for variant in SAMPLE.results.variants
    )
    with pytest.raises(InputError, match="no entry with first"):
        compare(loaded("second", results=SAMPLE.results.model_copy(update={"variants": variants})))


def test_the_command_shows_both_results_and_refuses_unknown_conditions(tmp_path: Path) -> None:
    folders = [str(save_sample(SAMPLE.results, SAMPLE.rows, tmp_path / name)) for name in ("a", "b")]
    runner = CliRunner()
    shown = runner.invoke(app, ["compare", *folders])
    assert shown.exit_code == 0
    assert shown.output.count("int8") == 2
    assert "includes the drift of the machine between them" in " ".join(shown.output.split())
    found = ResultsComparison.model_validate_json(runner.invoke(app, ["compare", *folders, "--json"]).stdout)
    assert len(found.entries) == 6
    refused = runner.invoke(app, ["compare", *folders, "--despite", "hosts"])
    assert isinstance(refused.exception, SpecError)
    assert "did you mean host" in str(refused.exception)
