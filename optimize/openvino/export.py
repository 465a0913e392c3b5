"""Export a checkpoint to OpenVINO IR, and check each float variant.

The stateless layout is exported once in float32; float16 weights are the same graphs saved with half the bytes. The
stateful layout is exported separately. Each variant is checked against PyTorch on real features and against the
checkpoint's settings.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sottovoce.errors import InputError, StageError
from sottovoce.optimize.checkpoint.identity import Identity, check_identity
from sottovoce.optimize.checks.parity import (
    ParityClip,
    Reference,
    check_onnx_parity,
    check_parity,
    compute_references,
)
from sottovoce.optimize.openvino.tensor_names import renumber_nodes, sort_states
from sottovoce.recipes.recipe import FloatVariant
from sottovoce.reference_pipeline import quiet_libraries, quiet_output
from sottovoce.runs import Parity
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import COMPONENT_FILES, component_path, components_of
from sottovoce.runtime.model.openvino.quiet_import import shared_core
from sottovoce.storage.artifacts import MANIFEST_NAME
from sottovoce.terms import Component, Format, Layout, Weights

logger = logging.getLogger(__name__)

TASK = "automatic-speech-recognition-with-past"


class TorchWhisper:
    """A checkpoint in PyTorch, float32, with its processor.

    Attributes:
        config: of the checkpoint; a copy, since exporters change the model's.

    Raises:
        InputError: a weight is infinite or no number.
    """

    def __init__(self, folder: Path) -> None:
        import copy

        import torch
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        with quiet_libraries():
            self.model: Any = WhisperForConditionalGeneration.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
            ).eval()
            self.processor: Any = WhisperProcessor.from_pretrained(folder, local_files_only=True)
        for name, weight in self.model.named_parameters():
            if not torch.isfinite(weight).all():
                raise InputError(
                    f"{folder}: {name} has values that are infinite or no numbers; its training diverged, or the file "
                    "is damaged: take an earlier checkpoint, or copy it again"
                )
        self.config: Any = copy.deepcopy(self.model.config)

    def references(self, clips: Sequence[ParityClip], weights: Weights) -> tuple[Reference, ...]:
        """Run the clips with weights in float32, or rounded to float16."""
        if weights is Weights.FP32:
            return compute_references(self.model, self.processor, clips)
        import copy

        rounded = copy.deepcopy(self.model).half().float()
        return compute_references(rounded, self.processor, clips)


def export_variant(whisper: TorchWhisper, variant: FloatVariant, into: Path, *, same: Path | None) -> None:
    """Write an OpenVINO variant; the same checkpoint gives the same bytes.

    Args:
        same: the float32 variant with the same graphs, if there is one.

    Raises:
        StageError: the exporter left a component out.
    """
    if variant.weights is Weights.FP32:
        export_fp32(whisper, variant.layout, into)
    elif same is not None:
        save_fp16(same, into)
    else:
        source = into / ".fp32"
        export_fp32(whisper, variant.layout, source)
        save_fp16(source, into)
        shutil.rmtree(source)
    renumber_nodes(into)


def export_fp32(whisper: TorchWhisper, layout: Layout, folder: Path) -> None:
    """Export one layout in float32, with processor and tokenizer."""
    from optimum.exporters.openvino.convert import export_from_model, export_tokenizer
    from optimum.intel import OVConfig

    with quiet_libraries(), quiet_output(), _without_trace_check():
        export_from_model(
            whisper.model,
            output=folder,
            task=TASK,
            ov_config=OVConfig(dtype="fp32"),
            stateful=layout is Layout.STATEFUL,
            preprocessors=[whisper.processor],
        )
        whisper.config.save_pretrained(folder)
        whisper.processor.feature_extractor.save_pretrained(folder)
        whisper.processor.tokenizer.save_pretrained(folder)
        whisper.model.generation_config.save_pretrained(folder)
        export_tokenizer(whisper.processor.tokenizer, folder)
        if layout is Layout.STATEFUL:
            sort_states(component_path(folder, Component.DECODER))
    wanted = 2 if layout is Layout.STATEFUL else len(COMPONENT_FILES)
    if len(components_of(folder)) != wanted or not (folder / "openvino_tokenizer.xml").is_file():
        raise StageError(
            f"the export of {folder.name} is incomplete: found {', '.join(components_of(folder)) or 'nothing'}; "
            "check the versions of optimum-intel and openvino-tokenizers"
        )


@contextmanager
def _without_trace_check() -> Iterator[None]:
    """Trace a Whisper once: torch checks a trace by tracing and running again, and our parity check compares more."""
    from optimum.exporters.openvino import utils

    unchecked = getattr(utils, "SKIP_CHECK_TRACE_MODELS", ())
    utils.SKIP_CHECK_TRACE_MODELS = (*unchecked, "whisper")
    try:
        yield
    finally:
        utils.SKIP_CHECK_TRACE_MODELS = unchecked


def save_fp16(source: Path, folder: Path) -> None:
    """Save a float32 variant's graphs with float16 weights, and copy all other files."""
    import openvino

    graphs_and_manifest = ("openvino_encoder*", "openvino_decoder*", MANIFEST_NAME)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*graphs_and_manifest), dirs_exist_ok=True)
    core = shared_core()
    for component in components_of(source):
        name = f"{COMPONENT_FILES[component]}.xml"
        openvino.save_model(core.read_model(source / name), folder / name, compress_to_fp16=True)


def check_variant(
    folder: Path,
    variant: FloatVariant,
    identity: Identity,
    references: Sequence[Reference],
    compute: ComputeSpec,
) -> Parity:
    """Check the settings of an exported variant, and its encoder and greedy tokens against PyTorch.

    Args:
        references: from PyTorch, with weights of the variant's type.

    Raises:
        ParityError: the variant differs from the checkpoint.
    """
    check_identity(folder, identity)
    check = check_onnx_parity if variant.format is Format.ONNX else check_parity
    parity = check(folder, references, compute)
    logger.info("%s: %s", variant.name, parity)
    return parity
