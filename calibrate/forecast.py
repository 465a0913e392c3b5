"""What a recording will need: memory, disk, before anything is done.

The constants were fitted on whisper-tiny.en and base (docs/lab-notes.md) and round up.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from sottovoce.environment import available_memory_bytes
from sottovoce.errors import ResourceError
from sottovoce.runtime.layout import COMPONENT_FILES, components_of

PROCESS_BYTES = 1_229 << 20
"""Python with torch, transformers, optimum-intel and OpenVINO loaded."""

WEIGHT_COPIES = 4.0
"""The graph's constants and the compiled model's repacked ones, for the recorded variant and once more for
the check of what is rebuilt."""

WINDOW_FRAMES = 3000
FLOAT_BYTES = 4
MAX_TOKENS = 448
"""Whisper's window in mel frames, and its longest sequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The dimensions of a Whisper that memory depends on."""

    n_mels: int
    d_model: int
    decoder_layers: int
    vocab_size: int
    weight_bytes: int

    @property
    def encoder_states_bytes(self) -> int:
        """One encoder output, float32, shape (1500, d_model)."""
        return WINDOW_FRAMES // 2 * self.d_model * FLOAT_BYTES

    @property
    def sequence_bytes(self) -> int:
        """One stored sequence: features and encoder output; the tokens do not count."""
        return self.n_mels * WINDOW_FRAMES * FLOAT_BYTES + self.encoder_states_bytes

    @property
    def keys_and_values_bytes(self) -> int:
        """Keys and values of all decoder layers for the longest sequence."""
        positions = WINDOW_FRAMES // 2 + MAX_TOKENS
        return 2 * self.decoder_layers * positions * self.d_model * FLOAT_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What recording will need at most."""

    peak_memory_bytes: int
    disk_bytes: int
    naive_memory_bytes: int
    """What keeping a copy of each call's inputs would need, at 25 tokens a clip."""


TOKENS_PER_CLIP = 25
"""Of read speech; only the comparison with naive recording uses it."""


def read_shape(folder: Path) -> ModelShape:
    """Read a variant's dimensions from its `config.json` and its files."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    return ModelShape(
        n_mels=config.num_mel_bins,
        d_model=config.d_model,
        decoder_layers=config.decoder_layers,
        vocab_size=config.vocab_size,
        weight_bytes=sum(
            (folder / f"{COMPONENT_FILES[part]}.bin").stat().st_size for part in components_of(folder)
        ),
    )


def forecast_recording(shape: ModelShape, n_clips: int) -> Forecast:
    """Forecast the peak memory and the disk that recording `n_clips` needs."""
    working = 4 * shape.keys_and_values_bytes + MAX_TOKENS * shape.vocab_size * FLOAT_BYTES
    naive_step = shape.keys_and_values_bytes * 1500 // (1500 + MAX_TOKENS)
    return Forecast(
        peak_memory_bytes=int(
            PROCESS_BYTES + WEIGHT_COPIES * shape.weight_bytes + working + 2 * shape.sequence_bytes
        ),
        disk_bytes=n_clips * shape.sequence_bytes,
        naive_memory_bytes=n_clips * TOKENS_PER_CLIP * naive_step,
    )


def check_resources(forecast: Forecast, folder: Path) -> None:
    """Refuse work that the machine has not the memory or the disk for.

    Raises:
        ResourceError: names what is short and by how much.
    """
    check_memory(forecast.peak_memory_bytes, "recording")
    check_disk(forecast.disk_bytes, folder, "recording")


def check_memory(needed: int, what: str) -> None:
    """Raise `ResourceError` if less memory is available than needed."""
    available = available_memory_bytes()
    if needed > available:
        raise ResourceError(
            f"{what} is forecast to need {gib(needed)} of memory, {gib(available)} are available; "
            "close other programs or use a machine with more memory"
        )


def check_disk(needed: int, folder: Path, what: str) -> None:
    """Raise `ResourceError` if the disk of a folder has less room than needed."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise ResourceError(
            f"{what} is forecast to need {gib(needed)} of disk, {existing} has {gib(free)} free; "
            "make room or choose another --out"
        )


def gib(n_bytes: int) -> str:
    """Format bytes as GiB."""
    return f"{n_bytes / (1 << 30):.2f} GiB"
