"""Results that were measured before, in an embedded database under the user's data folder.

The database holds each `results.json` whole, as it was written: the exchange format stays the only one, and a
result of an older schema is read as `results.json` of that schema is. `PRAGMA user_version` tells the version of
the tables.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from sottovoce.artifacts import Document
from sottovoce.benchmark.results import Results
from sottovoce.errors import InputError
from sottovoce.intervals import Interval

HISTORY_NAME = "history.sqlite"
HISTORY_VARIABLE = "SOTTOVOCE_HISTORY"
"""Path of another database; empty to keep none."""

TABLES_VERSION = 1
"""1: first version."""

LOCK_TIMEOUT_S = 30.0

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


def read_past(path: Path, *, model: str | None = None, entry: str | None = None) -> tuple[Past, ...]:
    """Return what was measured, the oldest first.

    Args:
        path: of the database; one that is not there is empty.
        model: of these only; None takes all.
        entry: of these only, a variant or `ENGINE:VARIANT`; None takes all.

    Raises:
        InputError: the database is damaged, or of a later version.
    """
    if not path.exists():
        return ()
    with _opened(path) as database:
        rows = database.execute(
            "SELECT json FROM results WHERE ? IS NULL OR model = ? ORDER BY created", (model, model)
        ).fetchall()
    try:
        found = [Results.model_validate_json(text) for (text,) in rows]
    except ValidationError as cause:
        raise InputError(f"{path} holds a result that cannot be read: {cause.errors()[0]['msg']}") from cause
    return tuple(past for results in found for past in _entries(results) if entry in (None, past.entry))


def _entries(results: Results) -> Iterator[Past]:
    compared = {comparison.variant: comparison for comparison in results.comparisons}
    for variant in results.variants:
        comparison = compared.get(variant.name)
        yield Past(
            created=results.created,
            model=results.model,
            entry=variant.name,
            host=results.host.cpu,
            threads=results.method.threads,
            dataset=results.dataset.name,
            n_clips=results.dataset.n_clips,
            rtfx=variant.rtfx,
            wer=variant.wer,
            size_bytes=variant.size_bytes,
            peak_rss_bytes=variant.peak_rss_bytes,
            speedup=None if comparison is None else comparison.speedup,
            wer_delta=None if comparison is None else comparison.wer_delta,
        )


def same_conditions(past: Sequence[Past]) -> bool:
    """Tell whether entries may be put on one line: one host, one number of threads, one set of clips."""
    return len({(one.host, one.threads, one.dataset, one.n_clips) for one in past}) <= 1


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
            database.execute(CREATE)
            database.execute(f"PRAGMA user_version = {TABLES_VERSION}")
            yield database
    except (sqlite3.Error, OSError) as cause:
        raise InputError(
            f"{path} cannot be used: {cause}; move it away, or name another in {HISTORY_VARIABLE}"
        ) from cause
