"""Check that a quantized component computes nearly what the float one computes.

Quantization can destroy a model without any error: where an activation has a few huge values, its other values share
one level, or none (docs/lab-notes.md has such a case in whisper-tiny.en).
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.calibrate.store import Call, Calls
from sottovoce.errors import StageError
from sottovoce.progress import Reporter
from sottovoce.recipes.recipe import ComponentQuantization
from sottovoce.runs import Fidelity
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.openvino.quiet_import import shared_core
from sottovoce.terms import Component

MAX_ENCODER_ERROR = 0.25
"""Mean absolute error divided by mean absolute value. Working INT8 encoders measured 0.04 to 0.09, a
destroyed one 0.8 to 1.1 (docs/lab-notes.md)."""

MIN_TOKEN_AGREEMENT = 0.8
"""Share of calls with the same most likely token. Working INT8 decoders measured above 0.95."""

DOUBTFUL_ENCODER_ERROR, DOUBTFUL_TOKEN_AGREEMENT = 0.15, 0.92
"""On clips that were not recorded, encoders of 64 calibration clips measured 0.10 to 0.12, of two 0.16 and 0.22; tokens agree to
100 % and to 87 % (docs/lab-notes.md)."""

N_CALLS = 48

RunComponent = Callable[[Call], NDArray[np.float32]]
"""Runs a component on a call and returns its first output."""


def measure_fidelity(model: Any, quantized: Any, calls: Calls, compute: ComputeSpec) -> Fidelity:
    """Run both models on calls spread over the given ones.

    Args:
        model: `openvino.Model` in float32.
        compute: precision that the quantized model runs in; the float one runs in f32.
    """
    core = shared_core()
    compiled = [
        core.compile_model(model, "CPU", ComputeSpec().properties()),
        core.compile_model(quantized, "CPU", compute.properties()),
    ]
    return compare_outputs(_run(compiled[0]), _run(compiled[1]), calls)


def _run(compiled: Any) -> RunComponent:
    def run(call: Call) -> NDArray[np.float32]:
        # A new request for each call, so that a stateful decoder starts without a past.
        output: NDArray[np.float32] = compiled.create_infer_request().infer(dict(call))[0]
        return output

    return run


def compare_outputs(run_float: RunComponent, run_quantized: RunComponent, calls: Calls) -> Fidelity:
    """Compare the first outputs of two ways to run a component, on calls spread over the given ones."""
    stride = max(1, len(calls) // N_CALLS)
    pairs = [(run_float(call), run_quantized(call)) for call in islice(calls, 0, None, stride)]
    error = sum(float(np.abs(found - expected).mean()) for expected, found in pairs)
    size = sum(float(np.abs(expected).mean()) for expected, _ in pairs)
    return Fidelity(
        n_calls=len(pairs),
        relative_error=error / size,
        token_agreement=float(np.mean([_same_token(expected, found) for expected, found in pairs])),
    )


def _same_token(expected: NDArray[np.float32], found: NDArray[np.float32]) -> bool:
    return bool(expected[0, -1].argmax() == found[0, -1].argmax())


def check_fidelity(component: Component, fidelity: Fidelity, spec: ComponentQuantization) -> None:
    """Refuse a component that quantization has destroyed.

    The comparisons are written so that not-a-number fails them.

    Raises:
        StageError: the message names the component, its error and what to change.
    """
    advice = (
        f"its SmoothQuant alpha is {spec.smooth_quant_alpha}: try another "
        f"(--set quantize.components.{component}.smooth_quant_alpha=0.7), other clips, or keep_float"
    )
    if component is Component.ENCODER and not fidelity.relative_error <= MAX_ENCODER_ERROR:
        raise StageError(
            f"quantization destroyed the encoder: its output is off by {fidelity.relative_error:.0%} on "
            f"clips that were not recorded, want at most {MAX_ENCODER_ERROR:.0%}; {advice}"
        )
    if component is not Component.ENCODER and not fidelity.token_agreement >= MIN_TOKEN_AGREEMENT:
        raise StageError(
            f"quantization destroyed the {component}: only {fidelity.token_agreement:.0%} of its tokens are "
            f"the float one's, want at least {MIN_TOKEN_AGREEMENT:.0%}; {advice}"
        )


def note_damage(component: Component, fidelity: Fidelity, reporter: Reporter) -> None:
    """Warn of a component that quantization has damaged, but not destroyed."""
    if component is Component.ENCODER:
        is_damaged = fidelity.relative_error > DOUBTFUL_ENCODER_ERROR
        what = f"its output is off by {fidelity.relative_error:.0%}"
    else:
        is_damaged = fidelity.token_agreement < DOUBTFUL_TOKEN_AGREEMENT
        what = f"{fidelity.token_agreement:.0%} of its tokens are the float one's"
    if is_damaged:
        reporter.note(
            f"warning: quantization damages the {component}: {what} on clips that were not recorded; "
            "record more clips, or measure it with `sottovoce benchmark`"
        )
