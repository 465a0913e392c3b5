"""Folders that are there whole or not at all."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.errors import InputError, OutputExistsError
from sottovoce.machine.environment import Host
from sottovoce.storage.artifacts import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    Parent,
    canonical_sha256,
    check_hashes,
    is_artifact,
    list_files,
    read_manifest,
    sha256_of_file,
    write_manifest,
)
from sottovoce.storage.documents import write_text
from sottovoce.storage.folders import check_output, check_output_file, new_folder

HOST = Host(
    os="Linux 6.8",
    machine="x86_64",
    cpu="a CPU",
    physical_cores=2,
    logical_cores=4,
    usable_cores=2,
    memory_bytes=8 << 30,
    instruction_sets=["avx2"],
    python="3.12.1",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def manifest(folder: Path, **changed: object) -> Manifest:
    fields: dict[str, object] = {
        "kind": "variant",
        "name": "int8",
        "created": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "made_by": "sottovoce optimize 0.1.0",
        "recipe": {"name": "int8", "quantize": {"alpha": 0.5}},
        "recipe_sha256": "ab" * 32,
        "parents": (Parent(role="checkpoint", name="openai/whisper-tiny", revision="abc"),),
        "host": HOST,
        "versions": {"openvino": "2026.1.0"},
        "facts": {"layout": "stateless", "n": 3, "list": [1, 2.5, None]},
        "files": list_files(folder),
    }
    return Manifest.model_validate(fields | changed)


def artifact(folder: Path, text: str = "old") -> Path:
    folder.mkdir(parents=True)
    (folder / "data.txt").write_text(text, encoding="utf-8")
    write_manifest(folder, manifest(folder))
    return folder


def fail_in(path: Path, error: BaseException, *, force: bool) -> None:
    with new_folder(path, force=force) as work:
        (work / "half.txt").write_text("half", encoding="utf-8")
        raise error


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    with new_folder(tmp_path / "deep" / "run") as work:
        (work / "a.txt").write_text("a", encoding="utf-8")
        assert not (tmp_path / "deep" / "run").exists()
    assert (tmp_path / "deep" / "run" / "a.txt").read_text(encoding="utf-8") == "a"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["run"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_what_interrupts_the_work_leaves_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        fail_in(tmp_path / "run", error, force=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_what_interrupts_a_replacement_leaves_the_old_folder_as_it_was(
    tmp_path: Path, error: BaseException
) -> None:
    run = artifact(tmp_path / "run")
    before = list_files(run)
    with pytest.raises(type(error)):
        fail_in(run, error, force=True)
    assert list_files(run) == before
    assert is_artifact(run)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_force_replaces_the_whole_folder(tmp_path: Path) -> None:
    run = artifact(tmp_path / "run")
    with new_folder(run, force=True) as work:
        (work / "new.txt").write_text("new", encoding="utf-8")
    assert [path.name for path in run.iterdir()] == ["new.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_is_not_replaced_without_force(tmp_path: Path) -> None:
    run = artifact(tmp_path / "run")
    with pytest.raises(OutputExistsError, match="pass --force"):
        fail_in(run, AssertionError("the block must not run"), force=False)


def test_force_refuses_a_folder_that_sottovoce_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(InputError, match=r"was not written by sottovoce .*--force does not delete it"):
        fail_in(tmp_path / "thesis", AssertionError("the block must not run"), force=True)
    assert (tmp_path / "thesis" / "chapter1.tex").is_file()


def test_force_takes_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    check_output(tmp_path / "run", force=True)


def test_a_file_is_an_output_that_force_replaces(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old", encoding="utf-8")
    check_output_file(tmp_path / "report.html", force=True)
    with pytest.raises(OutputExistsError):
        check_output_file(tmp_path / "report.html", force=False)
    with pytest.raises(InputError, match="is a folder"):
        check_output_file(tmp_path, force=True)


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    with new_folder(tmp_path / "run") as work:
        write_text(work / "a.txt", "a")
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "run" / "a.txt").stat().st_mode & 0o777 == 0o644


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    written = manifest(tmp_path)
    write_manifest(tmp_path, written)
    assert read_manifest(tmp_path) == written
    assert written.size_bytes == 1


def test_the_files_of_a_folder_are_listed_with_their_hashes(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.bin").write_bytes(b"123")
    (tmp_path / "b" / MANIFEST_NAME).write_bytes(b"{}")
    (tmp_path / "a.txt").write_bytes(b"")
    (tmp_path / MANIFEST_NAME).write_bytes(b"{}")
    listed = list_files(tmp_path)
    assert [(entry.path, entry.size_bytes) for entry in listed] == [
        ("a.txt", 0),
        ("b/c.bin", 3),
        (f"b/{MANIFEST_NAME}", 2),
    ]
    assert listed[1].sha256 == hashlib.sha256(b"123").hexdigest()


def test_a_large_file_hashes_like_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    (tmp_path / "large").write_bytes(data)
    assert sha256_of_file(tmp_path / "large") == hashlib.sha256(data).hexdigest()


def test_a_folder_without_a_manifest_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not a finished sottovoce folder: it has no manifest\.json"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"schema_version": 1}',
        b"null",
    ],
)
def test_a_damaged_manifest_is_named_with_its_path(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / MANIFEST_NAME).write_bytes(damage)
    with pytest.raises(InputError, match=r"manifest\.json is damaged or of another version") as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"), [("schema_version", 2), ("surprise", 1), ("created", "yesterday"), ("files", [{}])]
)
def test_a_manifest_of_another_version_names_the_key(tmp_path: Path, key: str, value: object) -> None:
    write_manifest(tmp_path, manifest(tmp_path))
    content = json.loads((tmp_path / MANIFEST_NAME).read_text(encoding="utf-8"))
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(content | {key: value}), encoding="utf-8")
    with pytest.raises(InputError, match=key):
        read_manifest(tmp_path)


def test_text_replaces_a_file_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "a.txt", "long " * 100)
    write_text(tmp_path / "deep" / "a.txt", "short\u2028 ü")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == "short\u2028 ü".encode()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.txt"]


def test_text_that_cannot_be_encoded_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "\ud800")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "old"


def test_text_that_cannot_be_encoded_leaves_no_temporary_file(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "\ud800")
    assert list(tmp_path.iterdir()) == []


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=5), st.randoms(use_true_random=False))
def test_a_hash_does_not_depend_on_the_order_of_keys(value: dict[str, object], random: object) -> None:
    items = list(value.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert canonical_sha256(dict(items)) == canonical_sha256(value)


@given(JSON, JSON)
def test_different_values_have_different_hashes(one: object, other: object) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (canonical_sha256(one) == canonical_sha256(other)) == same


def test_an_artifact_may_be_moved(tmp_path: Path) -> None:
    run = artifact(tmp_path / "run")
    shutil.move(run, tmp_path / "elsewhere")
    assert str(tmp_path) not in (tmp_path / "elsewhere" / MANIFEST_NAME).read_text(encoding="utf-8")
    assert read_manifest(tmp_path / "elsewhere").name == "int8"


def test_a_folder_that_is_as_it_was_made_passes(tmp_path: Path) -> None:
    folder = artifact(tmp_path / "run")
    artifact(folder / "int8")
    write_manifest(folder, manifest(folder))
    check_hashes(folder, read_manifest(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "data.txt").write_text("odd"), "has another hash for data.txt"),
        (lambda folder: (folder / "data.txt").write_text("older"), "with 3 bytes, it has 5"),
        (lambda folder: (folder / "data.txt").unlink(), "lists data.txt, which is not a file there"),
        (lambda folder: (folder / "more.txt").touch(), "does not list more.txt"),
        (lambda folder: (folder / "away").symlink_to("/etc"), "does not list away"),
        (lambda folder: os.mkfifo(folder / "pipe"), "does not list pipe"),
        (lambda folder: swap_for_link(folder / "data.txt"), "is or goes through a link"),
    ],
    ids=["changed", "longer", "missing", "more", "link to a folder", "pipe", "link"],
)
def test_a_folder_that_was_changed_is_refused(
    tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    folder = artifact(tmp_path / "run")
    change(folder)
    with pytest.raises(
        InputError, match=rf"run was changed after it was made.*{message}.*; get a complete copy of it$"
    ):
        check_hashes(folder, read_manifest(folder))


def swap_for_link(path: Path) -> None:
    path.rename(path.parents[1] / "elsewhere")
    path.symlink_to("../elsewhere")


@pytest.mark.parametrize(
    "path", ["../run/data.txt", "/etc/passwd", "a//b", "./data.txt", "a\\b", "C:b", "a\0b", ""]
)
def test_a_path_that_leads_out_of_a_folder_is_refused(tmp_path: Path, path: str) -> None:
    folder = artifact(tmp_path / "run")
    entry = FileEntry(path=path, size_bytes=3, sha256="0" * 64)
    with pytest.raises(InputError, match="which is not a path inside it"):
        check_hashes(folder, manifest(folder, files=(entry,)))


def test_a_file_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    folder = artifact(tmp_path / "run")
    with pytest.raises(InputError, match=r"lists data\.txt twice"):
        check_hashes(folder, manifest(folder, files=list_files(folder) * 2))
