"""Results that were measured before, in an embedded database under the user's data folder.

The database holds each `results.json` whole, as it was written: the exchange format stays the only one, and a
result of an older schema is read as `results.json` of that schema is. So what is asked of a result can grow without another table:
the hashes of its clips are read from the same column that was written before anybody asked for them. `PRAGMA user_version` tells the
version of the tables.
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
"""Path of another database; empty to keep none."""

TABLES_VERSION = 1
"""1: first version."""

LOCK_TIMEOUT_S = 30.0

DIGITS = 6
"""Of a hash, to tell sets of one name apart."""

CREATE = """
CREATE TABLE IF NOT EXISTS results (
    sha256 TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    model TEXT NOT NULL,
    json TEXT NOT NULL
)
"""


class Past(Document):
    """An entry of a result that was measured before."""

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
    """Return where results are kept; None where the user wants none kept."""
    told = os.environ.get(HISTORY_VARIABLE)
    if told is not None:
        return Path(told) if told else None
    from platformdirs import user_data_path

    return user_data_path("sottovoce") / HISTORY_NAME


def keep(path: Path, results: Results) -> bool:
    """Add a result; tell whether it is new.

    Args:
        path: of the database, made where it is not there.
        results: a result that was added before is not added again.

    Raises:
        InputError: the database cannot be written, or is of a later version.
    """
    text = results.model_dump_json()
    with _opened(path) as database:
        added = database.execute(
            "INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?)",
            (sha256(text.encode()).hexdigest(), results.created.isoformat(), results.model, text),
        )
        return added.rowcount > 0


def read_past(
    path: Path, *, model: str | None = None, entry: str | None = None, note: Callable[[str], None]
) -> tuple[Past, ...]:
    """Return what was measured, the oldest first.

    Args:
        path: of the database; one that is not there is empty.
        model: of these only; None takes all.
        entry: of these only, a variant or `ENGINE:VARIANT`; None takes all.
        note: is told of each result that cannot be read, and is left out.

    Raises:
        InputError: the database is damaged, or of a later version.
    """
    if not path.exists():
        return ()
    with _opened(path) as database:
        rows = database.execute(
            "SELECT created, model, CAST(json AS BLOB) FROM results WHERE ? IS NULL OR model = ? ORDER BY created",
            (model, model),
        ).fetchall()
    found = (_read(row, note) for row in rows)
    return tuple(
        past
        for results in found
        if results is not None
        for past in _entries(results)
        if entry in (None, past.entry)
    )


def _read(row: tuple[str, str, bytes], note: Callable[[str], None]) -> Results | None:
    created, model, text = row
    try:
        return Results.model_validate_json(text)
    except ValidationError as cause:
        problem = format_validation_error(cause)
        note(f"left out: the result of {created} of {model} cannot be read ({problem})")
        return None


def _entries(results: Results) -> Iterator[Past]:
    compared = {comparison.variant: comparison for comparison in results.comparisons}
    for variant in results.variants:
        comparison = compared.get(variant.name)
        yield Past(
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
    """What must be the same for measurements to be compared.

    Attributes:
        clips: hash of the ids and references.
        audio: hash of the samples; None where no two audios of these clips are known.
    """

    host: str
    threads: int
    clips: str
    audio: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Measurements of one entry of a model under the same conditions, the oldest first."""

    model: str
    entry: str
    conditions: Conditions
    past: tuple[Past, ...]

    @property
    def clips(self) -> str:
        """The clips, told from others of their name."""
        first, audio = self.past[0], self.conditions.audio
        heard = "" if audio is None else f", audio {audio[:DIGITS]}"
        return f"{first.n_clips} of {first.dataset} {first.dataset_sha256[:DIGITS]}{heard}"


def group_lines(past: Sequence[Past]) -> tuple[Line, ...]:
    """Put together what may be joined by a line, in the order in which the lines begin.

    Older results do not tell the hash of their audio. Where all that do tell have one, it stands for these too.
    """
    audios: dict[str, set[str]] = {}
    for one in past:
        if one.audio_sha256 is not None:
            audios.setdefault(one.dataset_sha256, set()).add(one.audio_sha256)
    lines: dict[tuple[str, str, Conditions], list[Past]] = {}
    for one in past:
        has_several = len(audios.get(one.dataset_sha256, ())) > 1
        conditions = Conditions(
            host=one.host,
            threads=one.threads,
            clips=one.dataset_sha256,
            audio=one.audio_sha256 if has_several else None,
        )
        lines.setdefault((one.model, one.entry, conditions), []).append(one)
    return tuple(
        Line(model=model, entry=entry, conditions=conditions, past=tuple(members))
        for (model, entry, conditions), members in lines.items()
    )


def name_lines(lines: Sequence[Line]) -> tuple[str, ...]:
    """Name each line by model and entry, and by those conditions that not all of them share."""
    facts: tuple[Callable[[Line], str], ...] = (
        lambda line: line.conditions.host,
        lambda line: f"{line.conditions.threads} thread{'' if line.conditions.threads == 1 else 's'}",
        lambda line: line.clips,
    )
    differing = [fact for fact in facts if len({fact(line) for line in lines}) > 1]
    return tuple(
        ", ".join((f"{line.model} {line.entry}", *(fact(line) for fact in differing))) for line in lines
    )


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the database in a transaction; make or migrate its tables."""
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
