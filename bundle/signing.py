"""Signatures of bundles: sigstore's `model-signing` with a pair of elliptic-curve keys.

`bundle.json` is signed, which holds the SHA-256 of every other file. The signature lies beside the bundle, because it
differs each time (ECDSA draws a random number) and the bundle does not. It is a sigstore bundle with an in-toto
statement, which the `model_signing` command line can check too:
`model_signing verify key bundle.json --signature X.sig --public_key PUB`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from sottovoce.bundle.manifest import BUNDLE_NAME, BundleManifest, write_manifest
from sottovoce.errors import BundleError, InputError, MissingExtraError

SUFFIX = ".sig"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A new signature, in the folder of the `bundle.json` that it signs, and its public key."""

    path: Path
    public_key: Path


def signature_path(bundle: Path) -> Path:
    """Return the default place of a signature: beside the archive, or beside the folder of an unpacked bundle."""
    # `.` and `..` have no name of their own. Other links are not resolved: their targets have names that the user did
    # not give.
    named = bundle.resolve() if bundle.name in ("", "..") else bundle
    return named.parent / f"{named.name}{SUFFIX}"


def check_key(key: Path) -> None:
    """Refuse a private key that cannot sign, before work begins.

    Raises:
        InputError: it cannot be read, or is not a private key of an elliptic curve.
        MissingExtraError: the extra `signing` is not installed.
    """
    signing, _ = _import()
    with _key_errors(f"--sign {key}"):
        signing.Config().use_elliptic_key_signer(private_key=key)


def sign(manifest: BundleManifest, key: Path, folder: Path) -> Signed:
    """Sign a bundle.

    Args:
        folder: created; receives the signature and `bundle.json`.

    Raises:
        InputError: the key cannot be used.
        MissingExtraError: the extra `signing` is not installed.
    """
    signing, _ = _import()
    with _key_errors(f"--sign {key}"):
        signer = signing.Config().use_elliptic_key_signer(private_key=key)
        public = _public_half(key)
    folder.mkdir()
    raw, _ = write_manifest(manifest)
    (folder / BUNDLE_NAME).write_bytes(raw)
    signed = Signed(path=folder / f"{BUNDLE_NAME}{SUFFIX}", public_key=folder / "public.pem")
    signed.public_key.write_bytes(public)
    signer.sign(folder / BUNDLE_NAME, signed.path)
    signed.path.chmod(0o644)
    return signed


def _public_half(key: Path) -> bytes:
    """Return the PEM of the public half of a private key."""
    from cryptography.hazmat.primitives import serialization

    private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def check_signature(folder: Path, signature: Path, key: Path) -> None:
    """Check that `bundle.json` of an unpacked bundle was signed with the private half of a key.

    Raises:
        BundleError: it was signed with another key, or not at all.
        InputError: the key or the signature cannot be read.
        MissingExtraError: the extra `signing` is not installed.
    """
    _, verifying = _import()
    if not signature.is_file():
        raise BundleError(
            f"{signature} is missing: this bundle is not signed; name the signature with --signature"
        )
    with _key_errors(f"--key {key}"):
        check = verifying.Config().use_elliptic_key_verifier(public_key=key)
    try:
        check.verify(folder / BUNDLE_NAME, signature)
    except Exception as cause:  # the library raises whatever its parsers raise
        raise BundleError(f"{signature} is not a signature of this bundle by the owner of {key}") from cause


@contextmanager
def _key_errors(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as cause:  # the library raises whatever its parsers raise
        reason = str(cause).partition(". ")[0]
        raise InputError(
            f"{what} cannot be used: {reason}; want a key of an elliptic curve as PEM"
        ) from cause


def _import() -> tuple[ModuleType, ModuleType]:
    try:
        from model_signing import signing, verifying
    except ImportError as cause:
        raise MissingExtraError("model-signing", needed_for="signatures", extra="signing") from cause
    return signing, verifying
