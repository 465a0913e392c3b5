"""`sottovoce verify`: checks the bytes, the signature and the CPU, and runs the self-test."""

import time
from pathlib import Path

from pydantic import Field

from sottovoce.bundle.device.verify import plain
from sottovoce.bundle.open_bundle import OpenedBundle, cpu_problem, open_bundle
from sottovoce.bundle.self_test import SelfTest, self_test
from sottovoce.bundle.signing import check_signature, signature_path
from sottovoce.errors import BundleError, InputError, ResourceError, SpecError
from sottovoce.machine.environment import Host, read_host
from sottovoce.storage.documents import Document


class Checked(Document):
    """The result of checking a bundle."""

    name: str | None = Field(description="Null of one that is damaged.")
    is_whole: bool = Field(description="Every byte is as bundle.json says, and there is nothing else.")
    n_files: int
    size_bytes: int = Field(description="Unpacked.")
    check_s: float = Field(description="Unpacking of an archive included.")
    is_signed: bool | None = Field(description="By the owner of the key; null where no key was given.")
    self_test: SelfTest | None = Field(
        description="Null without --self-test, or if the CPU cannot run it, or the model cannot be loaded."
    )
    host: Host
    problems: tuple[str, ...] = Field(description="Empty where all is well.")

    def lines(self) -> list[str]:
        """Return the result as text."""
        if not self.is_whole:
            return []
        lines = [
            f"whole: {self.name}, {self.n_files} files, {self.size_bytes / 1e6:.1f} MB, {self.check_s:.2f} s"
        ]
        if self.is_signed:
            lines.append("signed: yes, by the owner of the key")
        if self.self_test is not None:
            lines += _self_test_lines(self.self_test)
        return lines


def _self_test_lines(test: SelfTest) -> list[str]:
    clips = [
        f"{clip.path}: {clip.token_agreement:.0%} of the tokens as expected: {clip.text!r}"
        for clip in test.clips
    ]
    speed = (
        f"self-test: {test.rtfx:.1f} s of audio per second, {test.peak_rss_bytes / 1e6:.0f} MB at the most, "
        f"loaded in {test.load_s:.2f} s"
    )
    return [*clips, speed]


def check_bundle(
    path: Path,
    *,
    key: Path | None = None,
    signature: Path | None = None,
    with_self_test: bool = False,
    threads: int | None = None,
) -> Checked:
    """Check a bundle on this machine.

    Args:
        key: public key of the signature; None: the signature is not checked.
        signature: None: beside the bundle.

    Raises:
        InputError: there is no bundle, or the key cannot be read.
        MissingExtraError: the extra `signing` or the library of the variant is not installed.
        ResourceError: the disk is too small to unpack it.
    """
    started = time.perf_counter()
    try:
        with open_bundle(path) as bundle:
            check_s = time.perf_counter() - started
            unsigned = None if key is None else _unsigned(bundle, signature or signature_path(path), key)
            lacks = cpu_problem(bundle.manifest)
            can_run = with_self_test and unsigned is None and lacks is None
            test, failure = _self_tested(bundle, threads) if can_run else (None, None)
            name, files = bundle.manifest.name, bundle.manifest.files
            named = (f"{name}: {problem}" for problem in (lacks, failure) if problem is not None)
            return Checked(
                name=name,
                is_whole=True,
                n_files=len(files),
                size_bytes=sum(entry.size_bytes for entry in files),
                check_s=round(check_s, 3),
                is_signed=None if key is None else unsigned is None,
                self_test=test,
                host=read_host(),
                problems=(
                    *(() if unsigned is None else (unsigned,)),
                    *named,
                    *(() if test is None else test.problems),
                ),
            )
    except BundleError as cause:
        return Checked(
            name=None,
            is_whole=False,
            n_files=0,
            size_bytes=0,
            check_s=round(time.perf_counter() - started, 3),
            is_signed=None,
            self_test=None,
            host=read_host(),
            problems=(str(cause),),
        )


def _unsigned(bundle: OpenedBundle, signature: Path, key: Path) -> str | None:
    """Return why a bundle does not count as signed; None if it is signed."""
    try:
        check_signature(bundle.folder, signature, key)
    except BundleError as cause:
        return str(cause)
    return None


def _self_tested(bundle: OpenedBundle, threads: int | None) -> tuple[SelfTest | None, str | None]:
    """Return the self-test, or why the model cannot be run."""
    try:
        return self_test(bundle.folder, bundle.manifest, threads), None
    except (InputError, ResourceError, SpecError) as cause:
        return None, f"its self-test cannot be run: {plain(str(cause))}"
