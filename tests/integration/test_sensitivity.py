"""The blocks of a real checkpoint."""

from pathlib import Path

import openvino
import pytest

from sottovoce.optimize.sensitivity.blocks import find_blocks
from sottovoce.optimize.sensitivity.report import BlockKind
from sottovoce.recipes.recipe import ComponentQuantization
from sottovoce.runtime.model.layout import component_path
from sottovoce.terms import Component

pytestmark = pytest.mark.slow

# whisper-tiny.en: 4 layers; the weights are counted in test_main_job.
BLOCKS = {Component.ENCODER: 1 + 4 * 2, Component.DECODER: 4 * 3 + 1, Component.DECODER_WITH_PAST: 4 * 3 + 1}
WEIGHTS = {Component.ENCODER: 26, Component.DECODER: 41, Component.DECODER_WITH_PAST: 33}


@pytest.mark.parametrize(
    ("variant", "component"),
    [
        *(("fp32", component) for component in Component),
        ("fp32-stateful", Component.ENCODER),
        ("fp32-stateful", Component.DECODER),
    ],
)
def test_every_weight_of_a_real_checkpoint_belongs_to_one_block(
    tiny_run: Path, variant: str, component: Component
) -> None:
    model = openvino.Core().read_model(component_path(tiny_run / variant, component))
    blocks = find_blocks(model, component, ComponentQuantization(scheme="w8a8"))
    assert len(blocks) == BLOCKS[component]
    assert sum(len(block.weights) for block in blocks) == WEIGHTS[component]
    assert {block.layer for block in blocks} - {None} == {0, 1, 2, 3}
    last = blocks[-1].kind
    assert last is (BlockKind.FFN if component is Component.ENCODER else BlockKind.OUTPUT)
