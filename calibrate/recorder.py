"""Records the inputs of a variant's components while it transcribes."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.calibrate.store import Call, DecodedSequence
from sottovoce.errors import StageError
from sottovoce.reference_pipeline import OptimumPipeline
from sottovoce.terms import Component


class Recorder:
    """Wraps the infer requests of a variant and keeps the decoded sequences in the compact form of `store`.

    A sequence begins with a first decoder pass; language detection is a sequence without steps. Source of the inputs:
    optimum-intel's `InferRequestWrapper`.
    """

    def __init__(self, variant: OptimumPipeline) -> None:
        self._features: NDArray[np.float32] | None = None
        self._sequences: list[_Open] = []
        self.last_step: Call = {}
        callbacks: dict[Component, Callable[[Call], None]] = {
            Component.ENCODER: self._on_encoder,
            Component.DECODER: self._on_decoder,
            Component.DECODER_WITH_PAST: self._on_step,
        }
        for component, callback in callbacks.items():
            variant.wrap(component, _wrapper(callback))

    def take(self) -> tuple[DecodedSequence, ...]:
        """Return and remove the sequences since the last call."""
        taken = tuple(sequence.closed() for sequence in self._sequences)
        self._sequences = []
        return taken

    def _on_encoder(self, inputs: Call) -> None:
        self._features = inputs["input_features"].copy()

    def _on_decoder(self, inputs: Call) -> None:
        if self._features is None:
            raise StageError(
                "the decoder ran before the encoder; this version of optimum-intel is not supported"
            )
        self._sequences.append(
            _Open(self._features, inputs["encoder_hidden_states"].copy(), inputs["input_ids"].copy())
        )

    def _on_step(self, inputs: Call) -> None:
        self._sequences[-1].token_ids.append(inputs["input_ids"].copy())
        self.last_step = inputs


class _Open:
    """An unfinished sequence."""

    def __init__(
        self, features: NDArray[np.float32], encoder_states: NDArray[np.float32], prompt: NDArray[np.int64]
    ) -> None:
        self.features = features
        self.encoder_states = encoder_states
        self.n_prompt = int(prompt.shape[1])
        self.token_ids = [prompt]

    def closed(self) -> DecodedSequence:
        return DecodedSequence(
            features=self.features,
            encoder_states=self.encoder_states,
            token_ids=np.concatenate(self.token_ids, axis=1).astype(np.int64),
            n_prompt=self.n_prompt,
        )


def _wrapper(callback: Callable[[Call], None]) -> Callable[[Any], Any]:
    from optimum.intel.openvino.quantization import InferRequestWrapper

    class CompactRequest(InferRequestWrapper):  # type: ignore[misc]
        """Passes inputs to the callback instead of keeping a deep copy of each."""

        def collect_inputs(self, inputs: Mapping[str, Any]) -> None:
            callback({name: _array(value) for name, value in inputs.items()})

    return CompactRequest


def _array(value: Any) -> NDArray[Any]:
    data = value.data if hasattr(value, "get_element_type") else value
    return np.asarray(data)


def keep(call: Call) -> Call:
    """Copy a call: its arrays belong to the running model."""
    return {name: np.array(value) for name, value in call.items()}


def largest_difference(found: Call, expected: Call) -> float:
    """Return the largest difference between two calls; infinite if names or shapes differ."""
    shared = set(found) & set(expected)
    if shared != set(found) or any(found[name].shape != expected[name].shape for name in shared):
        return float("inf")
    return max(float(np.abs(found[name] - expected[name]).max(initial=0.0)) for name in shared)
