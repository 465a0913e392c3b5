"""The history: earlier results in an SQLite database under the user's data folder.

The database stores each `results.json` unchanged, so results.json stays the only format, older schema versions
are read as usual, and new columns are never needed. `PRAGMA user_version` is the version of the table.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from sottovoce.benchmark.compare_results import host_of
from sottovoce.benchmark.schema.results import Results
from sottovoce.errors import InputError
from sottovoce.statistics.intervals import Interval
from sottovoce.storage.documents import Document, format_validation_error

HISTORY_NAME = "history.sqlite"
HISTORY_VARIABLE = "SOTTOVOCE_HISTORY"
"""Path of another database; empty turns the history off."""

TABLES_VERSION = 1
"""1: first version."""

LOCK_TIMEOUT_S = 30.0

HASH_DIGITS = 6
"""Shown in tables, to distinguish clip sets of the same name."""

CREATE = """
CREATE TABLE IF NOT EXISTS results (
    sha256 TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    model TEXT NOT NULL,
    json TEXT NOT NULL
)
"""


class HistoryEntry(Document):
    """One entry of an earlier result."""

    created: datetime
    model: str
    entry: str
    host: str
    threads: int
    dataset: str
    dataset_sha256: str
    audio_sha256: str | None
    n_clips: int
    rtfx: float
    wer: float
    size_bytes: int
    peak_rss_bytes: int
    speedup: Interval | None
    wer_delta: Interval | None


def history_path() -> Path | None:
    """Return the path of the database; None if the user has turned the history off."""
    path = os.environ.get(HISTORY_VARIABLE)
    if path is not None:
        return Path(path) if path else None
    from platformdirs import user_data_path

    return user_data_path("sottovoce") / HISTORY_NAME


def add_to_history(path: Path, results: Results) -> bool:
    """Add a result to the database, which is created if it does not exist; return False for one that it already has.

    Raises:
        InputError: the database cannot be written, or a later version of sottovoce wrote it.
    """
    text = results.model_dump_json()
    with _open_database(path) as database:
        added = database.execute(
            "INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?)",
            (sha256(text.encode()).hexdigest(), results.created.isoformat(), results.model, text),
        )
        return added.rowcount > 0


def read_history(
    path: Path, *, model: str | None = None, entry: str | None = None, note: Callable[[str], None]
) -> tuple[HistoryEntry, ...]:
    """Return the entries of all results, oldest first.

    Args:
        path: of the database; a missing one has no entries.
        model: only results of this model.
        entry: only this entry, a variant or `ENGINE:VARIANT`.
        note: called with a message for each result that cannot be read and is left out.

    Raises:
        InputError: the database is damaged, or a later version of sottovoce wrote it.
    """
    if not path.exists():
        return ()
    with _open_database(path) as database:
        rows = database.execute(
            "SELECT created, model, CAST(json AS BLOB) FROM results WHERE ? IS NULL OR model = ? ORDER BY created",
            (model, model),
        ).fetchall()
    found = (_read(row, note) for row in rows)
    return tuple(
        each
        for results in found
        if results is not None
        for each in _entries(results)
        if entry in (None, each.entry)
    )


def _read(row: tuple[str, str, bytes], note: Callable[[str], None]) -> Results | None:
    created, model, text = row
    try:
        return Results.model_validate_json(text)
    except ValidationError as cause:
        problem = format_validation_error(cause)
        note(f"left out: the result of {created} of {model} cannot be read ({problem})")
        return None


def _entries(results: Results) -> Iterator[HistoryEntry]:
    compared = {comparison.variant: comparison for comparison in results.comparisons}
    for variant in results.variants:
        comparison = compared.get(variant.name)
        yield HistoryEntry(
            created=results.created,
            model=results.model,
            entry=variant.name,
            host=host_of(results),
            threads=results.method.threads,
            dataset=results.dataset.name,
            dataset_sha256=results.dataset.sha256,
            audio_sha256=results.dataset.audio_sha256,
            n_clips=results.dataset.n_clips,
            rtfx=variant.rtfx,
            wer=variant.wer,
            size_bytes=variant.size_bytes,
            peak_rss_bytes=variant.peak_rss_bytes,
            speedup=None if comparison is None else comparison.speedup,
            wer_delta=None if comparison is None else comparison.wer_delta,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What must be equal before figures can be compared.

    Attributes:
        clips: hash of ids and references.
        audio: hash of the samples; None if the history has only one version of the audio.
    """

    host: str
    threads: int
    clips: str
    audio: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySeries:
    """Results of one entry of a model under the same conditions, oldest first."""

    model: str
    entry: str
    conditions: Conditions
    entries: tuple[HistoryEntry, ...]

    @property
    def clips(self) -> str:
        """Number and name of the clips, with hashes that distinguish them from others of the same name."""
        first, audio_sha256 = self.entries[0], self.conditions.audio
        audio = "" if audio_sha256 is None else f", audio {audio_sha256[:HASH_DIGITS]}"
        return f"{first.n_clips} of {first.dataset} {first.dataset_sha256[:HASH_DIGITS]}{audio}"


def group_series(entries: Sequence[HistoryEntry]) -> tuple[HistorySeries, ...]:
    """Group entries that were measured under the same conditions, in the order in which each series begins.

    Results before schema version 7 have no hash of the audio. They count as the same audio, unless the history has
    several versions of it.
    """
    audio: dict[str, set[str]] = {}
    for each in entries:
        if each.audio_sha256 is not None:
            audio.setdefault(each.dataset_sha256, set()).add(each.audio_sha256)
    series: dict[tuple[str, str, Conditions], list[HistoryEntry]] = {}
    for each in entries:
        has_several = len(audio.get(each.dataset_sha256, ())) > 1
        conditions = Conditions(
            host=each.host,
            threads=each.threads,
            clips=each.dataset_sha256,
            audio=each.audio_sha256 if has_several else None,
        )
        series.setdefault((each.model, each.entry, conditions), []).append(each)
    return tuple(
        HistorySeries(model=model, entry=entry, conditions=conditions, entries=tuple(members))
        for (model, entry, conditions), members in series.items()
    )


def name_series(series: Sequence[HistorySeries]) -> tuple[str, ...]:
    """Name each series by its model, its entry and the conditions in which the series differ."""
    facts: tuple[Callable[[HistorySeries], str], ...] = (
        lambda one: one.conditions.host,
        lambda one: f"{one.conditions.threads} thread{'' if one.conditions.threads == 1 else 's'}",
        lambda one: one.clips,
    )
    differing = [fact for fact in facts if len({fact(one) for one in series}) > 1]
    return tuple(
        ", ".join((f"{one.model} {one.entry}", *(fact(one) for fact in differing))) for one in series
    )


@contextmanager
def _open_database(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the database in a transaction; create or migrate its table."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=LOCK_TIMEOUT_S)) as database, database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version > TABLES_VERSION:
                raise InputError(
                    f"{path} was written by a later sottovoce (version {version} of its tables); upgrade, or name "
                    f"another database in {HISTORY_VARIABLE}"
                )
            database.text_factory = lambda text: text.decode("utf-8", "replace")
            database.execute(CREATE)
            database.execute(f"PRAGMA user_version = {TABLES_VERSION}")
            yield database
    except (sqlite3.Error, OSError) as cause:
        raise InputError(
            f"{path} cannot be used: {cause}; move it away, or name another in {HISTORY_VARIABLE}"
        ) from cause
