"""What a benchmark measures; the command line takes its options from the fields here."""

from dataclasses import dataclass, field
from typing import TypeVar

from sottovoce.benchmark.engines.registry import ENGINES, list_engines
from sottovoce.errors import SpecError, nearest
from sottovoce.machine.resources import usable_cores
from sottovoce.runtime.options import MAX_BATCH
from sottovoce.speech.clips import DEFAULT_SEED
from sottovoce.terms import Condition

DEFAULT_MARGIN = 0.005
"""Half a point of WER: users of a recognizer do not notice less."""

PERCENT = 100

OPTION = "option"
"""Key of the `Option` in the metadata of a field."""

ALL_CONDITIONS = "all"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """How the command line shows a field.

    Attributes:
        minimum: smallest number that is accepted.
        factor: from the field to the number that people see, such as 100 for a fraction shown in points.
        is_repeated: the option is given once for each value, instead of values separated by commas.
    """

    text: str
    metavar: str | None = None
    minimum: int | None = None
    factor: int = 1
    is_repeated: bool = False


def option(
    text: str,
    *,
    default: _T,
    metavar: str | None = None,
    minimum: int | None = None,
    factor: int = 1,
    is_repeated: bool = False,
) -> _T:
    """Declare a field of a spec that is also an option of the command line, see `Option`."""
    shown = Option(text=text, metavar=metavar, minimum=minimum, factor=factor, is_repeated=is_repeated)
    return field(default=default, metadata={OPTION: shown})


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkSpec:
    """What to measure, and how; `margin` is a fraction. An empty tuple takes the default that its text names."""

    split: str = option("Split to measure, if the set has splits.", default="eval")
    limit: int | None = option("Number of clips to measure, chosen by the seed.", default=None, minimum=1)
    variants: tuple[str, ...] = option(
        "Variants to measure in the engine sottovoce, separated by commas; the quantized one by default.",
        default=(),
    )
    engines: tuple[str, ...] = option(
        "Engines to compare on the same clips, separated by commas; ENGINE:VARIANT names a variant.",
        default=(),
        metavar="ENGINE,...",
    )
    checkpoint: str | None = option(
        f"Checkpoint that RUN was made from, for {list_engines(each for each in ENGINES if each.needs_checkpoint)}; "
        "found in the cache by default.",
        default=None,
        metavar="MODEL",
    )
    cold_starts: int = option(
        "Fresh processes of each entry, timed from their start to the first transcript.", default=0, minimum=0
    )
    passes: int = option("Counted passes over the clips, interleaved.", default=2, minimum=1)
    timing_clips: int | None = option(
        "Clips that count for speed and are transcribed in every pass, with the length distribution of all clips; "
        "the others are transcribed once, for accuracy. All by default.",
        default=None,
        metavar="N",
        minimum=1,
    )
    warm_up_clips: int = 2
    threads: int | None = option("Inference threads; all cores by default.", default=None, minimum=1)
    margin: float = option(
        "Tolerated WER increase, in points.", default=DEFAULT_MARGIN, minimum=0, factor=PERCENT
    )
    where: tuple[str, ...] = option(
        "Only clips of a language, source, speaker or split; may be repeated.",
        default=(),
        metavar="KEY=VALUE",
        is_repeated=True,
    )
    seed: int = option("Chooses the clips and the resamples.", default=DEFAULT_SEED)
    long: bool = option(
        f"Measure only recordings over 30 s; not possible with {list_engines(each for each in ENGINES if not each.takes_long)}.",
        default=False,
    )
    ceilings: bool = option(
        "Measure the roofline of this machine, and the efficiency of our variants against it.", default=False
    )
    batch_sizes: tuple[int, ...] = option(
        "Measure the throughput of clips decoded N at a time, such as 1,8,32; for engines that decode in batches.",
        default=(),
        metavar="N,...",
    )
    thread_sweep: tuple[int, ...] = option(
        "Also time our entries with these numbers of threads, such as 1,2,4.", default=(), metavar="N,..."
    )
    side_effects: bool = option(
        "Compare tokens, detected languages, word times and words invented in noise, after the timed passes.",
        default=True,
    )
    robustness: tuple[str, ...] = option(
        "Also measure the word errors of our entries on the clips made quiet, loud, noisy and so on, after the timed passes: "
        f"{ALL_CONDITIONS}, or some of {', '.join(each for each in Condition if each is not Condition.CLEAN)}.",
        default=(),
        metavar=f"{ALL_CONDITIONS}|CONDITION,...",
    )
    live: bool = option(
        "Also feed the recordings to live transcription, after the timed passes: delays of words, steadiness, cost; clips up to "
        "30 s are joined with pauses. With the engine faster-whisper, LocalAgreement-2 over it is compared.",
        default=False,
    )
    live_noise: str | None = option(
        "Folder of recordings without speech, each repeated to ten minutes, for `--live`; silence is always fed.",
        default=None,
        metavar="FOLDER",
    )
    live_real_time: bool = option(
        "Feed the recordings of `--live` as they are spoken, where computation counts, instead of on a simulated clock.",
        default=False,
    )
    audio: bool = option(
        "Save recordings whose transcripts differ with the results, so that the report can play them.",
        default=True,
    )
    self_check: bool = option(
        "Measure our variant in a second process too (A/A check): the noise of this machine.", default=False
    )
    restart: bool = option(
        "Discard what an interrupted benchmark measured, instead of resuming it.", default=False
    )

    @property
    def n_threads(self) -> int:
        """Inference threads of every entry."""
        return self.threads or usable_cores()

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions of `robustness`, clean speech first; empty without it.

        Raises:
            SpecError: one of them is unknown.
        """
        if not self.robustness:
            return ()
        for name in self.robustness:
            if name not in {ALL_CONDITIONS, *Condition}:
                hint = nearest(name, Condition) or f"; conditions: {', '.join((ALL_CONDITIONS, *Condition))}"
                raise SpecError(f"--robustness has no condition {name}{hint}")
        chosen = {Condition.CLEAN, *self.robustness}
        return tuple(each for each in Condition if ALL_CONDITIONS in chosen or each in chosen)


def check_spec(spec: BenchmarkSpec) -> None:
    """Refuse options that contradict each other before an hour of measuring.

    Raises:
        SpecError: the options contradict each other.
    """
    _ = spec.conditions
    if spec.long and spec.batch_sizes:
        raise SpecError(
            "--batch-sizes is for clips up to 30 s; each engine batches long recordings in its own way"
        )
    if spec.live_noise is not None and not spec.live:
        raise SpecError("--live-noise is for --live; give both")
    if spec.live_real_time and not spec.live:
        raise SpecError("--live-real-time is for --live; give both")
    if any(size > MAX_BATCH for size in spec.batch_sizes):
        raise SpecError(f"--batch-sizes takes at most {MAX_BATCH} clips at a time")
