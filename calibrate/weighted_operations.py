"""What calibration and quantization both look for in an OpenVINO graph: weights and what uses them."""

from collections import deque
from collections.abc import Iterator
from typing import Any

WEIGHTED_OPERATIONS = ("Convolution", "GroupConvolution", "MatMul")

PASSING_OPERATIONS = ("Convert", "FakeQuantize", "Multiply", "Subtract", "Reshape", "Transpose")
"""What stands between a weight and the operation that uses it."""


def weighted_operations(model: Any) -> Iterator[Any]:
    """Yield the convolutions and matrix products of a graph."""
    return (operation for operation in model.get_ops() if operation.get_type_name() in WEIGHTED_OPERATIONS)


def constant_weight(operation: Any, port: int = 1) -> Any | None:
    """Return the constant behind an input, through scaling and conversion; None for an activation."""
    queue = deque([operation.input_value(port).get_node()])
    while queue:
        node = queue.popleft()
        if node.get_type_name() == "Constant":
            return node
        if node.get_type_name() in PASSING_OPERATIONS:
            queue.append(node.input_value(0).get_node())
    return None
