"""Transcripts of many clips; those from before training are kept, so that an interrupted command resumes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from sottovoce.progress import Reporter
from sottovoce.runtime.decoding.tokenizer import Tokens, WhisperTokenizer
from sottovoce.storage.documents import Document, read_json_lines, write_json_lines

Clip = TypeVar("Clip")

MOST_OWN_TOKENS = 220
"""Of a transcript of 30 s: a longer one is a loop."""


class KeptTranscript(Document):
    """The transcript of a clip."""

    text: str


def own_text(tokens: Tokens, tokenizer: WhisperTokenizer) -> str:
    """Return the text of up to `MOST_OWN_TOKENS` tokens; nothing where it loops."""
    return "" if len(tokens) == MOST_OWN_TOKENS else tokenizer.text(tokens)


def transcripts(
    clips: Sequence[Clip], transcribe: Callable[[Clip], str], reporter: Reporter
) -> tuple[str, ...]:
    """Transcribe clips with progress."""
    found = []
    with reporter.progress("transcribe", len(clips)) as advance:
        for clip in clips:
            found.append(transcribe(clip))
            advance()
    return tuple(found)


def kept_transcripts(
    clips: Sequence[Clip], transcribe: Callable[[Clip], str], path: Path, reporter: Reporter
) -> tuple[str, ...]:
    """Transcribe clips, or read back their transcripts of an interrupted command.

    Args:
        clips: the same ones in the same order whenever the file exists.
        transcribe: returns the transcript of a clip by the model before training.
        path: of the file that keeps the transcripts.

    Raises:
        InputError: the file is damaged.
    """
    if not path.is_file():
        write_json_lines(
            path, [KeptTranscript(text=text) for text in transcripts(clips, transcribe, reporter)]
        )
    kept = read_json_lines(path, KeptTranscript, advice="repeat the command with --restart")
    return tuple(each.text for each in kept)
