"""`sottovoce live` and `transcribe --follow`: a terminal, options that do not go together, the recording."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from sottovoce.cli.live import Screen, plan_recording
from sottovoce.errors import InputError, SpecError
from sottovoce.runtime.live.events import Committed, Partial, SpeechStarted, Utterance
from sottovoce.runtime.live.output import LiveFormat
from sottovoce.runtime.transcript import Segment, Word
from tests.support.commands import run_command


def words(*texts: str) -> tuple[Word, ...]:
    return tuple(Word(text=f" {text}", start_s=0.0, end_s=0.0, probability=0.9) for text in texts)


def utterance(*texts: str) -> Utterance:
    segment = Segment(
        start_s=0.0,
        end_s=1.0,
        text=" ".join(texts),
        tokens=(),
        mean_log_probability=0.0,
        no_speech_probability=0.0,
        compression_ratio=1.0,
        words=words(*texts),
    )
    return Utterance(segment=segment, language="en", language_probability=1.0, audio_s=1.0)


@pytest.fixture
def terminal() -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, width=40, color_system="standard", legacy_windows=False
    )


def latest(terminal: Console) -> str:
    """Return what was written last, without the codes that move the cursor, and forget it."""
    assert isinstance(terminal.file, io.StringIO)
    text = terminal.file.getvalue()
    terminal.file.seek(0)
    terminal.file.truncate()
    return re.sub(r"\x1b\[[\d?]*[A-Zh-l]|\r", "", text)


BRIGHT, DIM, END = "\x1b[1m", "\x1b[2m", "\x1b[0m"


def test_committed_words_are_bright_and_the_tail_is_dim(terminal: Console) -> None:
    screen = Screen(terminal)
    with screen.shown():
        screen.write(SpeechStarted(at_s=0.0, audio_s=0.5))
        screen.write(Partial(words=words("so", "we"), audio_s=1.0))
        assert latest(terminal) == f"{DIM}so we{END}"
        screen.write(Committed(words=words("so"), audio_s=1.5))
        assert latest(terminal) == f"{BRIGHT}so{END}{DIM} we{END}"
        screen.write(Partial(words=words("went", "home"), audio_s=1.5))
        assert latest(terminal) == f"{BRIGHT}so{END}{DIM} went home{END}"
        screen.write(Committed(words=words("walked"), audio_s=2.0))
        assert latest(terminal) == f"{BRIGHT}so walked{END}"


def test_an_utterance_stays_as_a_line_and_what_follows_it_is_still_shown(terminal: Console) -> None:
    screen = Screen(terminal)
    with screen.shown():
        screen.write(Committed(words=words("one", "two", "three"), audio_s=20.0))
        latest(terminal)
        screen.write(utterance("one", "two"))
        assert latest(terminal).endswith(f"one two\n{BRIGHT}three{END}")
        screen.note("a note")
        assert latest(terminal) == f"\x1b[3ma note{END}\n{BRIGHT}three{END}"


def test_markup_in_speech_is_text(terminal: Console) -> None:
    screen = Screen(terminal)
    with screen.shown():
        screen.write(utterance("[bold]so[/]", ":smile:"))
        assert latest(terminal).strip() == "[bold]so[/] :smile:"


def test_the_refined_transcript_is_beside_the_recording(tmp_path: Path) -> None:
    save = tmp_path / "talk.flac"
    assert plan_recording(save, LiveFormat.TEXT, refine=True, force=False) == tmp_path / "talk.txt"
    assert plan_recording(save, LiveFormat.JSONL, refine=True, force=False) == tmp_path / "talk.json"
    assert plan_recording(save, LiveFormat.VTT, refine=False, force=False) is None


@pytest.mark.parametrize("existing", ["talk.flac", "talk.txt"])
def test_nothing_is_replaced_without_force(existing: str, tmp_path: Path) -> None:
    (tmp_path / existing).touch()
    save = tmp_path / "talk.flac"
    with pytest.raises(InputError, match=f"{existing} exists already"):
        plan_recording(save, LiveFormat.TEXT, refine=True, force=False)
    assert plan_recording(save, LiveFormat.TEXT, refine=True, force=True) == tmp_path / "talk.txt"


def test_recordings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"give --save talk\.flac too"):
        plan_recording(None, LiveFormat.TEXT, refine=True, force=False)
    with pytest.raises(SpecError, match=r"want a name that ends with \.flac"):
        plan_recording(tmp_path / "talk.mp3", LiveFormat.TEXT, refine=False, force=False)
    with pytest.raises(InputError, match="is not a folder"):
        plan_recording(tmp_path / "no" / "talk.flac", LiveFormat.TEXT, refine=False, force=False)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ("live", "runs/x", "-", "--device", "USB"),
            2,
            "--device is for a microphone; drop it, or AUDIO (-)",
        ),
        (("live", "runs/x", "--rate", "8000"), 2, "--rate and --channels are for raw PCM; give AUDIO too"),
        (("live", "runs/x", "-", "--language", "klingon"), 2, "klingon"),
        (("live", "runs/x", "gone.wav"), 1, "gone.wav does not exist; check the path"),
        (("transcribe", "runs/x", "a", "b", "--follow"), 2, "--follow takes one file"),
        (("transcribe", "runs/x", "a", "--follow", "--beam-size", "5"), 2, "--follow takes one file"),
        (("transcribe", "runs/x", "a", "--follow", "--format", "tsv"), 2, "--follow takes one file"),
    ],
)
def test_what_does_not_go_together_is_one_line(arguments: tuple[str, ...], code: int, message: str) -> None:
    outcome = run_command(*arguments)
    assert (outcome.code, outcome.out) == (code, "")
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    assert message in line
