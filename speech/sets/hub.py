"""Speech sets of the Hugging Face hub, by `hf:NAME[:CONFIG]:SPLIT`."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sottovoce.errors import InputError, MissingExtraError
from sottovoce.languages import to_whisper_language
from sottovoce.speech.clips import Clip
from sottovoce.speech.sets.row import LANGUAGE_NAMES, SPEAKER_NAMES, TEXT_NAMES, none_of_nan

HUB_PREFIX = "hf:"
_SPEC = re.compile(r"hf:(?P<name>[^:]+)(?::(?P<config>[^:\[\]]+))?:(?P<split>[\w.-]+(?:\[[^\]]*\])?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSpec:
    """A split of a set on the hub.

    Attributes:
        name: `OWNER/NAME` on the hub, or a local folder in its layout.
        config: its configuration, often a language; None for the only one.
        split: as in `datasets`: `test`, or `test[:100]` for a part.
    """

    name: str
    config: str | None
    split: str


def parse_hub_spec(spec: str) -> HubSpec:
    """Parse `hf:NAME[:CONFIG]:SPLIT`."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise InputError(
            f"{spec}: want hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT, as in hf:google/fleurs:en_us:test"
        )
    return HubSpec(name=match["name"], config=match["config"], split=match["split"])


def hub_set_name(spec: str) -> str:
    """Return the name of a set; of a local folder the last part."""
    hub = parse_hub_spec(spec)
    name = Path(hub.name).name if Path(hub.name).is_absolute() else hub.name
    return ":".join(part for part in (name, hub.config, hub.split) if part is not None)


def read_hub(spec: str) -> Iterator[Clip]:
    """Yield the clips of a split with their audio as stored; no code of the set runs.

    Raises:
        MissingExtraError: `datasets` is not installed.
        InputError: the hub cannot be reached, has no such set, or the set has no audio.
    """
    hub = parse_hub_spec(spec)
    rows, audio_name = _load(hub, spec)
    return clips_of(rows, audio_name=audio_name, names=rows.column_names)


def clips_of(rows: Iterable[Mapping[str, Any]], *, audio_name: str, names: Sequence[str]) -> Iterator[Clip]:
    """Yield the clips of rows whose audio is `{"bytes": ..., "path": ...}`.

    Clips are numbered in the order of the split: the ids of sets are often ids of sentences.
    """
    text, language, speaker = (
        next((name for name in known if name in names), None)
        for known in (TEXT_NAMES, LANGUAGE_NAMES, SPEAKER_NAMES)
    )
    for number, row in enumerate(rows):
        yield Clip(
            clip_id=f"{number:06d}",
            audio=_stored(row[audio_name], number),
            text=_word(row, text),
            language=_language(row, language),
            speaker=_word(row, speaker),
        )


def _stored(audio: Mapping[str, Any], number: int) -> Path | bytes:
    stored: Path | bytes | None = audio.get("bytes")
    if stored is None and audio.get("path"):
        stored = Path(audio["path"])
    if stored is None:
        raise InputError(f"row {number} has no audio, neither bytes nor a path; choose another split")
    return stored


def _word(row: Mapping[str, Any], name: str | None) -> str | None:
    value = none_of_nan(row[name]) if name is not None else None
    return None if value is None else str(value)


def _language(row: Mapping[str, Any], name: str | None) -> str | None:
    # A number is the index of a class; its name is not in the rows.
    value = row[name] if name is not None else None
    return to_whisper_language(value) if isinstance(value, str) else None


def _load(hub: HubSpec, spec: str) -> tuple[Any, str]:
    """Load a split with its audio undecoded; return it with the name of its audio column."""
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("datasets", needed_for=spec, extra="datasets") from error
    try:
        rows = datasets.load_dataset(hub.name, hub.config, split=hub.split)
    except ImportError as error:
        raise MissingExtraError("datasets[audio]", needed_for=spec, extra="datasets") from error
    except ConnectionError as error:
        raise InputError(
            f"{spec}: the hub could not be reached; check the network or give a local set"
        ) from error
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        first_line = str(error).partition("\n")[0]
        raise InputError(
            f"{spec}: {first_line or type(error).__name__}; check the name, config and split, and the network"
        ) from error
    audio_name = next(
        (name for name, kind in rows.features.items() if isinstance(kind, datasets.Audio)), None
    )
    if audio_name is None:
        raise InputError(
            f"{spec} has no audio column (it has {', '.join(rows.column_names)}); choose another set"
        )
    return rows.cast_column(audio_name, datasets.Audio(decode=False)), audio_name
