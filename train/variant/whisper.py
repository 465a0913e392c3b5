"""A Whisper in PyTorch that computes what an elastic variant computes, from the weights of its checkpoint.

The encoder of transformers refuses anything but 30 s. This one takes the speech, and appends padding keys and values in
each layer as the exported graph does (`optimize/openvino/elastic.py`), so that gradients reach them.
"""

from dataclasses import dataclass
from typing import Any

from sottovoce.optimize.openvino.padding_states import COUNT_STEP

Tensor = Any
"""`torch.Tensor`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaddingTensors:
    """What stands for padding, as tensors; see `padding.Padding`.

    Attributes:
        keys: float32, shape (n_layers, n_heads, n_keys, d_head).
        values: the same.
        key_scores: logarithms of counts, float32, shape (n_layers, n_heads, 61, n_keys).
        states: float32, shape (n_states, d_model).
        state_scores: logarithms of counts after 0, 1, ... 1500 positions of speech, float32, shape (1501, n_states).
    """

    keys: Tensor
    values: Tensor
    key_scores: Tensor
    states: Tensor
    state_scores: Tensor


class ElasticWhisper:
    """Encoder and decoder of a checkpoint, frozen, for one clip at a time."""

    def __init__(self, model: Any) -> None:
        """Freeze a model.

        Args:
            model: `transformers.WhisperForConditionalGeneration` in float32.
        """
        self._encoder = model.model.encoder
        self._decoder = model.model.decoder
        self._n_heads = (model.config.encoder_attention_heads, model.config.decoder_attention_heads)
        model.requires_grad_(requires_grad=False)

    def encode(self, features: Tensor, padding: PaddingTensors) -> Tensor:
        """Encode the speech of a window.

        Args:
            features: float32, shape (1, n_mels, n_frames).
            padding: of the variant.

        Returns:
            float32, shape (1, n_frames / 2, d_model).
        """
        from torch.nn.functional import gelu

        encoder = self._encoder
        hidden = gelu(encoder.conv2(gelu(encoder.conv1(features)))).transpose(1, 2).float()
        n_positions = hidden.shape[1]
        hidden = hidden + encoder.embed_positions.weight[:n_positions]
        row = (n_positions + COUNT_STEP // 2) // COUNT_STEP
        for number, layer in enumerate(encoder.layers):
            normed = layer.self_attn_layer_norm(hidden)
            keys, values = (
                _with_padding(_heads(project(normed), self._n_heads[0]), kept[number])
                for project, kept in (
                    (layer.self_attn.k_proj, padding.keys),
                    (layer.self_attn.v_proj, padding.values),
                )
            )
            scores = _scores(n_positions, padding.key_scores[number, :, row])
            hidden = hidden + self._attend(layer.self_attn, normed, (keys, values), scores, 0)
            hidden = hidden + _feed_forward(layer, hidden)
        return encoder.layer_norm(hidden).float()

    def decode(self, states: Tensor, padding: PaddingTensors, tokens: Tensor) -> Tensor:
        """Feed tokens to the decoder, which attends to the speech and to the padding behind it.

        Args:
            states: what `encode` gave.
            padding: of the variant.
            tokens: int64, shape (1, n_tokens).

        Returns:
            Logits, float32, shape (n_tokens, n_vocabulary).
        """
        import torch

        decoder, n_heads = self._decoder, self._n_heads[1]
        n_tokens, n_positions = tokens.shape[1], states.shape[1]
        attended = torch.cat([states, padding.states[None]], dim=1)
        scores = _scores(n_positions, padding.state_scores[n_positions][None])
        hidden = decoder.embed_tokens(tokens) + decoder.embed_positions.weight[:n_tokens]
        for layer in decoder.layers:
            normed = layer.self_attn_layer_norm(hidden)
            own = tuple(
                _heads(project(normed), n_heads)
                for project in (layer.self_attn.k_proj, layer.self_attn.v_proj)
            )
            hidden = hidden + self._attend(layer.self_attn, normed, own, None, 1)
            normed = layer.encoder_attn_layer_norm(hidden)
            crossed = tuple(
                _heads(project(attended), n_heads)
                for project in (layer.encoder_attn.k_proj, layer.encoder_attn.v_proj)
            )
            hidden = hidden + self._attend(layer.encoder_attn, normed, crossed, scores, 1)
            hidden = hidden + _feed_forward(layer, hidden)
        hidden = decoder.layer_norm(hidden).float()[0]
        with torch.autocast("cpu", enabled=False):  # logits in bf16 are off by a tenth of a nat
            return hidden @ decoder.embed_tokens.weight.T

    def _attend(self, attention: Any, normed: Tensor, pair: Any, scores: Tensor | None, part: int) -> Tensor:
        """Attend to keys and values; without scores a token attends to those before it."""
        from torch.nn.functional import scaled_dot_product_attention

        queries = _heads(attention.q_proj(normed), self._n_heads[part])
        keys, values = (each.to(queries.dtype) for each in pair)
        found = scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=None if scores is None else scores.to(queries.dtype),
            is_causal=scores is None,
        )
        return attention.out_proj(found.transpose(1, 2).flatten(2))


def _heads(values: Tensor, n_heads: int) -> Tensor:
    """Divide (1, n, d_model) into heads: (1, n_heads, n, d_head)."""
    return values.unflatten(2, (n_heads, -1)).transpose(1, 2)


def _with_padding(of_speech: Tensor, of_padding: Tensor) -> Tensor:
    import torch

    return torch.cat([of_speech, of_padding[None].to(of_speech.dtype)], dim=2)


def _scores(n_positions: int, of_padding: Tensor) -> Tensor:
    """Return what is added to attention scores, shape (1, n_heads or 1, 1, n_positions + n_padding).

    Args:
        n_positions: of the speech, whose score is 0.
        of_padding: shape (n_heads or 1, n_padding).
    """
    from torch.nn.functional import pad

    return pad(of_padding, (n_positions, 0))[None, :, None]


def _feed_forward(layer: Any, hidden: Tensor) -> Tensor:
    from torch.nn.functional import gelu

    return layer.fc2(gelu(layer.fc1(layer.final_layer_norm(hidden))))
