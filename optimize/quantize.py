"""Quantize a variant with NNCF from a calibration record.

Source: NNCF post-training quantization (`nncf.quantize`) with SmoothQuant (Xiao et al. 2022) and
fast bias correction (Nagel et al. 2019).
"""

import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sottovoce.calibrate.store import CalibrationStore, Calls
from sottovoce.config import ElasticSection, Int8Variant, KeepFloat, QuantizeSpec
from sottovoce.errors import SpecError, StageError
from sottovoce.optimize.cross_keys import hand_over_int8_keys
from sottovoce.optimize.elastic import add_silence_states, elastic_calls, make_elastic
from sottovoce.optimize.fidelity import Fidelity, check_fidelity, measure_fidelity
from sottovoce.optimize.graph import Int8Count, constant_weight, count_int8, weighted_operations
from sottovoce.optimize.silence import SilentKeys, silence_of, silent_keys_of
from sottovoce.progress import Advance, Reporter
from sottovoce.runtime.compute import ComputeSpec
from sottovoce.runtime.elastic import ElasticSpec
from sottovoce.runtime.layout import COMPONENT_FILES, component_path, components_of
from sottovoce.terms import (
    BiasCorrection,
    Component,
    InstructionSet,
    Layout,
    Preset,
    RangeEstimator,
    Scheme,
    Weights,
)
from sottovoce.variants import quiet_libraries, quiet_output

logger = logging.getLogger(__name__)

SMOOTH_QUANT_OFF = -1.0
"""NNCF takes a negative alpha for none; zero would be an alpha."""

QUANTIZABLE_OPERATIONS = frozenset(
    {"Add", "Convolution", "Gather", "MatMul", "Multiply", "ScaledDotProductAttention"}
)
"""Of a Whisper decoder: those whose inputs NNCF quantizes."""

SIZE_SLACK = 1.05
"""On what int8 and float16 constants add up to: alignment, scales that NNCF keeps in float32."""


def quantize_component(
    model: Any,
    calls: Calls,
    spec: QuantizeSpec,
    advance: Advance,
    *,
    instruction_set: InstructionSet = InstructionSet.VNNI,
) -> Any:
    """Quantize one component to INT8 weights and activations.

    Args:
        model: `openvino.Model` in float32; it is not changed.
        calls: every recorded call; NNCF's `subset_size` counts calls, so it is their number.
        spec: preset, SmoothQuant, ranges, bias correction, nodes that stay float.
        advance: called for each call that NNCF runs, in each of its passes.
        instruction_set: of the CPU that it is for.

    Raises:
        SpecError: `keep_float` names nodes that the graph does not have.
    """
    import nncf

    def transform(call: Any) -> Any:
        advance()
        return call

    try:
        return nncf.quantize(
            model,
            nncf.Dataset(calls, transform),
            preset=_preset(spec.preset),
            subset_size=len(calls),
            fast_bias_correction=spec.bias_correction is not BiasCorrection.ACCURATE,
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=_ignored_scope(spec),
            advanced_parameters=_advanced_parameters(spec, instruction_set),
        )
    except nncf.ValidationError as cause:
        told = " ".join(str(cause).split())
        raise SpecError(f"keep_float of this component does not fit the graph: {told}") from cause


def _advanced_parameters(spec: QuantizeSpec, instruction_set: InstructionSet) -> Any:
    import nncf

    is_exact = instruction_set is InstructionSet.VNNI
    ranges = {
        f"{of}_range_estimator_params": _range_estimator(estimator)
        for of, estimator in (("activations", spec.activation_range), ("weights", spec.weight_range))
        if estimator is not RangeEstimator.DEFAULT
    }
    return nncf.AdvancedQuantizationParameters(
        overflow_fix=nncf.OverflowFix.DISABLE if is_exact else nncf.OverflowFix.ENABLE,
        disable_bias_correction=spec.bias_correction is BiasCorrection.OFF,
        smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(
            matmul=SMOOTH_QUANT_OFF if spec.smooth_quant_alpha is None else spec.smooth_quant_alpha
        ),
        **ranges,
    )


def _range_estimator(estimator: RangeEstimator) -> Any:
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    return getattr(RangeEstimatorParametersSet, estimator.name)


def compress_component(model: Any, calls: Calls, spec: QuantizeSpec, advance: Advance) -> Any:
    """Turn the weights of one component into INT8 or INT4, and the activations of some nodes into INT8.

    Args:
        model: `openvino.Model` in float32; it is changed where no activations are INT8.
        calls: recorded calls, for the ranges of those activations and for scales that fit them.
        spec: how weights become INT8 or INT4, which nodes have INT8 activations, and which stay float.
        advance: called for each call that NNCF runs.

    Raises:
        SpecError: `int8_activations` fits no node that may be quantized.

    Source: NNCF weight compression (`nncf.compress_weights`); AWQ is Lin et al. 2023.
    """
    import nncf

    kept = kept_names(model, spec)
    ignored = nncf.IgnoredScope(names=sorted(kept & set(quantizable_names(model))))
    if spec.int8_activations:
        others = _names_of_others(model, spec.int8_activations, kept)
        narrowed = spec.model_copy(
            update={"scheme": Scheme.W8A8, "keep_float": (KeepFloat(reason="w8", names=others),)}
        )
        model = quantize_component(model, calls, narrowed, advance)
    if spec.scheme is Scheme.W4:
        return _compress_to_int4(model, calls, spec, ignored, advance)
    modes = nncf.CompressWeightsMode
    mode = modes.INT8_SYM if spec.symmetric else modes.INT8_ASYM
    return nncf.compress_weights(model, mode=mode, ignored_scope=ignored)


def _compress_to_int4(model: Any, calls: Calls, spec: QuantizeSpec, ignored: Any, advance: Advance) -> Any:
    import nncf

    def transform(call: Any) -> Any:
        advance()
        return call

    modes = nncf.CompressWeightsMode
    needs_calls = spec.awq or spec.scale_estimation
    try:
        return nncf.compress_weights(
            model,
            mode=modes.INT4_SYM if spec.symmetric else modes.INT4_ASYM,
            ratio=spec.ratio,
            group_size=spec.group_size,
            awq=spec.awq,
            scale_estimation=spec.scale_estimation,
            dataset=nncf.Dataset(calls, transform) if needs_calls else None,
            subset_size=len(calls),
            ignored_scope=ignored,
        )
    except (nncf.ValidationError, nncf.InvalidGroupSizeError) as cause:
        told = " ".join(str(cause).split())
        raise SpecError(f"w4 with group_size {spec.group_size} does not fit the graph: {told}") from cause


def quantizable_names(model: Any) -> tuple[str, ...]:
    """Name the nodes that NNCF could quantize, in the order of the graph."""
    return tuple(
        operation.get_friendly_name()
        for operation in model.get_ops()
        if operation.get_type_name() in QUANTIZABLE_OPERATIONS
    )


def _names_of_others(model: Any, patterns: Sequence[str], kept: frozenset[str]) -> tuple[str, ...]:
    """Name the nodes that NNCF could quantize and the patterns do not fit, or that are kept float."""
    names = quantizable_names(model)
    chosen = {name for name in names if any(re.match(pattern, name) for pattern in patterns)} - kept
    if not chosen:
        raise SpecError(f"int8_activations fits no node of the graph: {', '.join(patterns)}")
    return tuple(name for name in names if name not in chosen)


def _preset(preset: Preset) -> Any:
    import nncf

    return nncf.QuantizationPreset.MIXED if preset is Preset.MIXED else nncf.QuantizationPreset.PERFORMANCE


def _ignored_scope(spec: QuantizeSpec) -> Any:
    import nncf

    return nncf.IgnoredScope(
        names=[name for keep in spec.keep_float for name in keep.names],
        types=[kind for keep in spec.keep_float for kind in keep.types],
        patterns=[pattern for keep in spec.keep_float for pattern in keep.patterns],
    )


class QuantizeFile(Protocol):
    """Writes one quantized component into a variant's folder: anew, or as it was made before."""

    def __call__(
        self,
        source: Path,
        store: CalibrationStore,
        component: Component,
        variant: Int8Variant,
        into: Path,
        reporter: Reporter,
    ) -> Fidelity:
        """Write the component; see `quantize_file`."""


def quantize_variant(
    source: Path,
    store: CalibrationStore,
    variant: Int8Variant,
    into: Path,
    reporter: Reporter,
    *,
    write: QuantizeFile | None = None,
) -> Mapping[Component, Fidelity]:
    """Write the INT8 variant: quantized components, the float ones copied, settings and tokenizer.

    Args:
        source: folder of the float32 variant in the layout of the variant; the baseline, which the
            record was made with, where that is stateless.
        store: the calibration record.
        variant: what the recipe says of each component.
        into: a folder that does not exist yet.
        reporter: follows the work.
        write: writes a component that is not copied; by default quantizes it.

    Raises:
        StageError: a component holds other INT8 nodes or bytes than the recipe implies, or no
            longer computes what it is to compute.
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
        _hand_over_int8_keys(into)
    if variant.elastic is not None:
        add_silence_states(into, elastic_spec(variant.elastic), silence_of(source, store))
    return fidelities


def quantized_compute(variant: Int8Variant) -> ComputeSpec:
    """Return what the quantized variant is to compute in."""
    return ComputeSpec(
        precision=variant.inference_precision,
        dynamic_quantization_group_size=variant.dynamic_quantization_group_size,
        kv_cache_precision=variant.kv_cache_precision,
    )


def _is_elastic(component: Component, variant: Int8Variant) -> bool:
    return component is Component.ENCODER and variant.elastic is not None


def elastic_spec(section: ElasticSection) -> ElasticSpec:
    """Take a recipe's word for the runtime's."""
    return ElasticSpec(**section.model_dump())


def _hand_over_int8_keys(folder: Path) -> None:
    """Rewrite both decoders of a variant; without effect where the steps' keys are float."""
    import openvino

    core = openvino.Core()
    paths = [component_path(folder, part) for part in (Component.DECODER, Component.DECODER_WITH_PAST)]
    models = [core.read_model(path) for path in paths]
    if hand_over_int8_keys(*models) == 0:
        return
    rewritten = [path.with_name(f"int8-keys-{path.name}") for path in paths]
    for model, path in zip(models, rewritten, strict=True):
        openvino.save_model(model, path, compress_to_fp16=False)
    del models, model, core  # they map the files that are replaced now
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
    variant: Int8Variant,
    into: Path,
    reporter: Reporter,
) -> Fidelity:
    """Quantize one component of a variant and write its files.

    Args:
        source: folder of the float32 variant.
        store: the calibration record.
        component: which.
        variant: what the recipe says of it.
        into: the variant's folder, which is there.
        reporter: follows the work.

    Raises:
        StageError: it holds other INT8 nodes or bytes than the recipe implies, or no longer computes what it
            is to compute.
    """
    import openvino

    spec = variant.components.of(component)
    path = component_path(into, component)
    model = openvino.Core().read_model(component_path(source, component))
    calls = calls_of(store, component, variant, source)
    if component is Component.ENCODER and variant.elastic is not None:
        with reporter.progress("encode what lies behind speech", 1) as advance:
            make_elastic(model, silent_keys(source, store, variant.elastic))
            advance()
    with (
        reporter.progress(f"quantize {component}", n_passes(spec) * len(calls)) as advance,
        quiet_libraries(),
        quiet_output(),
    ):
        quantized = quantize_graph(model, calls, spec, variant.instruction_set, advance)
    count = count_int8(quantized)
    check_count(component, model, count, spec)
    fidelity = measure_fidelity(model, quantized, calls, quantized_compute(variant))
    check_fidelity(component, fidelity, spec)
    _store_float_weights(quantized, variant.weights)
    openvino.save_model(quantized, path, compress_to_fp16=False)
    if variant.weights is Weights.FP16:
        check_size(component, path.with_suffix(".bin").stat().st_size, count)
    return fidelity


def silent_keys(source: Path, store: CalibrationStore, elastic: ElasticSection) -> SilentKeys | None:
    """Return the keys of silence that a recipe asks for; None where it asks for none."""
    if elastic.silence_centroids is None:
        return None
    return silent_keys_of(source, store, elastic.silence_centroids)


def calls_of(store: CalibrationStore, component: Component, variant: Int8Variant, source: Path) -> Calls:
    """Return the recorded calls that a component of the variant receives.

    Args:
        store: the calibration record.
        component: whose calls.
        variant: its layout, and how its encoder cuts a window.
        source: folder of the float32 variant.
    """
    if component is Component.DECODER and variant.layout is Layout.STATEFUL:
        return store.prefixes()
    calls = store.calls(component, source)
    if component is Component.ENCODER and variant.elastic is not None:
        return elastic_calls(calls, elastic_spec(variant.elastic))
    return calls


def n_passes(spec: QuantizeSpec) -> int:
    """Return how often NNCF goes through the calls."""
    return 1 if spec.smooth_quant_alpha is None or spec.scheme is not Scheme.W8A8 else 2


def quantize_graph(
    model: Any, calls: Calls, spec: QuantizeSpec, instruction_set: InstructionSet, advance: Advance
) -> Any:
    """Quantize one component (`openvino.Model`) as its scheme says; see what each scheme calls."""
    match spec.scheme:
        case Scheme.FLOAT:
            return model
        case Scheme.W8A8:
            return quantize_component(model, calls, spec, advance, instruction_set=instruction_set)
        case Scheme.W8 | Scheme.W4:
            return compress_component(model, calls, spec, advance)


def check_count(component: Component, model: Any, count: Int8Count, spec: QuantizeSpec) -> None:
    """Check that every weight is INT8 which the recipe does not keep float.

    Raises:
        StageError: fewer, or more, than the recipe implies.
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


def kept_names(model: Any, spec: QuantizeSpec) -> frozenset[str]:
    """Name the nodes that `keep_float` keeps float."""
    kept = set()
    for operation in model.get_ops():
        name = operation.get_friendly_name()
        for keep in spec.keep_float:
            if (
                name in keep.names
                or operation.get_type_name() in keep.types
                or any(re.match(pattern, name) for pattern in keep.patterns)
            ):
                kept.add(name)
    return frozenset(kept)


def check_size(component: Component, size_bytes: int, count: Int8Count) -> None:
    """Check that a component's weights take the bytes that its types imply.

    Raises:
        StageError: the file is larger; something stayed float32.
    """
    implied = count.int8_bytes + count.int4_bytes + count.float_bytes_fp16
    if size_bytes > SIZE_SLACK * implied:
        raise StageError(
            f"{component}: its weights take {size_bytes} bytes on disk, their types imply {implied}; "
            "something was written in float32"
        )


def _store_float_weights(model: Any, weights: Weights) -> None:
    """Turn the float constants that are left into float16, decompressed when compiled.

    `openvino.save_model(compress_to_fp16=True)` skips graphs with `FakeQuantize`: it takes them
    for quantized already.
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


LARGE_ELEMENTS = 16_384
"""Smaller float constants are scales and biases: little to gain, more to lose."""


def _is_large_float(operation: Any) -> bool:
    if operation.get_type_name() != "Constant" or operation.get_element_type().get_type_name() != "f32":
        return False
    elements = 1
    for size in operation.get_output_shape(0):
        elements *= int(size)
    return elements >= LARGE_ELEMENTS
