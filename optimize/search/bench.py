"""Try one recipe of a search: quantize, judge token by token, count word errors, time."""

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sottovoce.calibrate.store import CalibrationStore
from sottovoce.errors import SottovoceError
from sottovoce.optimize.checks.teacher_forcing import Candidate, Comparison, TeacherSequence, judge, score
from sottovoce.optimize.openvino.component_cache import COMPONENTS_NAME, ComponentCache
from sottovoce.optimize.openvino.quantize import quantize_variant, quantized_compute
from sottovoce.optimize.search.outcome import TrialOutcome
from sottovoce.progress import Reporter, Silent
from sottovoce.recipes.recipe import Recipe
from sottovoce.runs import CALIBRATION_NAME
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.transcriber import Transcriber
from sottovoce.speech.loading import LoadedClip
from sottovoce.statistics.accuracy import normalize, word_errors
from sottovoce.statistics.intervals import Interval, make_blocks, rate_delta_interval

N_TIMINGS = 2
"""Of each clip; the least counts, since whatever else the machine does only adds to it."""

FIRST_SHARE = 4
"""A trial is given up, or not, by a quarter of the clips."""

RESAMPLING_SEED = 0

GRAPH_SUFFIXES = frozenset({".xml", ".bin"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSpec:
    """What trials are tried on; can be sent to another process.

    Attributes:
        run: folder with the float variants and the calibration record.
        baseline: name of the float32 variant that others are compared with.
        work: folder for what trials write.
        judge_clips: on which tokens are compared; the first ones are also timed.
        n_timed: how many are.
        confirm_clips: on which word errors are counted.
        threads: of inference.
    """

    run: Path
    baseline: str
    work: Path
    judge_clips: tuple[LoadedClip, ...]
    n_timed: int
    confirm_clips: tuple[LoadedClip, ...]
    threads: int


class TrialBench:
    """Tries recipes against the baseline of one run."""

    def __init__(self, spec: BenchSpec, reporter: Reporter | None = None) -> None:
        """Let the baseline speak on all clips.

        Args:
            spec: the run and the clips.
            reporter: follows the baseline; the trials themselves are not followed.
        """
        self._spec = spec
        self._store = CalibrationStore(spec.run / CALIBRATION_NAME)
        self._write = ComponentCache(spec.work / COMPONENTS_NAME)
        self._words = np.array(
            [len(_reference(clip).split()) for clip in spec.confirm_clips], dtype=np.float64
        )
        self._blocks = make_blocks([clip.clip.speaker for clip in spec.confirm_clips])
        compute = ComputeSpec(threads=spec.threads)
        folder = spec.run / spec.baseline
        told = reporter or Silent()
        with told.progress("let the baseline speak", len(spec.judge_clips)) as advance:
            self._spoken = score(Candidate.load(folder, compute), spec.judge_clips, advance)
        self._baseline = Transcriber.load(folder, compute=compute)
        with told.progress("count the baseline's word errors", len(spec.confirm_clips)) as advance:
            self._baseline_errors = []
            for clip in spec.confirm_clips:
                self._baseline_errors.append(_errors(self._baseline, clip))
                advance()

    @cached_property
    def baseline_wer(self) -> float:
        """Of the baseline on the held-back clips, a fraction."""
        return float(sum(self._baseline_errors) / max(1.0, self._words.sum()))

    def try_recipe(self, recipe: Recipe, worst_divergence: float | None = None) -> TrialOutcome:
        """Try one recipe.

        Args:
            recipe: with the run's baseline and exports.
            worst_divergence: a trial that parts more from the baseline on a quarter of the clips is given up;
                None gives none up.
        """
        clock = _Clock()
        try:
            with self._quantized(recipe, clock) as folder:
                compute = quantized_compute(recipe.quantize)
                return self._measure(folder, compute, worst_divergence, clock)
        except SottovoceError as cause:
            return TrialOutcome(failure=str(cause), seconds=clock.seconds)

    @contextmanager
    def _quantized(self, recipe: Recipe, clock: "_Clock") -> Iterator[Path]:
        """Yield the folder of a variant, which is there as long as the block runs."""
        self._spec.work.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(dir=self._spec.work, prefix=TRIAL_PREFIX))
        try:
            with clock.time("quantize"):
                quantize_variant(
                    self._spec.run / recipe.quantized_from.name,
                    self._store,
                    recipe.quantize,
                    holder / recipe.quantize.name,
                    Silent(),
                    write=self._write,
                )
            yield holder / recipe.quantize.name
        finally:
            shutil.rmtree(holder, ignore_errors=True)

    def _measure(
        self, folder: Path, compute: ComputeSpec, worst_divergence: float | None, clock: "_Clock"
    ) -> TrialOutcome:
        with clock.time("judge"):
            judged, is_pruned = judge_until(Candidate.load(folder, compute), self._spoken, worst_divergence)
        transcriber = Transcriber.load(folder, compute=compute)
        with clock.time("count word errors"):
            increase = None if is_pruned else self._wer_increase(transcriber)
        with clock.time("time"):
            speedup = self._speedup(transcriber)
        return TrialOutcome(
            speedup=speedup,
            flips=judged.flips,
            divergence=judged.divergence,
            n_tokens=judged.n_tokens,
            size_bytes=sum(p.stat().st_size for p in folder.iterdir() if p.suffix in GRAPH_SUFFIXES),
            wer_increase=increase,
            is_pruned=is_pruned,
            seconds=clock.seconds,
        )

    def _wer_increase(self, transcriber: Transcriber) -> Interval:
        errors = [_errors(transcriber, clip) for clip in self._spec.confirm_clips]
        return rate_delta_interval(
            self._blocks.sums(self._baseline_errors),
            self._blocks.sums(errors),
            self._blocks.sums(self._words.tolist()),
            rng=np.random.default_rng(RESAMPLING_SEED),
        )

    def _speedup(self, transcriber: Transcriber) -> float:
        """Transcribe the timed clips with both, in turns, and divide the seconds."""
        clips = self._spec.judge_clips[: self._spec.n_timed]
        least: dict[tuple[int, int], float] = {}
        for turn in range(N_TIMINGS):
            for place, clip in enumerate(clips):
                for who, each in enumerate((self._baseline, transcriber)):
                    started = time.perf_counter()
                    _transcribe(each, clip)
                    taken = time.perf_counter() - started
                    least[who, place] = taken if turn == 0 else min(taken, least[who, place])
        sums = [sum(taken for (of, _), taken in least.items() if of == who) for who in (0, 1)]
        return sums[0] / sums[1]


TRIAL_PREFIX = "trial-"


def judge_until(
    subject: Candidate, spoken: Sequence[TeacherSequence], worst_divergence: float | None
) -> tuple[Comparison, bool]:
    """Judge a variant, and give it up after a quarter of the clips where it parts too much from the baseline.

    Returns:
        What was judged, and whether it was given up.
    """
    n_first = max(1, len(spoken) // FIRST_SHARE)
    first = judge(subject, spoken[:n_first])
    if worst_divergence is not None and first.divergence > worst_divergence:
        return first, True
    return Comparison(clips=first.clips + judge(subject, spoken[n_first:]).clips), False


def _transcribe(transcriber: Transcriber, clip: LoadedClip) -> str:
    language = clip.clip.language if clip.clip.language in transcriber.languages else None
    options = TranscribeOptions(language=language, with_timestamps=False, temperatures=(0.0,))
    return transcriber.transcribe(clip.wave, options).text


def _reference(clip: LoadedClip) -> str:
    return normalize(clip.clip.text or "", clip.clip.language)


def _errors(transcriber: Transcriber, clip: LoadedClip) -> int:
    heard = normalize(_transcribe(transcriber, clip), clip.clip.language)
    return word_errors(_reference(clip), heard).errors


class _Clock:
    """Seconds of the parts of a trial."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, part: str) -> Iterator[None]:
        """Time a block; what fails counts as well."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = round(time.perf_counter() - started, 3)
