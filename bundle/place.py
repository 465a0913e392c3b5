"""A bundle and its signature at their places: at no moment the signature of one bundle lies beside another."""

from pathlib import Path

from sottovoce.bundle.signing import Signed, check_signature, signature_path
from sottovoce.errors import BundleError, OutputExistsError
from sottovoce.storage.artifacts import sha256_of_file
from sottovoce.storage.folders import check_output_file


def check_place(out: Path, *, is_signed: bool, force: bool) -> None:
    """Refuse to write where something stands, before work begins.

    A bundle that is to be signed and lies there without a signature is let pass: a killed command leaves that, and `put`
    knows whether it is the same bundle.

    Raises:
        InputError: it is a folder.
        OutputExistsError: it is a file and `force` is not set.
    """
    lacks_signature = is_signed and out.is_file() and not signature_path(out).exists()
    check_output_file(out, force=force or lacks_signature)
    check_output_file(signature_path(out), force=force)


def put(archive: Path, sha256: str, signed: Signed | None, out: Path, *, force: bool) -> None:
    """Move a bundle and its signature to their places, as far as they are not there. The lock of `out` must be held.

    Args:
        archive: on the same file system as `out`.
        sha256: its hash.
        signed: its signature, where it has one.
        out: place of the bundle.
        force: replace another bundle, with its signature.

    Raises:
        InputError: a folder is in the way.
        OutputExistsError: another bundle or signature is there, and `force` is not set.
    """
    signature = signature_path(out)
    if not out.is_file() or sha256_of_file(out) != sha256:
        check_output_file(out, force=force)
        check_output_file(signature, force=force)
        # First: after a kill there may be a bundle without a signature, never with another's.
        signature.unlink(missing_ok=True)
        archive.replace(out)
    if signed is not None:
        _put_signature(signed, signature, force=force)


def _put_signature(signed: Signed, place: Path, *, force: bool) -> None:
    """Move a signature to its place, unless another process put one by the same key there meanwhile."""
    if force or not place.exists():
        signed.path.replace(place)
        return
    try:
        check_signature(signed.path.parent, place, signed.public_key)
    except BundleError as cause:
        raise OutputExistsError(place) from cause
