"""The token embedding of a graph, read row by row where the graph's file is mapped.

Compiled, OpenVINO keeps the whole table in float32: 80 MB of whisper-tiny's, 106 MB of base's, whatever type it has on disk.
Only in graphs that it takes for those of language models, with states and an output layer, it leaves an INT8 table alone.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

EMBEDDINGS_NAME = "token_embeddings"

TOKENS_NAME = "input_ids"

_TYPES = {"f32": np.float32, "f16": np.float16, "i8": np.int8, "u8": np.uint8}
"""Types that NumPy reads as OpenVINO stores them."""

_COMBINE = {"Multiply": np.multiply, "Subtract": np.subtract}
"""Of a quantized table: less its zero points, times its scales."""


Rows = Callable[[NDArray[np.int64]], NDArray[Any]]
"""Returns the rows of tokens, or what is the same for all rows."""


class TokenEmbedding:
    """A table with a row for each token, read where it is stored."""

    def __init__(self, table: Any, *, in_bf16: bool = False) -> None:
        """Take a table.

        Args:
            table: output (`openvino.Output`) that is the table, with what turns it into floats.
            in_bf16: round rows to bf16, as a graph that computes in it rounds its table.
        """
        self._in_bf16 = in_bf16
        from openvino import Model

        self._model = Model([table], [], "token_embedding")  # keeps the constants
        self._rows = _reader(table.get_node(), table.get_partial_shape()[0].get_length())

    def rows(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Look tokens up.

        Args:
            tokens: int64, any shape.

        Returns:
            float32, the shape of `tokens` and d_model.
        """
        rows = np.asarray(self._rows(tokens), dtype=np.float32)
        return round_to_bf16(rows) if self._in_bf16 else rows


def round_to_bf16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the nearest number that bf16 has, of two as near to the even one; values are finite."""
    bits = values.view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) & 0xFFFF0000).view(np.float32)


def take_out_embedding(model: Any, *, in_bf16: bool = False) -> TokenEmbedding | None:
    """Let a decoder take embedded tokens as well as the tokens themselves, which still give their number.

    Args:
        model: `openvino.Model`; the lookup is replaced by a parameter float32, shape (batch, n_tokens, d_model). Where the
            table has a form that is not known here, nothing is changed.
        in_bf16: see `TokenEmbedding`.

    Returns:
        What the parameter is to be fed from; None where nothing was changed.
    """
    from openvino import Type
    from openvino import opset13 as ops

    lookups = [node for node in model.get_ops() if _looks_tokens_up(node)]
    if len(lookups) != 1 or not _is_readable(lookups[0].input_value(0).get_node()):
        return None
    (lookup,) = lookups
    table = lookup.input_value(0)
    width = table.get_partial_shape()[1].get_length()
    embeddings = ops.parameter([-1, -1, width], Type.f32)
    embedding = TokenEmbedding(table, in_bf16=in_bf16)
    lookup.output(0).replace(embeddings.output(0))
    embeddings.output(0).set_names({EMBEDDINGS_NAME})  # last: what is replaced hands its names on
    model.add_parameters([embeddings])
    return embedding


def _looks_tokens_up(node: Any) -> bool:
    if node.get_type_name() != "Gather" or node.input_value(0).get_partial_shape().rank.get_length() != 2:  # noqa: PLR2004
        return False
    indices = node.input_value(1).get_node()
    while indices.get_type_name() == "Convert":
        indices = indices.input_value(0).get_node()
    return indices.get_type_name() == "Parameter" and TOKENS_NAME in indices.output(0).get_names()


def _is_readable(node: Any) -> bool:
    kind = node.get_type_name()
    if node.get_output_element_type(0).get_type_name() not in _TYPES:
        return False
    if kind == "Constant":
        return True
    parts = [value.get_node() for value in node.input_values()]
    return (kind == "Convert" or kind in _COMBINE) and all(map(_is_readable, parts))


def _reader(node: Any, n_rows: int) -> Rows:
    """Return what reads the rows of a node's output."""
    kind = node.get_type_name()
    if kind == "Constant":
        data: NDArray[Any] = node.data
        has_rows = data.ndim > 1 and len(data) == n_rows
        return (lambda tokens: data[tokens]) if has_rows else (lambda _: data)
    parts = [_reader(value.get_node(), n_rows) for value in node.input_values()]
    if kind == "Convert":
        type_ = _TYPES[node.get_output_element_type(0).get_type_name()]
        return lambda tokens: parts[0](tokens).astype(type_)
    combine = _COMBINE[kind]
    return lambda tokens: combine(parts[0](tokens), parts[1](tokens))
