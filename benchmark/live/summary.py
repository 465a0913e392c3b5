"""Summarize what live systems did."""

from collections.abc import Iterator, Sequence

import numpy as np

from sottovoce.benchmark.live.clock import FRAME_S, Trace
from sottovoce.benchmark.live.measure import LiveMeasurement, SystemTraces
from sottovoce.benchmark.live.metrics import WordDelays, summarize_delays, word_delays
from sottovoce.benchmark.live.recordings import Recording
from sottovoce.benchmark.live.replay import Replay, replay
from sottovoce.benchmark.live.systems import DESCRIPTIONS
from sottovoce.benchmark.schema.live import (
    Invented,
    LivePass,
    LiveReport,
    LiveSystem,
    Timeline,
    TimelineWord,
)
from sottovoce.benchmark.statistics.matched_pairs import find_mistakes
from sottovoce.runtime.live.options import LiveOptions
from sottovoce.statistics.accuracy import WordErrors, add_errors, normalize, word_errors
from sottovoce.statistics.intervals import Interval, rate_delta_interval

BLOCK_WORDS = 20
"""Words of a reference that are resampled together: few recordings have no spread, and errors of near words depend on each
other."""

HOUR_S = 3600.0
SETTLED_S = 300.0
"""Audio after which a process has met most lengths; each new one takes memory for good (docs/lab-notes.md)."""

LEAST_SLOPE_S = 600.0
LONGEST_INVENTED = 200


def summarize_live(measured: LiveMeasurement, *, seed: int) -> LiveReport:
    """Summarize; `seed` draws the resamples of the intervals."""
    systems = tuple(_summarize(system, measured, seed) for system in measured.systems)
    disturbances = [system.disturbance for system in measured.systems]
    words = [word for reference in measured.references for word in reference]
    return LiveReport(
        frame_s=FRAME_S,
        n_recordings=len(measured.recordings),
        audio_s=sum(recording.audio_s for recording in measured.recordings),
        n_words=len(words),
        n_timed=sum(word.end_s is not None for word in words),
        foreign_share=max((each.share for each in disturbances), default=0.0),
        systems=systems,
        timeline=_timeline(measured),
    )


def _summarize(system: SystemTraces, measured: LiveMeasurement, seed: int) -> LiveSystem:
    recordings = measured.recordings
    offline = add_errors(map(_errors, recordings, system.offline))
    audio_s = sum(trace.audio_s for trace in system.not_counted)
    return LiveSystem(
        name=system.spec.name,
        entry=system.spec.entry.name,
        method=str(system.spec.method),
        description=DESCRIPTIONS[system.spec.method],
        offline_words=offline,
        offline_wer=offline.wer,
        passes=tuple(
            _pass(system, measured, is_counted=is_counted, seed=seed) for is_counted in (True, False)
        ),
        cpu_share=sum(trace.cpu_s for trace in system.not_counted) / audio_s,
        peak_rss_bytes=max(size for trace in system.counted for _, size in trace.rss),
        memory_slope=memory_slope(system.counted),
        without_speech=tuple(_invented(name, trace) for name, trace in system.sounds.items()),
    )


def _pass(system: SystemTraces, measured: LiveMeasurement, *, is_counted: bool, seed: int) -> LivePass:
    traces = system.counted if is_counted else system.not_counted
    seen = [replay(trace.displays) for trace in traces]
    delays = list(_delays(seen, measured))
    words = add_errors(
        _errors(recording, one.text) for recording, one in zip(measured.recordings, seen, strict=True)
    )
    laal = [seconds for each in delays for seconds in each.laal]
    silence_s = LiveOptions().silence_s
    return LivePass(
        is_counted=is_counted,
        committed=summarize_delays([seconds for each in delays for seconds in each.committed]),
        shown=summarize_delays([seconds for each in delays for seconds in each.shown]),
        first_word=summarize_delays([seconds for each in delays for seconds in each.first_word]),
        finalization=summarize_delays(
            [seconds - silence_s for each in delays for seconds in each.finalization]
        ),
        stream_laal_s=float(np.mean(laal)) if laal else None,
        max_backlog_s=max(trace.max_backlog_s for trace in traces),
        erasure=sum(one.n_erased for one in seen) / max(1, sum(len(one.words) for one in seen)),
        n_retracted=sum(one.n_retracted for one in seen),
        words=words,
        wer=words.wer,
        wer_delta=_delta(measured.recordings, system.offline, [one.text for one in seen], seed),
    )


def _delays(seen: Sequence[Replay], measured: LiveMeasurement) -> Iterator[WordDelays]:
    for recording, reference, one in zip(measured.recordings, measured.references, seen, strict=True):
        yield word_delays(reference, one.words, recording.language)


def _errors(recording: Recording, text: str) -> WordErrors:
    language = recording.language
    return word_errors(normalize(recording.reference, language), normalize(text, language))


def _delta(
    recordings: Sequence[Recording], offline: Sequence[str], live: Sequence[str], seed: int
) -> Interval | None:
    """Estimate the word error rate of the live text minus that of the offline text; blocks of words are resampled."""
    pairs = zip(recordings, offline, live, strict=True)
    blocks = [block for one in pairs for block in _blocks(*one)]
    if not blocks:
        return None
    before, after, words = (np.array(column, dtype=np.float64) for column in zip(*blocks, strict=True))
    return rate_delta_interval(before, after, words, rng=np.random.default_rng(seed))


def _blocks(recording: Recording, offline: str, live: str) -> Iterator[tuple[int, int, int]]:
    """Yield errors of both texts and words of the reference, for each block of it."""
    reference = normalize(recording.reference, recording.language)
    errors = [_errors_by_word(reference, normalize(text, recording.language)) for text in (offline, live)]
    for first in range(0, len(errors[0]), BLOCK_WORDS):
        before, after = (each[first : first + BLOCK_WORDS] for each in errors)
        yield sum(before), sum(after), len(before)


def _errors_by_word(reference: str, hypothesis: str) -> list[int]:
    """Count the errors at each word of a reference; what is inserted behind the last word counts for it."""
    mistakes = find_mistakes(reference, hypothesis)
    counts = [
        int(wrong) + n
        for wrong, n in zip(mistakes.wrong, mistakes.inserted[: len(mistakes.wrong)], strict=True)
    ]
    if counts:
        counts[-1] += mistakes.inserted[-1]
    return counts


def memory_slope(traces: Sequence[Trace]) -> float | None:
    """Fit a line through the resident set over the audio of recordings that one process was fed, from the sixth minute on.

    Returns:
        Bytes per hour of audio; None for less than ten minutes.
    """
    readings: list[tuple[float, int]] = []
    start_s = 0.0
    for trace in traces:
        readings += [(start_s + at_s, size) for at_s, size in trace.rss if start_s + at_s >= SETTLED_S]
        start_s += trace.audio_s
    if start_s < LEAST_SLOPE_S:
        return None
    times_s, sizes = zip(*readings, strict=True)
    return float(np.polyfit(times_s, sizes, 1)[0] * HOUR_S)


def _invented(name: str, trace: Trace) -> Invented:
    seen = replay(trace.displays)
    return Invented(
        sound=name,
        audio_s=trace.audio_s,
        n_words=len(seen.words),
        text=seen.text[:LONGEST_INVENTED],
        cpu_share=trace.cpu_s / trace.audio_s,
    )


def _timeline(measured: LiveMeasurement) -> Timeline | None:
    """Take the first recording under the first system."""
    if not measured.systems:
        return None
    recording, reference, first = measured.recordings[0], measured.references[0], measured.systems[0]
    seen = replay(first.counted[0].displays)
    right = word_delays(reference, seen.words, recording.language).right
    return Timeline(
        system=first.spec.name,
        recording=recording.name,
        words=tuple(
            TimelineWord(
                text=reference[place].text,
                end_s=reference[place].end_s or 0.0,
                shown_s=shown_s,
                committed_s=word.committed_s,
            )
            for place, word, shown_s in right
        ),
    )
