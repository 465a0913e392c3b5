"""Quantize one graph with NNCF by the recipe's section of its component.

Source: NNCF post-training quantization (`nncf.quantize`) with SmoothQuant (Xiao et al. 2022) and
fast bias correction (Nagel et al. 2019), and NNCF weight compression (`nncf.compress_weights`).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sottovoce.calibrate.store import Calls
from sottovoce.errors import SpecError
from sottovoce.progress import Advance
from sottovoce.recipes.recipe import ComponentQuantization, KeepFloat
from sottovoce.runtime.model.openvino.memory import give_back_unused
from sottovoce.runtime.model.openvino.quiet_import import shared_core
from sottovoce.terms import BiasCorrection, InstructionSet, RangeEstimator, Scheme

SMOOTH_QUANT_OFF = -1.0
"""NNCF turns SmoothQuant off by a negative alpha; zero is an alpha."""

QUANTIZABLE_OPERATIONS = frozenset(
    {"Add", "Convolution", "Gather", "MatMul", "Multiply", "ScaledDotProductAttention"}
)
"""Operations of a Whisper whose inputs NNCF quantizes."""


def n_passes(spec: ComponentQuantization) -> int:
    """Return how many times NNCF runs all calls."""
    return 1 if spec.smooth_quant_alpha is None or spec.scheme is not Scheme.W8A8 else 2


def quantize_graph(
    model: Any, calls: Calls, spec: ComponentQuantization, instruction_set: InstructionSet, advance: Advance
) -> Any:
    """Quantize one component (`openvino.Model`) by its scheme."""
    match spec.scheme:
        case Scheme.FLOAT:
            return model
        case Scheme.W8A8:
            return _quantize_activations(model, calls, spec, instruction_set, advance)
        case Scheme.W8 | Scheme.W4:
            return compress_component(model, calls, spec, advance)


def smooth_graph(
    model: Any, calls: Calls, spec: ComponentQuantization, folder: Path, advance: Advance
) -> tuple[Any, ComponentQuantization]:
    """Apply SmoothQuant alone, and read the graph back from a file, so that its float weights take no memory of their own.

    The rest of the quantization gives the same bytes as in one call of NNCF, which would keep the smoothed weights and the
    copies that OpenVINO makes of them to collect statistics.

    Args:
        model: `openvino.Model` in float32; it is not changed.
        folder: gets the smoothed graph, which must stay as long as the model.

    Returns:
        The smoothed graph, and what is left of the section; both as they are where nothing is smoothed.
    """
    if spec.smooth_quant_alpha is None or spec.scheme is not Scheme.W8A8:
        return model, spec
    import nncf
    import openvino

    types = {each.get_type_name() for each in model.get_ops()} & QUANTIZABLE_OPERATIONS
    smoothed = nncf.quantize(
        model,
        _dataset(calls, advance),
        subset_size=len(calls),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=nncf.IgnoredScope(types=sorted(types)),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            disable_bias_correction=True,
            disable_channel_alignment=True,
            smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=spec.smooth_quant_alpha),
        ),
    )
    path = folder / "smoothed.xml"
    openvino.save_model(smoothed, path, compress_to_fp16=False)
    del smoothed
    give_back_unused()
    return shared_core().read_model(path), spec.model_copy(update={"smooth_quant_alpha": None})


def _quantize_activations(
    model: Any, calls: Calls, spec: ComponentQuantization, instruction_set: InstructionSet, advance: Advance
) -> Any:
    """Quantize weights and activations; those of `dynamic_activations` are quantized on the fly."""
    import nncf

    if not spec.dynamic_activations:
        return quantize_component(model, calls, spec, advance, instruction_set=instruction_set)
    others = _names_of_others(
        model, spec.dynamic_activations, kept_names(model, spec), key="dynamic_activations"
    )
    dynamic = tuple(sorted(set(quantizable_names(model)) - set(others)))
    recorded = spec.model_copy(
        update={"keep_float": (*spec.keep_float, KeepFloat(reason="dynamic activations", names=dynamic))}
    )
    model = quantize_component(model, calls, recorded, advance, instruction_set=instruction_set)
    return nncf.compress_weights(
        model, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=nncf.IgnoredScope(names=others)
    )


def quantize_component(
    model: Any,
    calls: Calls,
    spec: ComponentQuantization,
    advance: Advance,
    *,
    instruction_set: InstructionSet = InstructionSet.VNNI,
) -> Any:
    """Quantize one component to INT8 weights and activations.

    Args:
        model: `openvino.Model` in float32; it is not changed.
        calls: all recorded calls; NNCF's `subset_size` is their number.
        spec: preset, SmoothQuant, ranges, bias correction, nodes that stay float.
        advance: called for each call in each pass of NNCF.

    Raises:
        SpecError: `keep_float` names nodes that are not in the graph.
    """
    import nncf

    try:
        return nncf.quantize(
            model,
            _dataset(calls, advance),
            preset=nncf.QuantizationPreset[spec.preset.name],
            subset_size=len(calls),
            fast_bias_correction=spec.bias_correction is not BiasCorrection.ACCURATE,
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=_ignored_scope(spec),
            advanced_parameters=_advanced_parameters(spec, instruction_set),
        )
    except nncf.ValidationError as cause:
        reason = " ".join(str(cause).split())
        raise SpecError(f"keep_float of this component does not fit the graph: {reason}") from cause


def _advanced_parameters(spec: ComponentQuantization, instruction_set: InstructionSet) -> Any:
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    is_exact = instruction_set is InstructionSet.VNNI
    ranges = {
        f"{of}_range_estimator_params": getattr(RangeEstimatorParametersSet, estimator.name)
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


def compress_component(model: Any, calls: Calls, spec: ComponentQuantization, advance: Advance) -> Any:
    """Quantize the weights of one component to INT8 or INT4, and the activations of some nodes to INT8.

    Args:
        model: `openvino.Model` in float32; changed unless some activations become INT8.
        calls: recorded calls, for the ranges of those activations and for scale estimation.

    Raises:
        SpecError: `int8_activations` matches no node that may be quantized.

    Source: NNCF weight compression (`nncf.compress_weights`); AWQ is Lin et al. 2023.
    """
    import nncf

    kept = kept_names(model, spec)
    ignored = nncf.IgnoredScope(names=sorted(kept & set(quantizable_names(model))))
    if spec.int8_activations:
        others = _names_of_others(model, spec.int8_activations, kept, key="int8_activations")
        narrowed = spec.model_copy(
            update={"scheme": Scheme.W8A8, "keep_float": (KeepFloat(reason="w8", names=others),)}
        )
        model = quantize_component(model, calls, narrowed, advance)
    if spec.scheme is Scheme.W4:
        return _compress_to_int4(model, calls, spec, ignored, advance)
    modes = nncf.CompressWeightsMode
    mode = modes.INT8_SYM if spec.symmetric else modes.INT8_ASYM
    return nncf.compress_weights(model, mode=mode, ignored_scope=ignored)


def _compress_to_int4(
    model: Any, calls: Calls, spec: ComponentQuantization, ignored: Any, advance: Advance
) -> Any:
    import nncf

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
            dataset=_dataset(calls, advance) if needs_calls else None,
            subset_size=len(calls),
            ignored_scope=ignored,
        )
    except (nncf.ValidationError, nncf.InvalidGroupSizeError) as cause:
        reason = " ".join(str(cause).split())
        raise SpecError(f"w4 with group_size {spec.group_size} does not fit the graph: {reason}") from cause


def quantizable_names(model: Any) -> tuple[str, ...]:
    """Name the nodes that NNCF can quantize, in the order of the graph."""
    return tuple(
        operation.get_friendly_name()
        for operation in model.get_ops()
        if operation.get_type_name() in QUANTIZABLE_OPERATIONS
    )


def _names_of_others(
    model: Any, patterns: Sequence[str], kept: frozenset[str], *, key: str
) -> tuple[str, ...]:
    """Name the nodes that NNCF can quantize and that no pattern matches, or that are kept float."""
    names = quantizable_names(model)
    chosen = {name for name in names if any(re.match(pattern, name) for pattern in patterns)} - kept
    if not chosen:
        raise SpecError(f"{key} matches no node of the graph: {', '.join(patterns)}")
    return tuple(name for name in names if name not in chosen)


def _dataset(calls: Calls, advance: Advance) -> Any:
    import nncf

    def transform(call: Any) -> Any:
        advance()
        return call

    return nncf.Dataset(calls, transform)


def _ignored_scope(spec: ComponentQuantization) -> Any:
    import nncf

    return nncf.IgnoredScope(
        names=[name for keep in spec.keep_float for name in keep.names],
        types=[kind for keep in spec.keep_float for kind in keep.types],
        patterns=[pattern for keep in spec.keep_float for pattern in keep.patterns],
    )


def kept_names(model: Any, spec: ComponentQuantization) -> frozenset[str]:
    """Name the nodes that `keep_float` keeps float."""
    return frozenset(
        name
        for operation in model.get_ops()
        for name in (operation.get_friendly_name(),)
        if any(keep.fits(name, operation.get_type_name()) for keep in spec.keep_float)
    )
