"""The results of a benchmark: the exchange format between `benchmark` and `reports`.

`results.json` in the results folder holds a `Results`; `clips.jsonl` beside it holds one
`ClipRow` for each clip and entry. An entry is a variant in an engine; it is named by the variant
alone in our own engine, else `ENGINE:VARIANT`. Times are seconds, sizes bytes, `wer` a fraction (0.05 is
5 %), intervals 95 % unless `confidence` says otherwise.
"""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import Field

from sottovoce.benchmark.schema.output_drift import SideEffects
from sottovoce.benchmark.statistics.matched_pairs import MatchedPairs
from sottovoce.benchmark.statistics.noninferiority import AccuracyVerdict
from sottovoce.benchmark.statistics.panel import PanelRow
from sottovoce.calibrate.audit import DoctorReport
from sottovoce.errors import InputError
from sottovoce.machine.environment import Host, MachineRates
from sottovoce.optimize.search.report import SearchReport
from sottovoce.optimize.sensitivity.report import SensitivityReport
from sottovoce.statistics.accuracy import WordErrors
from sottovoce.statistics.intervals import Interval
from sottovoce.storage.documents import Document, read_document, read_json_lines

RESULTS_NAME = "results.json"
CLIPS_NAME = "clips.jsonl"

RESULTS_SCHEMA_VERSION = 7
"""1: first version; every variant ran in optimum-intel.
2: entries of several engines, `peers`, `cold_start`, `ceilings`, `method.long`; version 1 can be read.
3: `doctor`; versions 1 and 2 can be read.
4: `sensitivity`, `search`; versions 1 to 3 can be read.
5: of a comparison `matched_pairs`, `panel`, `no_regression_rate`, `strata`, `verdict.more_clips`; of a clip `snr_db`; strata by
length, noise and speaker as well; versions 1 to 4 can be read.
6: `checkpoint`, `absent`, `side_effects`, `noise`, `self_check`, `timing_clips`; of an entry `latency_s.p99`, `throughput`, `thread_sweep`; of a clip
`disturbed`, `spoken`, `audio`; versions 1 to 5 can be read.
7: of a comparison `n_clips`, `n_failed`, `n_blocks`; `absent[].entry`, `absent[].failed_in`: engines that failed are absent, too;
`checkpoint_version`, `dataset.audio_sha256`; versions 1 to 6 can be read."""


class Stage(StrEnum):
    """The parts of a transcription that are timed apart."""

    FEATURES = "features"
    ENCODER = "encoder"
    DECODER = "decoder"
    DECODER_WITH_PAST = "decoder_with_past"
    OTHER = "other"


class SpeedVerdict(StrEnum):
    """What the interval of the speed-up says."""

    FASTER = "faster"
    SLOWER = "slower"
    UNDECIDED = "undecided"


class CeilingPart(StrEnum):
    """The parts that are compared with the machine's ceiling."""

    ENCODER_WINDOW = "encoder_window"
    DECODE_STEP = "decode_step"


class Latency(Document):
    """Seconds from waveform to text, over clips; each clip counts with its median over passes."""

    p50: float
    p90: float
    p99: float | None = Field(default=None, description="Null in results before version 6.")
    mean: float


class ComponentPrecision(Document):
    """What a compiled model really computes in, read back from it.

    Attributes:
        inference: `INFERENCE_PRECISION_HINT` of the compiled model.
        kv_cache: `KV_CACHE_PRECISION`; only a stateful decoder uses it.
        execution_mode: `EXECUTION_MODE_HINT`.
        dynamic_quantization_group_size: 0 where activations are not quantized on the fly.
        nodes: number of nodes of the execution graph by their run-time precision, those that
            compute (convolution, matrix product, attention) only.
    """

    inference: str
    kv_cache: str
    execution_mode: str
    dynamic_quantization_group_size: int
    nodes: dict[str, int]


class Precision(Document):
    """The effective precision of a variant."""

    label: str = Field(description="One word for tables: f32, bf16, int8+f32.")
    components: dict[str, ComponentPrecision] = Field(
        description="Empty where an engine shows no compiled models; the label then is what it was told."
    )
    threads: int
    streams: int

    @property
    def told(self) -> str:
        """The label, and whether nothing but the question stands behind it."""
        return self.label if self.components else f"{self.label}, as asked"


class Stratum(Document):
    """The errors on a part of the clips."""

    by: str = Field(description="language, length, noise, source or speaker.")
    name: str
    n_clips: int
    audio_s: float
    words: WordErrors
    wer: float


class ColdStart(Document):
    """The first transcript of a fresh process: imports, loading and the first clip."""

    seconds: tuple[float, ...] = Field(description="One figure for each process, from its start.")
    median_s: float
    peak_rss_bytes: int = Field(description="Largest resident set of such a process, median.")


class Ceiling(Document):
    """A part of the work against what this machine can do at most."""

    part: CeilingPart
    ceiling_s: float = Field(description="Of arithmetic or memory traffic alone, at the measured rates.")
    achieved_s: float = Field(description="Median of several calls.")
    share: float = Field(description="Ceiling by achieved: 1 leaves nothing to gain.")


class Throughput(Document):
    """Clips decoded in batches: how much work a machine gets through when nobody waits."""

    batch_size: int
    rtfx: float = Field(description="Seconds of audio per second of work.")
    peak_rss_bytes: int


class ThreadPoint(Document):
    """The speed with a number of threads."""

    threads: int
    rtfx: float
    n_clips: int


class VariantResult(Document):
    """Everything measured of one entry: a variant in an engine."""

    name: str = Field(description="VARIANT in our own engine, else ENGINE:VARIANT.")
    engine: str
    size_bytes: int
    component_size_bytes: dict[str, int] = Field(description="Graph and weights of each component.")
    load_s: float = Field(description="From files on disk to compiled models, in a fresh process.")
    warm_up_s: tuple[float, ...] = Field(description="The first transcriptions, which are not counted.")
    peak_rss_bytes: int
    rtfx: float = Field(
        description="Seconds of audio per second of work, over the clips that count for speed."
    )
    latency_s: Latency
    stage_s: dict[Stage, float] = Field(
        description="Mean seconds per clip; a pass of the decoder with past is all its steps."
    )
    call_s: dict[Stage, float] = Field(description="Mean seconds per call; of decoder_with_past: per token.")
    tokens: int = Field(description="Tokens generated over all clips, prompt and end not counted.")
    wer: float = Field(description="Under Whisper's normalizer.")
    word_accuracy: float = Field(description="1 - wer.")
    words: WordErrors
    raw_wer: float = Field(description="Of the texts as they are, split at white space.")
    raw_words: WordErrors
    strata: tuple[Stratum, ...]
    precision: Precision
    int8_nodes: dict[str, int] = Field(description="FakeQuantize nodes and INT8 weights of each component.")
    cold_start: ColdStart | None = Field(default=None, description="Null where it was not asked for.")
    ceilings: tuple[Ceiling, ...] = ()
    throughput: tuple[Throughput, ...] = Field(
        default=(), description="One for each size of batches; empty where it was not asked for."
    )
    thread_sweep: tuple[ThreadPoint, ...] = Field(default=(), description="Empty where it was not asked for.")


class Verdict(Document):
    """What the intervals of a comparison allow to say."""

    speed: SpeedVerdict
    accuracy: AccuracyVerdict
    margin: float = Field(description="Largest tolerated WER increase, a fraction.")
    more_clips: int | None = Field(
        default=None,
        description="About how many clips more would decide on accuracy, if the difference stays; 0 where it is decided, "
        "null where hardly any number would.",
    )


class StratumComparison(Document):
    """A variant against the baseline on a part of the clips."""

    by: str
    name: str
    n_clips: int
    speedup: Interval | None = Field(description="Null where no clip of it counts for speed.")
    wer_delta: Interval = Field(description="Variant minus baseline, a fraction; by clip, not by speaker.")


class Comparison(Document):
    """A variant against the baseline, paired clip by clip."""

    variant: str
    speedup: Interval = Field(description="Ratio of total times, baseline by variant.")
    stage_speedup: dict[Stage, Interval]
    size_ratio: float = Field(description="Variant by baseline.")
    component_size_ratio: dict[str, float]
    wer_delta: Interval = Field(description="Variant minus baseline, a fraction.")
    n_changed: int = Field(description="Clips whose normalized transcript differs.")
    n_worse: int = Field(description="Clips with more errors than under the baseline.")
    n_better: int
    no_regression_rate: float | None = Field(
        default=None, description="Share of the clips with no more errors than under the baseline."
    )
    matched_pairs: MatchedPairs | None = None
    panel: tuple[PanelRow, ...] = Field(
        default=(), description="The same under each normalizer; the first is that of `wer_delta`."
    )
    strata: tuple[StratumComparison, ...] = ()
    n_clips: int | None = Field(
        default=None, description="Clips that both transcribed; null in older results."
    )
    n_failed: int = Field(default=0, description="Clips that one of them failed on; they count for neither.")
    n_blocks: int | None = Field(
        default=None, description="Speakers or clips that were resampled; fewer than ten decide nothing."
    )
    verdict: Verdict


class PeerComparison(Document):
    """An entry of our engine against one of another, paired clip by clip."""

    subject: str
    peer: str
    speedup: Interval = Field(description="Ratio of total times, peer by subject.")
    wer_delta: Interval = Field(description="Subject minus peer, a fraction.")


class FailedIn(StrEnum):
    """Where an engine of others failed."""

    CONVERSION = "conversion"
    LOAD = "load"
    CLIPS = "clips"
    COLD_STARTS = "cold_starts"
    THROUGHPUT = "throughput"


FAILURES = {
    FailedIn.CONVERSION: "the checkpoint could not be converted",
    FailedIn.LOAD: "it could not be loaded",
    FailedIn.CLIPS: "it failed on the clips",
    FailedIn.COLD_STARTS: "its cold starts failed",
    FailedIn.THROUGHPUT: "its batches failed",
}


class SkippedEngine(Document):
    """An engine that was asked for and is not measured: it is not installed, or it failed."""

    engine: str
    reason: str
    entry: str | None = Field(
        default=None, description="Which entry failed; null where the engine is not installed."
    )
    failed_in: FailedIn | None = Field(
        default=None,
        description="Where it failed, null where it is not installed. What failed in `cold_starts` or `throughput` is an "
        "entry of these results all the same: only that part of it is missing.",
    )

    @property
    def name(self) -> str:
        """The entry; the engine where it is not installed."""
        return self.entry or self.engine

    @property
    def is_partial(self) -> bool:
        """Whether the entry is measured but for a part."""
        return self.failed_in in {FailedIn.COLD_STARTS, FailedIn.THROUGHPUT}

    @property
    def told(self) -> str:
        """Why it is not measured, in a line."""
        return self.reason if self.failed_in is None else f"{FAILURES[self.failed_in]}: {self.reason}"


class SelfCheck(Document):
    """An entry against itself in a second process (A/A): what this machine's noise makes of no difference."""

    entry: str
    ratio: Interval = Field(description="Ratio of total times, first by second; 1 but for noise.")
    n_clips: int
    same_text_rate: float = Field(
        description="Share of the clips with the same text; 1 where nothing is left to chance."
    )


class Noise(Document):
    """What else the machine did while clips were timed; a block is one clip in every entry."""

    n_blocks: int
    n_marked: int = Field(
        description="Blocks beyond a limit, after repeats: their figures count, and are marked."
    )
    n_repeated: int = Field(description="Blocks that were measured again because they were beyond a limit.")
    steal_share: float = Field(description="Of the CPU time, taken by the host for others.")
    foreign_share: float = Field(description="Of the CPU time, used by other processes of this machine.")
    throttled: int | None = Field(
        description="Events of thermal throttling; null where the kernel does not count them."
    )
    max_steal_share: float = Field(description="The limit for a block.")
    max_foreign_share: float = Field(description="The limit for a block.")


class Rejected(Document):
    """A clip that was not used, and why."""

    clip_id: str
    reason: str


class Dataset(Document):
    """The clips that were measured."""

    name: str
    split: str | None
    n_clips: int
    audio_s: float
    n_words: int
    languages: dict[str, int]
    sources: dict[str, int]
    sha256: str = Field(
        description="Of the ids and references, to tell whether two results share their clips."
    )
    audio_sha256: str | None = Field(
        default=None,
        description="Of the samples that were transcribed, to tell whether they heard the same; null before version 7.",
    )
    synthetic: bool = Field(description="Spoken by a machine: its WER says nothing about real speech.")
    left_out: tuple[Rejected, ...]


class Method(Document):
    """How it was measured."""

    passes: int
    warm_up_clips: int
    threads: int
    order: tuple[str, ...] = Field(description="The entries in the order of the first two blocks.")
    beam_size: int
    normalizer: str
    confidence: float
    n_resamples: int
    blocks: str = Field(description="What was resampled: speaker or clip.")
    speed_blocks: str | None = Field(
        default=None, description="The same for speed, where not all clips count for it; null: as `blocks`."
    )
    seed: int
    long: bool = Field(default=False, description="Only recordings over 30 s were taken.")
    timing_clips: tuple[str, ...] | None = Field(
        default=None,
        description="The clips that count for speed; null: all of them. Every clip counts for accuracy.",
    )


class Results(Document):
    """All that one `sottovoce benchmark` measured."""

    schema_version: Literal[1, 2, 3, 4, 5, 6, 7] = 7
    created: datetime
    model: str
    checkpoint: str | None = Field(
        default=None, description="Hub id of the published checkpoint; null of one from a folder."
    )
    checkpoint_version: str | None = Field(
        default=None,
        description="`revision ...` of a checkpoint from the hub, or `sha256 ...` of its files; null where neither is known, "
        "and before version 7.",
    )
    recipe: dict[str, object]
    recipe_sha256: str
    calibration: dict[str, object] | None = Field(
        default=None, description="Facts of the calibration record."
    )
    doctor: DoctorReport | None = Field(default=None, description="What the doctor found in the record.")
    search: SearchReport | None = Field(
        default=None,
        description="What was tried to find the quantized variant; null where it was not searched for.",
    )
    sensitivity: SensitivityReport | None = Field(
        default=None,
        description="What each block costs; null where it was not studied, or the run has changed since.",
    )
    host: Host
    versions: dict[str, str]
    dataset: Dataset
    method: Method
    baseline: str
    variants: tuple[VariantResult, ...]
    comparisons: tuple[Comparison, ...]
    peers: tuple[PeerComparison, ...] = Field(
        default=(), description="Each of our variants but the baseline against each entry of another engine."
    )
    machine: MachineRates | None = Field(default=None, description="Null where ceilings were not asked for.")
    absent: tuple[SkippedEngine, ...] = ()
    side_effects: tuple[SideEffects, ...] = Field(
        default=(), description="Of our entries but the baseline; empty where they were not asked for."
    )
    noise: Noise | None = Field(default=None, description="Null where the system does not tell.")
    self_check: SelfCheck | None = Field(default=None, description="Null where it was not asked for.")

    def variant(self, name: str) -> VariantResult:
        """Return a variant's results by its name."""
        return next(variant for variant in self.variants if variant.name == name)


class SpokenWord(Document):
    """A word of a transcript with its place in the audio."""

    text: str
    start_s: float
    end_s: float


class ClipRow(Document):
    """One clip under one variant. Failed clips are kept with their error, never scored as empty."""

    clip_id: str
    variant: str
    language: str | None
    speaker: str | None
    source: str | None
    audio_s: float
    snr_db: float | None = Field(default=None, description="Estimate of speech over noise.")
    reference: str
    hypothesis: str
    normalized_reference: str
    normalized_hypothesis: str
    words: WordErrors
    tokens: int
    latency_s: tuple[float, ...] = Field(description="One figure for each counted pass.")
    disturbed: tuple[bool, ...] = Field(
        default=(), description="Of each figure, whether the machine was disturbed beyond a limit."
    )
    stage_s: tuple[dict[Stage, float], ...]
    calls: dict[Stage, int] = Field(description="Inferences in each stage, the same in every pass.")
    spoken: tuple[SpokenWord, ...] = Field(
        default=(),
        description="The words of the transcript with their times; of our entries, with side effects.",
    )
    audio: str | None = Field(
        default=None,
        description="File of the clip in this folder, compressed; of clips whose transcripts differ.",
    )
    error: str | None = None


def read_results(folder: Path) -> tuple[Results, tuple[ClipRow, ...]]:
    """Read what `sottovoce benchmark --out` wrote.

    Args:
        folder: the results folder, or its `results.json`.

    Raises:
        InputError: it is no results folder, or damaged, or of another schema version.
    """
    path = folder if folder.name == RESULTS_NAME else folder / RESULTS_NAME
    if not path.is_file():
        raise InputError(
            f"{folder} holds no {RESULTS_NAME}; give the folder that `sottovoce benchmark --out` wrote"
        )
    clips = path.with_name(CLIPS_NAME)
    if not clips.is_file():
        raise InputError(f"{path.parent} holds no {CLIPS_NAME}; run `sottovoce benchmark` again")
    advice = "run `sottovoce benchmark` again"
    return read_document(path, Results, advice=advice), read_json_lines(clips, ClipRow, advice=advice)
