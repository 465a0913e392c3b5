"""Quantize a variant from a calibration record, component by component, and check the result."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from sottovoce.calibrate.extremes import constant_weight, weighted_operations
from sottovoce.calibrate.store import CalibrationStore, Calls
from sottovoce.errors import StageError
from sottovoce.optimize.checks.fidelity import check_fidelity, measure_fidelity, note_damage
from sottovoce.optimize.checks.unrecorded import unrecorded_speech
from sottovoce.optimize.openvino.elastic import elastic_calls, make_elastic, save_padding_states
from sottovoce.optimize.openvino.graph import INT8_TYPES, Int8Count, count_int8, n_elements
from sottovoce.optimize.openvino.int8_cross_attention_cache import cache_int8_cross_attention
from sottovoce.optimize.openvino.padding_states import padding_keys_of, padding_of
from sottovoce.optimize.openvino.quantize_graph import kept_names, n_passes, quantize_graph, smooth_graph
from sottovoce.progress import Reporter
from sottovoce.recipes.recipe import ComponentQuantization, QuantizedVariant
from sottovoce.reference_pipeline import quiet_libraries, quiet_output
from sottovoce.runs import Fidelity
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import COMPONENT_FILES, component_path, components_of
from sottovoce.runtime.model.openvino.memory import give_back_unused
from sottovoce.runtime.model.openvino.quiet_import import shared_core
from sottovoce.terms import Component, Layout, Scheme, Weights

SIZE_SLACK = 1.05
"""Tolerance of the size of int8 and float16 constants: alignment, scales that NNCF keeps in float32."""


class QuantizeFile(Protocol):
    """Writes one quantized component into a variant's folder; see `quantize_file`."""

    def __call__(
        self,
        source: Path,
        store: CalibrationStore,
        component: Component,
        variant: QuantizedVariant,
        into: Path,
        reporter: Reporter,
    ) -> Fidelity:
        """Write the component."""


def quantize_variant(
    source: Path,
    store: CalibrationStore,
    variant: QuantizedVariant,
    into: Path,
    reporter: Reporter,
    *,
    write: QuantizeFile | None = None,
) -> Mapping[Component, Fidelity]:
    """Write the quantized variant: its components, float ones copied, settings and tokenizer.

    Args:
        source: folder of the float32 variant in the same layout; the baseline where that is stateless.
        store: the calibration record of the baseline.
        into: a folder that does not exist yet.
        write: writes a component that is not copied; by default `quantize_file`.

    Raises:
        StageError: a component has other INT8 nodes or bytes than the recipe implies, or differs too much from the
            float one.
    """
    shutil.copytree(
        source,
        into,
        ignore=shutil.ignore_patterns("openvino_encoder*", "openvino_decoder*", "manifest.json"),
    )
    fidelities = {}
    for component in components_of(source):
        if variant.components.of(component).scheme is Scheme.FLOAT and not _is_elastic(component, variant):
            _copy_component(source, into, component)
            continue
        fidelities[component] = (write or quantize_file)(source, store, component, variant, into, reporter)
    if variant.int8_cross_keys and variant.layout is Layout.STATELESS:
        _cache_int8_keys(into)
    if variant.elastic is not None:
        save_padding_states(into, variant.elastic, padding_of(source, store))
    return fidelities


def quantized_compute(variant: QuantizedVariant) -> ComputeSpec:
    """Return the precisions that the quantized variant computes in."""
    return ComputeSpec(
        precision=variant.inference_precision,
        dynamic_quantization_group_size=variant.dynamic_quantization_group_size,
        kv_cache_precision=variant.kv_cache_precision,
        memory=variant.memory,
    )


def _is_elastic(component: Component, variant: QuantizedVariant) -> bool:
    return component is Component.ENCODER and variant.elastic is not None


def _cache_int8_keys(folder: Path) -> None:
    """Rewrite both decoders of a variant; no effect where the keys of the steps are float."""
    import openvino

    core = shared_core()
    paths = [component_path(folder, part) for part in (Component.DECODER, Component.DECODER_WITH_PAST)]
    models = [core.read_model(path) for path in paths]
    if cache_int8_cross_attention(*models) == 0:
        return
    rewritten = [path.with_name(f"int8-keys-{path.name}") for path in paths]
    for model, path in zip(models, rewritten, strict=True):
        openvino.save_model(model, path, compress_to_fp16=False)
    del models, model, core  # they map the files that are replaced here
    for old, new in zip(paths, rewritten, strict=True):
        for suffix in (".bin", ".xml"):
            new.with_suffix(suffix).replace(old.with_suffix(suffix))


def _copy_component(source: Path, into: Path, component: Component) -> None:
    for suffix in (".xml", ".bin"):
        shutil.copy2(source / f"{COMPONENT_FILES[component]}{suffix}", into)


def quantize_file(
    source: Path,
    store: CalibrationStore,
    component: Component,
    variant: QuantizedVariant,
    into: Path,
    reporter: Reporter,
) -> Fidelity:
    """Quantize one component of a variant and write its files.

    Args:
        into: the variant's folder, which exists.

    Raises:
        StageError: the component has other INT8 nodes or bytes than the recipe implies, or differs too much from the
            float one.
    """
    import openvino

    spec = variant.components.of(component)
    path = component_path(into, component)
    model = shared_core().read_model(component_path(source, component))
    calls = calls_of(store, component, variant, source)
    if component is Component.ENCODER and variant.elastic is not None:
        make_elastic(model, padding_keys_of(source, store, variant.elastic.silence_centroids, reporter))
    with TemporaryDirectory(dir=into, prefix="smoothed-") as folder:
        with (
            reporter.progress(f"quantize {component}", n_passes(spec) * len(calls)) as advance,
            quiet_libraries(),
            quiet_output(),
        ):
            smoothed, rest = smooth_graph(model, calls, spec, Path(folder), advance)
            quantized = quantize_graph(smoothed, calls, rest, variant.instruction_set, advance)
        del smoothed
        count = count_int8(quantized)
        check_count(component, model, count, spec)
        unrecorded = unrecorded_calls_of(store, component, variant, source)
        give_back_unused()
        fidelity = measure_fidelity(model, quantized, unrecorded, quantized_compute(variant))
        give_back_unused()
        check_fidelity(component, fidelity, spec)
        note_damage(component, fidelity, reporter)
        _store_float_weights(quantized, variant.weights)
        _separate_token_embedding(quantized)
        openvino.save_model(quantized, path, compress_to_fp16=False)
    if variant.weights is Weights.FP16:
        check_size(component, path.with_suffix(".bin").stat().st_size, count)
    return fidelity


def calls_of(store: CalibrationStore, component: Component, variant: QuantizedVariant, source: Path) -> Calls:
    """Return the recorded calls that a component of the variant receives.

    Raises:
        InputError: the variant is quantized by tokens that were not recorded.
    """
    store.check_transcripts(variant)
    if component is Component.DECODER and variant.layout is Layout.STATEFUL:
        return store.prefixes()
    calls = store.calls(component, source)
    if component is Component.ENCODER and variant.elastic is not None:
        return elastic_calls(calls, variant.elastic)
    return calls


def unrecorded_calls_of(
    store: CalibrationStore, component: Component, variant: QuantizedVariant, source: Path
) -> Calls:
    """Return calls that a component of the variant receives on speech that was not recorded.

    Args:
        source: folder of a float variant in OpenVINO that decodes the speech.
    """
    is_stateful = variant.layout is Layout.STATEFUL
    calls = unrecorded_speech(source, store.clip_ids()).calls(component, is_stateful=is_stateful)
    if component is Component.ENCODER and variant.elastic is not None:
        return elastic_calls(calls, variant.elastic)
    return calls


def check_count(component: Component, model: Any, count: Int8Count, spec: ComponentQuantization) -> None:
    """Check that exactly those weights are quantized that the recipe does not keep float.

    Raises:
        StageError: fewer or more than the recipe implies.
    """
    expected = sum(
        constant_weight(operation) is not None
        and operation.get_friendly_name() not in kept_names(model, spec)
        for operation in weighted_operations(model)
    )
    if spec.scheme is Scheme.FLOAT:
        expected = 0
    with_activations = spec.scheme is Scheme.W8A8 or bool(spec.int8_activations)
    n_weights = count.weights + count.int4_weights
    has_int4 = spec.scheme is Scheme.W4 and spec.ratio > 0
    if (
        n_weights != expected
        or (count.activations > 0) != with_activations
        or (count.int4_weights > 0) != has_int4
    ):
        raise StageError(
            f"{component}: {count.weights} INT8 and {count.int4_weights} INT4 weights and {count.activations} quantized activations after "
            f"quantization, the recipe implies {expected} and {'more than' if with_activations else 'exactly'} 0; "
            "this version of NNCF is not supported"
        )


def check_size(component: Component, size_bytes: int, count: Int8Count) -> None:
    """Check that a component's weights take the bytes that its types imply.

    Raises:
        StageError: the file is larger: some weights stayed float32.
    """
    implied = count.int8_bytes + count.int4_bytes + count.float_bytes_fp16
    if size_bytes > SIZE_SLACK * implied:
        raise StageError(
            f"{component}: its weights take {size_bytes} bytes on disk, their types imply {implied}; "
            "some weights were written in float32"
        )


def _store_float_weights(model: Any, weights: Weights) -> None:
    """Turn the remaining float constants into float16, which OpenVINO decompresses when it compiles.

    `openvino.save_model(compress_to_fp16=True)` skips graphs with `FakeQuantize`.
    """
    if weights is Weights.FP32:
        return
    import numpy as np
    from openvino import opset13

    for constant in [operation for operation in model.get_ops() if _is_large_float(operation)]:
        values = constant.data.astype(np.float16)
        targets = list(constant.output(0).get_target_inputs())
        short = opset13.constant(values, name=f"{constant.get_friendly_name()}/fp16")
        wide = opset13.convert(short, "f32", name=constant.get_friendly_name())
        wide.get_rt_info()["decompression"] = ""
        for target in targets:
            target.replace_source_output(wide.output(0))
    model.validate_nodes_and_infer_types()


def _separate_token_embedding(model: Any) -> None:
    """Give the lookup of tokens its own copy of the INT8 table that it shares with the output layer.

    In graphs with `FakeQuantize`, OpenVINO turns a shared table into float, and the output layer, half of the weights of
    a step, runs in float too. On disk both copies are one: `openvino.save_model` stores equal constants once.
    """
    for lookup in [operation for operation in model.get_ops() if operation.get_type_name() == "Gather"]:
        table = lookup.input_value(0)
        if len(table.get_target_inputs()) > 1 and _is_int8_table(table.get_node()):
            lookup.input(0).replace_source_output(_copy_of_table(table.get_node()).output(0))
    model.validate_nodes_and_infer_types()


def _is_int8_table(node: Any) -> bool:
    """Return whether a node computes floats from an INT8 constant alone."""
    inputs = [value.get_node() for value in node.input_values()]
    if not inputs:
        return node.get_type_name() == "Constant" and node.get_element_type().get_type_name() in INT8_TYPES
    return node.get_type_name() in ("Convert", "Multiply", "Subtract") and _is_int8_table(inputs[0])


def _copy_of_table(node: Any) -> Any:
    """Copy a node that `_is_int8_table`, with its constants."""
    from openvino import opset13

    inputs = [_copy_of_table(value.get_node()) for value in node.input_values()]
    match node.get_type_name():
        case "Constant":
            copy = opset13.constant(node.data)
        case "Convert":
            copy = opset13.convert(*inputs, node.get_output_element_type(0))
        case "Multiply":
            copy = opset13.multiply(*inputs)
        case _:
            copy = opset13.subtract(*inputs)
    copy.set_friendly_name(f"{node.get_friendly_name()}/lookup")
    return copy


LARGE_ELEMENTS = 8_192
"""Smaller float constants are scales and biases: float16 would save little and cost accuracy."""


def _is_large_float(operation: Any) -> bool:
    is_float = (
        operation.get_type_name() == "Constant" and operation.get_element_type().get_type_name() == "f32"
    )
    return is_float and n_elements(operation) >= LARGE_ELEMENTS
