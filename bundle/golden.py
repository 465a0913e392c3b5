"""Golden clips: three of the project's own, with the tokens that a variant gives for them."""

import json
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

from sottovoce.bundle.manifest import GOLDEN_FOLDER, GoldenClip
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.protocol import Transcriber
from sottovoce.runtime.transcript import Transcript

GOLDEN_IDS = ("e01", "e11", "e19")
"""3.5, 6.6 and 14.4 s, of the split that calibration does not hear: question, list, names."""


def golden_rows(speech: Path) -> tuple[dict[str, object], ...]:
    """Return the rows of the golden clips.

    Args:
        speech: manifest of the demo speech.
    """
    rows = [json.loads(line) for line in speech.read_text(encoding="utf-8").splitlines()]
    by_id = {row["id"]: row for row in rows}
    return tuple(by_id[clip_id] for clip_id in GOLDEN_IDS)


def expect(transcriber: Transcriber, speech: Path) -> tuple[GoldenClip, ...]:
    """Transcribe the golden clips: what a device is to give as well."""
    return tuple(_expect_one(transcriber, speech.parent, row) for row in golden_rows(speech))


def _expect_one(transcriber: Transcriber, folder: Path, row: dict[str, object]) -> GoldenClip:
    source, language = folder / str(row["audio"]), str(row["language"])
    transcript = transcribe_golden(transcriber, source, language)
    return GoldenClip(
        path=f"{GOLDEN_FOLDER}/{source.name}",
        language=language,
        duration_s=transcript.duration_s,
        reference=str(row["text"]),
        text=transcript.text,
        tokens=tokens_of(transcript),
    )


def transcribe_golden(transcriber: Transcriber, audio: Path, language: str) -> Transcript:
    """Transcribe a golden clip, greedily and in its language."""
    return transcriber.transcribe(audio, TranscribeOptions(language=language))


def tokens_of(transcript: Transcript) -> tuple[int, ...]:
    """Return the text tokens of all segments."""
    return tuple(token for segment in transcript.segments for token in segment.tokens)


def agreement(expected: Sequence[int], found: Sequence[int]) -> float:
    """Return the share of tokens that two sequences have in common, in order: 0 to 1.

    Twice the matches by the sum of the lengths (Ratcliff and Metzener 1988, as `difflib` has it).
    """
    return SequenceMatcher(None, expected, found, autojunk=False).ratio()
