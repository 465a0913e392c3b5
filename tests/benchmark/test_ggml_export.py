"""The file for whisper.cpp, read back as its loader reads it."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from sottovoce.benchmark.engines.ggml_export import MAGIC, TENSOR_TYPES, export_ggml
from sottovoce.benchmark.engines.whisper_cpp import GgmlType
from sottovoce.runtime.decoding.tokenizer import WhisperTokenizer

gguf = pytest.importorskip("gguf", reason="the extra `peers` is not installed")


@dataclass(frozen=True, kw_only=True)
class Ggml:
    settings: tuple[int, ...]
    filters: np.ndarray
    tokens: list[bytes]
    tensors: dict[str, tuple[int, np.ndarray]]


def integers(file: IO[bytes], n: int) -> tuple[int, ...]:
    return struct.unpack(f"<{n}i", file.read(4 * n))


def read_tensor(file: IO[bytes]) -> tuple[str, int, np.ndarray]:
    n_dims, n_name, kind = integers(file, 3)
    shape = tuple(reversed(integers(file, n_dims)))
    name = file.read(n_name).decode()
    quantization = gguf.GGMLQuantizationType(kind)
    n_block, n_bytes = gguf.GGML_QUANT_SIZES[quantization]
    data = np.frombuffer(file.read(int(np.prod(shape)) // n_block * n_bytes), dtype=np.uint8)
    if quantization is gguf.GGMLQuantizationType.Q8_0:
        data = data.reshape(shape[0], -1)
    else:
        data = data.view("<f4" if kind == 0 else "<f2")
    return name, kind, gguf.quants.dequantize(data, quantization).reshape(shape)


def read(path: Path) -> Ggml:
    with path.open("rb") as file:
        magic, *settings = integers(file, 12)
        assert magic == MAGIC
        n_mels, n_frequencies = integers(file, 2)
        filters = np.frombuffer(file.read(4 * n_mels * n_frequencies), dtype="<f4")
        tokens = [file.read(integers(file, 1)[0]) for _ in range(integers(file, 1)[0])]
        tensors: dict[str, tuple[int, np.ndarray]] = {}
        while file.peek(1):
            name, kind, values = read_tensor(file)
            tensors[name] = kind, values
    return Ggml(
        settings=tuple(settings),
        filters=filters.reshape(n_mels, n_frequencies),
        tokens=tokens,
        tensors=tensors,
    )


@pytest.fixture(scope="module")
def config(tiny: Path) -> Any:
    from transformers import WhisperConfig

    return WhisperConfig.from_pretrained(tiny)


@pytest.fixture(scope="module", params=GgmlType)
def written(request: pytest.FixtureRequest, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("ggml") / "model.bin"
    export_ggml(tiny, path, request.param)
    return request.param, read(path)


def test_settings_stand_in_the_order_of_the_loader(written: tuple[GgmlType, Ggml], config: Any) -> None:
    kind, found = written
    assert found.settings == (
        config.vocab_size, 1500, config.d_model, config.encoder_attention_heads, config.encoder_layers,
        448, config.d_model, config.decoder_attention_heads, config.decoder_layers, config.num_mel_bins,
        {GgmlType.F16: 1, GgmlType.Q8_0: 2007}[kind],
    )  # fmt: skip


def test_filters_are_those_of_the_feature_extractor(written: tuple[GgmlType, Ggml], tiny: Path) -> None:
    from transformers import WhisperFeatureExtractor

    expected = WhisperFeatureExtractor.from_pretrained(tiny).mel_filters.T
    np.testing.assert_allclose(written[1].filters, expected, atol=1e-7)


def test_tokens_join_to_the_text_that_they_stand_for(written: tuple[GgmlType, Ggml], tiny: Path) -> None:
    tokenizer = WhisperTokenizer.load(tiny)
    text = " naïve 東京 two"
    assert b"".join(written[1].tokens[token] for token in tokenizer.encode(text)).decode() == text
    assert len(written[1].tokens) == tokenizer.special.end


def test_weights_come_back_within_the_rounding_of_their_type(
    written: tuple[GgmlType, Ggml], tiny: Path
) -> None:
    from transformers import WhisperForConditionalGeneration

    kind, found = written
    state = WhisperForConditionalGeneration.from_pretrained(tiny).state_dict()
    pairs = {
        "encoder.conv1.weight": "model.encoder.conv1.weight",
        "encoder.conv1.bias": "model.encoder.conv1.bias",
        "encoder.positional_embedding": "model.encoder.embed_positions.weight",
        "encoder.blocks.1.attn.query.weight": "model.encoder.layers.1.self_attn.q_proj.weight",
        "encoder.ln_post.bias": "model.encoder.layer_norm.bias",
        "decoder.token_embedding.weight": "model.decoder.embed_tokens.weight",
        "decoder.blocks.0.cross_attn.out.bias": "model.decoder.layers.0.encoder_attn.out_proj.bias",
        "decoder.blocks.1.mlp.2.weight": "model.decoder.layers.1.fc2.weight",
        "decoder.blocks.1.cross_attn_ln.weight": "model.decoder.layers.1.encoder_attn_layer_norm.weight",
    }
    for theirs, ours in pairs.items():
        stored, values = found.tensors[theirs]
        expected = state[ours].numpy()
        step = np.abs(expected).max() / (127 if stored == TENSOR_TYPES[GgmlType.Q8_0] else 2000)
        np.testing.assert_allclose(values.reshape(expected.shape), expected, atol=max(step, 1e-7))
    assert len(found.tensors) == len(state) - 1
    matrix = found.tensors["decoder.blocks.1.mlp.2.weight"][0]
    assert matrix == TENSOR_TYPES[kind]
    assert found.tensors["encoder.conv1.weight"][0] == TENSOR_TYPES[GgmlType.F16]
    assert found.tensors["encoder.conv1.bias"][0] == TENSOR_TYPES["f32"]
