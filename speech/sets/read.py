"""Reads a speech set from the value of `--data`."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from sottovoce.errors import InputError
from sottovoce.speech.clips import Clip, ClipSet
from sottovoce.speech.sets.folder import is_librispeech, read_folder, read_librispeech
from sottovoce.speech.sets.hub import HUB_PREFIX, hub_set_name, read_hub
from sottovoce.speech.sets.manifest import read_manifest, read_table

ACCEPTED = (
    "a .jsonl or .json manifest, a .csv or .tsv table, a folder with manifest.jsonl, a LibriSpeech folder, "
    "a folder of audio, or hf:NAME[:CONFIG]:SPLIT"
)
_MANIFEST_NAME = "manifest.jsonl"


def read_speech(spec: str) -> ClipSet:
    """Read a speech set: a manifest, a table, a folder, or a set of the Hugging Face hub.

    Audio files are not opened: missing ones are reported when clips are loaded. Several clips with one id are refused,
    because selection and leak checks use the id.

    Raises:
        InputError: the set does not exist, is empty, has an invalid line, or an id of several clips.
        MissingExtraError: a set of the hub needs the extra `datasets`.
    """
    if spec.startswith(HUB_PREFIX):
        return _checked(hub_set_name(spec), read_hub(spec), spec)
    path = Path(spec)
    name = path.resolve().name if path.name in {"", ".."} else path.name
    try:
        return _checked(name, _read_path(path), spec)
    except OSError as error:
        raise InputError(f"{spec} cannot be read ({error.strerror}); speech is {ACCEPTED}") from error


def _read_path(path: Path) -> Iterable[Clip]:
    if path.is_dir():
        return _read_dir(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; speech is {ACCEPTED}")
    match path.suffix.lower():
        case ".jsonl" | ".json":
            return read_manifest(path)
        case ".csv" | ".tsv":
            return read_table(path)
        case _:
            raise InputError(f"{path} is not a speech set; speech is {ACCEPTED}")


def _read_dir(path: Path) -> Iterable[Clip]:
    if (path / _MANIFEST_NAME).is_file():
        return read_manifest(path / _MANIFEST_NAME)
    return read_librispeech(path) if is_librispeech(path) else read_folder(path)


def _checked(name: str, clips: Iterable[Clip], spec: str) -> ClipSet:
    clip_set = ClipSet(name=name, clips=tuple(clips))
    if not clip_set.clips:
        raise InputError(f"{spec} holds no clips; speech is {ACCEPTED}")
    counts = Counter(clip.clip_id for clip in clip_set.clips)
    repeated = [clip_id for clip_id, count in counts.items() if count > 1]
    if repeated:
        raise InputError(
            f"{spec}: {len(repeated)} ids belong to several clips, {repeated[0]} to {counts[repeated[0]]}; "
            "give each clip an `id` of its own"
        )
    return clip_set
