"""Unpacking writes the files that the manifest lists, and nothing else."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from sottovoce.bundle.archive import Member, write_archive
from sottovoce.bundle.build import Built
from sottovoce.bundle.device import verify
from sottovoce.bundle.open_bundle import open_bundle, unpack, unpacked
from sottovoce.errors import BundleError, InputError, ResourceError, SottovoceError
from tests.support.hostile_archives import Parts, draft_of, hostile_archives, pack

LimitFiles = Callable[[int], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def parts(opened: Path) -> Parts:
    """Take the tiny bundle apart and keep its small files."""
    manifest = json.loads((opened / "bundle.json").read_bytes())
    manifest["files"] = [entry for entry in manifest["files"] if entry["size_bytes"] < 20_000]
    manifest["golden"] = [{**manifest["golden"][0], "path": manifest["files"][0]["path"]}]
    files = {entry["path"]: (opened / entry["path"]).read_bytes() for entry in manifest["files"]}
    return Parts(top=manifest["name"], manifest=manifest, files=files)


def test_a_good_archive_gives_the_bytes_that_tar_gives(built: Built, opened: Path, tmp_path: Path) -> None:
    manifest = unpack(built.path, tmp_path)
    assert manifest == built.manifest
    found = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {
        path.relative_to(opened): path.read_bytes() for path in opened.rglob("*") if path.is_file()
    }


def test_the_parts_make_a_good_archive(parts: Parts, tmp_path: Path) -> None:
    path = tmp_path / "good.tar.gz"
    path.write_bytes(pack(draft_of(parts).tar()))
    with unpacked(path) as bundle:
        assert bundle.manifest.name == parts.top


def test_hostile_archives_are_contained(parts: Parts, tmp_path: Path) -> None:
    inbox, target = tmp_path / "inbox", tmp_path / "a" / "b" / "target"
    inbox.mkdir()
    target.mkdir(parents=True)
    n_contained = 0
    for name, raw in hostile_archives(parts):
        path = inbox / "hostile.tar.gz"
        path.write_bytes(raw)
        with pytest.raises((BundleError, InputError, ResourceError)) as refused, unpacked(path, target):
            pytest.fail(f"{name} was taken")
        assert str(refused.value).isprintable(), name
        assert [*target.iterdir()] == [], name
        assert sorted(tmp_path.rglob("*")) == sorted([inbox, path, *_up_to(target, tmp_path)]), name
        n_contained += 1
    assert n_contained >= 40


def _up_to(path: Path, top: Path) -> Iterator[Path]:
    while path != top:
        yield path
        path = path.parent


def test_a_bomb_takes_no_memory(parts: Parts, tmp_path: Path) -> None:
    by_name = dict(hostile_archives(parts))
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(by_name["a bomb behind the end"])
    code = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from sottovoce.bundle.open_bundle import unpacked\n"
        "from sottovoce.errors import BundleError\n"
        # The peak of this program alone; getrusage includes that of its parent.
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "before = peak()\n"
        "try:\n"
        "    with unpacked(Path(sys.argv[1])): raise SystemExit('taken')\n"
        "except BundleError:\n"
        "    print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64_000  # kB


def contents(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def test_a_changed_bit_near_the_end_is_found_or_says_nothing(parts: Parts, tmp_path: Path) -> None:
    """Deflate fills its last byte, the ninth from the end, with unused bits, and can say zeros in several ways."""
    good = pack(draft_of(parts).tar())
    path = tmp_path / "changed.tar.gz"
    path.write_bytes(good)
    with unpacked(path) as bundle:
        expected = contents(bundle.folder)
    n_found = 0
    for place in range(8 * 40):
        raw = bytearray(good)
        raw[-1 - place // 8] ^= 1 << place % 8
        path.write_bytes(raw)
        try:
            with unpacked(path) as bundle:
                assert contents(bundle.folder) == expected
        except BundleError:
            n_found += 1
    assert n_found > 300


def test_a_golden_clip_outside_of_the_bundle_is_refused(parts: Parts, tmp_path: Path) -> None:
    clip = {**parts.manifest["golden"][0], "path": "../secret.wav"}
    for golden in ([clip], []):
        manifest = {**parts.manifest, "golden": golden}
        path = tmp_path / "forged.tar.gz"
        path.write_bytes(pack(draft_of(Parts(top=parts.top, manifest=manifest, files=parts.files)).tar()))
        with pytest.raises(BundleError, match="golden"), unpacked(path):
            pytest.fail("it was taken")


def test_a_small_disk_is_refused_before_anything_is_written(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(ResourceError, match="TMPDIR"):
        unpack(built.path, tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_a_disk_that_fills_during_the_work_is_reported(
    built: Built, tmp_path: Path, files_limited_to: LimitFiles
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with (
        files_limited_to(50_000),
        pytest.raises(ResourceError, match="the disk is full, or a limit on files is reached"),
    ):
        unpack(built.path, folder)


def test_what_is_unpacked_goes_away(built: Built, tmp_path: Path) -> None:
    with unpacked(built.path, tmp_path) as bundle:
        assert bundle.folder.is_dir()
    assert [*tmp_path.iterdir()] == []


def test_a_folder_is_checked_before_it_is_used(opened: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "bundle"
    shutil.copytree(opened, folder)
    graph = folder / "model" / "openvino_encoder_model.bin"
    graph.write_bytes(b"\0" + graph.read_bytes()[1:])
    with pytest.raises(BundleError, match=r"openvino_encoder_model\.bin: was changed"), open_bundle(folder):
        pytest.fail("it was opened")


def test_an_extra_file_is_to_be_removed_and_a_damaged_bundle_to_be_copied(
    opened: Path, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "bundle"
    shutil.copytree(opened, folder)
    (folder / ".venv").mkdir()
    with pytest.raises(BundleError, match=r"\.venv: is a folder .*; remove it") as stray, open_bundle(folder):
        pytest.fail("it was opened")
    assert "copy the bundle again" not in str(stray.value)
    (folder / "verify.py").unlink()
    with (
        pytest.raises(BundleError, match=r"verify\.py: is missing \(and 1 more\); copy the bundle again"),
        open_bundle(folder),
    ):
        pytest.fail("it was opened")
    (folder / "verify.py").mkdir()
    with pytest.raises(BundleError, match="copy the bundle again"), open_bundle(folder):
        pytest.fail("it was opened")


def test_a_missing_bundle_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"), open_bundle(tmp_path / "none.tar.gz"):
        pytest.fail("it was opened")


def test_archives_of_any_sizes_come_back(tmp_path: Path) -> None:
    """Blocks, records and chunks end in all places."""
    from sottovoce.bundle.archive import ArchiveReader

    for size in (0, 1, 511, 512, 513, 8_703, 8_704, 9_216, 10_240, (1 << 20) - 1, (1 << 20) + 1):
        content = bytes(range(256)) * (size // 256) + bytes(size % 256)
        path = tmp_path / "x.tar.gz"
        write_archive(path, "top", [Member(path="a", source=content), Member(path="b/c", source=b"")])
        with path.open("rb") as raw:
            reader = ArchiveReader(raw)
            assert reader.next_member() == ("top/a", size)
            assert b"".join(reader.chunks(size)) == content
            assert reader.next_member() == ("top/b/c", 0)
            assert [*reader.chunks(0)] == []
            reader.finish()


def test_errors_are_typed() -> None:
    assert issubclass(BundleError, SottovoceError)
    assert verify.MAX_FILES < 10_000
