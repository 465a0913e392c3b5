"""Whisper checkpoints enlarged to the shape of larger ones, which give the same tokens in float.

Weights of the large sizes cannot be downloaded everywhere, and random weights have no outliers, no word error rate and no end of
text. A grown checkpoint has all three, at the real size.

- Width: channels are copied, and what reads copies divides its weights over them by unequal random shares. A width that is no
  multiple fills the rest of the decoder's channels with the mean of the others (average expansion), which keeps LayerNorm's mean
  and the tied output layer exact. All channels are scaled, so that the variance, and with it the effect of epsilon, stays too.
- The encoder's first channels leave a GELU, and no linear map can follow it. There an added first layer centres the channels and
  scales them: two large constants beside them make its LayerNorm linear, and gelu(z) - gelu(-z) = z makes its GELU linear.
- Depth: added layers are copies whose output projections are so small that they change nothing. Zeros would be stored once for
  all layers, and files would be smaller than those of the size.

Source: Net2Net (arXiv 1511.05641), LEMON (arXiv 2305.02869).
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Tensors = Mapping[str, Floats]

REFERENCE = 8192.0
"""Constant of two channels, 1 / 1000 of which the encoder's first channels stay below. A power of two, exact in bfloat16."""

SMALLEST_SHARE, LARGEST_SHARE = 0.3, 0.7
"""Of a copy, before the shares of all copies are scaled to a sum of 1."""

SMALLEST_WEIGHT = 1e-7
"""Of the output projections of added layers, and of the changes of their other weights."""

COPIED_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The dimensions of a Whisper; heads and feed-forward layers are as wide, relative to the model, as the seed's.

    Attributes:
        n_mels: other than the seed's: the first convolution is random, and tokens are not the seed's.
    """

    d_model: int
    n_heads: int
    encoder_layers: int
    decoder_layers: int
    n_mels: int = 80


SMALL = Shape(d_model=768, n_heads=12, encoder_layers=12, decoder_layers=12)
MEDIUM = Shape(d_model=1024, n_heads=16, encoder_layers=24, decoder_layers=24)
LARGE_V2 = Shape(d_model=1280, n_heads=20, encoder_layers=32, decoder_layers=32)
TURBO = Shape(d_model=1280, n_heads=20, encoder_layers=32, decoder_layers=4)
DISTIL = Shape(d_model=1280, n_heads=20, encoder_layers=32, decoder_layers=2)


def grow(seed: Path, folder: Path, shape: Shape, *, random_seed: int = 0) -> Path:
    """Write a checkpoint of a larger shape that computes what its seed computes.

    A shape with fewer decoder layers than the seed grows a student: the seed with its first and last decoder layers alone.

    Args:
        seed: a Hugging Face folder with `model.safetensors`.
        folder: is made where it is not there.

    Returns:
        The folder.

    Raises:
        ValueError: the shape is smaller than the seed, has other heads, or no spare encoder layer for a width that is no multiple.
    """
    from safetensors.numpy import load_file, save_file

    config = json.loads((seed / "config.json").read_text())
    tensors = {
        name: tensor.astype(np.float64) for name, tensor in load_file(seed / "model.safetensors").items()
    }
    growth = _Growth(tensors, config, shape, np.random.default_rng(random_seed))
    folder.mkdir(parents=True, exist_ok=True)
    grown = {name: np.ascontiguousarray(tensor, dtype=np.float32) for name, tensor in growth.model().items()}
    save_file(grown, folder / "model.safetensors", metadata={"format": "pt"})
    _write_settings(seed, folder, growth)
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copies:
    """Channels, each a copy of an old one.

    Attributes:
        index: the old channel of each, shape (n_new,).
        shares: what a reader takes of each; those of all copies of a channel sum to 1; shape (n_new,).
    """

    index: NDArray[np.int64]
    shares: Floats

    @classmethod
    def of(cls, index: NDArray[np.int64], random: np.random.Generator) -> "_Copies":
        drawn = random.uniform(SMALLEST_SHARE, LARGEST_SHARE, index.shape)
        return cls(index=index, shares=drawn / np.bincount(index, weights=drawn)[index])

    def read(self, weights: Floats, axis: int = 1) -> Floats:
        """Enlarge the input axis of weights."""
        shape = [1] * weights.ndim
        shape[axis] = -1
        return weights.take(self.index, axis) * self.shares.reshape(shape)


class _Growth:
    """A seed and the shape that it grows to."""

    def __init__(
        self, tensors: Tensors, config: dict[str, Any], shape: Shape, random: np.random.Generator
    ) -> None:
        self.tensors, self.config, self.shape, self.random = tensors, config, shape, random
        self.width: int = config["d_model"]
        self.n_copies, self.n_rest = divmod(shape.d_model, self.width)
        self.n_copied = self.n_copies * self.width
        self.scale = np.sqrt(shape.d_model / self.n_copied)
        self.n_hidden: int = config["decoder_ffn_dim"] * shape.d_model // self.width
        n_heads: int = config["decoder_attention_heads"]
        if self.n_copies == 0 or shape.d_model * n_heads != shape.n_heads * self.width:
            raise ValueError(f"a width of {self.width} with {n_heads} heads does not grow to {shape}")
        self.encoder_places = _places(
            config["encoder_layers"], shape.encoder_layers, n_before=int(self.n_rest > 0)
        )
        self.decoder_places = _places(
            min(config["decoder_layers"], shape.decoder_layers), shape.decoder_layers
        )
        last = config["decoder_layers"] - 1
        self.decoder_sources = np.linspace(0, last, len(self.decoder_places)).round().astype(int).tolist()
        rest = np.full((self.n_rest, self.width), 1 / self.width)
        spread = np.concatenate([np.tile(np.eye(self.width), (self.n_copies, 1)), rest])
        centred = spread.copy()
        centred[: self.n_copied] -= 1 / self.width
        centred[self.n_copied :] = 0
        self.into_decoder: Floats = self.scale * spread
        self.into_encoder: Floats = self.scale * centred if self.n_rest else spread

    def model(self) -> Tensors:
        """Return the grown weights."""
        return {**self._encoder(), **self._decoder()}

    def _encoder(self) -> Tensors:
        start = "model.encoder."
        made = {**self._convolutions(), **self._norm(f"{start}layer_norm")}
        sources = range(self.config["encoder_layers"])
        made |= self._layers(start, dict(zip(self.encoder_places, sources, strict=True)))
        return {**made, **self._linear_layer(f"{start}layers.0.")} if self.n_rest else made

    def _decoder(self) -> Tensors:
        start = "model.decoder."
        made = {
            f"{start}{name}.weight": self.tensors[f"{start}{name}.weight"] @ self.into_decoder.T
            for name in ("embed_tokens", "embed_positions")
        }
        made |= self._layers(start, dict(zip(self.decoder_places, self.decoder_sources, strict=True)))
        # The output layer is the table of tokens, which has no shares: the last norm divides the channels.
        norm = self._norm(f"{start}layer_norm")
        shares = np.pad(self._stream().shares, (0, self.n_rest))
        weight, bias = norm[f"{start}layer_norm.weight"], norm[f"{start}layer_norm.bias"]
        return made | {
            f"{start}layer_norm.weight": weight * shares / self.scale,
            f"{start}layer_norm.bias": bias * shares / self.scale,
        }

    def _convolutions(self) -> Tensors:
        """Enlarge the encoder's convolutions and positions; channels that are no copies are zero, or large constants."""
        start, seed = "model.encoder.", self.tensors
        first, bias = seed[f"{start}conv1.weight"], seed[f"{start}conv1.bias"]
        if first.shape[1] != self.shape.n_mels:
            first = self.random.normal(0, first.std(), (first.shape[0], self.shape.n_mels, first.shape[2]))
        hidden = _Copies.of(np.arange(self.shape.d_model) % self.width, self.random)
        index = np.arange(self.n_copied) % self.width
        positions = np.pad(seed[f"{start}embed_positions.weight"][:, index], ((0, 0), (0, self.n_rest)))
        if self.n_rest:
            positions[:, self.n_copied : self.n_copied + 2] = REFERENCE, -REFERENCE
        second = hidden.read(seed[f"{start}conv2.weight"][index])
        return {
            f"{start}conv1.weight": first[hidden.index],
            f"{start}conv1.bias": bias[hidden.index],
            f"{start}conv2.weight": np.pad(second, ((0, self.n_rest), (0, 0), (0, 0))),
            f"{start}conv2.bias": np.pad(seed[f"{start}conv2.bias"][index], (0, self.n_rest)),
            f"{start}embed_positions.weight": positions,
        }

    def _linear_layer(self, start: str) -> Tensors:
        """Make the layer that subtracts the mean of the encoder's first channels and scales them.

        Its norm gives y = x - mean of all channels, since two constants outweigh the variance of the others.
        """
        width, n_all = self.width, self.shape.d_model
        weight = np.full(n_all, REFERENCE * np.sqrt(2 / n_all))
        weight[self.n_copied : self.n_copied + 2] = 0
        # mean(x) = mean(y) * n_all / n_rest, and y + the mean of all channels = x
        of_mean = n_all / self.n_rest * ((self.scale - 1) * self.n_copied / n_all - self.scale)
        wanted = (self.scale - 1) * np.eye(width) + np.full((width, width), of_mean / width)
        fc1 = np.zeros((self.n_hidden, n_all))
        fc1[: 2 * width, :width] = np.concatenate([wanted, -wanted])
        fc2, bias = np.zeros((n_all, self.n_hidden)), np.zeros(n_all)
        sums = np.concatenate([np.eye(width), -np.eye(width)], axis=1)
        fc2[: self.n_copied, : 2 * width] = np.tile(sums, (self.n_copies, 1))
        bias[self.n_copied : self.n_copied + 2] = -REFERENCE, REFERENCE
        return {
            **{
                f"{start}{norm}_layer_norm.{name}": value
                for norm in ("self_attn", "final")
                for name, value in (("weight", weight), ("bias", np.zeros(n_all)))
            },
            f"{start}fc1.weight": fc1,
            f"{start}fc1.bias": np.zeros(self.n_hidden),
            f"{start}fc2.weight": fc2,
            f"{start}fc2.bias": bias,
        }

    def _layers(self, start: str, sources: Mapping[int, int]) -> Tensors:
        """Enlarge layers.

        Args:
            start: `model.encoder.` or `model.decoder.`.
            sources: the seed's layer at each place; other places take a copy of the next, nearly without output. Its other
                weights are changed a little: equal ones would be written once, and files would be too small.
        """
        n_layers = self.shape.encoder_layers if "encoder" in start else self.shape.decoder_layers
        made: dict[str, Floats] = {}
        for place in range(n_layers):
            source = sources[min(each for each in sources if each >= place)]
            layer = self._layer(start, source)
            if place not in sources:
                layer = {
                    name: (0 if name.startswith(_OUTPUTS) else tensor) + self._small(tensor.shape)
                    for name, tensor in layer.items()
                }
            made |= {f"{start}layers.{place}.{name}": tensor for name, tensor in layer.items()}
        return made

    def _small(self, shape: tuple[int, ...]) -> Floats:
        return self.random.normal(0, SMALLEST_WEIGHT, shape)

    def _layer(self, start: str, source: int) -> dict[str, Floats]:
        """Enlarge a layer of the seed; names without its place."""
        prefix = f"{start}layers.{source}."
        into = self.into_encoder if "encoder" in start else self.into_decoder
        made: dict[str, Floats] = {}
        for block in ("self_attn", "encoder_attn"):
            if f"{prefix}{block}.q_proj.weight" in self.tensors:
                made |= self._attention(prefix, block, into)
        made |= self._feed_forward(prefix, into)
        norms = {
            name.rpartition(".")[0] for name in self.tensors if name.startswith(prefix) and "norm" in name
        }
        for norm in norms:
            made |= {name.removeprefix(prefix): tensor for name, tensor in self._norm(norm).items()}
        return made

    def _attention(self, prefix: str, block: str, into: Floats) -> Tensors:
        heads = _Copies.of(np.arange(self.shape.d_model) % self.width, self.random)
        made = {}
        for part in ("q_proj", "k_proj", "v_proj"):
            weight = self.tensors[f"{prefix}{block}.{part}.weight"]
            made[f"{block}.{part}.weight"] = self._read_stream(weight)[heads.index]
            if part != "k_proj":
                made[f"{block}.{part}.bias"] = self.tensors[f"{prefix}{block}.{part}.bias"][heads.index]
        out = f"{block}.out_proj"
        made[f"{out}.weight"] = into @ heads.read(self.tensors[f"{prefix}{out}.weight"])
        made[f"{out}.bias"] = into @ self.tensors[f"{prefix}{out}.bias"]
        return made

    def _feed_forward(self, prefix: str, into: Floats) -> Tensors:
        n_hidden = self.tensors[f"{prefix}fc1.bias"].size
        hidden = _Copies.of(np.arange(self.n_hidden) % n_hidden, self.random)
        return {
            "fc1.weight": self._read_stream(self.tensors[f"{prefix}fc1.weight"])[hidden.index],
            "fc1.bias": self.tensors[f"{prefix}fc1.bias"][hidden.index],
            "fc2.weight": into @ hidden.read(self.tensors[f"{prefix}fc2.weight"]),
            "fc2.bias": into @ self.tensors[f"{prefix}fc2.bias"],
        }

    def _norm(self, name: str) -> Tensors:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        copied = np.tile(weight / self.scale, self.n_copies)
        return {
            f"{name}.weight": np.pad(copied, (0, self.n_rest), constant_values=1),
            f"{name}.bias": np.pad(np.tile(bias, self.n_copies), (0, self.n_rest)),
        }

    def _stream(self) -> _Copies:
        return _Copies.of(np.arange(self.n_copied) % self.width, self.random)

    def _read_stream(self, weights: Floats) -> Floats:
        return np.pad(self._stream().read(weights), ((0, 0), (0, self.n_rest)))


_OUTPUTS = ("self_attn.out_proj", "encoder_attn.out_proj", "fc2")


def _places(n_old: int, n_new: int, *, n_before: int = 0) -> list[int]:
    """Spread the seed's layers over the places of the grown model, the last one last."""
    if n_new - n_before < n_old:
        raise ValueError(f"{n_old} layers do not grow to {n_new}, of which {n_before} are added before them")
    return [n_before + (i + 1) * (n_new - n_before) // n_old - 1 for i in range(n_old)]


def _write_settings(seed: Path, folder: Path, growth: _Growth) -> None:
    shape = growth.shape
    sizes = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("attention_heads", shape.n_heads), ("ffn_dim", growth.n_hidden))
    }
    layers = {"encoder_layers": shape.encoder_layers, "decoder_layers": shape.decoder_layers}
    changed = {"d_model": shape.d_model, "num_mel_bins": shape.n_mels, "dtype": "float32", **sizes, **layers}
    _write_json(folder / "config.json", growth.config | changed)
    generation = json.loads((seed / "generation_config.json").read_text())
    places = dict(zip(growth.decoder_sources, growth.decoder_places, strict=True))
    generation["alignment_heads"] = [
        [places[layer], head] for layer, head in generation["alignment_heads"] if layer in places
    ]
    _write_json(folder / "generation_config.json", generation)
    features = json.loads((seed / "preprocessor_config.json").read_text())
    features.pop("mel_filters", None)
    _write_json(folder / "preprocessor_config.json", features | {"feature_size": shape.n_mels})
    for name in COPIED_FILES:
        if (seed / name).is_file():
            shutil.copy2(seed / name, folder)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
