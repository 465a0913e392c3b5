"""The results of a benchmark: the exchange format between `benchmark` and `reports`.

`results.json` holds a `Results`; `clips.jsonl` in the same folder holds one `ClipRow` for each clip and entry. An
entry is a variant in an engine, named VARIANT in our own engine, else ENGINE:VARIANT. Times are in seconds, sizes in
bytes, `wer` is a fraction (0.05 is 5 %).
"""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import Comparison, PeerComparison
from sottovoce.benchmark.schema.failures import SkippedEngine
from sottovoce.benchmark.schema.live import LiveReport
from sottovoce.benchmark.schema.machine import Noise, RooflinePoint, SelfCheck
from sottovoce.benchmark.schema.output_drift import OutputDrift
from sottovoce.benchmark.schema.precision import Precision
from sottovoce.calibrate.audit import DoctorReport
from sottovoce.errors import InputError
from sottovoce.machine.environment import Host, MachineRates
from sottovoce.optimize.search.report import SearchReport
from sottovoce.optimize.sensitivity.report import SensitivityReport
from sottovoce.statistics.accuracy import WordErrors
from sottovoce.storage.artifacts import describe
from sottovoce.storage.documents import Document, read_document, read_json_lines
from sottovoce.terms import Condition, Stage

RESULTS_NAME = "results.json"
CLIPS_NAME = "clips.jsonl"

RESULTS_SCHEMA_VERSION = 7
"""Every version can be read.

1: first version; every variant ran in optimum-intel.
2: entries of several engines, `peers`, `cold_start`, `ceilings`, `method.long`.
3: `doctor`.
4: `sensitivity`, `search`.
5: in comparisons `matched_pairs`, `panel`, `no_regression_rate`, `strata`, `verdict.more_clips`; in clips `snr_db`; strata
   by length, noise and speaker.
6: `checkpoint`, `absent`, `side_effects`, `noise`, `self_check`, `timing_clips`; in entries `latency_s.p99`, `throughput`,
   `thread_sweep`; in clips `disturbed`, `spoken`, `audio`.
7: in comparisons `n_clips`, `n_failed`, `n_blocks`; `absent[].entry`, `absent[].failed_in`, for engines that failed;
   `checkpoint_version`, `dataset.audio_sha256`, `live`; in entries and comparisons `conditions`."""


class Latency(Document):
    """Seconds from waveform to text, over clips; the latency of a clip is its median over passes."""

    p50: float
    p90: float
    p99: float | None = Field(default=None, description="Null in results before version 6.")
    mean: float


class Stratum(Document):
    """The errors on one stratum of the clips."""

    by: str = Field(description="language, length, noise, source or speaker.")
    name: str
    n_clips: int
    audio_s: float
    words: WordErrors
    wer: float


class ConditionErrors(Document):
    """The errors on the clips under a condition."""

    condition: Condition
    n_clips: int = Field(description="Clips that were transcribed.")
    words: WordErrors
    wer: float


class ColdStart(Document):
    """The first transcript of a fresh process: imports, loading and the first clip."""

    seconds: tuple[float, ...] = Field(description="One figure for each process, from its start.")
    median_s: float
    peak_rss_bytes: int = Field(description="Largest resident set of such a process, median.")


class Throughput(Document):
    """The speed of clips decoded in batches."""

    batch_size: int
    rtfx: float = Field(description="Seconds of audio per second of work.")
    peak_rss_bytes: int


class ThreadPoint(Document):
    """The speed with one number of threads."""

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
        description="Mean seconds per clip; `decoder_with_past` is the sum of its steps."
    )
    call_s: dict[Stage, float] = Field(
        description="Mean seconds per call; for `decoder_with_past` per token."
    )
    tokens: int = Field(description="Tokens generated over all clips, prompt and end not counted.")
    wer: float = Field(description="Under Whisper's normalizer.")
    word_accuracy: float = Field(description="1 - wer.")
    words: WordErrors
    raw_wer: float = Field(description="Without a normalizer, split at white space.")
    raw_words: WordErrors
    strata: tuple[Stratum, ...]
    conditions: tuple[ConditionErrors, ...] = Field(
        default=(), description="Of our entries; empty without `--robustness`."
    )
    precision: Precision
    int8_nodes: dict[str, int] = Field(description="FakeQuantize nodes and INT8 weights of each component.")
    cold_start: ColdStart | None = Field(default=None, description="Null without `--cold-starts`.")
    ceilings: tuple[RooflinePoint, ...] = ()
    throughput: tuple[Throughput, ...] = Field(
        default=(), description="One for each batch size; empty without `--batch-sizes`."
    )
    thread_sweep: tuple[ThreadPoint, ...] = Field(default=(), description="Empty without `--thread-sweep`.")


class Rejected(Document):
    """A clip that was left out, and why."""

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
    sha256: str = Field(description="Of ids and references, to check whether two results share their clips.")
    audio_sha256: str | None = Field(
        default=None,
        description="Of the transcribed samples, to check whether two results share their audio; null before version 7.",
    )
    synthetic: bool = Field(description="Synthetic speech: its WER says nothing about real speech.")
    left_out: tuple[Rejected, ...]


class Method(Document):
    """How the benchmark was done."""

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
        default=None, description="The same for speed, if not all clips count for it; null: as `blocks`."
    )
    seed: int
    long: bool = Field(default=False, description="Only recordings over 30 s.")
    timing_clips: tuple[str, ...] | None = Field(
        default=None,
        description="The clips that count for speed; null: all clips. Every clip counts for accuracy.",
    )


class Results(Document):
    """The results of one `sottovoce benchmark`."""

    schema_version: Literal[1, 2, 3, 4, 5, 6, 7] = 7
    created: datetime
    model: str
    checkpoint: str | None = Field(
        default=None, description="Hub id of a published checkpoint; null for one from a folder."
    )
    checkpoint_version: str | None = Field(
        default=None,
        description="`revision ...` of a checkpoint from the hub, or `sha256 ...` of its files; null if neither is known, "
        "and before version 7.",
    )
    recipe: dict[str, object]
    recipe_sha256: str
    calibration: dict[str, object] | None = Field(
        default=None, description="Facts of the calibration record."
    )
    doctor: DoctorReport | None = Field(default=None, description="The audit of the calibration record.")
    search: SearchReport | None = Field(
        default=None,
        description="The search that found the quantized variant; null without one.",
    )
    sensitivity: SensitivityReport | None = Field(
        default=None,
        description="The cost of each block; null without a study, or if the run has changed since.",
    )
    host: Host
    versions: dict[str, str]
    dataset: Dataset
    method: Method
    baseline: str
    variants: tuple[VariantResult, ...]
    comparisons: tuple[Comparison, ...]
    peers: tuple[PeerComparison, ...] = Field(
        default=(),
        description="Each of our variants except the baseline against each entry of another engine.",
    )
    machine: MachineRates | None = Field(default=None, description="Null without `--ceilings`.")
    absent: tuple[SkippedEngine, ...] = ()
    side_effects: tuple[OutputDrift, ...] = Field(
        default=(), description="For our entries except the baseline; empty without `--side-effects`."
    )
    noise: Noise | None = Field(default=None, description="Null if the system has no such counters.")
    self_check: SelfCheck | None = Field(default=None, description="Null without `--self-check`.")
    live: LiveReport | None = Field(default=None, description="Null without `--live`.")

    def variant(self, name: str) -> VariantResult:
        """Return a variant's results by its name."""
        return next(variant for variant in self.variants if variant.name == name)


def _no_results(folder: Path) -> str:
    found = describe(folder)
    if found == "is a run":
        return (
            f"{folder} is a run, want results; measure it with `sottovoce benchmark {folder} --data SPEECH`"
        )
    if folder.is_dir():
        found = f"holds no {RESULTS_NAME}"
    return f"{folder} {found}; give the folder that `sottovoce benchmark --out` wrote"


def read_results(folder: Path) -> tuple[Results, tuple[ClipRow, ...]]:
    """Read a results folder.

    Args:
        folder: the results folder, or its `results.json`.

    Raises:
        InputError: the folder has no results, or they are damaged or of another schema version.
    """
    path = folder if folder.name == RESULTS_NAME else folder / RESULTS_NAME
    if not path.is_file():
        raise InputError(_no_results(folder))
    clips = path.with_name(CLIPS_NAME)
    if not clips.is_file():
        raise InputError(f"{path.parent} holds no {CLIPS_NAME}; run `sottovoce benchmark` again")
    advice = "run `sottovoce benchmark` again"
    return read_document(path, Results, advice=advice), read_json_lines(clips, ClipRow, advice=advice)
