"""How many workers of a cluster a search takes."""

from collections.abc import Sequence

import pytest

from sottovoce.errors import SpecError
from sottovoce.optimize.search.workers import count_workers


@pytest.mark.parametrize(
    ("cores", "threads", "n_workers", "expected"),
    [
        ((8,), 2, None, 4),
        ((8,), 2, 3, 3),
        ((8,), 2, 4, 4),
        ((3, 3), 2, None, 2),
        ((16, 4, 0), 4, 5, 5),
        ((2,), 2, None, 1),
    ],
)
def test_as_many_workers_start_as_are_wanted_or_fit(
    cores: Sequence[int], threads: int, n_workers: int | None, expected: int
) -> None:
    assert count_workers(cores, threads, n_workers) == expected


@pytest.mark.parametrize(
    ("cores", "threads", "n_workers", "message"),
    [
        ((2,), 1, 3, r"--workers ray:3: with 1 threads each 2 fit the cluster, whose machines have 2 cores"),
        ((3, 3), 2, 3, r"--workers ray:3: with 2 threads each 2 fit .* 3, 3 cores; give fewer workers"),
        ((2,), 2, 2, r"--workers ray:2: with 2 threads each 1 fit"),
        ((4,), 8, None, r"--workers ray: with 8 threads each 0 fit"),
    ],
)
def test_workers_that_do_not_fit_are_refused_instead_of_waited_for(
    cores: Sequence[int], threads: int, n_workers: int | None, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        count_workers(cores, threads, n_workers)
