"""The calibration record on disk: small, plain, and giving back what went in."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.calibrate.store import (
    CalibrationStore,
    DecodedSequence,
    SequenceEntry,
    write_index,
    write_sequence,
)
from sottovoce.errors import InputError
from sottovoce.runs import check_files
from sottovoce.storage.artifacts import read_manifest
from sottovoce.terms import Component

ENTRIES = st.builds(
    SequenceEntry,
    file=st.text(max_size=20),
    clip_id=st.text(max_size=20),
    language=st.none() | st.text(max_size=4),
    audio_s=st.floats(0, 30),
    n_prompt=st.integers(1, 4),
    n_tokens=st.integers(4, 448),
)


def test_a_record_takes_the_disk_that_was_forecast_and_no_more(record: Path) -> None:
    facts = read_manifest(record).facts
    size = sum(path.stat().st_size for path in (record / "sequences").iterdir())
    forecast = facts["forecast_disk_bytes"]
    assert isinstance(forecast, int)
    assert 0.99 < size / forecast < 1.01


def test_a_record_holds_safetensors_and_json_only(record: Path) -> None:
    files = {path.relative_to(record).as_posix() for path in record.rglob("*") if path.is_file()}
    assert {Path(name).suffix for name in files} == {".safetensors", ".jsonl", ".json"}
    check_files(record, read_manifest(record))


def test_a_record_counts_its_clips_and_steps(record: Path, baseline: Path) -> None:
    store, facts = CalibrationStore(record), read_manifest(record).facts
    assert facts["n_clips"] == facts["n_sequences"] == len(store.entries) == 4
    assert facts["n_steps"] == len(store.calls(Component.DECODER_WITH_PAST, baseline)) > 40
    assert facts["languages"] == {"en": 4}
    assert {entry.clip_id for entry in store.entries} == {"tone-00", "tone-02", "tone-04", "tone-06"}


@pytest.mark.parametrize("component", list(Component))
def test_calls_come_again_at_each_iteration(record: Path, baseline: Path, component: Component) -> None:
    calls = CalibrationStore(record).calls(component, baseline)
    first, second = list(calls), list(calls)
    assert len(first) == len(second) == len(calls)
    for one, other in zip(first, second, strict=True):
        assert set(one) == set(other)
        for name, values in one.items():
            np.testing.assert_array_equal(values, other[name])


@given(
    n_mels=st.sampled_from([80, 128]),
    d_model=st.integers(1, 8),
    n_prompt=st.integers(1, 4),
    n_steps=st.integers(0, 9),
)
def test_a_sequence_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    record: Path,
    *,
    n_mels: int,
    d_model: int,
    n_prompt: int,
    n_steps: int,
) -> None:
    rng = np.random.default_rng(n_mels + d_model)
    written = DecodedSequence(
        features=rng.standard_normal((1, 30, n_mels)).astype(np.float32).transpose(0, 2, 1),
        encoder_states=rng.standard_normal((1, 15, d_model)).astype(np.float32),
        token_ids=rng.integers(0, 51865, (1, n_prompt + n_steps)),
        n_prompt=n_prompt,
    )
    path = tmp_path_factory.mktemp("sequence") / "a.safetensors"
    write_sequence(written, path)
    entry = CalibrationStore(record).entries[0].model_copy(update={"file": str(path), "n_prompt": n_prompt})
    found = CalibrationStore(record).read(entry)
    np.testing.assert_array_equal(found.features, written.features)
    np.testing.assert_array_equal(found.encoder_states, written.encoder_states)
    np.testing.assert_array_equal(found.token_ids, written.token_ids)
    assert found.n_prompt == n_prompt


@given(st.lists(ENTRIES, max_size=4))
def test_an_index_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, record: Path, entries: list[SequenceEntry]
) -> None:
    folder = tmp_path_factory.mktemp("index")
    shutil.copy(record / "manifest.json", folder)
    write_index(entries, folder)
    assert CalibrationStore(folder).entries == tuple(entries)


def test_a_variant_is_no_calibration_record(baseline: Path) -> None:
    with pytest.raises(InputError, match="is a variant, want a calibration record"):
        CalibrationStore(baseline)


def test_an_unfinished_record_is_no_record(record: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(record, tmp_path / "half"))
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match="is not a finished sottovoce folder"):
        CalibrationStore(folder)


@pytest.mark.parametrize("damage", ["{", json.dumps({"file": "a"}), "\x00"])
def test_a_damaged_index_is_an_input_error(record: Path, tmp_path: Path, damage: str) -> None:
    folder = Path(shutil.copytree(record, tmp_path / "damaged"))
    (folder / "sequences.jsonl").write_text(damage, encoding="utf-8")
    with pytest.raises(InputError, match="damaged"):
        CalibrationStore(folder)


def test_a_missing_index_is_an_input_error(record: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(record, tmp_path / "damaged"))
    (folder / "sequences.jsonl").unlink()
    with pytest.raises(InputError, match="damaged"):
        CalibrationStore(folder)


def test_a_cut_off_sequence_is_an_input_error(record: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(record, tmp_path / "damaged"))
    store = CalibrationStore(folder)
    path = folder / store.entries[0].file
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        store.read(store.entries[0])
