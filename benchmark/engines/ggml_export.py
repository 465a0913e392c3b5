"""Write a checkpoint in whisper.cpp's format: one file of settings, mel filters, tokens and weights.

Source of the layout: `models/convert-h5-to-ggml.py` and `whisper_model_load` in `src/whisper.cpp` of
ggml-org/whisper.cpp. There is no converter on PyPI; the blocks of `q8_0` are made by the package `gguf` of the same
authors.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError
from sottovoce.runtime.decoding.tokenizer import Vocabulary

GGML_EXPORT = 2
"""Counts the changes of what this module writes: cached files of an earlier number are converted again."""

MAGIC = 0x67676D6C
"""`GGML_FILE_MAGIC`."""

QUANTIZATION_VERSION = 2
VERSION_FACTOR = 1000
"""The header holds the type of most weights plus 1000 times the version of the blocks (`GGML_QNT_VERSION`)."""

N_FREQUENCIES = 201
"""Of the Fourier transform of 400 samples."""

MATRIX_RANK = 2


F16, Q8_0 = "f16", "q8_0"

FILE_TYPES = {F16: 1, Q8_0: 7}
"""`ggml_ftype`: the type of most weights of a file."""

TENSOR_TYPES = {"f32": 0, F16: 1, Q8_0: 8}
"""`ggml_type`: the type of one tensor."""

PLAIN = ("encoder.positional_embedding", "decoder.positional_embedding")
"""Matrices that whisper.cpp reads in float32."""

NAMES: tuple[tuple[str, str], ...] = (
    (r"^model\.", ""),
    (r"\.layers\.", ".blocks."),
    (r"self_attn_layer_norm", "attn_ln"),
    (r"encoder_attn_layer_norm", "cross_attn_ln"),
    (r"final_layer_norm", "mlp_ln"),
    (r"self_attn", "attn"),
    (r"encoder_attn", "cross_attn"),
    (r"q_proj", "query"),
    (r"k_proj", "key"),
    (r"v_proj", "value"),
    (r"out_proj", "out"),
    (r"fc1", "mlp.0"),
    (r"fc2", "mlp.2"),
    (r"^encoder\.layer_norm", "encoder.ln_post"),
    (r"^decoder\.layer_norm", "decoder.ln"),
    (r"embed_positions\.weight", "positional_embedding"),
    (r"embed_tokens", "token_embedding"),
)
"""From Hugging Face's names to OpenAI's, which whisper.cpp uses."""


def export_ggml(checkpoint: Path, into: Path, kind: str) -> None:
    """Convert a Hugging Face checkpoint to one file, with most matrices in a type.

    Raises:
        InputError: a matrix cannot be cut into blocks of 32.
    """
    from transformers import WhisperForConditionalGeneration

    from sottovoce.reference_pipeline import quiet_libraries

    with quiet_libraries():
        model = WhisperForConditionalGeneration.from_pretrained(
            checkpoint, local_files_only=True, use_safetensors=True
        )
    with into.open("wb") as file:
        _write_settings(file, model.config, kind)
        _write_filters(file, int(model.config.num_mel_bins))
        _write_tokens(file, Vocabulary.read(checkpoint / "tokenizer.json"))
        for name, values in _tensors(model.state_dict()):
            _write_tensor(file, name, values, kind)


def _write_settings(file: IO[bytes], config: Any, kind: str) -> None:
    version = 0 if kind == F16 else QUANTIZATION_VERSION * VERSION_FACTOR
    settings = (
        MAGIC,
        config.vocab_size,
        config.max_source_positions,
        config.d_model,
        config.encoder_attention_heads,
        config.encoder_layers,
        config.max_target_positions,
        config.d_model,
        config.decoder_attention_heads,
        config.decoder_layers,
        config.num_mel_bins,
        FILE_TYPES[kind] + version,
    )
    file.write(struct.pack(f"<{len(settings)}i", *settings))


def _write_filters(file: IO[bytes], n_mels: int) -> None:
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(
        num_frequency_bins=N_FREQUENCIES,
        num_mel_filters=n_mels,
        min_frequency=0.0,
        max_frequency=8000.0,
        sampling_rate=16_000,
        norm="slaney",
        mel_scale="slaney",
    )
    file.write(struct.pack("<2i", n_mels, N_FREQUENCIES))
    file.write(np.ascontiguousarray(filters.T, dtype="<f4").tobytes())


def _write_tokens(file: IO[bytes], vocabulary: Vocabulary) -> None:
    """Write the text tokens; whisper.cpp derives the special ones from their number."""
    tokens = vocabulary.plain_tokens()
    file.write(struct.pack("<i", len(tokens)))
    for token in tokens:
        file.write(struct.pack("<i", len(token)) + token)


def _tensors(state: Mapping[str, Any]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name, values in state.items():
        if name != "proj_out.weight":  # tied to the token embedding
            yield _renamed(name), values.float().numpy()


def _renamed(name: str) -> str:
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _write_tensor(file: IO[bytes], name: str, values: NDArray[np.float32], kind: str) -> None:
    shaped = values[:, None] if re.fullmatch(r"encoder\.conv[12]\.bias", name) else values
    stored, data = _stored(name, shaped, kind)
    encoded = name.encode()
    sizes = tuple(reversed(shaped.shape))
    head = (shaped.ndim, len(encoded), TENSOR_TYPES[stored], *sizes)
    file.write(struct.pack(f"<{len(head)}i", *head) + encoded + data)


def _stored(name: str, values: NDArray[np.float32], kind: str) -> tuple[str, bytes]:
    """Return the type that a tensor is stored in, and its bytes."""
    if values.ndim < MATRIX_RANK or name in PLAIN or values.shape[-1] == 1:
        return "f32", np.ascontiguousarray(values, dtype="<f4").tobytes()
    if kind == F16 or values.ndim > MATRIX_RANK:
        return F16, np.ascontiguousarray(values, dtype="<f2").tobytes()
    from gguf import GGMLQuantizationType, quants

    try:
        return Q8_0, quants.quantize(values, GGMLQuantizationType.Q8_0).tobytes()
    except quants.QuantError as cause:
        raise InputError(f"{name} cannot be stored in q8_0: {cause}") from cause
