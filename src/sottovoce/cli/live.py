"""Live transcription on the command line: the words on a terminal, Ctrl-C, the recording."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from sottovoce.cli.commands.options import Session
from sottovoce.errors import InputError, SpecError
from sottovoce.runtime.audio.track import Note
from sottovoce.runtime.live.events import Committed, LiveEvent, Partial, Utterance
from sottovoce.runtime.live.listen import Listener, LiveTranscription, Writer
from sottovoce.runtime.live.output import LiveFormat, LivePrinter
from sottovoce.runtime.live.recording import Recording
from sottovoce.runtime.live.session import LiveSession
from sottovoce.runtime.live.sources import Source
from sottovoce.runtime.output.formats import TranscriptFormat
from sottovoce.runtime.output.subtitles import one_line
from sottovoce.runtime.transcript import Word

REFINED = {
    LiveFormat.TEXT: TranscriptFormat.TXT,
    LiveFormat.JSONL: TranscriptFormat.JSON,
    LiveFormat.SRT: TranscriptFormat.SRT,
    LiveFormat.VTT: TranscriptFormat.VTT,
}
"""The format of the transcript that is made of the recording afterwards."""


class Screen:
    """The utterance that goes on: committed words bright, the tail dim. Utterances that ended stay above it."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True, vertical_overflow="visible")
        self._committed: list[Word] = []
        self._tail: Sequence[Word] = ()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it while the block runs."""
        with self._live:
            yield

    def write(self, event: LiveEvent) -> None:
        """Show an event."""
        match event:
            case Committed():
                self._committed += event.words
                n = len(event.words)
                is_start = _texts(self._tail[:n]) == _texts(event.words)
                self._tail = self._tail[n:] if is_start else ()
            case Partial():
                self._tail = event.words
            case Utterance():
                self._committed = self._committed[len(event.segment.words) :]
            case _:
                return
        self._live.update(self._text(), refresh=True)
        if isinstance(event, Utterance):
            self._live.console.print(Text(one_line(event.segment.text)), soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a note above the words."""
        self._live.console.print(Text(text, style="italic"), soft_wrap=True)

    def _text(self) -> Text:
        bright = Text("".join(_texts(self._committed)).lstrip(), style="bold")
        tail = "".join(_texts(self._tail))
        return bright.append(tail if bright.plain else tail.lstrip(), "not bold dim")


def _texts(words: Sequence[Word]) -> list[str]:
    return [word.text for word in words]


def default_format() -> LiveFormat:
    """Return the format of standard output: text on a terminal, else JSON lines."""
    return LiveFormat.TEXT if sys.stdout.isatty() else LiveFormat.JSONL


def run_live(
    session: Session,
    source: Source,
    open_session: Callable[[], LiveSession],
    kind: LiveFormat,
    save: Path | None = None,
) -> None:
    """Transcribe a source to its end, or to Ctrl-C, which finishes the last words.

    Args:
        session: of the command.
        source: read from now on, also while the model is loaded.
        open_session: loads the model.
        kind: of standard output.
        save: FLAC file for the audio.

    Raises:
        InputError: see `LiveTranscription.run`.
    """
    with Listener(source) as listener:
        session.terminal.note(f"listens to {listener.label}; Ctrl-C ends it")
        live = open_session()
        live.warm_up()
        recording = None if save is None else Recording(save)
        with _output(session, kind) as (writer, note), session.signals.finish_first(listener.stop):
            LiveTranscription(live, [writer], note, recording).run(listener)


@contextmanager
def _output(session: Session, kind: LiveFormat) -> Iterator[tuple[Writer, Note]]:
    """Give what shows events, and what prints notes: notes on the same terminal stand above the words."""
    if kind is not LiveFormat.TEXT or not sys.stdout.isatty():
        yield LivePrinter(kind, lambda text: typer.echo(text, nl=False)), session.terminal.note
        return
    screen = Screen(Console(no_color=session.no_color or None, highlight=False))
    with screen.shown():
        shares_terminal = sys.stderr.isatty() and not session.quiet
        yield screen, screen.note if shares_terminal else session.terminal.note


def plan_recording(save: Path | None, kind: LiveFormat, *, refine: bool, force: bool) -> Path | None:
    """Check where the recording and its transcript are written, before the model is loaded.

    Returns:
        The path of the transcript; None without `refine`.

    Raises:
        SpecError: `refine` without `save`, or a `save` that is not FLAC.
        InputError: one of them exists, or the folder does not.
    """
    if save is None:
        if refine:
            raise SpecError("--refine transcribes the recording again; give --save talk.flac too")
        return None
    if save.suffix.lower() != ".flac":
        raise SpecError(f"--save is {save}, want a name that ends with .flac")
    if not save.parent.is_dir():
        raise InputError(f"{save.parent} is not a folder; create it, or choose another --save")
    refined = save.with_suffix(f".{REFINED[kind]}") if refine else None
    for path in (save, refined):
        if path is not None and path.exists() and not force:
            raise InputError(f"{path} exists already; choose another --save, or pass --force to replace it")
    return refined
