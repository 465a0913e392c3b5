"""The clips that a search judged and confirmed on, as the run keeps them: what it found flatters itself on them."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field, ValidationError

from sottovoce.calibrate.leaks import sha256_of_wave
from sottovoce.errors import InputError
from sottovoce.runs import SEARCH_NAME
from sottovoce.speech.loading import LoadedClip
from sottovoce.storage.artifacts import Document, write_text

JUDGED_NAME = "judged.jsonl"


class JudgedClip(Document):
    """A clip that trials were judged or confirmed on, a line of `judged.jsonl`."""

    clip_id: str
    audio_sha256: str = Field(description="Of the decoded samples, float32, 16 kHz.")


def write_judged_clips(clips: Iterable[LoadedClip], folder: Path) -> None:
    """Write which clips a search goes by into its folder, each once."""
    judged = {
        clip.clip.clip_id: JudgedClip(clip_id=clip.clip.clip_id, audio_sha256=sha256_of_wave(clip.wave))
        for clip in clips
    }
    write_text(folder / JUDGED_NAME, "".join(clip.model_dump_json() + "\n" for clip in judged.values()))


def read_judged_clips(run_folder: Path) -> tuple[JudgedClip, ...]:
    """Read which clips the search of a run went by; empty where there was none.

    Raises:
        InputError: the file is damaged.
    """
    path = run_folder / SEARCH_NAME / JUDGED_NAME
    if not path.is_file():
        return ()
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        return tuple(JudgedClip.model_validate_json(line) for line in lines if line)
    except (UnicodeDecodeError, ValidationError) as cause:
        raise InputError(f"{path} is damaged; run the search again to write it anew") from cause
