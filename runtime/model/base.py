"""What encoders and decoders take and give, whichever library runs them.

A *model* is compiled once and shared between threads. A *session* of it has its own buffers, keys and values: one
for each stream, used by one thread at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError
from sottovoce.runtime.audio.features import Features
from sottovoce.terms import Component

Logits = NDArray[np.float32]
States = NDArray[np.float32]
TokenArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a decoder attends to.

    Attributes:
        states: float32, shape (batch, n_states, d_model).
        log_counts: float32, shape (batch, n_states): natural logarithm of the number of positions that each state
            stands for, which is added to the scores of cross-attention; None where each stands for its own alone.
    """

    states: States
    log_counts: NDArray[np.float32] | None = None

    def row(self, number: int) -> "Encoded":
        """Return one window of the batch, as a batch of one."""
        one = slice(number, number + 1)
        return Encoded(self.states[one], None if self.log_counts is None else self.log_counts[one])


class EncoderGraph(Protocol):
    """A session of an encoder."""

    n_mels: int
    """Mel bins of the features that it takes."""

    def run(self, features: Features) -> States:
        """Encode frames.

        Args:
            features: float32, shape (1, n_mels, n_frames).

        Returns:
            float32, shape (1, n_frames / 2, d_model); the graph's own memory, valid until the next call.
        """

    def give_back(self) -> None:
        """Free what the last call left; the next one takes it again."""


class Decoder(Protocol):
    """A session of a decoder: it keeps the keys and values of the tokens that it was fed."""

    can_continue: bool
    """Whether several tokens after the first pass take one pass, not one each."""

    def start(self, encoded: Encoded) -> None:
        """Forget all tokens; decode from encoder states from now on.

        Args:
            encoded: not copied, not to be changed until the first `run` is over.

        Raises:
            InputError: states stand for several positions, and the layout cannot count them.
        """

    def run(self, tokens: TokenArray, at: Sequence[int] | None = None) -> Logits:
        """Feed tokens that follow those fed before.

        Args:
            tokens: int64, shape (batch, n_tokens).
            at: the tokens whose logits are wanted; None takes all.

        Returns:
            float32, shape (batch, n_tokens or len(at), n_vocabulary); the decoder's own memory, valid until
            the next call, and free to be changed.
        """

    def rewind(self, n_tokens: int) -> None:
        """Forget the last tokens, as if they had not been fed.

        Args:
            n_tokens: of each row, at most as many as were fed since `start`.

        Raises:
            ValueError: fewer tokens were fed.
        """

    def select(self, rows: Sequence[int]) -> None:
        """Let row i continue what row `rows[i]` was fed, in the next `run` (beam search)."""


class EncoderModel(Protocol):
    """A compiled encoder, shared between threads."""

    compiled: Any
    """`openvino.CompiledModel` or `onnxruntime.InferenceSession`."""

    def session(self) -> EncoderGraph:
        """Return an encoder for one stream."""


class DecoderModel(Protocol):
    """A compiled decoder, shared between threads."""

    compiled: Mapping[Component, Any]
    """Of each component: `openvino.CompiledModel` or `onnxruntime.InferenceSession`."""

    def session(self) -> Decoder:
        """Return a decoder for one stream."""


def stacked(encoded: Sequence[Encoded]) -> Encoded:
    """Join windows with equally many states into one batch."""
    counts = [each.log_counts for each in encoded if each.log_counts is not None]
    states = np.concatenate([each.states for each in encoded])
    return Encoded(states, np.concatenate(counts) if counts else None)


def mask_of(encoded: Encoded) -> NDArray[np.float32]:
    """Return what is added to the scores of cross-attention, float32, shape (batch or 1, 1, 1, n_states)."""
    if encoded.log_counts is None:
        return np.zeros((1, 1, 1, encoded.states.shape[1]), dtype=np.float32)
    return encoded.log_counts[:, None, None, :]


def plain_states(encoded: Encoded) -> States:
    """Return states that count for one position each.

    Raises:
        InputError: some count for several positions.
    """
    if encoded.log_counts is not None:
        raise InputError("padding states that count for several positions need a stateful decoder")
    return encoded.states


PROMPT_BUCKET = 16
"""Divides the 448 positions of Whisper's decoder, so that a padded prompt fits wherever the prompt does."""

SHORTEST_PADDED = 9
"""Prompts without previous text have up to 8 tokens, and few lengths."""


def pad_tokens(tokens: TokenArray) -> TokenArray:
    """Repeat the last token of each row up to a multiple of 16 tokens; short rows stay as they are.

    OpenVINO compiles kernels for each length that it meets and keeps them: 2 to 4 MB and 15 to 20 ms for one of the
    decoder. A causal decoder gives the same results for the tokens before.

    Args:
        tokens: int64, shape (batch, n_tokens).

    Returns:
        int64, shape (batch, n_padded).
    """
    n_tokens = tokens.shape[1]
    if n_tokens < SHORTEST_PADDED:
        return tokens
    return np.pad(tokens, ((0, 0), (0, -n_tokens % PROMPT_BUCKET)), mode="edge")


def n_tokens_left(n_fed: int, n_tokens: int) -> int:
    """Return how many tokens a decoder keeps when it forgets some.

    Raises:
        ValueError: fewer were fed.
    """
    if not 0 <= n_tokens <= n_fed:
        raise ValueError(f"{n_tokens} tokens cannot be forgotten, {n_fed} were fed")
    return n_fed - n_tokens


def past_name(present_name: str) -> str:
    """Return the input that takes what an output of a stateless decoder gives."""
    return present_name.replace("present", "past_key_values", 1)
