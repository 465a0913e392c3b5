"""Transcribe several files with one loaded variant."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sottovoce.errors import InputError, SottovoceError, SpecError
from sottovoce.progress import Reporter
from sottovoce.runtime.audio.decode import stated_duration_s
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.output.formats import TranscriptFormat, format_transcript
from sottovoce.runtime.protocol import Transcriber
from sottovoce.runtime.transcript import Transcript
from sottovoce.storage.documents import write_text
from sottovoce.terms import STDIN, STDIN_NAME

Print = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFile:
    """Audio to transcribe.

    Attributes:
        name: of the audio in messages and in `json`.
        audio: a path, or the bytes of standard input.
        output: the file to write; None prints the transcript.
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
    """Decide where each transcript is written, before the variant is loaded.

    Args:
        names: paths, or `-` for standard input.
        stdin: reads standard input.
        kind: also the suffix of the outputs.
        output_dir: created if it does not exist; None prints the transcripts.
        force: replace existing transcripts.

    Raises:
        SpecError: standard input or a file is given twice.
        InputError: a transcript exists already, or `output_dir` cannot be written to.
    """
    if names.count(STDIN) > 1:
        raise SpecError("standard input (-) can be read only once; give - once")
    outputs = _outputs(names, kind, output_dir)
    existing = next((output for output in outputs if output is not None and output.exists()), None)
    if existing is not None and not force:
        raise InputError(
            f"{existing} exists already; choose another --output-dir, or pass --force to replace it"
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
    """Create the output folder before hours of work depend on it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as cause:
        raise InputError(f"--output-dir {folder} is not a folder; choose another") from cause
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"--output-dir {folder} cannot be written to; choose another")


def _outputs(
    names: Sequence[str], kind: TranscriptFormat, output_dir: Path | None
) -> tuple[Path | None, ...]:
    """Name each output after its audio: by the stem, by the file name where stems are equal, by folders where those are."""
    if output_dir is None:
        return tuple(None for _ in names)
    paths = [Path("stdin") if name == STDIN else _without_dots(Path(name)) for name in names]
    labels: list[Path] = [Path(path.stem) for path in paths]
    labels = _where_equal(labels, [Path(path.name) for path in paths])
    labels = _where_equal(labels, _below_common_folder(paths))
    duplicate = next(
        (name for name, label in zip(names, labels, strict=True) if labels.count(label) > 1), None
    )
    if duplicate is not None:
        raise SpecError(f"{duplicate} is given twice; give each file once")
    return tuple(output_dir / f"{label}.{kind}" for label in labels)


def _without_dots(path: Path) -> Path:
    return path.parent.resolve() / path.name


def _where_equal(labels: Sequence[Path], longer: Sequence[Path]) -> list[Path]:
    """Return the labels, with the longer one for each that stands more than once."""
    return [label if labels.count(label) == 1 else more for label, more in zip(labels, longer, strict=True)]


def _below_common_folder(paths: Sequence[Path]) -> list[Path]:
    """Return paths relative to the deepest folder that holds all files; standard input is none."""
    folders = [str(path.parent) for path in paths if path.is_absolute()]
    common = os.path.commonpath(folders) if folders else ""
    return [path.relative_to(common) if path.is_absolute() else path for path in paths]


def transcribe_files(
    transcriber: Transcriber,
    files: Sequence[AudioFile],
    options: TranscribeOptions,
    kind: TranscriptFormat,
    *,
    variant: str,
    print_text: Print,
    print_error: Print,
    reporter: Reporter,
) -> int:
    """Transcribe files one after another; a file that fails does not stop the others.

    Args:
        files: from `plan_files`.
        variant: name of the variant, for `json`.
        print_text: prints a transcript without an output file; one of several after a line with its name.
        print_error: prints, in one line, why a file failed.

    Returns:
        The number of files that failed.

    Raises:
        SpecError: the model does not support the options, so that every file would fail.
    """
    n_failed = 0
    is_alone = len(files) == 1
    for file in files:
        try:
            transcript = _transcribe(transcriber, file, options, reporter)
        except SpecError:
            raise
        except SottovoceError as error:
            print_error(str(error) if file.name in str(error) else f"{file.name}: {error}")
            n_failed += 1
            continue
        text = format_transcript(transcript, kind, source=file.name, variant=variant)
        if file.output is None:
            print_text(text if is_alone or kind is TranscriptFormat.JSON else f"==> {file.name} <==\n{text}")
        else:
            file.output.parent.mkdir(parents=True, exist_ok=True)
            write_text(file.output, text)
            reporter.note(f"wrote {file.output}")
    return n_failed


def _transcribe(
    transcriber: Transcriber,
    file: AudioFile,
    options: TranscribeOptions,
    reporter: Reporter,
) -> Transcript:
    duration_s = stated_duration_s(file.audio)
    seconds_done = 0
    total = None if duration_s is None else max(1, int(duration_s))
    with reporter.progress(f"transcribe {Path(file.name).name}, seconds", total) as advance:

        def on_progress(done_s: float) -> None:
            nonlocal seconds_done
            while seconds_done < int(done_s):
                seconds_done += 1
                advance()

        transcript = transcriber.transcribe(file.audio, options, name=file.name, progress=on_progress)
    if transcript.language_probability < 1.0 and transcript.segments:
        reporter.note(
            f"{file.name}: language {transcript.language}, probability {transcript.language_probability:.2f}"
        )
    for note in transcript.notes:
        reporter.note(note if file.name in note else f"{file.name}: {note}")
    return transcript
