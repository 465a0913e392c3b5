"""The self-test of a bundle: its golden clips, its speed and its memory on this machine."""

import statistics
import time
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

from pydantic import Field

from sottovoce.bundle.manifest import MODEL_FOLDER, BundleManifest, Floors, GoldenClip
from sottovoce.machine.resources import peak_rss_bytes
from sottovoce.runtime.loading import load
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.protocol import Transcriber
from sottovoce.runtime.transcript import Transcript
from sottovoce.storage.documents import Document

PASSES = 3
"""Timed passes over each clip, after a first one that gives the tokens and warms up."""


class GoldenOutcome(Document):
    """The result of a golden clip on this machine."""

    path: str
    token_agreement: float = Field(description="With the expected tokens, 0 to 1.")
    text: str
    expected_text: str


class SelfTest(Document):
    """The result of a self-test on this machine."""

    clips: tuple[GoldenOutcome, ...]
    load_s: float
    rtfx: float = Field(description="Seconds of audio per second of work, median of passes.")
    peak_rss_bytes: int = Field(description="Of this process since its start.")
    problems: tuple[str, ...] = Field(
        description="What is below the floors of the bundle; empty where nothing is."
    )


def self_test(folder: Path, manifest: BundleManifest, threads: int | None = None) -> SelfTest:
    """Load the model of a bundle, transcribe its golden clips and compare."""
    started = time.perf_counter()
    transcriber = load(folder / MODEL_FOLDER, threads=threads)
    load_s = time.perf_counter() - started
    clips = tuple(_outcome(transcriber, folder, clip) for clip in manifest.golden)
    rtfx = _rtfx(transcriber, folder, manifest.golden)
    peak = peak_rss_bytes()
    return SelfTest(
        clips=clips,
        load_s=round(load_s, 3),
        rtfx=round(rtfx, 2),
        peak_rss_bytes=peak,
        problems=tuple(find_problems(manifest.floors, clips, rtfx, peak)),
    )


def _outcome(transcriber: Transcriber, folder: Path, clip: GoldenClip) -> GoldenOutcome:
    transcript = transcribe_golden(transcriber, folder / clip.path, clip.language)
    return GoldenOutcome(
        path=clip.path,
        token_agreement=round(agreement(clip.tokens, tokens_of(transcript)), 4),
        text=transcript.text,
        expected_text=clip.text,
    )


def _rtfx(transcriber: Transcriber, folder: Path, clips: tuple[GoldenClip, ...]) -> float:
    """Return seconds of audio per second of work, from the median of each clip over the passes."""
    work_s = sum(
        statistics.median(
            transcribe_golden(transcriber, folder / clip.path, clip.language).timings.total_s
            for _ in range(PASSES)
        )
        for clip in clips
    )
    return sum(clip.duration_s for clip in clips) / work_s


def find_problems(floors: Floors, clips: tuple[GoldenOutcome, ...], rtfx: float, peak: int) -> list[str]:
    """Return a line for each limit that is missed."""
    problems = [
        f"{clip.path}: {clip.token_agreement:.0%} of the tokens as expected, want {floors.token_agreement:.0%}; "
        f"got {clip.text!r}, want {clip.expected_text!r}"
        for clip in clips
        if clip.token_agreement < floors.token_agreement
    ]
    if rtfx < floors.rtfx:
        problems.append(f"{rtfx:.2f} s of audio per second, want {floors.rtfx:g} or more")
    if floors.peak_rss_bytes is not None and peak > floors.peak_rss_bytes:
        problems.append(
            f"{peak / 1e6:.0f} MB of memory at the most, want {floors.peak_rss_bytes / 1e6:.0f} or less"
        )
    return problems


def transcribe_golden(transcriber: Transcriber, audio: Path, language: str) -> Transcript:
    """Transcribe a golden clip, greedily and in its language."""
    return transcriber.transcribe(audio, TranscribeOptions(language=language))


def tokens_of(transcript: Transcript) -> tuple[int, ...]:
    """Return the text tokens of all segments."""
    return tuple(token for segment in transcript.segments for token in segment.tokens)


def agreement(expected: Sequence[int], found: Sequence[int]) -> float:
    """Return the share of tokens that two sequences have in common, in order: 0 to 1.

    Twice the matches divided by the sum of the lengths (Ratcliff and Metzener 1988, as in `difflib`).
    """
    return SequenceMatcher(None, expected, found, autojunk=False).ratio()
