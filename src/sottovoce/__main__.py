"""Run the command line, as `sottovoce` or as `python -m sottovoce`."""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType


def _leave(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)


def main() -> None:
    """Run the command line; a signal during its import ends it silently."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)
    if sys.argv[1:2] == ["serve"] and {"-h", "--help"}.isdisjoint(sys.argv):
        with suppress(ModuleNotFoundError):  # on a device
            from sottovoce.serve.workers.worker import spawn_ahead

            spawn_ahead()
    from sottovoce.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
