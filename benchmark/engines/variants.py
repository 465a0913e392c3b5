"""Which variants of a run an engine can load."""

from typing import TYPE_CHECKING

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE
from sottovoce.errors import SpecError
from sottovoce.terms import Format, Layout, Scheme, Weights

if TYPE_CHECKING:
    from sottovoce.runs import Run, Variant


def check_openvino(engine: str, variant: "Variant") -> None:
    """Refuse a variant that an engine of OpenVINO graphs cannot load.

    Raises:
        SpecError: it is in another format, or elastic.
    """
    if variant.facts.format is not Format.OPENVINO:
        raise SpecError(
            f"{engine}:{variant.name}: {variant.name} is a variant in {variant.facts.format}, {engine} runs OpenVINO "
            f"variants only; the engine {DEFAULT_ENGINE} runs it"
        )
    if is_elastic(variant):
        raise SpecError(
            f"{engine}:{variant.name}: {variant.name} is elastic, it encodes the speech of a window only; "
            f"only the engine {DEFAULT_ENGINE} runs it"
        )


def quantized_stateless(run: "Run") -> str | None:
    """Name the quantized OpenVINO variant with two decoders."""
    found = (
        variant.name
        for variant in run.variants
        if _is_plain_openvino(variant, Layout.STATELESS) and _is_quantized(variant)
    )
    return next(found, None)


def stateful_variants(run: "Run") -> tuple[str, ...]:
    """Name the float32 OpenVINO variant with one decoder, and the quantized ones."""
    float_variant = float_stateful(run)
    return tuple(
        variant.name
        for variant in run.variants
        if variant is float_variant
        or (_is_plain_openvino(variant, Layout.STATEFUL) and _is_quantized(variant))
    )


def float_stateful(run: "Run") -> "Variant | None":
    """Return the float32 OpenVINO variant with one decoder."""
    found = (
        variant
        for variant in run.variants
        if _is_plain_openvino(variant, Layout.STATEFUL)
        and variant.facts.weights is Weights.FP32
        and not _is_quantized(variant)
    )
    return next(found, None)


def is_elastic(variant: "Variant") -> bool:
    """Whether a variant encodes the speech of a window only."""
    from sottovoce.runtime.model.elastic import PADDING_STATES_NAME

    return (variant.folder / PADDING_STATES_NAME).is_file()


def _is_plain_openvino(variant: "Variant", layout: Layout) -> bool:
    facts = variant.facts
    return facts.format is Format.OPENVINO and facts.layout is layout and not is_elastic(variant)


def _is_quantized(variant: "Variant") -> bool:
    return any(part.scheme is not Scheme.FLOAT for part in variant.facts.components.values())
