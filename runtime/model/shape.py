"""The dimensions of a Whisper, and the weights and multiplications that follow from them.

Source: `WhisperForConditionalGeneration` in huggingface/transformers; settings of the published checkpoints.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import FRAMES_PER_POSITION

KERNEL = 3
"""Kernel size of Whisper's two convolutions."""

LAYER_WEIGHTS = 12
"""Weights of an encoder's layer, by the square of the width: attention has 4, the feed-forward part 8."""

STEP_WEIGHTS = 14
"""Those of a decoder's layer that a step reads: keys and values of cross-attention are computed once for a window."""

CROSS_WEIGHTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class WhisperShape:
    """The dimensions of a Whisper that decide on its memory and time."""

    n_mels: int
    d_model: int
    encoder_layers: int
    decoder_layers: int
    vocab_size: int

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the dimensions of a variant or a checkpoint.

        Raises:
            InputError: it has no valid `config.json`.
        """
        path = folder / "config.json"
        try:
            config = json.loads(path.read_bytes())
            return cls(
                n_mels=int(config["num_mel_bins"]),
                d_model=int(config["d_model"]),
                encoder_layers=int(config["encoder_layers"]),
                decoder_layers=int(config["decoder_layers"]),
                vocab_size=int(config["vocab_size"]),
            )
        except (OSError, KeyError, TypeError, ValueError) as cause:
            raise InputError(f"{path} does not give the dimensions of a Whisper: {cause!r:.100}") from cause

    @property
    def encoder_weights(self) -> int:
        """Number of the encoder's weights in matrices and convolutions."""
        convolutions = KERNEL * self.d_model * (self.n_mels + self.d_model)
        return convolutions + LAYER_WEIGHTS * self.encoder_layers * self.d_model**2

    @property
    def step_weights(self) -> int:
        """Number of the weights that a step of the decoder reads, without those of the output layer."""
        return STEP_WEIGHTS * self.decoder_layers * self.d_model**2

    @property
    def cross_weights(self) -> int:
        """Number of the weights that compute keys and values of cross-attention."""
        return CROSS_WEIGHTS * self.decoder_layers * self.d_model**2

    @property
    def table_weights(self) -> int:
        """Number of the weights of the token table, which is the output layer too."""
        return self.vocab_size * self.d_model

    def convolution_macs(self, n_positions: int) -> int:
        """Return the multiply-accumulates of the two convolutions for so many encoder positions."""
        first = FRAMES_PER_POSITION * n_positions * self.n_mels
        return KERNEL * self.d_model * (first + n_positions * self.d_model)

    def layer_macs(self, n_positions: int) -> int:
        """Return those of the products with weights in the encoder's layers."""
        return LAYER_WEIGHTS * self.encoder_layers * n_positions * self.d_model**2

    def attention_macs(self, n_positions: int, n_keys: int) -> int:
        """Return those of the products of queries, keys and values in the encoder."""
        return 2 * self.encoder_layers * n_positions * n_keys * self.d_model

    def cross_macs(self, n_positions: int) -> int:
        """Return those of the keys and values of cross-attention."""
        return self.cross_weights * n_positions


def _multilingual(n_layers: int, d_model: int, **others: int) -> WhisperShape:
    layers = {"encoder_layers": n_layers, "decoder_layers": n_layers}
    return WhisperShape(**{"n_mels": 80, "d_model": d_model, "vocab_size": 51_865} | layers | others)


PUBLISHED: Mapping[str, WhisperShape] = {
    "tiny": _multilingual(4, 384),
    "base": _multilingual(6, 512),
    "small": _multilingual(12, 768),
    "medium": _multilingual(24, 1024),
    "large-v2": _multilingual(32, 1280),
    "large-v3": _multilingual(32, 1280, n_mels=128, vocab_size=51_866),
    "large-v3-turbo": _multilingual(32, 1280, n_mels=128, vocab_size=51_866, decoder_layers=4),
    "distil-small.en": _multilingual(12, 768, vocab_size=51_864, decoder_layers=4),
    "distil-medium.en": _multilingual(24, 1024, vocab_size=51_864, decoder_layers=2),
    "distil-large-v3": _multilingual(32, 1280, n_mels=128, vocab_size=51_866, decoder_layers=2),
}
"""The dimensions of published checkpoints; those of English-only ones (`tiny.en`) are those of the multilingual one."""
