"""Quantize an ONNX variant with NNCF from a calibration record, or its weights only.

NNCF quantizes an `onnx.ModelProto` as it does an OpenVINO model. Two things differ, since onnxruntime runs the result.
Activations become unsigned: its x86 kernels multiply u8 by s8, and signed activations either stay float or take four
times as long. Convolutions stay float: no kernel has INT8 inputs and a float output.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sottovoce.calibrate.store import CalibrationStore, Call, Calls
from sottovoce.errors import SpecError, StageError
from sottovoce.optimize.checks.fidelity import RunComponent, check_fidelity, compare_outputs, note_damage
from sottovoce.optimize.onnx.graph import (
    LARGE_ELEMENTS,
    Graph,
    add_constant,
    count_int8,
    initializers,
    save_graph,
    store_float_weights,
    weighted_products,
)
from sottovoce.optimize.onnx.weights import (
    compress_graph,
    compress_tables,
    table_products,
    turn_tables,
)
from sottovoce.optimize.openvino.elastic import save_padding_states
from sottovoce.optimize.openvino.graph import Int8Count
from sottovoce.optimize.openvino.padding_states import padding_of
from sottovoce.optimize.openvino.quantize import calls_of, unrecorded_calls_of
from sottovoce.optimize.openvino.quantize_graph import n_passes, quantize_component
from sottovoce.progress import Advance, Reporter
from sottovoce.recipes.recipe import ComponentQuantization, KeepFloat, QuantizedVariant
from sottovoce.reference_pipeline import quiet_libraries, quiet_output
from sottovoce.runs import Fidelity
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import components_of, onnx_path
from sottovoce.runtime.model.onnx.session import open_session
from sottovoce.terms import Component, Scheme, Weights

SIGNED_TO_UNSIGNED = 128
"""Added to an int8 zero point to make the quantization unsigned with the same scale."""

KEPT_TYPES = {
    "Conv": "onnxruntime has no INT8 convolution with a float output",
    "Gather": "tables of positions, which are small, and of scales, which MatMulNBits reads too",
}
"""Operations that always stay float, and the reason."""


def quantize_onnx_variant(
    source: Path,
    store: CalibrationStore,
    variant: QuantizedVariant,
    into: Path,
    reporter: Reporter,
    *,
    baseline: Path,
) -> Mapping[Component, Fidelity]:
    """Write the quantized variant in ONNX: its components, float ones copied, settings and tokenizer.

    Args:
        source: folder of the float32 variant in ONNX.
        store: the calibration record; components of scheme w8 are only compared on it.
        into: a folder that does not exist yet.
        baseline: folder of the recorded OpenVINO variant, which rebuilds calls and makes those of the check.

    Raises:
        SpecError: the recipe has a key that ONNX variants do not support.
        StageError: a component has other INT8 nodes than the recipe implies, or differs too much from the float one.
    """
    shutil.copytree(source, into, ignore=shutil.ignore_patterns("*.onnx", "*.onnx_data", "manifest.json"))
    fidelities = {}
    for component in components_of(source):
        spec = variant.components.of(component)
        if spec.scheme is Scheme.FLOAT:
            _copy(source, into, component, variant.weights)
            continue
        calls = calls_of(store, component, variant, baseline)
        graph = _quantized(_load(onnx_path(source, component)), component, calls, spec, reporter)
        check_onnx_count(component, graph, count_int8(graph), spec)
        store_float_weights(graph, variant.weights, min_elements=LARGE_ELEMENTS)
        save_graph(graph, onnx_path(into, component))
        unrecorded = unrecorded_calls_of(store, component, variant, baseline)
        fidelity = measure_onnx_fidelity(onnx_path(source, component), onnx_path(into, component), unrecorded)
        check_fidelity(component, fidelity, spec)
        note_damage(component, fidelity, reporter)
        fidelities[component] = fidelity
    if variant.elastic is not None:
        save_padding_states(into, variant.elastic, padding_of(baseline, store))
    return fidelities


def _load(path: Path) -> Graph:
    import onnx

    return onnx.load_model(path)


def _copy(source: Path, into: Path, component: Component, weights: Weights) -> None:
    graph = _load(onnx_path(source, component))
    store_float_weights(graph, weights, min_elements=LARGE_ELEMENTS)
    save_graph(graph, onnx_path(into, component))


def _quantized(
    graph: Graph, component: Component, calls: Calls, spec: ComponentQuantization, reporter: Reporter
) -> Graph:
    if spec.scheme is Scheme.W8:
        if spec.int8_activations:
            raise SpecError(
                f"int8_activations of the {component}: an ONNX variant of scheme w8 quantizes all activations on the "
                "fly; leave the key out"
            )
        compress_graph(graph, component)
        return graph
    with (
        reporter.progress(f"quantize {component}", n_passes(spec) * len(calls)) as advance,
        quiet_libraries(),
        quiet_output(),
    ):
        return quantize_graph(graph, calls, spec, advance)


def quantize_graph(graph: Graph, calls: Calls, spec: ComponentQuantization, advance: Advance) -> Graph:
    """Quantize one component to INT8 weights and unsigned INT8 activations; convolutions stay float.

    The output layer gets its weight in blocks (`weights.py`), which it shares with the token embedding.

    Args:
        graph: `onnx.ModelProto` in float32; it is not changed.
        calls: all recorded calls; inputs that the graph does not have are left out.
        advance: called for each call in each pass of NNCF.

    Raises:
        SpecError: `keep_float` names nodes that are not in the graph.
    """
    names = {value.name for value in graph.graph.input}
    given = Calls(length=len(calls), make=lambda: _only(calls, names))
    prepared = _with_own_tables(graph, spec)
    kept = (*spec.keep_float, *_kept_types(prepared))
    quantized = quantize_component(prepared, given, spec.model_copy(update={"keep_float": kept}), advance)
    make_unsigned(quantized)
    return quantized


def _kept_types(graph: Graph) -> Iterator[KeepFloat]:
    """Yield the operations of a graph that always stay float; NNCF refuses names of others."""
    found = {node.op_type for node in graph.graph.node}
    return (KeepFloat(reason=why, types=(kind,)) for kind, why in KEPT_TYPES.items() if kind in found)


def _with_own_tables(graph: Graph, spec: ComponentQuantization) -> Graph:
    """Return a copy without transposed tables in products, in which NNCF finds no weight."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    names = table_products(copy)
    kept = [name for name in names if _keeps(spec, name, "MatMul")]
    turn_tables(copy, kept)
    compress_tables(copy, [name for name in names if name not in kept])
    return copy


def _only(calls: Calls, names: set[str]) -> Iterator[Call]:
    return ({name: array for name, array in call.items() if name in names} for call in calls)


def make_unsigned(graph: Graph) -> int:
    """Turn quantized activations from s8 into u8, in place: the same values with another zero point.

    Args:
        graph: `onnx.ModelProto` with `QuantizeLinear` and `DequantizeLinear`.

    Returns:
        The number of changed nodes.
    """
    from onnx import TensorProto, numpy_helper

    constants = initializers(graph)
    changed = 0
    for node in graph.graph.node:
        is_activation = (
            node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.input[0] not in constants
        )
        if not is_activation or constants[node.input[2]].data_type != TensorProto.INT8:
            continue
        zero = numpy_helper.to_array(constants[node.input[2]]).astype(np.int16) + SIGNED_TO_UNSIGNED
        node.input[2] = add_constant(graph, f"{node.input[2]}/unsigned", zero.astype(np.uint8))
        changed += 1
    graph.graph.ClearField("value_info")  # it has the old types
    return changed


def check_onnx_count(
    component: Component, graph: Graph, count: Int8Count, spec: ComponentQuantization
) -> None:
    """Check that exactly those weights are INT8 that neither the recipe nor onnxruntime keeps float.

    Args:
        graph: quantized, with the node names of the float one.

    Raises:
        StageError: fewer or more than the recipe implies.
    """
    expected = sum(
        node.op_type != "Conv" and not _keeps(spec, node.name, node.op_type)
        for node, _ in weighted_products(graph)
    )
    if count.weights != expected or count.activations == 0:
        raise StageError(
            f"{component}: {count.weights} INT8 weights and {count.activations} quantized activations after "
            f"quantization, the recipe implies {expected} and more than 0; these versions of NNCF and "
            "onnxruntime are not supported"
        )


def _keeps(spec: ComponentQuantization, name: str, type_name: str) -> bool:
    return any(keep.fits(name, type_name) for keep in spec.keep_float)


def measure_onnx_fidelity(source: Path, quantized: Path, calls: Calls) -> Fidelity:
    """Run both graphs on calls spread over the record."""
    compute = ComputeSpec()
    return compare_outputs(_run(source, compute), _run(quantized, compute), calls)


def _run(path: Path, compute: ComputeSpec) -> RunComponent:
    session = open_session(path, compute)
    names = {value.name for value in session.get_inputs()}
    first = session.get_outputs()[0].name

    def run(call: Call) -> NDArray[np.float32]:
        output: NDArray[np.float32] = session.run([first], {name: call[name] for name in names})[0]
        return output

    return run
