"""Whisper in PyTorch as tutorials run it on a CPU: transformers, in float32 or with linear layers in INT8."""

from pathlib import Path
from typing import Any

from sottovoce.reference_pipeline import OptimumPipeline, quiet_libraries
from sottovoce.runtime.model.compute import ComputeSpec


def load_model(folder: Path, compute: ComputeSpec, *, is_dynamic: bool) -> Any:
    """Load a checkpoint (`transformers.WhisperForConditionalGeneration`).

    Args:
        folder: Hugging Face's layout, weights as safetensors.
        compute: threads, of the whole process; all else is float32.
        is_dynamic: turn the weights of linear layers into INT8 and quantize what goes into them on the fly,
            with `torch.ao.quantization.quantize_dynamic`. PyTorch calls it deprecated in favour of the package
            torchao; it is what tutorials recommend, works still, and needs nothing more.
    """
    import torch
    from transformers import WhisperForConditionalGeneration

    torch.set_num_threads(compute.threads)
    with quiet_libraries():
        model = WhisperForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        ).eval()
        return _with_dynamic_linears(model) if is_dynamic else model


def _with_dynamic_linears(model: Any) -> Any:
    """Replace every linear layer, the output layer among them; the token embedding that it is tied to stays float."""
    import torch
    from torch.ao.quantization import quantize_dynamic

    return quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)


def with_processor(model: Any, folder: Path) -> OptimumPipeline:
    """Give a model what turns waves into features and tokens into text, as the engine optimum-intel has it."""
    from transformers import WhisperProcessor

    with quiet_libraries():
        return OptimumPipeline(model, WhisperProcessor.from_pretrained(folder, local_files_only=True))
