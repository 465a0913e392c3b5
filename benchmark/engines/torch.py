"""The engines `torch` and `torch-dynamic`: the checkpoint in PyTorch, as tutorials run it on a CPU."""

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sottovoce.benchmark.engines.engine import Engine, EngineSpec, Entry, ModelSource, Transcribe
from sottovoce.benchmark.engines.optimum_intel import transcribe_timed
from sottovoce.benchmark.engines.transcription import StageClock, TimedTranscript
from sottovoce.errors import SpecError
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.terms import Stage

if TYPE_CHECKING:
    from sottovoce.benchmark.schema.precision import ComponentPrecision, Precision
    from sottovoce.reference_pipeline import OptimumPipeline
    from sottovoce.runtime.audio.decode import Wave

EXECUTION_MODE = "eager"
"""PyTorch runs one module after another; it has no modes of precision."""

INT8 = "i8"

SHORT_NAMES = {
    "torch.float32": "f32",
    "torch.bfloat16": "bf16",
    "torch.float16": "f16",
    "torch.qint8": INT8,
}
"""Types as OpenVINO calls them."""

TENSOR_GROUP = -1
"""Activations are quantized on the fly with one scale for the whole tensor."""


class TorchEngine(Engine):
    """A checkpoint in transformers, greedy, without timestamps; its parts are timed by hooks."""

    name = "torch"
    help = "transformers on PyTorch, for the checkpoint in float32"
    modules = ("transformers", "torch")
    extra = "optimize"
    default_variant = "fp32"
    needs_checkpoint = True

    def __init__(self, folder: Path, compute: ComputeSpec) -> None:
        self._model = self.load_model(folder, compute)
        self._whisper = with_processor(self._model, folder)
        self._clock = _HookClock(self._model)

    @classmethod
    def entry(cls, source: ModelSource, variant: str) -> Entry | None:
        """Choose the checkpoint of the run."""
        from sottovoce.optimize.checkpoint.files import weight_files

        if variant != cls.default_variant:
            raise SpecError(f"{cls.name}:{variant}: {cls.name} is measured with {cls.default_variant} only")
        folder = source.checkpoint()
        return cls._model_entry(variant, folder, weight_files(folder), source.threads)

    @classmethod
    def import_libraries(cls, folder: Path) -> None:  # noqa: ARG003 - the same for every checkpoint
        """Import PyTorch and transformers' Whisper, which it imports on first use."""
        import torch  # noqa: F401
        from transformers import WhisperForConditionalGeneration, WhisperProcessor  # noqa: F401

        import sottovoce.reference_pipeline  # noqa: F401

    @classmethod
    def open_cold(cls, spec: EngineSpec) -> Transcribe:
        """Load a checkpoint in transformers."""
        whisper = with_processor(cls.load_model(spec.folder, spec.compute), spec.folder)
        return lambda wave, language: whisper.transcribe(wave, whisper.known_language(language)).text

    @classmethod
    def load_model(cls, folder: Path, compute: ComputeSpec) -> Any:
        """Load a checkpoint (`transformers.WhisperForConditionalGeneration`) in float32; sets the process's threads."""
        import torch
        from transformers import WhisperForConditionalGeneration

        from sottovoce.reference_pipeline import quiet_libraries

        torch.set_num_threads(compute.threads)
        with quiet_libraries():
            return WhisperForConditionalGeneration.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
            ).eval()

    def transcribe(self, wave: "Wave", language: str | None) -> TimedTranscript:
        """Transcribe a wave of at most 30 s, float32, 16 kHz."""
        return transcribe_timed(self._whisper, self._clock, wave, language)

    def precision(self) -> "Precision":
        """Count the layers by the type of their weights, and attentions by the type of their inputs."""
        import torch

        from sottovoce.benchmark.engines.readback import label_of
        from sottovoce.benchmark.schema.precision import Precision

        whisper = self._model.model
        parts = {
            "encoder": _precision([whisper.encoder]),
            "decoder": _precision([whisper.decoder, self._model.proj_out]),
        }
        threads = torch.get_num_threads()
        return Precision(label=label_of(parts), components=parts, threads=threads, streams=1)


class DynamicTorchEngine(TorchEngine):
    """The same with linear layers in INT8; their inputs are quantized on the fly."""

    name = "torch-dynamic"
    help = "torch with linear layers in INT8, quantized on the fly"
    default_variant = "dynamic-int8"

    @classmethod
    def load_model(cls, folder: Path, compute: ComputeSpec) -> Any:
        """Load a checkpoint and replace every linear layer, also the output layer.

        The token embedding to which the output layer is tied stays float. PyTorch deprecates `quantize_dynamic` in
        favour of the package torchao; tutorials recommend it, and it needs no other package.
        """
        import torch
        from torch.ao.quantization import quantize_dynamic

        from sottovoce.reference_pipeline import quiet_libraries

        model = super().load_model(folder, compute)
        with quiet_libraries():
            return quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)


def with_processor(model: Any, folder: Path) -> "OptimumPipeline":
    """Give a model the processor of its folder: from waves to features, and from tokens to text."""
    from transformers import WhisperProcessor

    from sottovoce.reference_pipeline import OptimumPipeline, quiet_libraries

    with quiet_libraries():
        return OptimumPipeline(model, WhisperProcessor.from_pretrained(folder, local_files_only=True))


class _HookClock(StageClock):
    """Times encoder and decoder by hooks before and after them.

    The output layer stands outside of transformers' decoder: its time belongs to the call before it.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(Stage.FEATURES, Stage.ENCODER, Stage.DECODER, Stage.DECODER_WITH_PAST)
        self._stage = Stage.ENCODER
        self._started = 0.0
        for module in (model.model.encoder, model.model.decoder, model.proj_out):
            module.register_forward_hook(self._stop)
        model.model.encoder.register_forward_pre_hook(self._start_encoder)
        model.model.decoder.register_forward_pre_hook(self._start_decoder, with_kwargs=True)
        model.proj_out.register_forward_pre_hook(self._start_output)

    def _start_encoder(self, *_: Any) -> None:
        self._start(Stage.ENCODER)

    def _start_decoder(self, _module: Any, _args: Any, options: dict[str, Any]) -> None:
        past = options.get("past_key_values")
        is_step = past is not None and past.get_seq_length() > 0
        self._start(Stage.DECODER_WITH_PAST if is_step else Stage.DECODER)

    def _start_output(self, *_: Any) -> None:
        self._started = time.perf_counter()

    def _start(self, stage: Stage) -> None:
        self._stage = stage
        self.calls[stage] += 1
        self._started = time.perf_counter()

    def _stop(self, *_: Any) -> None:
        self.seconds[self._stage] += time.perf_counter() - self._started


def _precision(modules: list[Any]) -> "ComponentPrecision":
    """Count the nodes of modules by type; what is not quantized, and the tensors between modules, have one type."""
    from sottovoce.benchmark.schema.precision import ComponentPrecision

    float_type = SHORT_NAMES[str(next(modules[0].parameters()).dtype)]
    kinds = (_kind(module, float_type) for root in modules for module in root.modules())
    nodes = Counter(kind for kind in kinds if kind is not None)
    return ComponentPrecision(
        inference=float_type,
        kv_cache=float_type,
        execution_mode=EXECUTION_MODE,
        dynamic_quantization_group_size=TENSOR_GROUP if INT8 in nodes else 0,
        nodes=dict(nodes),
    )


def _kind(module: Any, float_type: str) -> str | None:
    """Return the type that a module computes in; None of one without a convolution, product or attention of its own."""
    import torch
    from torch.ao.nn.quantized.dynamic import Linear as DynamicLinear
    from transformers.models.whisper.modeling_whisper import WhisperAttention

    match module:
        case DynamicLinear():
            return SHORT_NAMES[str(module.weight().dtype)]
        case torch.nn.Linear() | torch.nn.Conv1d():
            return SHORT_NAMES[str(module.weight.dtype)]
        case WhisperAttention():
            return float_type
        case _:
            return None
