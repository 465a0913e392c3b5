"""Word times from the decoder's cross-attention.

Some heads look at the sound of the word that comes next. Their weights, cleaned, are the price list
of a path through tokens and time; the cheapest path tells when each token begins.

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
from sottovoce.runtime.audio.decode import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.features import HOP_SAMPLES
from sottovoce.runtime.decoding.tokenizer import GENERATION_NAME, MAX_TOKENS, Tokens, WhisperTokenizer
from sottovoce.runtime.model.base import Encoded, mask_of
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.elastic import FRAMES_PER_POSITION
from sottovoce.runtime.model.layout import component_path
from sottovoce.runtime.model.openvino.memory import GraphFile
from sottovoce.runtime.model.openvino.split_decoder import LOG_COUNTS_NAME
from sottovoce.runtime.model.openvino.token_embedding import (
    EMBEDDINGS_NAME,
    TOKENS_NAME,
    TokenEmbedding,
    take_out_embedding,
)
from sottovoce.runtime.timestamps.attention_graph import Heads, attention_model
from sottovoce.runtime.timestamps.words import Span, place_spans, place_words, split_words
from sottovoce.runtime.transcript import Word
from sottovoce.terms import Component

Weights = NDArray[np.float32]

POSITION_SAMPLES = HOP_SAMPLES * FRAMES_PER_POSITION
POSITION_S = POSITION_SAMPLES / SAMPLE_RATE_HZ

MEDIAN_WIDTH = 7
"""Positions; `medfilt_width` in openai/whisper, `median_filter_width` in transformers."""

LOWEST = np.finfo(np.float32).tiny
"""Divides what is 0 everywhere without a warning."""


class AlignmentGraph:
    """A variant's decoder, compiled down to its alignment heads when it is first needed; shared between threads.

    Without its output layer and its table of tokens it is a second copy of these weights; measured in private memory:
    whisper-tiny.en 50 MB in INT8, whisper-base 59 MB.
    """

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        self._folder = folder
        self._compute = compute
        self._lock = Lock()

    @cached_property
    def heads(self) -> Heads | None:
        """The heads that align: layer and number.

        Raises:
            InputError: the variant's generation settings are missing or damaged.
        """
        return _alignment_heads(self._folder)

    @cached_property
    def file(self) -> GraphFile:
        """The decoder on disk."""
        return GraphFile(component_path(self._folder, Component.DECODER))

    def compiled(self) -> tuple[Any, TokenEmbedding | None]:
        """Return the graph (`openvino.CompiledModel`), and the table of tokens where it is taken out of it.

        Raises:
            InputError: the decoder or its alignment heads are not Whisper's.
        """
        with self._lock:
            return self._compiled

    @cached_property
    def _compiled(self) -> tuple[Any, TokenEmbedding | None]:
        import openvino

        model = attention_model(self.file.read(), self.heads)
        embedding = take_out_embedding(model)
        return openvino.Core().compile_model(model, "CPU", self._compute.properties()), embedding


class Aligner:
    """Finds when the words of a known text are spoken; for one thread at a time."""

    def __init__(self, graph: AlignmentGraph, tokenizer: WhisperTokenizer) -> None:
        self._graph = graph
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path, compute: ComputeSpec, tokenizer: WhisperTokenizer | None = None) -> "Aligner":
        """Read which heads of a variant align; nothing is compiled yet.

        Args:
            folder: a variant of either layout.
            compute: what its decoder computes in.
            tokenizer: of the same variant, where there is one at hand: another takes 30 MB.

        Raises:
            InputError: the variant's tokenizer or generation settings are missing or damaged.
        """
        graph = AlignmentGraph(folder, compute)
        _ = graph.heads  # refused here where they are damaged
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
            encoded: what the segments were decoded from, a batch of one.
            prompt: ends with the no-timestamps token; without text that came before.
            segments: text tokens of each segment, without timestamps.
            probabilities: of each text token of all segments, 0 to 1.
            language: code, of what is written.
            n_samples: of the window's audio, 16 kHz; what lies behind is not listened to.

        Returns:
            The words of each segment, in order and without overlap. Times are seconds from the
            window's start, within the audio, in steps of 0.02 s but where long words are cut.
            Texts joined are the segment's text.

        Raises:
            InputError: the decoder or its alignment heads are not Whisper's, prompt and text are
                longer than the decoder can take, or probabilities are not one for each token.
        """
        tokens = tuple(token for segment in segments for token in segment)
        if len(probabilities) != len(tokens):
            raise InputError(f"{len(probabilities)} probabilities of {len(tokens)} tokens; give one for each")
        if not tokens or n_samples == 0:
            return tuple(() for _ in segments)
        starts_s = self._starts_s(encoded, prompt, tokens, n_samples)
        chunks = [split_words(self._tokenizer, segment, language) for segment in segments]
        return place_words(chunks, starts_s, probabilities)

    def spans(
        self, encoded: Encoded, prompt: Tokens, tokens: Tokens, *, language: str, n_samples: int
    ) -> tuple[Span, ...]:
        """Find the words of a window's text, and which of its tokens each is made of.

        Args:
            encoded: what the text was decoded from, a batch of one.
            prompt: as `align` has it.
            tokens: text tokens of the window.
            language: code, of what is written.
            n_samples: of the window's audio, 16 kHz; at least one.

        Returns:
            As `align` returns words.

        Raises:
            InputError: as `attention`.
        """
        starts_s = self._starts_s(encoded, prompt, tokens, n_samples)
        return place_spans([split_words(self._tokenizer, tokens, language)], starts_s)[0]

    def _starts_s(self, encoded: Encoded, prompt: Tokens, tokens: Tokens, n_samples: int) -> list[float]:
        """Return where each token starts, and where the last one ends."""
        n_positions = min(encoded.states.shape[1], -(-n_samples // POSITION_SAMPLES))
        weights = self.attention(encoded, (*prompt, *tokens, self._tokenizer.special.end))
        heard = alignment_matrix(weights[:, :, :n_positions])
        # The row of a token says where the next one begins: the end token's says nothing.
        starts_s = first_positions(-heard[len(prompt) - 1 : -1]) * POSITION_S
        times: list[float] = starts_s.tolist()
        return times

    def attention(self, encoded: Encoded, tokens: Tokens) -> Weights:
        """Return what the alignment heads attend to when tokens are fed all at once.

        Args:
            encoded: a batch of one.
            tokens: prompt, text and end token.

        Returns:
            float32, shape (n_heads, n_tokens, n_states); sums to 1 over the states; heads by
            layer and number; valid until the next call.

        Raises:
            InputError: the decoder or its alignment heads are not Whisper's, or the tokens are too
                many.
        """
        if len(tokens) > MAX_TOKENS:
            raise InputError(
                f"{len(tokens)} tokens to align, the decoder takes {MAX_TOKENS}; shorten the text"
            )
        request, embedding = self._request
        ids = np.array([tokens], dtype=np.int64)
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
        weights: Weights = request.get_output_tensor().data[0]
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
    """Turn attention into how well each token fits each position.

    Args:
        weights: float32, shape (n_heads, n_tokens, n_positions), not negative.

    Returns:
        float32, shape (n_tokens, n_positions); the higher, the better.
    """
    # What is left after the cut sums to 1 again, as if nothing but the audio had been attended to.
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
        values: float32, shape (n_rows, n_columns); mirrored at the edges, the edge not repeated.
        width: of the neighbourhood, odd.

    Returns:
        float32, same shape; `values` themselves where half a neighbourhood is wider than they are.
    """
    half = width // 2
    n_columns = values.shape[1]
    if n_columns <= half:
        return values
    padded = np.pad(values, ((0, 0), (half, half)), mode="reflect")
    shifted = [padded[:, i : i + n_columns] for i in range(width)]
    # Of half the values and two more, the least and the greatest cannot be the median.
    held, rest = shifted[: half + 2], shifted[half + 2 :]
    while len(held) > 1:
        held = _without_extremes(held) + rest[:1]
        rest = rest[1:]
    return held[0]


def first_positions(cost: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Find where each row begins on the cheapest path: dynamic time warping.

    The path runs from the first cell to the last by steps to the next row, the next column or both.
    Of equally cheap ways to a cell it takes that from both before that from the column, and that
    before that from the row.

    Args:
        cost: shape (n_rows, n_columns), finite; none of them 0.

    Returns:
        int64, shape (n_rows,): the first column of each row; never falling.
    """
    n_rows, n_columns = cost.shape
    # Cells of one antidiagonal do not depend on each other: each is a row of the skewed arrays.
    rows = np.arange(n_rows)[:, None]
    skewed = np.full((n_rows + n_columns - 1, n_rows), np.inf)
    skewed[rows + np.arange(n_columns), rows] = cost
    # Entry [i + j, i] is the cheapest way to cell (i, j), counted from 1; 0 is outside.
    totals = np.full((n_rows + n_columns + 1, n_rows + 1), np.inf)
    totals[0, 0] = 0.0
    for diagonal in range(2, n_rows + n_columns + 1):
        way = totals[diagonal, 1:]
        np.minimum(totals[diagonal - 1, 1:], totals[diagonal - 1, :-1], out=way)
        np.minimum(way, totals[diagonal - 2, :-1], out=way)
        way += skewed[diagonal - 2]
    return _trace_back(totals, n_rows, n_columns)


def _without_extremes(arrays: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Order arrays elementwise as far as it takes to leave out the least and the greatest."""
    least, *others = arrays
    for i, other in enumerate(others):
        others[i] = np.maximum(least, other)
        least = np.minimum(least, other)
    greatest, *between = others
    for i, other in enumerate(between):
        between[i] = np.minimum(greatest, other)
        greatest = np.maximum(greatest, other)
    return between


def _trace_back(totals: NDArray[np.float64], n_rows: int, n_columns: int) -> NDArray[np.int64]:
    first = np.zeros(n_rows, dtype=np.int64)
    i, j = n_rows, n_columns
    while i > 0:
        first[i - 1] = j - 1
        both, column, row = totals[i + j - 2, i - 1], totals[i + j - 1, i], totals[i + j - 1, i - 1]
        if both <= column and both <= row:
            i, j = i - 1, j - 1
        elif column <= row:
            j -= 1
        else:
            i -= 1
    return first


def _alignment_heads(folder: Path) -> Heads | None:
    path = folder / GENERATION_NAME
    try:
        told = json.loads(path.read_text(encoding="utf-8")).get("alignment_heads")
        return [(int(layer), int(head)) for layer, head in told] if told else None
    except (OSError, AttributeError, TypeError, ValueError) as cause:
        raise InputError(
            f"{path} cannot tell the alignment heads: {cause}; give a variant of a run"
        ) from cause
