"""`sottovoce verify`."""

from pathlib import Path
from typing import Annotated

import typer

from sottovoce.cli.commands.options import Json, Session, show

EXIT_FAILED = 3


def verify(
    context: typer.Context,
    bundle: Annotated[
        Path,
        typer.Argument(
            metavar="BUNDLE", help="Archive of `sottovoce bundle`, or its folder.", show_default=False
        ),
    ],
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads of the self-test; all cores by default.")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            metavar="KEY",
            help="Public key (PEM): the bundle must be signed with its private key.",
            show_default=False,
        ),
    ] = None,
    signature: Annotated[
        Path | None,
        typer.Option(
            "--signature", metavar="FILE", help="Signature; by default BUNDLE.sig.", show_default=False
        ),
    ] = None,
    *,
    self_test: Annotated[
        bool,
        typer.Option("--self-test", help="Also transcribe the golden clips and measure speed and memory."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check every byte of a bundle and, with --self-test, that it works on this machine.

    Exit code 0, or 3 with the reason. Without sottovoce, run `python3 verify.py` in the unpacked bundle.

    Examples:

        sottovoce verify base.tar.gz

        sottovoce verify base.tar.gz --self-test --json

        sottovoce verify base.tar.gz --key release.pub
    """
    from sottovoce.bundle.check import check_bundle
    from sottovoce.errors import BundleError, SpecError

    session: Session = context.obj
    if signature is not None and key is None:
        raise SpecError("--signature needs --key: a signature can be checked with the key of its owner only")
    checked = check_bundle(bundle, key=key, signature=signature, with_self_test=self_test, threads=threads)
    if as_json:
        show(session, checked.model_dump_json(indent=2))
    else:
        for line in checked.lines():
            show(session, line)
    if checked.problems:
        raise BundleError(checked.problems[0])
