"""Word timestamps from the decoder's cross-attention.

Some heads attend to the audio of the next word. Their normalized weights are the costs of a path through tokens and
time; dynamic time warping finds the cheapest path, which gives the start of each token.

Source: `find_alignment` in `whisper/timing.py` of openai/whisper.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import FRAMES_PER_POSITION, HOP_SAMPLES, SAMPLE_RATE_HZ
from sottovoce.runtime.decoding.model_defaults import GENERATION_NAME
from sottovoce.runtime.decoding.tokenizer import MAX_TOKENS, Tokens, WhisperTokenizer
from sottovoce.runtime.model.base import Encoded, mask_of, pad_tokens
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import component_path
from sottovoce.runtime.model.openvino.memory import GraphFile
from sottovoce.runtime.model.openvino.quiet_import import shared_core
from sottovoce.runtime.model.openvino.split_decoder import LOG_COUNTS_NAME
from sottovoce.runtime.model.openvino.token_embedding import (
    EMBEDDINGS_NAME,
    TOKENS_NAME,
    TokenEmbedding,
    take_out_embedding,
)
from sottovoce.runtime.timestamps.attention_graph import Heads, attention_model
from sottovoce.runtime.timestamps.words import WordTiming, find_word_timings, split_to_word_tokens, to_word
from sottovoce.runtime.transcript import Word
from sottovoce.terms import Component

Weights = NDArray[np.float32]

CONFIG_NAME = "config.json"

POSITION_SAMPLES = HOP_SAMPLES * FRAMES_PER_POSITION
POSITION_S = POSITION_SAMPLES / SAMPLE_RATE_HZ

MEDIAN_WIDTH = 7
"""Positions; `medfilt_width` in openai/whisper, `median_filter_width` in transformers."""

RELIABLE_LAYERS = 4
"""Decoders with fewer, such as those of distilled and turbo models, align less well: with WhisperLiveKit, large-v3-turbo makes
18.1 % word errors where words are committed by alignment, 5.3 % by agreement."""

LOWEST = np.finfo(np.float32).tiny
"""A divisor for weights that are all 0."""


class AlignmentGraph:
    """A variant's decoder up to its last alignment head, compiled on first use; shared between threads.

    It has neither the output layer nor the token embedding. This second copy of the weights takes private memory: 50 MB for
    whisper-tiny.en in INT8, 59 MB for whisper-base.
    """

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        self._folder = folder
        self._compute = compute
        self._lock = Lock()

    @cached_property
    def heads(self) -> Heads | None:
        """The alignment heads; None if the settings name none.

        Raises:
            InputError: the variant's generation settings are missing or damaged.
        """
        return _alignment_heads(self._folder)

    @cached_property
    def is_reliable(self) -> bool:
        """Whether the decoder has enough layers to end words by their alignment alone; False where nothing says how many.

        Raises:
            InputError: the variant's configuration is damaged.
        """
        path = self._folder / CONFIG_NAME
        try:
            return (
                int(json.loads(path.read_bytes())["decoder_layers"]) >= RELIABLE_LAYERS
                if path.is_file()
                else False
            )
        except (OSError, LookupError, TypeError, ValueError) as cause:
            raise InputError(f"{path} does not say how many layers the decoder has: {cause}") from cause

    @cached_property
    def file(self) -> GraphFile:
        """The file of the decoder."""
        return GraphFile(component_path(self._folder, Component.DECODER))

    def compiled(self) -> tuple[Any, TokenEmbedding | None]:
        """Return the graph (`openvino.CompiledModel`), and the token embedding if it is computed outside the graph.

        Raises:
            InputError: the decoder or its alignment heads are not Whisper's.
        """
        with self._lock:
            return self._compiled

    @cached_property
    def _compiled(self) -> tuple[Any, TokenEmbedding | None]:
        model = attention_model(self.file.read(), self.heads)
        embedding = take_out_embedding(model)
        return shared_core().compile_model(model, "CPU", self._compute.properties()), embedding


class Aligner:
    """Finds when the words of a decoded text are spoken; for one thread at a time."""

    def __init__(self, graph: AlignmentGraph, tokenizer: WhisperTokenizer) -> None:
        self._graph = graph
        self._tokenizer = tokenizer

    @property
    def is_reliable(self) -> bool:
        """Whether words may count as final by their alignment alone; see `AlignmentGraph`."""
        return self._graph.is_reliable

    @classmethod
    def load(cls, folder: Path, compute: ComputeSpec, tokenizer: WhisperTokenizer | None = None) -> "Aligner":
        """Read the alignment heads of a variant of either layout; compile nothing yet.

        Args:
            tokenizer: of the same variant, if it is loaded already: a second one takes 30 MB.

        Raises:
            InputError: the variant's tokenizer or generation settings are missing or damaged.
        """
        graph = AlignmentGraph(folder, compute)
        _ = graph.heads  # reports damaged heads before any work
        return cls(graph, tokenizer or WhisperTokenizer.load(folder))

    def align(
        self,
        encoded: Encoded,
        prompt: Tokens,
        *,
        segments: Sequence[Tokens],
        probabilities: Sequence[float],
        language: str,
        n_samples: int,
    ) -> tuple[tuple[Word, ...], ...]:
        """Find the words of a window's segments.

        Args:
            encoded: the encoder states that the segments were decoded from, a batch of one.
            prompt: without previous text; ends with the no-timestamps token.
            segments: text tokens of each segment, without timestamps.
            probabilities: of each text token of all segments, 0 to 1.
            language: code of the language of the text.
            n_samples: of the window's audio, 16 kHz, without padding.

        Returns:
            The words of each segment, in order and without overlap. Times are seconds from the start of the window,
            within the audio, in steps of 0.02 s except where long words are truncated. The joined texts of the words
            are the text of the segment.

        Raises:
            InputError: the decoder or its alignment heads are not Whisper's, prompt and text are longer than the
                decoder allows, or the number of probabilities is not that of the tokens.
        """
        tokens = tuple(token for segment in segments for token in segment)
        if len(probabilities) != len(tokens):
            raise InputError(f"{len(probabilities)} probabilities of {len(tokens)} tokens; give one for each")
        if not tokens or n_samples == 0:
            return tuple(() for _ in segments)
        starts_s = self._token_starts_s(encoded, prompt, tokens, n_samples)
        words = [split_to_word_tokens(self._tokenizer, segment, language) for segment in segments]
        timings = find_word_timings(words, starts_s)
        return tuple(tuple(to_word(timing, probabilities) for timing in segment) for segment in timings)

    def word_timings(
        self, encoded: Encoded, prompt: Tokens, tokens: Tokens, *, language: str, n_samples: int
    ) -> tuple[WordTiming, ...]:
        """Find the words of a window's text, with the tokens that each consists of.

        Arguments, times and errors are those of `align`; the window has at least one sample.
        """
        starts_s = self._token_starts_s(encoded, prompt, tokens, n_samples)
        return find_word_timings([split_to_word_tokens(self._tokenizer, tokens, language)], starts_s)[0]

    def _token_starts_s(
        self, encoded: Encoded, prompt: Tokens, tokens: Tokens, n_samples: int
    ) -> list[float]:
        """Return when each token starts, and when the last one ends."""
        n_positions = min(encoded.states.shape[1], -(-n_samples // POSITION_SAMPLES))
        weights = self.attention(encoded, (*prompt, *tokens, self._tokenizer.special.end))
        matrix = alignment_matrix(weights[:, :, :n_positions])
        # The row of a token gives the start of the next one: that of the end token gives none.
        starts_s = dtw(-matrix[len(prompt) - 1 : -1]) * POSITION_S
        times: list[float] = starts_s.tolist()
        return times

    def attention(self, encoded: Encoded, tokens: Tokens) -> Weights:
        """Return the attention of the alignment heads in one pass over all tokens.

        Args:
            encoded: a batch of one.
            tokens: prompt, text and end token.

        Returns:
            float32, shape (n_heads, n_tokens, n_states), with heads in order of layer and index; sums to 1 over the
            states. Valid until the next call.

        Raises:
            InputError: the decoder or its alignment heads are not Whisper's, or there are too many tokens.
        """
        if len(tokens) > MAX_TOKENS:
            raise InputError(
                f"{len(tokens)} tokens to align, the decoder takes {MAX_TOKENS}; shorten the text"
            )
        request, embedding = self._request
        ids = pad_tokens(np.array([tokens], dtype=np.int64))
        inputs = {
            "encoder_hidden_states": encoded.states,
            TOKENS_NAME: ids,
            LOG_COUNTS_NAME: mask_of(encoded),
        }
        if embedding is not None:
            inputs[EMBEDDINGS_NAME] = embedding.rows(ids)
        for port in request.get_compiled_model().inputs:
            request.set_tensor(port, self._tensor(inputs[port.any_name]))
        request.infer()
        self._graph.file.give_back()
        weights: Weights = request.get_output_tensor().data[0, :, : len(tokens)]
        return weights

    @cached_property
    def _request(self) -> tuple[Any, TokenEmbedding | None]:
        compiled, embedding = self._graph.compiled()
        return compiled.create_infer_request(), embedding

    @cached_property
    def _tensor(self) -> Any:
        import openvino

        return openvino.Tensor


def alignment_matrix(weights: Weights) -> NDArray[np.float32]:
    """Turn attention into a score of each token at each position.

    Args:
        weights: float32, shape (n_heads, n_tokens, n_positions), not negative.

    Returns:
        float32, shape (n_tokens, n_positions); higher is better.
    """
    # Positions of padding are cut off: weights of the audio sum to 1 again.
    shares = weights / np.maximum(weights.sum(axis=2, keepdims=True), LOWEST)
    spread = shares.std(axis=1, keepdims=True)
    shares -= shares.mean(axis=1, keepdims=True)
    shares /= np.maximum(spread, LOWEST)
    total = np.zeros(weights.shape[1:], dtype=np.float32)
    for head in shares:
        total += median_filter(head, MEDIAN_WIDTH)
    return total / np.float32(len(weights))


def median_filter(values: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Replace each value by the median of its neighbourhood along the last axis.

    Args:
        values: float32, shape (n_rows, n_columns); mirrored at the edges, which are not repeated.
        width: of the neighbourhood, odd.

    Returns:
        float32, same shape; `values` themselves if they are narrower than half a neighbourhood.
    """
    half = width // 2
    n_columns = values.shape[1]
    if n_columns <= half:
        return values
    padded = np.pad(values, ((0, 0), (half, half)), mode="reflect")
    shifted = [padded[:, i : i + n_columns] for i in range(width)]
    # The minimum and the maximum of half the values and two more cannot be the median.
    candidates, rest = shifted[: half + 2], shifted[half + 2 :]
    while len(candidates) > 1:
        candidates = _without_extremes(candidates) + rest[:1]
        rest = rest[1:]
    return candidates[0]


def dtw(cost: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Find the cheapest path by dynamic time warping.

    The path goes from the first cell to the last in steps to the next row, the next column or both. Of equally cheap
    predecessors it prefers the diagonal one, then the one in the same row.

    Args:
        cost: shape (n_rows, n_columns), finite; at least one row and one column.

    Returns:
        int64, shape (n_rows,): the first column of each row; ascending.
    """
    n_rows, n_columns = cost.shape
    # Cells of an antidiagonal do not depend on each other: each antidiagonal is a row of the skewed arrays.
    rows = np.arange(n_rows)[:, None]
    skewed = np.full((n_rows + n_columns - 1, n_rows), np.inf)
    skewed[rows + np.arange(n_columns), rows] = cost
    # Entry [i + j, i] is the cost of the cheapest path to cell (i, j), counted from 1; 0 is outside.
    totals = np.full((n_rows + n_columns + 1, n_rows + 1), np.inf)
    totals[0, 0] = 0.0
    for diagonal in range(2, n_rows + n_columns + 1):
        total = totals[diagonal, 1:]
        np.minimum(totals[diagonal - 1, 1:], totals[diagonal - 1, :-1], out=total)
        np.minimum(total, totals[diagonal - 2, :-1], out=total)
        total += skewed[diagonal - 2]
    return _backtrace(totals, n_rows, n_columns)


def _without_extremes(arrays: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Drop the elementwise minimum and maximum of the arrays."""
    lowest, *others = arrays
    for i, other in enumerate(others):
        others[i] = np.maximum(lowest, other)
        lowest = np.minimum(lowest, other)
    highest, *between = others
    for i, other in enumerate(between):
        between[i] = np.minimum(highest, other)
        highest = np.maximum(highest, other)
    return between


def _backtrace(totals: NDArray[np.float64], n_rows: int, n_columns: int) -> NDArray[np.int64]:
    first = np.zeros(n_rows, dtype=np.int64)
    i, j = n_rows, n_columns
    while i > 0:
        first[i - 1] = j - 1
        diagonal, same_row, same_column = (
            totals[i + j - 2, i - 1],
            totals[i + j - 1, i],
            totals[i + j - 1, i - 1],
        )
        if diagonal <= same_row and diagonal <= same_column:
            i, j = i - 1, j - 1
        elif same_row <= same_column:
            j -= 1
        else:
            i -= 1
    return first


def _alignment_heads(folder: Path) -> Heads | None:
    path = folder / GENERATION_NAME
    try:
        heads = json.loads(path.read_text(encoding="utf-8")).get("alignment_heads")
        return [(int(layer), int(head)) for layer, head in heads] if heads else None
    except (OSError, AttributeError, TypeError, ValueError) as cause:
        raise InputError(f"{path} has no valid alignment heads: {cause}; give a variant of a run") from cause
