"""The engines `torch` and `torch-dynamic`: the checkpoint in PyTorch, without any conversion."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

from sottovoce.benchmark.engines.torch_model import load_model, with_processor
from sottovoce.benchmark.engines.transcription import TimedTranscript
from sottovoce.benchmark.schema.precision import ComponentPrecision, Precision
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.terms import Stage

EXECUTION_MODE = "eager"
"""PyTorch runs a module after the other; it has no modes of precision."""

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


class TorchEngine:
    """A checkpoint in transformers, greedy, without timestamps; its parts are timed by hooks."""

    def __init__(self, folder: Path, compute: ComputeSpec, *, is_dynamic: bool = False) -> None:
        self._model = load_model(folder, compute, is_dynamic=is_dynamic)
        self._whisper = with_processor(self._model, folder)
        self._clock = _HookClock(self._model)

    def transcribe(self, wave: Wave, language: str | None) -> TimedTranscript:
        """Transcribe a wave of at most 30 s, float32, 16 kHz."""
        known = language if language in self._whisper.languages else None
        self._clock.reset()
        started = time.perf_counter()
        features = self._whisper.features(wave)
        featured = time.perf_counter()
        tokens = self._whisper.generate(features, known)
        text = self._whisper.text(tokens)
        latency = time.perf_counter() - started
        stages = {Stage.FEATURES: featured - started, **self._clock.seconds}
        return TimedTranscript(
            text=text,
            n_tokens=len(tokens),
            latency_s=latency,
            stage_s={**stages, Stage.OTHER: max(0.0, latency - sum(stages.values()))},
            calls={Stage.FEATURES: 1, **self._clock.calls},
        )

    def precision(self) -> Precision:
        """Count the layers that compute by the type of their weights, and attentions by that of what goes in."""
        import torch

        whisper = self._model.model
        parts = {
            "encoder": _precision([whisper.encoder]),
            "decoder": _precision([whisper.decoder, self._model.proj_out]),
        }
        kinds = {kind for part in parts.values() for kind in part.nodes}
        label = "+".join((["int8"] if INT8 in kinds else []) + sorted(kinds - {INT8}))
        return Precision(label=label, components=parts, threads=torch.get_num_threads(), streams=1)


class _HookClock:
    """Seconds and calls of encoder and decoder, taken by hooks before and after them.

    The output layer stands outside of transformers' decoder: its time counts to the call before it.
    """

    def __init__(self, model: Any) -> None:
        self.seconds: dict[Stage, float] = {}
        self.calls: dict[Stage, int] = {}
        self.reset()
        self._stage = Stage.ENCODER
        self._started = 0.0
        for module in (model.model.encoder, model.model.decoder, model.proj_out):
            module.register_forward_hook(self._stop)
        model.model.encoder.register_forward_pre_hook(self._start_encoder)
        model.model.decoder.register_forward_pre_hook(self._start_decoder, with_kwargs=True)
        model.proj_out.register_forward_pre_hook(self._start_output)

    def reset(self) -> None:
        """Start from nothing."""
        stages = (Stage.ENCODER, Stage.DECODER, Stage.DECODER_WITH_PAST)
        self.seconds = dict.fromkeys(stages, 0.0)
        self.calls = dict.fromkeys(stages, 0)

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


def _precision(modules: list[Any]) -> ComponentPrecision:
    """Tell what modules compute in; what is not quantized has one type, and so has what flows between them."""
    flowing = SHORT_NAMES[str(next(modules[0].parameters()).dtype)]
    kinds = (_kind(module, flowing) for root in modules for module in root.modules())
    nodes = Counter(kind for kind in kinds if kind is not None)
    return ComponentPrecision(
        inference=flowing,
        kv_cache=flowing,
        execution_mode=EXECUTION_MODE,
        dynamic_quantization_group_size=TENSOR_GROUP if INT8 in nodes else 0,
        nodes=dict(nodes),
    )


def _kind(module: Any, flowing: str) -> str | None:
    """Return the type that a module computes in; None where it has no convolution, product or attention of its own."""
    import torch
    from torch.ao.nn.quantized.dynamic import Linear as DynamicLinear
    from transformers.models.whisper.modeling_whisper import WhisperAttention

    match module:
        case DynamicLinear():
            return SHORT_NAMES[str(module.weight().dtype)]
        case torch.nn.Linear() | torch.nn.Conv1d():
            return SHORT_NAMES[str(module.weight.dtype)]
        case WhisperAttention():
            return flowing
        case _:
            return None
