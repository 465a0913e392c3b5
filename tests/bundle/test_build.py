"""What is in a bundle, and that the same run gives the same bytes."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from sottovoce.bundle.archive import Member, header_problem, write_archive
from sottovoce.bundle.build import Built, build
from sottovoce.bundle.contents import BundleSpec
from sottovoce.bundle.texts import device_files
from sottovoce.cli.app import app
from sottovoce.errors import BundleError, InputError, OutputExistsError, SottovoceError, SpecError
from sottovoce.machine.cpu import VNNI
from sottovoce.progress import Advance, Silent
from sottovoce.runs import read_run
from sottovoce.speech.synthetic import demo_speech


def test_every_file_has_the_hash_that_sha256sum_finds(opened: Path) -> None:
    listed = json.loads((opened / "bundle.json").read_bytes())["files"]
    sums = "".join(f"{entry['sha256']}  {entry['path']}\n" for entry in listed)
    done = subprocess.run(["sha256sum", "--check", "--quiet"], input=sums, cwd=opened, text=True, check=False)
    assert done.returncode == 0
    seal = subprocess.run(["sha256sum", "--check", "--quiet", "bundle.json.sha256"], cwd=opened, check=False)
    assert seal.returncode == 0
    found = {path.relative_to(opened).as_posix() for path in opened.rglob("*") if path.is_file()}
    assert found == {entry["path"] for entry in listed} | {"bundle.json", "bundle.json.sha256"}


def test_a_bundle_holds_what_a_device_needs(opened: Path, tiny_run: Path) -> None:
    there = {path.relative_to(opened).as_posix() for path in opened.rglob("*") if path.is_file()}
    model = {f"model/{path.name}" for path in (tiny_run / "int8").iterdir()}
    assert model <= there
    assert {"verify.py", "README.md", "recipe.yaml", "requirements.txt", "licences/NOTICE.md"} <= there
    assert sum(path.startswith("golden/") for path in there) == 3
    assert yaml.safe_load((opened / "recipe.yaml").read_text())["name"] == "int8"
    pinned = (opened / "requirements.txt").read_text()
    assert re.search(r"^openvino==\d", pinned, re.MULTILINE)
    assert "torch" not in pinned
    assert "Apache License" in (opened / "licences" / "Apache-2.0.txt").read_text()


def test_members_say_nothing_of_who_packed_them_and_when(built: Built) -> None:
    with tarfile.open(built.path) as archive:
        members = archive.getmembers()
    names = [member.name.partition("/")[2] for member in members]
    assert names[:2] == ["bundle.json", "bundle.json.sha256"]
    assert names[2:] == sorted(names[2:])
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime, m.mode, m.isfile()) for m in members} == {
        (0, 0, "", "", 0, 0o644, True)
    }


def test_no_file_names_a_folder_of_this_machine(opened: Path, tiny_run: Path) -> None:
    for path in opened.rglob("*"):
        if path.is_file() and path.suffix in {".xml", ".json", ".txt", ".yaml", ".md", ".bin"}:
            raw = path.read_bytes()
            for name in (tiny_run, Path.home(), Path(sys.prefix)):
                assert os.fsencode(name) + b"/" not in raw, path


BUILD = """
import os, sys
from pathlib import Path
os.umask(int(sys.argv[3], 8))
from sottovoce.bundle.build import build
from sottovoce.bundle.contents import BundleSpec
from sottovoce.speech.synthetic import demo_speech
from sottovoce.progress import Silent
from sottovoce.runs import read_run
spec = BundleSpec(variant="int8", speech=demo_speech(), least_rtfx=0.01)
print(build(read_run(Path(sys.argv[1])), spec, Path(sys.argv[2]), Silent()).sha256)
"""


@pytest.mark.parametrize(
    ("seed", "zone", "locale", "umask"),
    [
        ("1", "Asia/Kathmandu", "C", "077"),
        ("2", "America/St_Johns", "C.UTF-8", "002"),
    ],
)
def test_the_same_run_gives_the_same_bytes(
    seed: str, zone: str, locale: str, umask: str, built: Built, tiny_run: Path, tmp_path: Path
) -> None:
    changed = {"PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(tiny_run), f"{seed}.tar.gz", umask],
        env={**os.environ, **changed},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[-1] == built.sha256


def test_a_variant_that_was_changed_is_not_packed(tiny_run: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(tiny_run, copy)
    graph = copy / "int8" / "openvino_encoder_model.xml"
    raw = graph.read_bytes()
    graph.write_bytes(raw.replace(b"net", b"Net", 1))
    out = tmp_path / "tiny.tar.gz"
    with pytest.raises(InputError, match=r"another hash for openvino_encoder_model\.xml"):
        build(read_run(copy), BundleSpec(variant="int8", speech=demo_speech()), out, Silent())
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_an_image_needs_wheels(tiny_run: Path, tmp_path: Path) -> None:
    spec = BundleSpec(variant="int8", speech=demo_speech(), has_dockerfile=True)
    with pytest.raises(SpecError, match="--wheels"):
        build(read_run(tiny_run), spec, tmp_path / "tiny.tar.gz", Silent())


def test_int8_activations_need_exact_products(built: Built) -> None:
    assert built.manifest.cpu.needed == {"x86_64": VNNI}


def test_float_needs_no_instruction_set(tiny_run: Path, tmp_path: Path) -> None:
    spec = BundleSpec(variant="fp32", speech=demo_speech())
    assert build(read_run(tiny_run), spec, tmp_path / "fp32.tar.gz", Silent()).manifest.cpu.needed == {}


def test_an_unknown_variant_is_an_error(tiny_run: Path) -> None:
    with pytest.raises(InputError, match="int9; did you mean int8"):
        build(
            read_run(tiny_run), BundleSpec(variant="int9", speech=demo_speech()), Path("x.tar.gz"), Silent()
        )


def test_errors_of_bundles_are_gates() -> None:
    assert BundleError.exit_code == 3


def test_a_variant_that_the_run_does_not_know_is_not_packed(tiny_run: Path, tmp_path: Path) -> None:
    """A graph was changed, and its new hash written into the manifest of the variant."""
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(tiny_run, copy)
    manifest = copy / "int8" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("sottovoce optimize", "other optimize"))
    with pytest.raises(InputError, match=r"int8/manifest\.json is not what .* lists"):
        build(
            read_run(copy), BundleSpec(variant="int8", speech=demo_speech()), tmp_path / "x.tar.gz", Silent()
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--python", "3.12"], "--python needs --wheels"),
        (["--max-memory-mb", "nan"], "--max-memory-mb is nan"),
        (["--min-rtfx", "inf"], "--min-rtfx is inf"),
        (["--model-licence", "nothing.txt"], "--model-licence nothing.txt cannot be read"),
        (["--out", "x.zip"], "a bundle is a gzip-compressed tar archive; name it x.tar.gz"),
        (["--out", "."], "is a folder, and the output is a file"),
    ],
)
def test_invalid_options_are_refused_before_any_work(
    options: list[str], message: str, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["bundle", str(tiny_run), "--out", "x.tar.gz", *options])
    assert isinstance(result.exception, SottovoceError)
    assert message in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_signature_that_is_there_is_not_overwritten(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz.sig").write_text("of another bundle")
    arguments = ["bundle", str(tiny_run), "--out", str(tmp_path / "x.tar.gz"), "--sign", "key.pem"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, OutputExistsError)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar.gz.sig"]


class Changing(Silent):
    """Lets a step of the build end, or begin, and changes a file then."""

    def __init__(self, path: Path, *, after: str = "", before: str = "") -> None:
        self._path, self._after, self._before = path, after, before

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Advance]:
        if self._before and what.startswith(self._before):
            self._change()
        with super().progress(what, total) as advance:
            yield advance
        if self._after and what.startswith(self._after):
            self._change()

    def _change(self) -> None:
        other = self._path.with_name(f"{self._path.name}.new")
        other.write_bytes(self._path.read_bytes()[:-1] + b" ")
        other.replace(self._path)


@pytest.mark.parametrize("moment", [{"after": "transcribe"}, {"before": "pack"}], ids=str)
@pytest.mark.parametrize("name", ["openvino_encoder_model.bin", "config.json", "manifest.json"])
def test_a_run_that_is_replaced_meanwhile_gives_no_bundle_of_two(
    moment: dict[str, str], name: str, tiny_run: Path, tmp_path: Path
) -> None:
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(tiny_run, copy)
    spec = BundleSpec(variant="int8", speech=demo_speech())
    reporter = Changing(copy / "int8" / name, **moment)
    with pytest.raises(InputError, match=rf"model/{re.escape(name)} was changed while it was packed"):
        build(read_run(copy), spec, tmp_path / "tiny.tar.gz", reporter)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_file_that_disappears_or_shrinks_while_it_is_packed_is_an_error(tmp_path: Path) -> None:
    source = tmp_path / "weights.bin"
    source.write_bytes(b"weights")
    listed = Member(path="model/weights.bin", source=source).entry()
    for shrink in (lambda: source.write_bytes(b"w"), source.unlink):
        shrink()
        with pytest.raises(InputError, match=r"model/weights\.bin was changed while it was packed"):
            write_archive(
                tmp_path / "x", "top", [Member(path="model/weights.bin", source=source, listed=listed)]
            )


class Idle:
    """Fails if any work begins."""

    def note(self, text: str) -> None:
        pytest.fail(text)

    def progress(self, what: str, total: int | None) -> AbstractContextManager[Advance]:
        pytest.fail(f"{what} of {total}")


def test_a_name_too_long_for_an_archive_is_refused_before_any_work(tiny_run: Path, tmp_path: Path) -> None:
    run = read_run(tiny_run)
    named = run.manifest.model_copy(update={"name": "x" * 190})
    spec = BundleSpec(variant="int8", speech=demo_speech())
    with pytest.raises(InputError, match=r"does not fit into an archive .*at most 100 characters"):
        build(dataclasses.replace(run, manifest=named), spec, tmp_path / "tiny.tar.gz", Idle())
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("path", "size_bytes", "fits"),
    [
        (f"model/{'x' * 100}", 8**11 - 1, True),
        (f"model/{'x' * 101}", 1, False),
        (f"{'x' * 151}/{'y' * 100}", 1, True),
        (f"{'x' * 152}/{'y' * 100}", 1, False),
        ("model/x", 8**11, False),
    ],
)
def test_what_fits_into_a_header_is_known(path: str, size_bytes: int, fits: bool) -> None:  # noqa: FBT001 - data
    assert (header_problem(f"top/{path}", size_bytes) is None) == fits


def test_an_image_is_readable_under_any_umask_and_its_health_check_is_cheap(built: Built) -> None:
    text = device_files(built.manifest, has_dockerfile=True)["Dockerfile"].decode()
    lines = text.splitlines()
    assert lines.index("RUN chmod -R a+rX /opt/bundle \\") < lines.index("USER 65532:65532")
    check = text.partition("\nHEALTHCHECK ")[2].partition("\nENTRYPOINT")[0]
    assert 'CMD ["python", "/opt/bundle/verify.py"]' in check
    assert "@" not in text
