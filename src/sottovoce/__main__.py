"""Run the command line as `python -m sottovoce`."""

from sottovoce.cli import main

main()
