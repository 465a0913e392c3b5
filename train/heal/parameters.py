"""The numbers that training changes, as differences from where they start, in units of their spread.

So one learning rate fits keys, values and states, and weight decay draws them back to where they start.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sottovoce.optimize.openvino.padding_states import PaddingKeys
from sottovoce.train.variant.padding import Padding, tensors_of
from sottovoce.train.variant.whisper import PaddingTensors, Tensor

NAMES = ("keys", "values", "scores", "states")
"""Keys, values and logarithms of counts in the encoder's layers; the decoder's states."""

Deltas = Mapping[str, Tensor]
"""By the names above: float32; `scores` has the shape (n_layers, n_heads, 1, n_keys), others that of what they change."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Start:
    """Where training starts: padding as tensors, and the spread of each part.

    Attributes:
        padding: what quantization measured.
        spreads: standard deviation of keys, values and states, by name; of `scores` 1 nat.
    """

    padding: Padding
    tensors: PaddingTensors
    spreads: Mapping[str, float]

    @classmethod
    def of(cls, padding: Padding) -> "Start":
        """Turn padding into tensors."""
        keys = padding.keys
        parts = {"keys": keys.keys, "values": keys.values, "states": padding.states}
        return cls(
            padding=padding,
            tensors=tensors_of(padding),
            spreads={"scores": 1.0, **{name: float(part.std()) for name, part in parts.items()}},
        )

    def no_deltas(self) -> dict[str, Tensor]:
        """Return differences of zero that take gradients."""
        import torch

        shapes = {
            "keys": self.tensors.keys.shape,
            "values": self.tensors.values.shape,
            "scores": (*self.tensors.keys.shape[:2], 1, self.tensors.keys.shape[2]),
            "states": self.tensors.states.shape,
        }
        return {name: torch.zeros(shapes[name], requires_grad=True) for name in NAMES}

    def moved(self, deltas: Deltas) -> PaddingTensors:
        """Return the padding with differences added, through which gradients flow."""
        steps = {name: self.spreads[name] * deltas[name] for name in NAMES}
        return PaddingTensors(
            keys=self.tensors.keys + steps["keys"],
            values=self.tensors.values + steps["values"],
            key_scores=self.tensors.key_scores + steps["scores"],
            states=self.tensors.states + steps["states"],
            state_scores=self.tensors.state_scores,
        )

    def padding_of(self, deltas: Deltas) -> Padding:
        """Return the padding with differences added, to be written."""
        moved = self.moved({name: delta.detach() for name, delta in deltas.items()})
        return Padding(
            keys=PaddingKeys(
                keys=moved.keys.numpy(), values=moved.values.numpy(), counts=moved.key_scores.exp().numpy()
            ),
            states=moved.states.numpy(),
            clusters=self.padding.clusters,
        )
