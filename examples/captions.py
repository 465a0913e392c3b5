"""A microphone to captions: the last two lines of what is said, in a file that OBS or a slide shows.

python examples/captions.py runs/base captions.txt                 # the microphone
python examples/captions.py runs/base captions.txt recording.wav   # a file, a pipe (-)
"""

import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from sottovoce.runtime import Committed, Partial, load
from sottovoce.runtime.live.events import LiveEvent
from sottovoce.runtime.live.listen import Listener
from sottovoce.runtime.live.microphone import Microphone
from sottovoce.runtime.live.sources import open_audio

COLUMNS, LINES = 42, 2
KEPT_CHARACTERS = 1000


class Captions:
    """Keeps the end of a text in lines; committed words stay, the tail may still change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = ""

    def show(self, events: Iterable[LiveEvent]) -> None:
        """Write the lines that follow from events."""
        for event in events:
            if isinstance(event, Committed):
                self.text = (self.text + "".join(word.text for word in event.words))[-KEPT_CHARACTERS:]
                self.write("")
            elif isinstance(event, Partial):
                self.write("".join(word.text for word in event.words))

    def write(self, tail: str) -> None:
        """Replace the file in one step: its reader never sees half of it."""
        lines = textwrap.wrap((self.text + tail).strip(), COLUMNS)[-LINES:]
        new = self.path.with_suffix(".new")
        new.write_text("\n".join(lines) + "\n", encoding="utf-8")
        new.replace(self.path)


def main(run: str, path: str, audio: str | None = None) -> None:
    """Write captions until the audio ends, or Ctrl-C."""
    captions = Captions(Path(path))
    captions.write("")
    session = load(run).live()
    with Listener(Microphone() if audio is None else open_audio(audio)) as listener:
        for block in listener.blocks(lambda note: print(note, file=sys.stderr)):
            captions.show(session.feed(block))
    captions.show(session.finish())


if __name__ == "__main__":
    main(*sys.argv[1:])
