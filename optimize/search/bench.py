"""Run one trial of a search: quantize, compare token by token, count word errors, time."""

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
from sottovoce.optimize.checks.teacher_forcing import (
    Candidate,
    Comparison,
    TeacherSequence,
    compare,
    generate_teachers,
)
from sottovoce.optimize.openvino.component_cache import COMPONENTS_NAME, ComponentCache
from sottovoce.optimize.openvino.quantize import quantize_variant, quantized_compute
from sottovoce.optimize.search.report import TrialOutcome
from sottovoce.progress import Reporter, Silent
from sottovoce.recipes.recipe import Recipe
from sottovoce.runs import CALIBRATION_NAME
from sottovoce.runtime.loading import load
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.protocol import Transcriber
from sottovoce.speech.loading import LoadedClip
from sottovoce.statistics.accuracy import normalize, word_errors
from sottovoce.statistics.intervals import Interval, make_blocks, rate_delta_interval

N_TIMINGS = 2
"""Timings of each clip; the least counts, since other load on the machine only adds to it."""

FIRST_SHARE = 4
"""A quarter of the clips decides whether a trial is stopped."""

RESAMPLING_SEED = 0

GRAPH_SUFFIXES = frozenset({".xml", ".bin"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSpec:
    """The run and the clips that trials work on; can be sent to another process.

    Attributes:
        run: folder with the float variants and the calibration record.
        judge_clips: clips on which tokens are compared.
        n_timed: how many of those are timed, the first ones.
        confirm_clips: clips on which word errors are counted.
    """

    run: Path
    baseline: str
    work: Path
    judge_clips: tuple[LoadedClip, ...]
    n_timed: int
    confirm_clips: tuple[LoadedClip, ...]
    threads: int


class TrialBench:
    """Measures recipes against the baseline of one run."""

    def __init__(self, spec: BenchSpec, reporter: Reporter | None = None) -> None:
        """Transcribe all clips with the baseline."""
        self._spec = spec
        self._store = CalibrationStore(spec.run / CALIBRATION_NAME)
        self._write = ComponentCache(spec.work / COMPONENTS_NAME)
        self._words = np.array(
            [len(_reference(clip).split()) for clip in spec.confirm_clips], dtype=np.float64
        )
        self._blocks = make_blocks([clip.clip.speaker for clip in spec.confirm_clips])
        compute = ComputeSpec(threads=spec.threads)
        folder = spec.run / spec.baseline
        reporter = reporter or Silent()
        self._teachers = generate_teachers(Candidate.load(folder, compute), spec.judge_clips, reporter)
        self._baseline = load(folder, compute=compute)
        with reporter.progress("count the baseline's word errors", len(spec.confirm_clips)) as advance:
            self._baseline_errors = []
            for clip in spec.confirm_clips:
                self._baseline_errors.append(_errors(self._baseline, clip))
                advance()

    @cached_property
    def baseline_wer(self) -> float:
        """Of the baseline on the held-out clips, a fraction."""
        return float(sum(self._baseline_errors) / max(1.0, self._words.sum()))

    def try_recipe(self, recipe: Recipe, worst_divergence: float | None = None) -> TrialOutcome:
        """Quantize by a recipe, and measure the variant.

        Args:
            worst_divergence: a trial that diverges more on a quarter of the clips is stopped; None stops none.
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
        """Yield the folder of a variant, which is removed afterwards."""
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
            candidate = Candidate.load(folder, compute)
            compared, is_pruned = compare_until(candidate, self._teachers, worst_divergence)
        transcriber = load(folder, compute=compute)
        with clock.time("count word errors"):
            increase = None if is_pruned else self._wer_increase(transcriber)
        with clock.time("time"):
            speedup = self._speedup(transcriber)
        return TrialOutcome(
            speedup=speedup,
            flips=compared.top1_disagreement,
            divergence=compared.kl_divergence,
            n_tokens=compared.n_tokens,
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
        """Transcribe the timed clips with both models in turns, and divide the seconds."""
        clips = self._spec.judge_clips[: self._spec.n_timed]
        least: dict[tuple[int, int], float] = {}
        for turn in range(N_TIMINGS):
            for i, clip in enumerate(clips):
                for model, each in enumerate((self._baseline, transcriber)):
                    started = time.perf_counter()
                    _transcribe(each, clip)
                    taken = time.perf_counter() - started
                    least[model, i] = taken if turn == 0 else min(taken, least[model, i])
        sums = [sum(taken for (of, _), taken in least.items() if of == model) for model in (0, 1)]
        return sums[0] / sums[1]


TRIAL_PREFIX = "trial-"


def compare_until(
    candidate: Candidate, teachers: Sequence[TeacherSequence], worst_divergence: float | None
) -> tuple[Comparison, bool]:
    """Compare a variant with the baseline, and stop after a quarter of the clips where it diverges too much.

    Returns:
        The comparison, and whether it was stopped.
    """
    n_first = max(1, len(teachers) // FIRST_SHARE)
    first = compare(candidate, teachers[:n_first])
    if worst_divergence is not None and first.kl_divergence > worst_divergence:
        return first, True
    return Comparison(clips=first.clips + compare(candidate, teachers[n_first:]).clips), False


def _transcribe(transcriber: Transcriber, clip: LoadedClip) -> str:
    language = clip.clip.language if clip.clip.language in transcriber.languages else None
    options = TranscribeOptions(language=language, without_timestamps=True, temperature=0.0)
    return transcriber.transcribe(clip.wave, options).text


def _reference(clip: LoadedClip) -> str:
    return normalize(clip.clip.text or "", clip.clip.language)


def _errors(transcriber: Transcriber, clip: LoadedClip) -> int:
    hypothesis = normalize(_transcribe(transcriber, clip), clip.clip.language)
    return word_errors(_reference(clip), hypothesis).errors


class _Clock:
    """Seconds of the parts of a trial."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, part: str) -> Iterator[None]:
        """Time a block of code, also where it raises."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = round(time.perf_counter() - started, 3)
