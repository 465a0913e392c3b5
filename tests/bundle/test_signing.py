"""Signatures, checked with the library's own command line as well."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

pytest.importorskip("model_signing", reason="the extra signing is not installed")

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from typer.testing import CliRunner

from sottovoce.bundle.build import Built, build, put
from sottovoce.bundle.check import check_bundle
from sottovoce.bundle.contents import BundleSpec
from sottovoce.bundle.signing import check_key, sign, signature_path
from sottovoce.cli.app import app
from sottovoce.errors import InputError, OutputExistsError, ResourceError
from sottovoce.machine.os_errors import translated_os_errors
from sottovoce.progress import Advance, Silent
from sottovoce.runs import read_run
from sottovoce.speech.synthetic import demo_speech

LimitFiles = Callable[[int], AbstractContextManager[None]]


def make_keys(folder: Path, name: str) -> tuple[Path, Path]:
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    key = ec.generate_private_key(ec.SECP256R1())
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def signed(built: Built, tmp_path: Path) -> tuple[Path, Path]:
    """Copy the bundle, sign it, and name the copy and the public key."""
    path = tmp_path / "tiny.tar.gz"
    shutil.copy(built.path, path)
    private, public = make_keys(tmp_path, "own")
    sign(built.manifest, private, tmp_path / "signing").path.rename(signature_path(path))
    return path, public


def test_a_signed_bundle_is_known(signed: tuple[Path, Path]) -> None:
    path, public = signed
    checked = check_bundle(path, key=public)
    assert (checked.problems, checked.is_signed) == ((), True)


def test_the_librarys_own_command_knows_it(signed: tuple[Path, Path], opened: Path) -> None:
    path, public = signed
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "model_signing",
            "verify",
            "key",
            str(opened / "bundle.json"),
            "--signature",
            str(signature_path(path)),
            "--public_key",
            str(public),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_another_key_is_refused(signed: tuple[Path, Path], tmp_path: Path) -> None:
    path, _ = signed
    _, other = make_keys(tmp_path, "other")
    checked = check_bundle(path, key=other)
    assert (checked.is_whole, checked.is_signed) == (True, False)
    (problem,) = checked.problems
    assert "is not a signature of this bundle" in problem


def test_a_signature_of_another_bundle_is_refused(
    signed: tuple[Path, Path], opened: Path, tmp_path: Path
) -> None:
    from sottovoce.bundle.device import verify

    path, public = signed
    folder = tmp_path / "changed"
    shutil.copytree(opened, folder)
    raw = (folder / "bundle.json").read_bytes().replace(b'"rtfx": 0.01', b'"rtfx": 0.02')
    (folder / "bundle.json").write_bytes(raw)
    (folder / "bundle.json.sha256").write_bytes(verify.seal_of(raw))
    assert check_bundle(folder).problems == ()
    (problem,) = check_bundle(folder, key=public, signature=signature_path(path)).problems
    assert "is not a signature of this bundle" in problem


def test_a_missing_signature_is_reported(built: Built, tmp_path: Path) -> None:
    _, public = make_keys(tmp_path, "own")
    (problem,) = check_bundle(built.path, key=public).problems
    assert "--signature" in problem


@pytest.mark.parametrize("place", [".", "..", "model/..", "../unpacked", "../unpacked/"])
def test_the_signature_of_a_folder_lies_beside_it_however_the_folder_is_named(
    place: str,
    signed: tuple[Path, Path],
    opened: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, public = signed
    folder = tmp_path / "unpacked"
    shutil.copytree(opened, folder)
    signature_path(path).rename(tmp_path / "unpacked.sig")
    monkeypatch.chdir(folder / "model" if place == ".." else folder)
    assert check_bundle(Path(place), key=public).problems == ()


def test_an_invalid_key_is_an_error(tmp_path: Path, built: Built) -> None:
    private, public = make_keys(tmp_path, "own")
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("no key")
    for key in (tmp_path / "none", nonsense, public):
        with pytest.raises(InputError, match="--sign"):
            check_key(key)
    signature_path(built.path).touch()
    try:
        with pytest.raises(InputError, match="--key"):
            check_bundle(built.path, key=private)
    finally:
        signature_path(built.path).unlink()


def pack(run: Path, out: Path, *options: str) -> Exception | None:
    arguments = ["bundle", str(run), "--out", str(out), "--min-rtfx", "0.01", *options]
    error = CliRunner().invoke(app, arguments).exception
    assert error is None or isinstance(error, Exception)
    return error


def test_a_bundle_that_a_killed_command_left_unsigned_is_signed_by_the_same_command(
    built: Built, tiny_run: Path, tmp_path: Path
) -> None:
    private, public = make_keys(tmp_path, "own")
    out = tmp_path / "tiny.tar.gz"
    shutil.copy(built.path, out)
    before = out.stat()
    assert pack(tiny_run, out, "--sign", str(private)) is None
    assert (out.stat().st_ino, out.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert check_bundle(out, key=public).problems == ()
    assert isinstance(pack(tiny_run, out, "--sign", str(private)), OutputExistsError)


def test_another_bundle_that_is_there_is_neither_replaced_nor_signed(tiny_run: Path, tmp_path: Path) -> None:
    private, _ = make_keys(tmp_path, "own")
    out = tmp_path / "tiny.tar.gz"
    out.write_text("of another user")
    assert isinstance(pack(tiny_run, out, "--sign", str(private)), OutputExistsError)
    assert out.read_text() == "of another user"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.key", "own.pub", "tiny.tar.gz"]


def test_the_signature_of_a_bundle_that_is_replaced_goes_with_it(tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny.tar.gz"
    out.write_text("an older bundle")
    signature_path(out).write_text("its signature")
    assert pack(tiny_run, out, "--force") is None
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.tar.gz"]


def test_the_signature_of_the_same_bundle_stays(built: Built, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny.tar.gz"
    shutil.copy(built.path, out)
    signature_path(out).write_text("its signature")
    assert pack(tiny_run, out, "--force") is None
    assert signature_path(out).read_text() == "its signature"


def test_an_old_signature_is_gone_before_a_new_bundle_is_there(tmp_path: Path) -> None:
    out = tmp_path / "tiny.tar.gz"
    out.write_text("old")
    signature_path(out).write_text("of the old one")
    with pytest.raises(FileNotFoundError):
        put(tmp_path / "lost", "0" * 64, None, out, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.tar.gz"]


def test_a_signature_that_another_process_wrote_meanwhile_is_taken_if_its_key_is_the_same(
    built: Built, signed: tuple[Path, Path], tmp_path: Path
) -> None:
    path, _ = signed
    theirs = signature_path(path).read_bytes()
    ours = sign(built.manifest, tmp_path / "own.key", tmp_path / "ours")
    put(tmp_path / "packed", built.sha256, ours, path, force=False)
    assert signature_path(path).read_bytes() == theirs
    other, _ = make_keys(tmp_path, "other")
    with pytest.raises(OutputExistsError):
        put(tmp_path / "packed", built.sha256, sign(built.manifest, other, tmp_path / "o"), path, force=False)
    assert signature_path(path).read_bytes() == theirs


class KeyIsLost(Silent):
    """Removes a key while a bundle is packed."""

    def __init__(self, key: Path) -> None:
        self._key = key

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Advance]:
        self._key.unlink(missing_ok=True)
        with super().progress(what, total) as advance:
            yield advance


def test_a_bundle_that_cannot_be_signed_does_not_appear(tiny_run: Path, tmp_path: Path) -> None:
    private, public = make_keys(tmp_path, "own")
    spec = BundleSpec(variant="int8", speech=demo_speech(), key=private)
    with pytest.raises(InputError, match="--sign"):
        build(read_run(tiny_run), spec, tmp_path / "tiny.tar.gz", KeyIsLost(private))
    assert [*tmp_path.iterdir()] == [public]


def test_a_full_disk_is_not_put_down_to_the_key(
    built: Built, tmp_path: Path, files_limited_to: LimitFiles
) -> None:
    private, _ = make_keys(tmp_path, "own")
    with (
        files_limited_to(10),
        pytest.raises(ResourceError, match="the disk is full"),
        translated_os_errors(tmp_path),
    ):
        sign(built.manifest, private, tmp_path / "signing")
