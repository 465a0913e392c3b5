"""Export a checkpoint to ONNX, under the file and tensor names of optimum and transformers.js.

Each component is a thin module around the checkpoint's own layers. The encoder takes any number of frames: its
position embedding is cut to their number, so that the same graph encodes whole windows and works as an elastic
encoder. The decoder with past takes one token.

Source of the names: `ORTModelForSpeechSeq2Seq` of optimum-onnx.
"""

import ast
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sottovoce.errors import MissingExtraError
from sottovoce.optimize.onnx.graph import ANY_ELEMENTS, Graph, save_graph, set_nodes, store_float_weights
from sottovoce.optimize.onnx.merge import MERGED_NAME, merge_decoders
from sottovoce.optimize.openvino.export import TorchWhisper
from sottovoce.progress import Reporter
from sottovoce.reference_pipeline import quiet_libraries, quiet_output
from sottovoce.runtime.model.layout import onnx_path
from sottovoce.terms import Component, Weights

logger = logging.getLogger(__name__)

OPSET = 20
"""The first opset with a GELU operation, which onnxruntime runs as one kernel."""

KINDS = ("key", "value")

BATCH, FRAMES, POSITIONS, TOKENS, PAST = (
    "batch_size",
    "feature_length",
    "encoder_sequence_length",
    "decoder_sequence_length",
    "past_decoder_sequence_length",
)
"""Optimum's names of the dynamic axes."""

SAMPLE_BATCH, SAMPLE_FRAMES, SAMPLE_TOKENS, SAMPLE_PAST = 2, 600, 4, 5
"""Lengths to trace with; none is 1, which the exporter takes as fixed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _TracedModule:
    """A component to export: the module, its example inputs, and the names of inputs and outputs."""

    module: Any
    arguments: tuple[Any, ...]
    dynamic_shapes: tuple[Any, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def export_onnx(
    whisper: TorchWhisper,
    folder: Path,
    reporter: Reporter,
    *,
    weights: Weights = Weights.FP32,
    merged: bool = False,
) -> None:
    """Write a variant in ONNX: three graphs, the settings and the tokenizer.

    Args:
        merged: also write both decoders as one graph, which transformers.js needs.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        StageError: an exported graph is not valid.
    """
    folder.mkdir(parents=True, exist_ok=True)
    graphs = {}
    with reporter.progress("export to ONNX", len(Component) + merged) as advance:
        for component in Component:
            graphs[component] = export_component(whisper.model, component)
            store_float_weights(graphs[component], weights, min_elements=ANY_ELEMENTS)
            save_graph(graphs[component], onnx_path(folder, component))
            advance()
        if merged:
            both = merge_decoders(graphs[Component.DECODER], graphs[Component.DECODER_WITH_PAST])
            save_graph(both, folder / MERGED_NAME)
            advance()
    save_settings(whisper, folder)


def save_settings(whisper: TorchWhisper, folder: Path) -> None:
    """Write settings, tokenizer and feature extractor."""
    with quiet_libraries(), quiet_output():
        whisper.config.save_pretrained(folder)
        whisper.model.generation_config.save_pretrained(folder)
        whisper.processor.feature_extractor.save_pretrained(folder)
        whisper.processor.tokenizer.save_pretrained(folder)


def export_component(model: Any, component: Component) -> Graph:
    """Export one component in float32.

    Args:
        model: `WhisperForConditionalGeneration` in float32; its attention is restored afterwards.

    Returns:
        `onnx.ModelProto`. Tied weights are one constant; nodes are named after their modules:
        `encoder.layers.0.fc1/MatMul`.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
    """
    import torch

    _need_onnx()
    with plain_attention(model), torch.no_grad(), quiet_libraries(), quiet_output():
        traced = _traced(model, component)
        program = torch.onnx.export(
            traced.module,
            traced.arguments,
            input_names=traced.inputs,
            output_names=traced.outputs,
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=traced.dynamic_shapes,
            verbose=False,
        )
        graph = program.model_proto
    _name_nodes(graph)
    _name_axes(graph, component)
    return graph


def _need_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as cause:
        raise MissingExtraError(str(cause.name), needed_for="ONNX variants", extra="optimize") from cause


@contextmanager
def plain_attention(model: Any) -> Iterator[None]:
    """Express attention as products and a softmax, which every runtime and quantizer supports."""
    before = model.config._attn_implementation  # noqa: SLF001 - transformers has no public name for it
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _traced(model: Any, component: Component) -> _TracedModule:
    match component:
        case Component.ENCODER:
            return _traced_encoder(model)
        case Component.DECODER:
            return _traced_decoder(model)
        case Component.DECODER_WITH_PAST:
            return _traced_step(model)


def _traced_encoder(model: Any) -> _TracedModule:
    import torch

    dims = torch.export.Dim
    features = torch.zeros(SAMPLE_BATCH, model.config.num_mel_bins, SAMPLE_FRAMES)
    # The second convolution halves the frames.
    frames = 2 * dims("positions", max=model.config.max_source_positions)
    return _TracedModule(
        module=_encoder_module(model),
        arguments=(features,),
        dynamic_shapes=({0: dims(BATCH), 2: frames},),
        inputs=("input_features",),
        outputs=("last_hidden_state",),
    )


def _traced_decoder(model: Any) -> _TracedModule:
    import torch

    dims = torch.export.Dim
    tokens = torch.zeros(SAMPLE_BATCH, SAMPLE_TOKENS, dtype=torch.int64)
    states = torch.zeros(SAMPLE_BATCH, SAMPLE_FRAMES // 2, model.config.d_model)
    batch = dims(BATCH)
    return _TracedModule(
        module=_decoder_module(model),
        arguments=(tokens, states),
        dynamic_shapes=({0: batch, 1: dims(TOKENS)}, {0: batch, 1: dims(POSITIONS)}),
        inputs=("input_ids", "encoder_hidden_states"),
        outputs=("logits", *_cache_names(model, "present")),
    )


def _traced_step(model: Any) -> _TracedModule:
    import torch

    dims = torch.export.Dim
    config = model.config
    batch, lengths = dims(BATCH), {"decoder": dims(PAST), "encoder": dims(POSITIONS)}
    samples = {"decoder": SAMPLE_PAST, "encoder": SAMPLE_FRAMES // 2}
    names = _cache_names(model, "past_key_values")
    parts = [name.split(".")[2] for name in names]
    heads = config.decoder_attention_heads
    past = tuple(torch.zeros(SAMPLE_BATCH, heads, samples[part], config.d_model // heads) for part in parts)
    return _TracedModule(
        module=_step_module(model),
        arguments=(torch.zeros(SAMPLE_BATCH, 1, dtype=torch.int64), *past),
        dynamic_shapes=({0: batch}, tuple({0: batch, 2: lengths[part]} for part in parts)),
        inputs=("input_ids", *names),
        outputs=("logits", *_cache_names(model, "present", parts=("decoder",))),
    )


def _cache_names(model: Any, prefix: str, parts: tuple[str, ...] = ("decoder", "encoder")) -> tuple[str, ...]:
    layers = range(model.config.decoder_layers)
    return tuple(f"{prefix}.{layer}.{part}.{kind}" for layer in layers for part in parts for kind in KINDS)


def _encoder_module(model: Any) -> Any:
    import torch
    from torch.nn.functional import gelu

    class EncoderModule(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
        """The encoder, without its check for 3,000 frames."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = model.model.encoder

        def forward(self, input_features: Any) -> Any:
            encoder = self.encoder
            hidden = gelu(encoder.conv2(gelu(encoder.conv1(input_features)))).permute(0, 2, 1)
            hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
            for layer in encoder.layers:
                hidden = layer(hidden, None)
            return encoder.layer_norm(hidden)

    return EncoderModule().eval()


def _decoder_module(model: Any) -> Any:
    import torch

    class DecoderModule(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
        """The first pass over a prompt; returns keys and values for later steps."""

        def __init__(self) -> None:
            super().__init__()
            self.decoder, self.proj_out = model.model.decoder, model.proj_out

        def forward(self, input_ids: Any, encoder_hidden_states: Any) -> Any:
            decoder, cache = self.decoder, _empty_cache()
            positions = torch.arange(input_ids.shape[1])
            attends = positions[None, :] <= positions[:, None]
            mask = torch.where(attends, 0.0, torch.finfo(torch.float32).min)[None, None]
            hidden = decoder.embed_tokens(input_ids) + torch.nn.functional.embedding(
                positions, decoder.embed_positions.weight
            )
            for layer in decoder.layers:
                hidden = layer(hidden, mask, encoder_hidden_states, past_key_values=cache, use_cache=True)
            return (self.proj_out(decoder.layer_norm(hidden)), *_kept(cache, with_cross=True))

    return DecoderModule().eval()


def _step_module(model: Any) -> Any:
    import torch

    class StepModule(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
        """A step of one token, which attends to all tokens before it, so that no mask is needed."""

        def __init__(self) -> None:
            super().__init__()
            self.decoder, self.proj_out = model.model.decoder, model.proj_out

        def forward(self, input_ids: Any, *past: Any) -> Any:
            decoder, cache = self.decoder, _filled_cache(past)
            position = torch.arange(1) + past[0].shape[2]
            hidden = decoder.embed_tokens(input_ids) + torch.nn.functional.embedding(
                position, decoder.embed_positions.weight
            )
            for layer in decoder.layers:
                # Cross-attention takes its keys from the cache; any states make the layer run it.
                hidden = layer(hidden, None, hidden, past_key_values=cache, use_cache=True)
            return (self.proj_out(decoder.layer_norm(hidden)), *_kept(cache, with_cross=False))

    return StepModule().eval()


def _empty_cache() -> Any:
    from transformers.cache_utils import DynamicCache, EncoderDecoderCache

    return EncoderDecoderCache(DynamicCache(), DynamicCache())


def _filled_cache(past: tuple[Any, ...]) -> Any:
    cache = _empty_cache()
    for layer in range(len(past) // 4):
        keys, values, encoder_keys, encoder_values = past[4 * layer : 4 * layer + 4]
        cache.self_attention_cache.update(keys, values, layer)
        cache.cross_attention_cache.update(encoder_keys, encoder_values, layer)
        cache.is_updated[layer] = True
    return cache


def _kept(cache: Any, *, with_cross: bool) -> Iterator[Any]:
    pairs = zip(cache.self_attention_cache.layers, cache.cross_attention_cache.layers, strict=True)
    for own, cross in pairs:
        yield from (own.keys, own.values)
        if with_cross:
            yield from (cross.keys, cross.values)


SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata of a node in which the exporter keeps its modules, as a Python list."""


def _name_nodes(graph: Graph) -> None:
    """Name nodes after their modules, and delete the exporter's metadata, which has paths of this machine."""
    taken: dict[str, int] = {}
    nodes = list(graph.graph.node)
    for node in nodes:
        name = f"{_scope(node)}/{node.op_type}".lstrip("/")
        taken[name] = taken.get(name, -1) + 1
        node.name = f"{name}_{taken[name]}" if taken[name] else name
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    set_nodes(graph, nodes)
    for holder in (graph, graph.graph, *graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    graph.graph.ClearField("value_info")


def _scope(node: Any) -> str:
    metadata = {entry.key: entry.value for entry in node.metadata_props}
    scopes = ast.literal_eval(metadata.get(SCOPES, "[]"))
    module = str(scopes[-2]) if len(scopes) > 1 else ""
    return "" if module.startswith("_") else module  # the exporter's own


def _name_axes(graph: Graph, component: Component) -> None:
    """Give dynamic axes optimum's names; the exporter names some of them `s58`."""
    is_step = component is Component.DECODER_WITH_PAST
    for value in (*graph.graph.input, *graph.graph.output):
        for axis, name in _axes(value.name, is_step=is_step).items():
            value.type.tensor_type.shape.dim[axis].dim_param = name


def _axes(value: str, *, is_step: bool) -> Mapping[int, str]:
    if value == "input_features":
        return {0: BATCH, 2: FRAMES}
    if value in ("last_hidden_state", "encoder_hidden_states"):
        return {0: BATCH, 1: POSITIONS}
    if value in ("input_ids", "logits"):
        return {0: BATCH} if is_step else {0: BATCH, 1: TOKENS}
    if ".encoder." in value:
        return {0: BATCH, 2: POSITIONS}
    if value.startswith("past_key_values"):
        return {0: BATCH, 2: PAST}
    return {0: BATCH, 2: f"{PAST} + 1" if is_step else TOKENS}
