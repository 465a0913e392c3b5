"""A checkpoint in PyTorch on encoder states of clips, and one whose decoder is trained.

By low-rank adapters (Hu et al. 2021, arXiv:2106.09685) or wholly.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.runtime.audio.features import Features
from sottovoce.runtime.decoding.tokenizer import Tokens

Tensor = Any
"""`torch.Tensor`."""

ADAPTED = (
    r".*model\.decoder\.layers\.\d+\.((self_attn|encoder_attn)\.(q_proj|k_proj|v_proj|out_proj)|fc1|fc2)"
)
"""Modules with adapters: all matrix products of the decoder's layers. The embedding, which is the output layer too, stays."""

TRAINED = "model.decoder.layers."
"""Start of the names of the weights that `full` trains."""

SECOND_FACTOR = ".lora_B."
"""Part of its names in peft: an adapter adds scale * B @ A to a weight."""

ADAPTER_SCALE = 2
"""lora_alpha divided by the rank."""


class Method(StrEnum):
    """What of the decoder is trained."""

    LORA = "lora"
    FULL = "full"


LEARNING_RATES = {Method.LORA: 2e-4, Method.FULL: 1e-5}
"""Highest ones; all weights forget more, and take less."""


class FrozenWhisper:
    """Encoder states, logits and greedy transcripts of a model that stays as it is."""

    def __init__(self, model: Any) -> None:
        """Freeze a model.

        Args:
            model: `transformers.WhisperForConditionalGeneration` in float32.
        """
        model.requires_grad_(requires_grad=False)
        self._model = model
        self._generation = model.generation_config

    @property
    def n_decoder_layers(self) -> int:
        """Layers of the decoder."""
        return len(self._model.model.decoder.layers)

    def encode(self, features: Features) -> NDArray[np.float32]:
        """Encode 30 s: features, float32, shape (1, n_mels, 3000), to states, float32, shape (1, 1500, d_model)."""
        import torch

        with torch.inference_mode():
            states = self._model.model.encoder(torch.from_numpy(features)).last_hidden_state
        found: NDArray[np.float32] = states.float().numpy()
        return found

    def logits(self, states: NDArray[np.float16], prompt: Tokens, labels: Tokens) -> Tensor:
        """Return the logits of the tokens of a transcript, float32, shape (n_labels, n_tokens of the vocabulary).

        Args:
            states: of one clip, float16, shape (1, 1500, d_model).
            prompt: that decoding starts with.
            labels: tokens of the text and the end, which the decoder is fed.
        """
        import torch

        tokens = torch.tensor([prompt + labels[:-1]])
        hidden = self._decoder_states(states, tokens)[0, len(prompt) - 1 :].float()
        with torch.autocast("cpu", enabled=False):  # logits in bf16 are off by a tenth of a nat
            return hidden @ self._model.proj_out.weight.T

    def _decoder_states(self, states: NDArray[np.float16], tokens: Tensor) -> Tensor:
        import torch

        found = self._model.model.decoder(
            input_ids=tokens, encoder_hidden_states=torch.from_numpy(states).float(), use_cache=False
        )
        return found.last_hidden_state

    def transcribe(self, states: NDArray[np.float16], prompt: Tokens, n_most: int) -> Tokens:
        """Decode greedily, without the tokens that the model's settings suppress.

        Not to be called under autocast, which would convert all weights again for each token.

        Args:
            states: of one clip, float16, shape (1, 1500, d_model).
            prompt: that decoding starts with.
            n_most: tokens.

        Returns:
            Tokens of the text, without the end.
        """
        import torch

        never = list(self._generation.suppress_tokens or ())
        at_start = [*never, *(self._generation.begin_suppress_tokens or ())]
        end = self._model.config.eos_token_id
        memory = torch.from_numpy(states).float()
        found: list[int] = []
        past, fed = None, torch.tensor([prompt])
        with torch.inference_mode():
            while len(found) < n_most:
                step = self._model.model.decoder(
                    input_ids=fed, encoder_hidden_states=memory, past_key_values=past, use_cache=True
                )
                past = step.past_key_values
                logits = step.last_hidden_state[0, -1].float() @ self._model.proj_out.weight.T
                logits[never if found else at_start] = -torch.inf
                logits[end + 1 :] = -torch.inf
                token = int(logits.argmax())
                if token == end:
                    break
                found.append(token)
                fed = torch.tensor([[token]])
        return tuple(found)


class TrainableWhisper(FrozenWhisper):
    """A model whose decoder is trained."""

    def __init__(self, model: Any, method: Method, *, rank: int = 1, seed: int = 0) -> None:
        """Freeze everything but what is trained.

        Args:
            model: `transformers.WhisperForConditionalGeneration` in float32.
            method: which weights change.
            rank: of the adapters of `lora`.
            seed: of the values that adapters start with.
        """
        import torch

        super().__init__(model)
        self._method = method
        if method is Method.LORA:
            from peft import LoraConfig, get_peft_model

            # A task type would make peft pass `input_ids`, which Whisper does not take.
            config = LoraConfig(r=rank, lora_alpha=ADAPTER_SCALE * rank, target_modules=ADAPTED)
            with torch.random.fork_rng(devices=[]):  # peft draws from the generator of the process
                torch.manual_seed(seed)
                self._wrapped = get_peft_model(model, config)
        else:
            self._wrapped = model
            for name, weight in model.named_parameters():
                weight.requires_grad_(name.startswith(TRAINED))
        self._start = {name: weight.detach().clone() for name, weight in self.parameters.items()}

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The weights that change, by name; float32."""
        return {name: weight for name, weight in self._wrapped.named_parameters() if weight.requires_grad}

    def loss(self, states: NDArray[np.float16], prompt: Tokens, labels: Tokens) -> Tensor:
        """Return the cross-entropy of a transcript: the sum over its tokens, in nats."""
        import torch
        from torch.nn.functional import cross_entropy

        return cross_entropy(self.logits(states, prompt, labels), torch.tensor(labels), reduction="sum")

    @contextmanager
    def using(self, values: Mapping[str, Tensor]) -> Iterator[None]:
        """Compute with other values of the trained weights during the block."""
        own = self.parameters
        kept = {name: weight.detach().clone() for name, weight in own.items()}
        _assign(own, values)
        try:
            yield
        finally:
            _assign(own, kept)

    def averaged(self, values: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
        """Return weights between those of the checkpoint (share 0) and trained ones (share 1)."""
        if self._method is Method.LORA:  # its second factor is 0 at first, and scales the product
            return {name: share * value if SECOND_FACTOR in name else value for name, value in values.items()}
        return {name: self._start[name].lerp(value, share) for name, value in values.items()}

    def merged(self, values: Mapping[str, Tensor]) -> Any:
        """Return the model with these values, adapters added to the weights; this object is used up."""
        _assign(self.parameters, values)
        return self._wrapped.merge_and_unload() if self._method is Method.LORA else self._model


def _assign(weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    import torch

    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(values[name])


def count_weights(parameters: Sequence[Tensor]) -> int:
    """Count the numbers of tensors."""
    return sum(int(each.numel()) for each in parameters)
