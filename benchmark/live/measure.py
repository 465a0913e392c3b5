"""Measure live transcription: each system in a process of its own, one after another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, cast

from sottovoce.benchmark.engines.engine import AA_SUFFIX, DEFAULT_ENGINE, EngineSpec, Entry, MakeEngine
from sottovoce.benchmark.engines.faster_whisper import FasterWhisperEngine
from sottovoce.benchmark.live.clock import Trace
from sottovoce.benchmark.live.recordings import Recording, make_recordings, sounds_without_speech
from sottovoce.benchmark.live.systems import Method, System, SystemSpec, open_system
from sottovoce.benchmark.live.words import ReferenceWord, reference_words
from sottovoce.benchmark.plan import Plan
from sottovoce.benchmark.schema.failures import FailedIn
from sottovoce.benchmark.timing.excluded import FailedPeers
from sottovoce.benchmark.timing.noise import Disturbance, between, read_cpu
from sottovoce.benchmark.timing.worker import Worker
from sottovoce.progress import Advance, Reporter
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.model.layout import format_of
from sottovoce.terms import Format

LOCAL_AGREEMENT_SOUND_S = 60.0
"""Sounds without speech are fed to LocalAgreement-2 for so long only: it commits no words there, so it decodes all of the sound
again every second, and ten minutes would take hours."""

MakeSystem = Callable[..., Callable[[], System]]
"""`open_system`, or what takes its place in tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemTraces:
    """What a system did.

    Attributes:
        offline: texts of the recordings as files, in their order.
        not_counted: of each recording, with a clock that stands while the system computes.
        counted: of each recording, with computation counted.
        sounds: by sound without speech, computation not counted.
        disturbance: while computation was counted.
    """

    spec: SystemSpec
    offline: tuple[str, ...]
    not_counted: tuple[Trace, ...]
    counted: tuple[Trace, ...]
    sounds: Mapping[str, Trace]
    disturbance: Disturbance


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMeasurement:
    """The recordings, the words of their references with times, and what each system did."""

    recordings: tuple[Recording, ...]
    references: tuple[tuple[ReferenceWord, ...], ...]
    systems: tuple[SystemTraces, ...]


class Pace(StrEnum):
    """How a recording is fed: which time passes while a system computes; see `System`."""

    NOT_COUNTED = "not_counted"
    COUNTED = "counted"
    IN_REAL_TIME = "in_real_time"


class LiveWorker(Worker):
    """A process that runs one system; see `Worker`."""

    def __init__(self, spec: SystemSpec, make: MakeSystem) -> None:
        super().__init__(spec.entry, cast("MakeEngine", partial(make, method=spec.method)))

    def warm_up(self, recording: Recording) -> None:
        """Prepare what the first seconds of a stream would wait for."""
        self._call(object, "warm_up", recording.wave, recording.language)

    def offline(self, recording: Recording) -> str:
        """Transcribe a recording as a file."""
        return self._call(str, "offline", recording.wave, recording.language)

    def feed(self, wave: Wave, language: str | None, pace: Pace) -> Trace:
        """Feed a recording to a new stream."""
        return self._call(Trace, f"feed_{pace}", wave, language)


def measure_live(
    plan: Plan,
    reporter: Reporter,
    failed: FailedPeers,
    *,
    make: MakeEngine | None = None,
    make_system: MakeSystem = open_system,
) -> LiveMeasurement:
    """Feed recordings to each system, with computation not counted and counted, then transcribe them as files.

    Args:
        plan: its clips become recordings; its entries, systems.
        reporter: shows the progress.
        failed: entries of other engines that fail are added.
        make: makes the engine of the baseline.
        make_system: makes systems.

    Raises:
        StageError: a system of our own engine fails.
        InputError: there are no recordings without speech in the folder of `live_noise`.
    """
    folder = plan.spec.live_noise
    sounds = sounds_without_speech(None if folder is None else Path(folder))
    recordings = make_recordings(plan.clips.loaded, plan.default_language)
    references = _time_words(plan.entries[0].spec, recordings, reporter, make)
    specs = choose_systems(plan.entries)
    pace = Pace.IN_REAL_TIME if plan.spec.live_real_time else Pace.COUNTED
    traces = []
    with reporter.progress("live", len(specs) * (3 * len(recordings) + len(sounds))) as advance:
        for spec in specs:
            with failed.excluded(spec.entry, FailedIn.LIVE):
                fed = _shortened(sounds) if spec.method is Method.LOCAL_AGREEMENT else sounds
                traces.append(_measure_system(spec, recordings, fed, make_system, advance, pace))
    return LiveMeasurement(recordings=recordings, references=references, systems=tuple(traces))


def _shortened(sounds: Sequence[tuple[str, Wave]]) -> list[tuple[str, Wave]]:
    n_samples = round(LOCAL_AGREEMENT_SOUND_S * SAMPLE_RATE_HZ)
    return [(name, wave[:n_samples]) for name, wave in sounds]


def choose_systems(entries: Sequence[Entry]) -> tuple[SystemSpec, ...]:
    """Choose the methods of each entry but the baseline, or of the baseline if there is no other of our engine."""
    ours = [entry.spec for entry in entries if _is_ours(entry.spec)]
    peers = [entry.spec for entry in entries if entry.spec.engine == FasterWhisperEngine.name]
    methods = (Method.ALIGNMENT, Method.AGREEMENT, Method.WINDOW)
    return (
        *(SystemSpec(entry=spec, method=method) for spec in ours[1:] or ours for method in methods),
        *(SystemSpec(entry=spec, method=Method.LOCAL_AGREEMENT) for spec in peers),
    )


def _is_ours(spec: EngineSpec) -> bool:
    is_again = spec.name.endswith(AA_SUFFIX)
    return spec.engine == DEFAULT_ENGINE and not is_again and format_of(spec.folder) is not Format.CTRANSLATE2


def _time_words(
    baseline: EngineSpec, recordings: Sequence[Recording], reporter: Reporter, make: MakeEngine | None
) -> tuple[tuple[ReferenceWord, ...], ...]:
    with (
        reporter.progress("times of words", len(recordings)) as advance,
        Worker(baseline, make) as worker,
    ):
        worker.wait_until_loaded()
        found = []
        for recording in recordings:
            spoken = worker.detail(recording.wave, recording.language).words
            found.append(reference_words(recording.reference, spoken, recording.language))
            advance()
        return tuple(found)


def _measure_system(
    spec: SystemSpec,
    recordings: Sequence[Recording],
    sounds: Sequence[tuple[str, Wave]],
    make: MakeSystem,
    advance: Advance,
    pace: Pace,
) -> SystemTraces:
    def each(answer: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        found = []
        for item in items:
            found.append(answer(item))
            advance()
        return found

    with LiveWorker(spec, make) as worker:
        worker.wait_until_loaded()
        worker.warm_up(max(recordings, key=lambda recording: recording.audio_s))
        not_counted = each(lambda one: worker.feed(one.wave, one.language, Pace.NOT_COUNTED), recordings)
        before = read_cpu([worker.pid])
        counted = each(lambda one: worker.feed(one.wave, one.language, pace), recordings)
        disturbance = between(before, read_cpu([worker.pid]))
        language = recordings[0].language
        quiet = each(lambda sound: worker.feed(sound[1], language, Pace.NOT_COUNTED), sounds)
        offline = each(worker.offline, recordings)  # last: long recordings take more memory than streams
    return SystemTraces(
        spec=spec,
        offline=tuple(offline),
        not_counted=tuple(not_counted),
        counted=tuple(counted),
        sounds={name: trace for (name, _), trace in zip(sounds, quiet, strict=True)},
        disturbance=disturbance,
    )
