"""Which windows are decoded next: a decision about numbers, without audio, model or clock."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import IntEnum


class Priority(IntEnum):
    """What goes first: the lower number."""

    LIVE = 0
    SHORT = 1
    LONG = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A job with windows that can be decoded now.

    Attributes:
        job: its number; earlier jobs have lower ones.
        priority: of its windows.
        key: windows of equal keys can be decoded together.
        n_windows: that wait, at least one.
        served: number of the last batch that had a window of the job; 0: none.
    """

    job: int
    priority: Priority
    key: Hashable
    n_windows: int
    served: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How many windows are decoded together.

    Attributes:
        most: in any batch.
        in_company_s: seconds that a batch of long audio may take while short clips or live sessions come too, which wait
            for its end; one window is decoded whatever it takes.
    """

    most: int = 12
    in_company_s: float = 0.5

    def in_company(self, window_s: float) -> int:
        """Return how many windows of long audio go together while clips come; `window_s`: seconds that each takes."""
        return min(self.most, max(1, int(self.in_company_s / window_s)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Windows of one job in a batch."""

    job: int
    n_windows: int


def next_batch(
    waiting: Sequence[Waiting], limits: BatchLimits, *, company_window_s: float | None = None
) -> tuple[Share, ...]:
    """Choose the windows that are decoded next.

    The most urgent job leads; among equals the one that has waited for most batches. Jobs of the same priority whose
    windows go with its own join, one window after another in turn, until the batch is full.

    Args:
        waiting: jobs with windows; in any order.
        limits: of the batch.
        company_window_s: short clips or live audio came lately, and a window of long audio takes so many seconds.

    Returns:
        Shares of at least one window; none where nothing waits.
    """
    ordered = sorted(waiting, key=lambda each: (each.priority, each.served, each.job))
    if not ordered:
        return ()
    leader = ordered[0]
    alike = [each for each in ordered if (each.priority, each.key) == (leader.priority, leader.key)]
    if company_window_s is None or leader.priority is not Priority.LONG:
        return _deal(alike, limits.most)
    return _deal(alike, limits.in_company(company_window_s))


def _deal(jobs: Sequence[Waiting], size: int) -> tuple[Share, ...]:
    """Deal places in a batch to jobs, one each in turn."""
    dealt = dict.fromkeys((each.job for each in jobs), 0)
    while size and (open_jobs := [each for each in jobs if dealt[each.job] < each.n_windows]):
        for each in open_jobs[:size]:
            dealt[each.job] += 1
        size -= min(size, len(open_jobs))
    return tuple(Share(job=job, n_windows=n) for job, n in dealt.items() if n)
