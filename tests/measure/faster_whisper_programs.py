"""Programs written for faster-whisper, unchanged but for the import: their texts with sottovoce and with faster-whisper.

    python tests/measure/faster_whisper_programs.py RUN CTRANSLATE2_VARIANT MANIFEST --clips 3

Needs `whisper-ctranslate2`, `wyoming-faster-whisper` and faster-whisper. With sottovoce, a `sitecustomize.py` puts
`sottovoce.faster_whisper` in the place of `faster_whisper`; nothing of the programs is changed.
"""

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient

import sottovoce
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import decode_audio
from sottovoce.speech.clips import Clip, filter_clips
from sottovoce.speech.sets import read_speech
from sottovoce.statistics.accuracy import add_errors, normalize, word_errors

SHIM = (
    "import sys\nimport sottovoce.faster_whisper\nsys.modules['faster_whisper'] = sottovoce.faster_whisper\n"
)

WHISPER_CTRANSLATE2 = "from whisper_ctranslate2.whisper_ctranslate2 import main; main()"

CHUNK_SAMPLES = SAMPLE_RATE_HZ // 10
WAIT_S = 120.0

Program = Callable[[Sequence[Path], Path, Mapping[str, str]], list[str]]
"""Takes audio files, the folder of a model and the environment; returns a text for each file."""


def whisper_ctranslate2(
    files: Sequence[Path], model: Path, environment: Mapping[str, str], *, settings: Sequence[str]
) -> list[str]:
    """Run the command once for all files."""
    with tempfile.TemporaryDirectory() as name:
        root, out = Path(name), Path(name) / "out"
        (root / "tiny.en").symlink_to(model.resolve())
        is_converted = (model / "model.bin").is_file()
        where = ["--model_directory", str(model)] if is_converted else ["--model_dir", str(root)]
        command = [sys.executable, "-c", WHISPER_CTRANSLATE2, *map(str, files), "--model", "tiny.en", *where]
        outputs = [
            "--output_dir",
            str(out),
            "--output_format",
            "all",
            "--verbose",
            "False",
            "--language",
            "en",
        ]
        subprocess.run([*command, *outputs, *settings], check=True, env=dict(environment), timeout=600)
        return [(out / f"{file.stem}.txt").read_text(encoding="utf-8") for file in files]


def wyoming_faster_whisper(files: Sequence[Path], model: Path, environment: Mapping[str, str]) -> list[str]:
    """Ask the server of Home Assistant, as its client does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with _server(port, model, environment):
        return asyncio.run(_ask(port, files))


@contextmanager
def _server(port: int, model: Path, environment: Mapping[str, str]) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "wyoming_faster_whisper", "--uri", f"tcp://127.0.0.1:{port}"]
        settings = ["--model", str(model), "--data-dir", data, "--language", "en", "--vad-filter"]
        library = ["--stt-library", "faster-whisper"]
        process = subprocess.Popen([*command, *settings, *library], env=dict(environment))
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


async def _ask(port: int, files: Sequence[Path]) -> list[str]:
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                async with AsyncTcpClient("127.0.0.1", port):
                    break
            except OSError:
                await asyncio.sleep(0.2)
        return [await _transcript(port, file) for file in files]


async def _transcript(port: int, file: Path) -> str:
    pcm = (decode_audio(file) * np.iinfo(np.int16).max).astype("<i2")
    form = {"rate": SAMPLE_RATE_HZ, "width": 2, "channels": 1}
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Transcribe(language="en").event())
        await client.write_event(AudioStart(**form).event())
        for begin in range(0, len(pcm), CHUNK_SAMPLES):
            audio = pcm[begin : begin + CHUNK_SAMPLES].tobytes()
            await client.write_event(AudioChunk(audio=audio, **form).event())
        await client.write_event(AudioStop().event())
        while (event := await client.read_event()) is not None:
            if Transcript.is_type(event.type):
                return Transcript.from_event(event).text
    raise RuntimeError("the server closed the connection without a transcript")


PROGRAMS: Mapping[str, Program] = {
    "whisper-ctranslate2": partial(whisper_ctranslate2, settings=["--word_timestamps", "True"]),
    "whisper-ctranslate2 --vad_filter": partial(whisper_ctranslate2, settings=["--vad_filter", "True"]),
    "whisper-ctranslate2 --batched": partial(whisper_ctranslate2, settings=["--batched", "True"]),
    "wyoming-faster-whisper": wyoming_faster_whisper,
}


def environment(shim: Path | None) -> dict[str, str]:
    """Return the environment of a program; with a shim, its `faster_whisper` is sottovoce's."""
    source = Path(sottovoce.__file__).parents[1]
    paths = [*([str(shim)] if shim else []), str(source), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def errors(clips: Sequence[Clip], texts: Sequence[str]) -> str:
    """Return the word error rate of texts."""
    found = add_errors(
        word_errors(normalize(clip.text or "", "en"), normalize(text, "en"))
        for clip, text in zip(clips, texts, strict=True)
    )
    return f"{100 * found.wer:.1f} %"


def main() -> None:
    """Print the word error rates of each program, and the texts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("ctranslate2", type=Path)
    parser.add_argument("manifest")
    parser.add_argument("--clips", type=int, default=3)
    parser.add_argument(
        "--where", action="append", default=["split=eval", "language=en"], metavar="KEY=VALUE"
    )
    arguments = parser.parse_args()
    clips = filter_clips(read_speech(arguments.manifest), arguments.where).clips[: arguments.clips]
    files = [clip.audio for clip in clips if isinstance(clip.audio, Path)]
    with tempfile.TemporaryDirectory() as shim:
        (Path(shim) / "sitecustomize.py").write_text(SHIM, encoding="utf-8")
        for name, program in PROGRAMS.items():
            ours = program(files, arguments.run, environment(Path(shim)))
            theirs = program(files, arguments.ctranslate2, environment(None))
            print(
                f"{name}: WER {errors(clips, ours)} with sottovoce, {errors(clips, theirs)} with faster-whisper"
            )
            for clip, one, other in zip(clips, ours, theirs, strict=True):
                print(
                    f"  {clip.clip_id}\n    sottovoce       {' '.join(one.split())}\n    faster-whisper  {' '.join(other.split())}"
                )


if __name__ == "__main__":
    main()
