"""What a person asks to be measured."""

from dataclasses import dataclass

from sottovoce.benchmark.clips.select import ClipChoice
from sottovoce.errors import SpecError
from sottovoce.machine.resources import usable_cores
from sottovoce.runtime.options import MAX_BATCH
from sottovoce.speech.clips import DEFAULT_SEED

DEFAULT_MARGIN = 0.005
"""Half a point of WER: what a change may cost before users of a recognizer notice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkSpec:
    """What to measure, and how.

    Attributes:
        split: of the speech set; ignored where a set has no splits.
        limit: clips measured; None takes all.
        variants: names, measured in our engine; empty for the quantized variant.
        timing_clips: how many clips count for speed, and are heard in every pass; None takes all.
        margin: largest tolerated WER increase, a fraction.
        engines: `ENGINE` or `ENGINE:VARIANT`; empty for our engine alone.
        checkpoint: what the run was made of, for engines that run it; None looks for it.
        long: take only recordings over 30 s instead of only clips up to 30 s.
        cold_starts: further fresh processes of each entry that are timed to their first transcript.
        ceilings: measure what this machine can do at most, and how near our variants come to it.
        side_effects: compare tokens, languages, times of words and words for noise, outside of the timed passes.
        self_check: measure our variant in a second process too, and hold the two against each other.
        batch_sizes: clips decoded together, for the throughput of engines that do; empty for none.
        thread_sweep: numbers of threads that our entries are timed with beside; empty for none.
        audio: keep clips whose transcripts differ beside the results, for the report.
        restart: throw away what an interrupted benchmark left, instead of going on.
    """

    split: str = "eval"
    limit: int | None = None
    variants: tuple[str, ...] = ()
    passes: int = 2
    timing_clips: int | None = None
    warm_up_clips: int = 2
    threads: int | None = None
    seed: int = DEFAULT_SEED
    margin: float = DEFAULT_MARGIN
    engines: tuple[str, ...] = ()
    checkpoint: str | None = None
    long: bool = False
    cold_starts: int = 0
    ceilings: bool = False
    side_effects: bool = True
    self_check: bool = False
    batch_sizes: tuple[int, ...] = ()
    thread_sweep: tuple[int, ...] = ()
    audio: bool = True
    restart: bool = False

    @property
    def n_threads(self) -> int:
        """Inference threads of every entry."""
        return self.threads or usable_cores()

    @property
    def clips(self) -> ClipChoice:
        """Which clips are measured."""
        return ClipChoice(split=self.split, limit=self.limit, seed=self.seed, long=self.long)


def check_spec(spec: BenchmarkSpec) -> None:
    """Refuse what would fail after an hour.

    Raises:
        SpecError: the options contradict each other.
    """
    if spec.long and spec.batch_sizes:
        raise SpecError(
            "--batch-sizes is for clips up to 30 s; long recordings are decoded in batches as each engine does"
        )
    if any(size > MAX_BATCH for size in spec.batch_sizes):
        raise SpecError(f"--batch-sizes takes at most {MAX_BATCH} clips together")
