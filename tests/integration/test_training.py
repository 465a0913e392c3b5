"""`qat` reads all that a real quantized encoder has."""

from pathlib import Path

import openvino
import pytest

from sottovoce.optimize.openvino.graph import count_int8
from sottovoce.runtime.model.layout import component_path
from sottovoce.terms import Component
from sottovoce.train.qat.graph import read_graph

pytestmark = pytest.mark.slow


def test_every_layer_of_a_real_encoder_trains(tiny_run: Path) -> None:
    """The gains of a random model are 1 and its biases 0, so that its LayerNorms have none of their own."""
    encoder = openvino.Core().read_model(component_path(tiny_run / "int8", Component.ENCODER))
    graph, count = read_graph(encoder), count_int8(encoder)
    assert len(graph.norms) == 9  # two of each of four layers, and one at the end
    assert (len(graph.layers), len(graph.ranges)) == (count.weights, count.activations)
