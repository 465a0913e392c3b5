"""The tensors that a Whisper of given settings has.

Source: `WhisperForConditionalGeneration` in `models/whisper/modeling_whisper.py` of huggingface/transformers.
"""

from collections.abc import Mapping
from typing import Any

Shape = tuple[int, ...]

SETTING_OF: Mapping[str, str] = {
    "model.encoder.conv1.weight": "num_mel_bins",
    "model.encoder.embed_positions.weight": "max_source_positions",
    "model.decoder.embed_positions.weight": "max_target_positions",
    "model.decoder.embed_tokens.weight": "vocab_size",
}
"""The setting that sizes a tensor, as `d_model` does."""

_SIZES = (
    "d_model",
    "vocab_size",
    "num_mel_bins",
    "encoder_layers",
    "decoder_layers",
    "encoder_ffn_dim",
    "decoder_ffn_dim",
    "max_source_positions",
    "max_target_positions",
)

_CONV_WIDTH = 3


def expected_shapes(config: Mapping[str, Any]) -> dict[str, Shape] | None:
    """Return the shape of each tensor of a model; None where a size is missing in its settings."""
    sizes = {name: config.get(name) for name in _SIZES}
    if not all(isinstance(size, int) and size > 0 for size in sizes.values()):
        return None
    width = config["d_model"]
    shapes = {
        "model.encoder.conv1.weight": (width, config["num_mel_bins"], _CONV_WIDTH),
        "model.encoder.conv1.bias": (width,),
        "model.encoder.conv2.weight": (width, width, _CONV_WIDTH),
        "model.encoder.conv2.bias": (width,),
        "model.encoder.embed_positions.weight": (config["max_source_positions"], width),
        "model.decoder.embed_tokens.weight": (config["vocab_size"], width),
        "model.decoder.embed_positions.weight": (config["max_target_positions"], width),
    }
    for side, attentions in (("encoder", ("self_attn",)), ("decoder", ("self_attn", "encoder_attn"))):
        shapes |= _norm(f"model.{side}.layer_norm", width)
        for layer in range(config[f"{side}_layers"]):
            name = f"model.{side}.layers.{layer}"
            for attention in attentions:
                shapes |= _attention(f"{name}.{attention}", width)
            shapes |= _feed_forward(name, width, config[f"{side}_ffn_dim"])
    return shapes


def is_optional(name: str) -> bool:
    """Return whether a tensor may be there or not: the output layer is the token embedding."""
    return name in {"proj_out.weight", "model.proj_out.weight"}


def _norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _attention(name: str, width: int) -> dict[str, Shape]:
    """Return the tensors of an attention and the norm before it; keys have no bias."""
    weights: dict[str, Shape] = {
        f"{name}.{part}_proj.weight": (width, width) for part in ("q", "k", "v", "out")
    }
    biases: dict[str, Shape] = {f"{name}.{part}_proj.bias": (width,) for part in ("q", "v", "out")}
    return weights | biases | _norm(f"{name}_layer_norm", width)


def _feed_forward(name: str, width: int, inner: int) -> dict[str, Shape]:
    return {
        f"{name}.fc1.weight": (inner, width),
        f"{name}.fc1.bias": (inner,),
        f"{name}.fc2.weight": (width, inner),
        f"{name}.fc2.bias": (width,),
        **_norm(f"{name}.final_layer_norm", width),
    }
