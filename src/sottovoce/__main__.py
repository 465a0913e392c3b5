"""Run the command line, as `sottovoce` or as `python -m sottovoce`."""

import os
import signal
from types import FrameType


def _leave(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)


def main() -> None:
    """Run the command line; a signal during its import ends it silently."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)
    from sottovoce.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
