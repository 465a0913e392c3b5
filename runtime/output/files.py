"""Several files to several transcripts, with one variant loaded once."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sottovoce.errors import InputError, SottovoceError, SpecError
from sottovoce.progress import Reporter
from sottovoce.runtime.audio.decode import stated_duration_s
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.output.subtitles import TranscriptFormat, format_transcript
from sottovoce.runtime.protocol import Transcriber
from sottovoce.storage.documents import write_text

STDIN = "-"
STDIN_NAME = "standard input"

Show = Callable[[str], None]
"""Prints a transcript."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFile:
    """One audio to transcribe.

    Attributes:
        name: what it is called in messages and in `json`.
        audio: a path, or the bytes of standard input.
        output: the file to write; None prints.
    """

    name: str
    audio: Path | bytes
    output: Path | None


def plan_files(
    names: Sequence[str],
    stdin: Callable[[], bytes],
    kind: TranscriptFormat,
    output_dir: Path | None,
    *,
    force: bool,
) -> tuple[AudioFile, ...]:
    """Settle where each transcript goes, before anything is loaded.

    Args:
        names: paths, or `-` for standard input.
        stdin: reads standard input.
        kind: its name is the suffix of outputs.
        output_dir: where transcripts are written; None prints them.
        force: replace transcripts that are there.

    Raises:
        SpecError: standard input is named twice.
        InputError: a transcript is there already, or `output_dir` cannot be written to.
    """
    if names.count(STDIN) > 1:
        raise SpecError("standard input (-) can be read once; name it once")
    outputs = _outputs(names, kind, output_dir)
    there = next((output for output in outputs if output is not None and output.exists()), None)
    if there is not None and not force:
        raise InputError(
            f"{there} exists already; choose another --output-dir, or pass --force to replace it"
        )
    if output_dir is not None:
        _make_writable(output_dir)
    return tuple(
        AudioFile(
            name=STDIN_NAME if name == STDIN else name,
            audio=stdin() if name == STDIN else Path(name),
            output=output,
        )
        for name, output in zip(names, outputs, strict=True)
    )


def _make_writable(folder: Path) -> None:
    """Make the folder of the transcripts, now: hours of work are lost where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as cause:
        raise InputError(f"--output-dir {folder} is no folder; choose another") from cause
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"--output-dir {folder} cannot be written to; choose another")


def _outputs(
    names: Sequence[str], kind: TranscriptFormat, output_dir: Path | None
) -> tuple[Path | None, ...]:
    """Name each output by its audio; where two audios share a stem, by the whole file name."""
    if output_dir is None:
        return tuple(None for _ in names)
    stems = ["stdin" if name == STDIN else Path(name).stem for name in names]
    labels = [
        stem if stems.count(stem) == 1 else Path(name).name for name, stem in zip(names, stems, strict=True)
    ]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise SpecError(f"two files are named {twice}: their transcripts would overwrite each other")
    return tuple(output_dir / f"{label}.{kind}" for label in labels)


def transcribe_files(
    transcriber: Transcriber,
    files: Sequence[AudioFile],
    options: TranscribeOptions,
    kind: TranscriptFormat,
    *,
    show: Show,
    reporter: Reporter,
    complain: Show,
) -> int:
    """Transcribe files one after another; one that fails does not stop the others.

    Args:
        transcriber: loaded.
        files: what `plan_files` gave.
        options: for all of them.
        kind: the format.
        show: prints a transcript that has no output file.
        reporter: follows the work.
        complain: is told in one line why a file failed.

    Returns:
        How many files failed.

    Raises:
        SpecError: the options mean nothing to this model: no file would do better.
    """
    n_failed = 0
    for file in files:
        try:
            text = _transcribe(transcriber, file, options, kind, reporter)
        except SpecError:
            raise
        except SottovoceError as error:
            complain(str(error) if file.name in str(error) else f"{file.name}: {error}")
            n_failed += 1
            continue
        if file.output is None:
            show(text)
        else:
            write_text(file.output, text)
            reporter.note(f"wrote {file.output}")
    return n_failed


def _transcribe(
    transcriber: Transcriber,
    file: AudioFile,
    options: TranscribeOptions,
    kind: TranscriptFormat,
    reporter: Reporter,
) -> str:
    duration_s = stated_duration_s(file.audio)
    seconds_done = 0
    total = None if duration_s is None else max(1, int(duration_s))
    with reporter.progress(f"transcribe {Path(file.name).name}, seconds", total) as advance:

        def follow(done_s: float) -> None:
            nonlocal seconds_done
            while seconds_done < int(done_s):
                seconds_done += 1
                advance()

        transcript = transcriber.transcribe(file.audio, options, name=file.name, progress=follow)
    return format_transcript(transcript, kind, source=file.name)
