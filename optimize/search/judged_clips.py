"""The clips that a search judged and confirmed on, as the run keeps them: what it found flatters itself on them."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from sottovoce.runs import SEARCH_NAME
from sottovoce.speech.loading import LoadedClip
from sottovoce.speech.properties import sha256_of_wave
from sottovoce.storage.documents import Document, read_json_lines, write_json_lines

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
    write_json_lines(folder / JUDGED_NAME, judged.values())


def read_judged_clips(run_folder: Path) -> tuple[JudgedClip, ...]:
    """Read which clips the search of a run went by; empty where there was none.

    Raises:
        InputError: the file is damaged.
    """
    path = run_folder / SEARCH_NAME / JUDGED_NAME
    if not path.is_file():
        return ()
    return read_json_lines(path, JudgedClip, advice="run the search again to write it anew")
