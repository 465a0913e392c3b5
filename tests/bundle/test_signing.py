"""Signatures, checked with the library's own command line as well."""

import shutil
import subprocess
import sys
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

from sottovoce.bundle.build import Built
from sottovoce.bundle.check import check_bundle
from sottovoce.bundle.signing import check_key, sign_bundle, signature_path
from sottovoce.errors import InputError


def make_keys(folder: Path, name: str) -> tuple[Path, Path]:
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    key = ec.generate_private_key(ec.SECP256R1())
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def signed(built: Built, tmp_path: Path) -> tuple[Path, Path]:
    """Copy the bundle, sign it, and name the copy and the public key."""
    import dataclasses

    path = tmp_path / "tiny.tar.gz"
    shutil.copy(built.path, path)
    private, public = make_keys(tmp_path, "own")
    sign_bundle(dataclasses.replace(built, path=path), private)
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
    assert "is no signature of this bundle" in problem


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
    assert "is no signature of this bundle" in problem


def test_a_missing_signature_is_told(built: Built, tmp_path: Path) -> None:
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


def test_keys_that_are_none_are_told(tmp_path: Path, built: Built) -> None:
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
