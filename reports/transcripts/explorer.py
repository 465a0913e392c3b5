"""The explorer of changed transcripts, as data: clips, filters, audio."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results
from sottovoce.benchmark.statistics.strata import StratumKind, group_by_stratum
from sottovoce.reports.sections.latency import clip_speedup
from sottovoce.reports.text.units import BYTES_PER_MB, count, fixed
from sottovoce.reports.transcripts.changes import (
    BaselineWords,
    Change,
    TranscriptLine,
    align_baseline,
    align_lines,
    describe_change,
    describe_harm,
    direction_of,
    find_changes,
    language_tag,
    summarize_changes,
)

N_CHANGES_SHOWN = 10
"""Changed clips shown at once; the others open on demand."""
MAX_CLIPS = 60
MAX_BYTES = 8_000_000
"""Size of the files; in the page they take a third more."""
SUFFIX = ".mp3"

_FILTER_LABELS = {
    StratumKind.LANGUAGE: "Language",
    StratumKind.LENGTH: "Length",
    StratumKind.NOISE: "Noise",
    StratumKind.SOURCE: "Source",
    StratumKind.SPEAKER: "Speaker",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """Files of clips by their names in the results, and the number of files left out."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    n_left_out: int = 0


ReadAudio = Callable[[Iterable[str]], Audio]
"""Reads files by their names in the results, the most important first."""


def without_audio(names: Iterable[str]) -> Audio:  # noqa: ARG001 it reads none
    """Read no files."""
    return Audio()


def read_audio(folder: Path, names: Iterable[str]) -> Audio:
    """Read the first files up to `MAX_CLIPS` and `MAX_BYTES`.

    Args:
        folder: the results folder; no file outside it is read.
        names: relative to it, the most important first.
    """
    found = [(name, path) for name in dict.fromkeys(names) if (path := _find(folder, name)) is not None]
    files: dict[str, bytes] = {}
    total = 0
    for name, path in found[:MAX_CLIPS]:
        total += path.stat().st_size
        if total > MAX_BYTES:
            break
        files[name] = path.read_bytes()
    return Audio(files=files, n_left_out=len(found) - len(files))


def _find(folder: Path, name: str) -> Path | None:
    try:
        path = (folder / name).resolve()
        is_ours = path.is_relative_to(folder.resolve()) and path.suffix == SUFFIX and path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return None
    return path if is_ours else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A property to filter clips by, with its values in their order, at least two."""

    label: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedClip:
    """A changed clip, formatted.

    Attributes:
        anchor: its id on the page.
        tone: bad, good or open.
        filter_values: for each filter the number of the clip's value from 1; 0 where it has none.
        language: a well-formed language tag, or an empty string.
        audio: an MP3 file; None if there is none, or an earlier clip of the page has it.
        audio_at: the anchor of that earlier clip.
    """

    anchor: str
    clip_id: str
    variant: str
    harm: int
    audio_s: float
    speedup: float | None
    tone: str
    effect: str
    facts: tuple[str, ...]
    filter_values: tuple[int, ...]
    language: str
    direction: str
    lines: tuple[TranscriptLine, ...]
    audio: bytes | None
    audio_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explorer:
    """The changed transcripts: a sentence for each variant, the filters, then the clips."""

    summaries: tuple[str, ...]
    filters: tuple[Filter, ...]
    shown: tuple[ChangedClip, ...]
    folded: tuple[ChangedClip, ...]
    audio_note: str | None


def build_explorer(results: Results, rows: Sequence[ClipRow], read_audio: ReadAudio) -> Explorer:
    """Format the changed clips, most harmful first."""
    changes = find_changes(results, rows)
    audio = read_audio(change.audio for change in changes if change.audio is not None)
    filters, values = _build_filters(changes)
    first_with = _first_with_audio(changes, audio.files)
    baselines: dict[str, BaselineWords] = {}
    clips = []
    for index, change in enumerate(changes):
        if change.baseline.clip_id not in baselines:
            baselines[change.baseline.clip_id] = align_baseline(change)
        lines = align_lines(change, baselines[change.baseline.clip_id])
        first = first_with.get(change.audio or "")
        clips.append(
            _format_clip(
                index,
                change,
                filter_values=values[index],
                lines=lines,
                audio=audio.files[change.audio or ""] if first == index else None,
                audio_at=None if first in {None, index} else _anchor(int(first or 0)),
            )
        )
    return Explorer(
        summaries=tuple(
            summarize_changes(comparison, n_clips=results.dataset.n_clips)
            for comparison in results.comparisons
        ),
        filters=filters,
        shown=tuple(clips[:N_CHANGES_SHOWN]),
        folded=tuple(clips[N_CHANGES_SHOWN:]),
        audio_note=_describe_audio(audio),
    )


def _build_filters(changes: Sequence[Change]) -> tuple[tuple[Filter, ...], list[tuple[int, ...]]]:
    """Return the properties that clips differ in, and each clip's values of them."""
    groups: dict[str, dict[str, frozenset[int]]] = {}
    names = [change.variant.variant for change in changes]
    groups["Variant"] = {
        name: frozenset(index for index, other in enumerate(names) if other == name)
        for name in dict.fromkeys(names)
    }
    for (kind, name), indices in group_by_stratum([change.variant for change in changes]).items():
        groups.setdefault(_FILTER_LABELS[kind], {})[name] = frozenset(indices)
    differing = {label: values for label, values in groups.items() if len(values) > 1}
    numbers = [
        tuple(_value_number(index, list(values.values())) for values in differing.values())
        for index in range(len(changes))
    ]
    return tuple(Filter(label=label, values=tuple(values)) for label, values in differing.items()), numbers


def _value_number(clip: int, groups: Sequence[frozenset[int]]) -> int:
    return next((number for number, group in enumerate(groups, start=1) if clip in group), 0)


def _first_with_audio(changes: Sequence[Change], files: Mapping[str, bytes]) -> dict[str, int]:
    """Return the first change of each file: it carries the audio."""
    first: dict[str, int] = {}
    for index, change in enumerate(changes):
        if change.audio in files:
            first.setdefault(str(change.audio), index)
    return first


def _format_clip(
    index: int,
    change: Change,
    *,
    filter_values: tuple[int, ...],
    lines: tuple[TranscriptLine, ...],
    audio: bytes | None,
    audio_at: str | None,
) -> ChangedClip:
    row = change.variant
    speedup = clip_speedup(change.baseline, row)
    return ChangedClip(
        anchor=_anchor(index),
        clip_id=row.clip_id,
        variant=row.variant,
        harm=change.harm,
        audio_s=row.audio_s,
        speedup=speedup,
        tone="bad" if change.harm > 0 else "good" if change.harm < 0 else "open",
        effect=describe_harm(change.harm),
        facts=tuple(describe_change(change, speedup)),
        filter_values=filter_values,
        language=language_tag(row.language),
        direction=direction_of(row.normalized_reference),
        lines=lines,
        audio=audio,
        audio_at=audio_at,
    )


def _anchor(index: int) -> str:
    return f"clip-{index + 1}"


def _describe_audio(audio: Audio) -> str | None:
    if not audio.files:
        return None
    holds = f"The page holds the audio of {count(len(audio.files), 'clip')}"
    if not audio.n_left_out:
        return f"{holds}."
    most = f"{MAX_CLIPS} clips or {fixed(MAX_BYTES / BYTES_PER_MB, 0)} MB at most"
    return f"{holds}, the most harmful ones ({most}); that of {audio.n_left_out:,} more is in the results folder."
