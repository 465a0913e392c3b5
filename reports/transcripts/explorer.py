"""The explorer of changed transcripts, as data: clips, what they can be chosen by, their audio."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results
from sottovoce.benchmark.statistics.strata import StratumKind, group_by_stratum
from sottovoce.reports.sections.latency import clip_speedup
from sottovoce.reports.text.units import BYTES_PER_MB, count, fixed
from sottovoce.reports.transcripts.audio import MAX_BYTES, MAX_CLIPS, Audio
from sottovoce.reports.transcripts.changes import (
    Change,
    Line,
    align_lines,
    describe_change,
    describe_harm,
    direction_of,
    find_changes,
    language_tag,
    summarize_changes,
)

N_CHANGES_SHOWN = 20
"""Changed clips shown at once; the others open on demand."""

_PART_LABELS = {
    StratumKind.LANGUAGE: "Language",
    StratumKind.LENGTH: "Length",
    StratumKind.NOISE: "Noise",
    StratumKind.SOURCE: "Source",
    StratumKind.SPEAKER: "Speaker",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What clips can be chosen by, with its values in their order; there are two at least."""

    label: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedClip:
    """A changed clip, formatted.

    Attributes:
        anchor: its id on the page.
        tone: bad, good or open.
        parts: for each choice of the explorer the place of the clip's value from 1; 0 where it has none.
        language: a well-formed language tag, or an empty string.
        audio: an MP3 file; None where there is none, or an earlier clip of the page has it.
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
    parts: tuple[int, ...]
    language: str
    direction: str
    lines: tuple[Line, ...]
    audio: bytes | None
    audio_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explorer:
    """The changed transcripts: a sentence for each variant, what to choose by, then the clips."""

    summaries: tuple[str, ...]
    choices: tuple[Choice, ...]
    shown: tuple[ChangedClip, ...]
    folded: tuple[ChangedClip, ...]
    audio_note: str | None


def wanted_audio(results: Results, rows: Sequence[ClipRow]) -> tuple[str, ...]:
    """Name the files of changed clips, the most harmful first."""
    names = (change.audio for change in find_changes(results, rows))
    return tuple(dict.fromkeys(name for name in names if name is not None))


def build_explorer(results: Results, rows: Sequence[ClipRow], audio: Audio) -> Explorer:
    """Format the changed clips, most harmful first."""
    changes = find_changes(results, rows)
    choices, parts = _sort_into_choices(changes)
    first_with = _first_places(changes, audio.files)
    clips = tuple(
        _format_clip(place, change, parts[place], audio.files, first_with)
        for place, change in enumerate(changes)
    )
    return Explorer(
        summaries=tuple(
            summarize_changes(comparison, n_clips=results.dataset.n_clips)
            for comparison in results.comparisons
        ),
        choices=choices,
        shown=clips[:N_CHANGES_SHOWN],
        folded=clips[N_CHANGES_SHOWN:],
        audio_note=_describe_audio(audio),
    )


def _sort_into_choices(changes: Sequence[Change]) -> tuple[tuple[Choice, ...], list[tuple[int, ...]]]:
    """Find what clips differ in, and each clip's value of it."""
    groups: dict[str, dict[str, frozenset[int]]] = {}
    variants = dict.fromkeys(change.variant.variant for change in changes)
    groups["Variant"] = {
        name: frozenset(place for place, change in enumerate(changes) if change.variant.variant == name)
        for name in variants
    }
    for (kind, name), places in group_by_stratum([change.variant for change in changes]).items():
        groups.setdefault(_PART_LABELS[kind], {})[name] = frozenset(places)
    told = {label: values for label, values in groups.items() if len(values) > 1}
    parts = [
        tuple(_place_of(place, list(values.values())) for values in told.values())
        for place in range(len(changes))
    ]
    return tuple(Choice(label=label, values=tuple(values)) for label, values in told.items()), parts


def _place_of(clip: int, groups: Sequence[frozenset[int]]) -> int:
    return next((place for place, group in enumerate(groups, start=1) if clip in group), 0)


def _first_places(changes: Sequence[Change], files: Mapping[str, bytes]) -> dict[str, int]:
    """Tell which change comes first of those with the same file: it carries the audio."""
    first: dict[str, int] = {}
    for place, change in enumerate(changes):
        if change.audio in files:
            first.setdefault(str(change.audio), place)
    return first


def _format_clip(
    place: int,
    change: Change,
    parts: tuple[int, ...],
    files: Mapping[str, bytes],
    first_with: Mapping[str, int],
) -> ChangedClip:
    row = change.variant
    first = None if change.audio is None else first_with.get(change.audio)
    return ChangedClip(
        anchor=_anchor(place),
        clip_id=row.clip_id,
        variant=row.variant,
        harm=change.harm,
        audio_s=row.audio_s,
        speedup=clip_speedup(change.baseline, row),
        tone="bad" if change.harm > 0 else "good" if change.harm < 0 else "open",
        effect=describe_harm(change.harm),
        facts=tuple(describe_change(change)),
        parts=parts,
        language=language_tag(row.language),
        direction=direction_of(row.normalized_reference),
        lines=align_lines(change),
        audio=files[str(change.audio)] if first == place else None,
        audio_at=None if first is None or first == place else _anchor(first),
    )


def _anchor(place: int) -> str:
    return f"clip-{place + 1}"


def _describe_audio(audio: Audio) -> str | None:
    if not audio.files:
        return None
    held = f"The page holds the audio of {count(len(audio.files), 'clip')}"
    if not audio.n_left_out:
        return f"{held}."
    most = f"{MAX_CLIPS} clips or {fixed(MAX_BYTES / BYTES_PER_MB, 0)} MB at most"
    return (
        f"{held}, the most harmful ones ({most}); that of {audio.n_left_out:,} more is in the results folder."
    )
