"""Which windows go together, and what is let in."""

from hypothesis import given
from hypothesis import strategies as st

from sottovoce.serve.scheduler.admission import AdmissionLimits, Backlog
from sottovoce.serve.scheduler.batches import BatchLimits, Priority, Share, Waiting, next_batch

LIMITS = BatchLimits(most=12, in_company_s=0.5)


def waiting(
    job: int, n_windows: int = 1, priority: Priority = Priority.SHORT, key: str = "en", served: int = 0
) -> Waiting:
    return Waiting(job=job, n_windows=n_windows, priority=priority, key=key, served=served)


def test_short_clips_are_decoded_together_before_a_long_file() -> None:
    jobs = [waiting(1, 500, Priority.LONG), waiting(2), waiting(3)]
    assert next_batch(jobs, LIMITS) == (Share(job=2, n_windows=1), Share(job=3, n_windows=1))


def test_clips_in_other_languages_wait_for_the_next_batch() -> None:
    jobs = [waiting(1, key="en"), waiting(2, key="de"), waiting(3, key="en")]
    assert {share.job for share in next_batch(jobs, LIMITS)} == {1, 3}


def test_a_long_file_takes_small_batches_while_clips_come() -> None:
    jobs = [waiting(1, 500, Priority.LONG)]
    assert next_batch(jobs, LIMITS) == (Share(job=1, n_windows=12),)
    assert next_batch(jobs, LIMITS, company_window_s=0.12) == (Share(job=1, n_windows=4),)
    assert next_batch(jobs, LIMITS, company_window_s=3.0) == (Share(job=1, n_windows=1),)
    assert next_batch(jobs, LIMITS, company_window_s=0.001) == (Share(job=1, n_windows=12),)


def test_long_files_share_a_batch_evenly() -> None:
    jobs = [waiting(1, 500, Priority.LONG), waiting(2, 500, Priority.LONG), waiting(3, 1, Priority.LONG)]
    assert [share.n_windows for share in next_batch(jobs, LIMITS)] == [6, 5, 1]


def test_files_in_two_languages_take_turns() -> None:
    jobs = [waiting(1, 9, Priority.LONG, "en", served=7), waiting(2, 9, Priority.LONG, "de", served=6)]
    assert next_batch(jobs, LIMITS)[0].job == 2


def test_nothing_waits_for_nothing() -> None:
    assert next_batch([], LIMITS) == ()


jobs_strategy = st.lists(
    st.builds(
        Waiting,
        job=st.integers(1, 30),
        priority=st.sampled_from(Priority),
        key=st.sampled_from("abc"),
        n_windows=st.integers(1, 40),
        served=st.integers(0, 5),
    ),
    unique_by=lambda each: each.job,
)


@given(jobs_strategy, st.none() | st.floats(0.001, 10))
def test_a_batch_is_full_or_has_all_that_goes_with_its_most_urgent_job(
    jobs: list[Waiting],
    window_s: float | None,
) -> None:
    shares = next_batch(jobs, LIMITS, company_window_s=window_s)
    by_number = {each.job: each for each in jobs}
    chosen = [by_number[share.job] for share in shares]
    assert bool(shares) == bool(jobs)
    assert len({(each.key, each.priority) for each in chosen}) <= 1
    assert all(1 <= share.n_windows <= by_number[share.job].n_windows for share in shares)
    if jobs:
        first = min(jobs, key=lambda each: (each.priority, each.served, each.job))
        assert first in chosen
        n_alike = sum(
            each.n_windows for each in jobs if (each.key, each.priority) == (first.key, first.priority)
        )
        is_limited = window_s is not None and first.priority is Priority.LONG
        size = LIMITS.in_company(window_s) if window_s is not None and is_limited else LIMITS.most
        assert sum(share.n_windows for share in shares) == min(size, n_alike)


@given(jobs_strategy.filter(bool))
def test_every_job_is_served_however_many_come(jobs: list[Waiting]) -> None:
    """Of one priority: a more urgent one goes first as long as there is any."""
    left = {each.job: each.n_windows for each in jobs}
    served = dict.fromkeys(left, 0)
    for number in range(1, 10_000):
        now = [
            Waiting(
                job=each.job,
                priority=Priority.LONG,
                key=each.key,
                n_windows=left[each.job],
                served=served[each.job],
            )
            for each in jobs
            if left[each.job]
        ]
        if not now:
            break
        for share in next_batch(now, LIMITS):
            left[share.job] -= share.n_windows
            served[share.job] = number
    assert not any(left.values())


def test_a_full_server_says_when_to_come_back() -> None:
    backlog = Backlog(AdmissionLimits(audio_s=3600.0, jobs=10))
    is_full = [backlog.is_full]
    for left_s in (3600.0, 3599.0):
        backlog.set_left(1, left_s)
        is_full.append(backlog.is_full)
    assert is_full == [False, True, False]
    backlog.set_left(1, 3600.0)
    for _ in range(200):
        backlog.measure(100.0, 1.0)
    assert backlog.retry_after_s == 37
    backlog.set_left(1, 50.0)
    assert backlog.retry_after_s == 1
    backlog.remove(1)
    assert backlog.audio_s == 0.0


def test_clients_are_never_sent_away_for_longer_than_they_obey() -> None:
    backlog = Backlog(AdmissionLimits(audio_s=1.0))
    backlog.set_left(1, 1e6)
    assert backlog.retry_after_s == 120


def test_many_recordings_fill_the_server_however_short() -> None:
    backlog = Backlog(AdmissionLimits(jobs=2))
    for job in (1, 2):
        backlog.set_left(job, 0.1)
    assert backlog.is_full
