"""A forecast of the memory, disk space and time that a recording needs.

The constants were fitted on whisper-tiny.en, base and the shapes of small, large-v3-turbo and large-v3 (docs/lab-notes.md). The time follows from a short
measurement of the speed of this machine.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np

from sottovoce.errors import ResourceError
from sottovoce.machine.environment import MachineRates
from sottovoce.machine.resources import available_memory_bytes, held_memory_bytes
from sottovoce.runtime.audio.constants import WINDOW_FRAMES, WINDOW_POSITIONS
from sottovoce.runtime.model.layout import COMPONENT_FILES, components_of
from sottovoce.terms import InferencePrecision

PROCESS_BYTES = 1_130 << 20
"""Python with torch, transformers, optimum-intel and OpenVINO loaded."""

ENCODER_COPIES = 2.3
DECODER_COPIES = 2.2
TOKEN_TABLE_COPIES = 2.9
"""Files, constants of the graph and repacked weights of the compiled model; of the decoders' layers and of their tables of tokens.
Encoder and decoders are not in memory at once."""

FLOAT_BYTES = 4
MAX_TOKENS = 448
"""Whisper's longest sequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The dimensions of a Whisper model that decide on memory and time."""

    n_mels: int
    d_model: int
    encoder_layers: int
    decoder_layers: int
    vocab_size: int
    weight_bytes: int

    @property
    def second_decoder_bytes(self) -> int:
        """Weights of the decoder with past, float32: those of the decoder but for the keys and values of cross-attention."""
        return FLOAT_BYTES * 14 * self.decoder_layers * self.d_model**2 + self.token_table_bytes

    @property
    def token_table_bytes(self) -> int:
        """Embeddings of tokens and of their positions, float32."""
        return FLOAT_BYTES * self.d_model * (self.vocab_size + MAX_TOKENS)

    @property
    def decoder_bytes(self) -> int:
        """Weights of the decoder, float32."""
        return self.second_decoder_bytes + FLOAT_BYTES * 2 * self.decoder_layers * self.d_model**2

    @property
    def checkpoint_bytes(self) -> int:
        """Weights of the checkpoint, float32: those of the stateless layout without its second decoder."""
        return self.weight_bytes - self.second_decoder_bytes

    @property
    def encoder_bytes(self) -> int:
        """Weights of the encoder, float32."""
        return self.checkpoint_bytes - self.decoder_bytes

    @property
    def encoder_states_bytes(self) -> int:
        """One encoder output, float32, shape (1500, d_model)."""
        return WINDOW_POSITIONS * self.d_model * FLOAT_BYTES

    @property
    def sequence_bytes(self) -> int:
        """One stored sequence: features and encoder output; the tokens do not count."""
        return self.n_mels * WINDOW_FRAMES * FLOAT_BYTES + self.encoder_states_bytes

    @property
    def keys_and_values_bytes(self) -> int:
        """Keys and values of all decoder layers for the longest sequence."""
        positions = WINDOW_POSITIONS + MAX_TOKENS
        return 2 * self.decoder_layers * positions * self.d_model * FLOAT_BYTES

    @property
    def encoder_macs(self) -> int:
        """Multiply-accumulates of one window: convolutions, projections and feed-forward, attention."""
        positions = WINDOW_POSITIONS
        convolutions = KERNEL * self.d_model * (WINDOW_FRAMES * self.n_mels + positions * self.d_model)
        layer = 12 * positions * self.d_model**2 + 2 * positions**2 * self.d_model
        return convolutions + self.encoder_layers * layer

    @property
    def cross_macs(self) -> int:
        """Multiply-accumulates of the keys and values of cross-attention; the prompt adds little."""
        return self.decoder_layers * 2 * WINDOW_POSITIONS * self.d_model**2

    @property
    def step_bytes(self) -> int:
        """Bytes that a step reads: weights of decoder and output layer, keys and values of the audio."""
        weights = 14 * self.decoder_layers * self.d_model**2 + self.vocab_size * self.d_model
        cross = 2 * self.decoder_layers * WINDOW_POSITIONS * self.d_model
        return FLOAT_BYTES * (weights + cross)


KERNEL = 3
"""Kernel size of Whisper's two convolutions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The clips to record. Detecting a language is a separate sequence.

    Attributes:
        n_transcribed: clips that are decoded to their end.
        transcribed_s: length of those together.
    """

    n_clips: int
    n_sequences: int
    n_transcribed: int
    transcribed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeForecast:
    """Seconds for recording, and for the audit of the record."""

    recording_s: float
    examination_s: float

    @property
    def total_s(self) -> float:
        """Sum of both."""
        return self.recording_s + self.examination_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The most that a recording needs."""

    peak_memory_bytes: int
    disk_bytes: int
    naive_memory_bytes: int
    """Memory for a copy of the inputs of each call, at 25 tokens per transcribed clip."""
    time: TimeForecast


TOKENS_PER_CLIP = 25
"""Tokens of a clip of read speech; used for the comparison with naive recording only."""


def read_shape(folder: Path) -> ModelShape:
    """Read a variant's dimensions from its `config.json` and its files."""
    weight_bytes = sum(
        (folder / f"{COMPONENT_FILES[part]}.bin").stat().st_size for part in components_of(folder)
    )
    return _read_config(folder, weight_bytes=weight_bytes)


def shape_of_checkpoint(folder: Path, *, checkpoint_bytes: int) -> ModelShape:
    """Return the dimensions of the stateless float32 variant that a checkpoint gives.

    Args:
        checkpoint_bytes: size of the checkpoint's weights in float32.
    """
    shape = _read_config(folder, weight_bytes=checkpoint_bytes)
    return replace(shape, weight_bytes=checkpoint_bytes + shape.second_decoder_bytes)


def _read_config(folder: Path, *, weight_bytes: int) -> ModelShape:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    return ModelShape(
        n_mels=config.num_mel_bins,
        d_model=config.d_model,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
        vocab_size=config.vocab_size,
        weight_bytes=weight_bytes,
    )


ENCODER_EFFICIENCY = 0.6
"""Speed of the encoder, relative to that of a large matrix product."""
LOADING_S = 4.0
LOADING_BYTES_PER_S = 2e8
"""Reading and compiling the components, twice: the check of the rebuilt inputs needs them too."""
CLIP_S = 0.06
"""Features and writing, per sequence."""
STEP_S = 0.006
"""Overhead of transformers per step."""
STEPS_PER_AUDIO_S = 4.0
"""Tokens per second of speech, rounded up; read English has 3.1."""
EXAMINED_ENCODER_SHARE = 1.2
"""The encoder with reductions, relative to the encoder alone."""


def forecast_time(shape: ModelShape, work: Work, rates: MachineRates) -> TimeForecast:
    """Forecast the time for recording and for the audit of the record."""
    macs_per_s = ENCODER_EFFICIENCY * rates.macs_per_s[InferencePrecision.F32]
    encoder_s, first_pass_s = shape.encoder_macs / macs_per_s, shape.cross_macs / macs_per_s
    step_s = STEP_S + shape.step_bytes / rates.bytes_per_s
    loading_s = LOADING_S + shape.weight_bytes / LOADING_BYTES_PER_S
    n_detected = work.n_sequences - work.n_clips
    n_prefills = work.n_transcribed + 2 * n_detected  # the language, then the prompt
    n_steps = STEPS_PER_AUDIO_S * work.transcribed_s
    return TimeForecast(
        recording_s=loading_s
        + work.n_sequences * (encoder_s + CLIP_S)
        + n_prefills * first_pass_s
        + n_steps * step_s,
        examination_s=loading_s / 2
        + work.n_clips * EXAMINED_ENCODER_SHARE * encoder_s
        + work.n_transcribed * first_pass_s,
    )


PRODUCT_ROWS, PRODUCT_SIZE = WINDOW_POSITIONS, 1024
READ_FLOATS = 1 << 25
"""128 MiB: larger than a CPU cache."""
N_TRIES = 3


def estimate_rates(clock: Callable[[], float] = perf_counter) -> MachineRates:
    """Measure for a fraction of a second how fast this machine computes in f32 and reads, with all its cores."""
    inputs = np.ones((PRODUCT_ROWS, PRODUCT_SIZE), dtype=np.float32)
    weights = np.ones((PRODUCT_SIZE, PRODUCT_SIZE), dtype=np.float32)
    values = np.ones(READ_FLOATS, dtype=np.float32)
    product_s = min(_seconds(lambda: inputs @ weights, clock) for _ in range(N_TRIES))
    read_s = min(_seconds(values.sum, clock) for _ in range(N_TRIES))
    return MachineRates(
        macs_per_s={InferencePrecision.F32.value: PRODUCT_ROWS * PRODUCT_SIZE**2 / product_s},
        bytes_per_s=values.nbytes / read_s,
    )


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    work()
    return clock() - started


def forecast_recording(shape: ModelShape, work: Work, time: TimeForecast) -> Forecast:
    """Forecast the peak memory and the disk space of a recording, and add the time."""
    tables_bytes = 2 * shape.token_table_bytes
    layers_bytes = shape.decoder_bytes + shape.second_decoder_bytes - tables_bytes
    decoders = DECODER_COPIES * layers_bytes + TOKEN_TABLE_COPIES * tables_bytes
    weights = max(ENCODER_COPIES * shape.encoder_bytes, decoders)
    working = 4 * shape.keys_and_values_bytes + MAX_TOKENS * shape.vocab_size * FLOAT_BYTES
    naive_step = shape.keys_and_values_bytes * WINDOW_POSITIONS // (WINDOW_POSITIONS + MAX_TOKENS)
    return Forecast(
        peak_memory_bytes=int(PROCESS_BYTES + weights + working + 2 * shape.sequence_bytes),
        disk_bytes=work.n_sequences * shape.sequence_bytes,
        naive_memory_bytes=work.n_transcribed * TOKENS_PER_CLIP * naive_step,
        time=time,
    )


def check_resources(forecast: Forecast, folder: Path) -> None:
    """Refuse work for which the machine has too little memory or disk space.

    Raises:
        ResourceError: the message says how much is needed and available.
    """
    check_memory(forecast.peak_memory_bytes, "recording", held=held_memory_bytes())
    check_disk(forecast.disk_bytes, folder, "recording")


def check_memory(needed: int, what: str, *, held: int = 0) -> None:
    """Raise `ResourceError` if less memory is available than needed.

    Args:
        held: bytes of the needed that this process has already.
    """
    available = available_memory_bytes() + held
    if needed > available:
        raise ResourceError(
            f"{what} is forecast to need {gib(needed)} of memory, {gib(available)} are available; "
            "close other programs or use a machine with more memory"
        )


def check_disk(needed: int, folder: Path, what: str) -> None:
    """Raise `ResourceError` if the disk of a folder has less free space than needed."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise ResourceError(
            f"{what} is forecast to need {gib(needed)} of disk, {existing} has {gib(free)} free; "
            "make room or choose another --out"
        )


MINUTE_S = 60


def minutes(seconds: float) -> str:
    """Format a forecast of time, which has one significant digit: about 40 s, about 12 min."""
    if seconds < 2 * MINUTE_S:
        return f"about {max(10, 10 * round(seconds / 10))} s"
    return f"about {seconds / MINUTE_S:.0f} min"


def gib(n_bytes: int) -> str:
    """Format bytes as GiB."""
    return f"{n_bytes / (1 << 30):.2f} GiB"
