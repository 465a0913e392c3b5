"""Convert a checkpoint to CTranslate2's format with its own converter, and count what is INT8; faster-whisper runs it."""

import contextlib
import io
import json
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sottovoce.calibrate.store import CalibrationStore, Call
from sottovoce.errors import InputError, MissingExtraError, ParityError
from sottovoce.optimize.checkpoint.ctranslate2_reader import StoredVariable, list_variables
from sottovoce.optimize.checkpoint.identity import Identity
from sottovoce.optimize.checks.fidelity import check_fidelity, compare_outputs
from sottovoce.optimize.checks.unrecorded import unrecorded_speech
from sottovoce.optimize.openvino.graph import Int8Count
from sottovoce.recipes.recipe import ComponentQuantization
from sottovoce.reference_pipeline import quiet_libraries
from sottovoce.runs import Fidelity
from sottovoce.runtime.ctranslate2 import errors_only
from sottovoce.runtime.decoding.model_defaults import GENERATION_NAME
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import CTRANSLATE2_FILE
from sottovoce.runtime.model.load import load_encoder_graph
from sottovoce.terms import Component, Ctranslate2Type, Scheme

EXTRA = "ct2"

BYTES_PER_WEIGHT: Mapping[Ctranslate2Type, float] = {
    Ctranslate2Type.INT8: 1.0,
    Ctranslate2Type.INT8_FLOAT32: 1.0,
    Ctranslate2Type.INT16: 2.0,
    Ctranslate2Type.FLOAT16: 2.0,
    Ctranslate2Type.BFLOAT16: 2.0,
    Ctranslate2Type.FLOAT32: 4.0,
}
"""On disk, without scales, biases and tables of positions."""

INT8_TYPE_ID = 1
"""INT8 in `ctranslate2::DataType`."""

MATRIX_RANK = 2


def require_converter() -> None:
    """Check that CTranslate2 and faster-whisper are installed, without importing them.

    Raises:
        MissingExtraError: one of them is not.
    """
    missing = next((name for name in ("ctranslate2", "faster_whisper") if find_spec(name) is None), None)
    if missing is not None:
        raise MissingExtraError(missing, needed_for="a CTranslate2 variant", extra=EXTRA)


def export_ctranslate2(checkpoint: Path, into: Path, kind: Ctranslate2Type) -> None:
    """Convert a Hugging Face checkpoint, with tokenizer, feature extractor and generation settings.

    Raises:
        InputError: CTranslate2 cannot convert it.
        MissingExtraError: CTranslate2 or faster-whisper is not installed.
    """
    require_converter()
    from ctranslate2.converters import TransformersConverter
    from transformers import WhisperFeatureExtractor, WhisperTokenizerFast

    with quiet_libraries(), contextlib.redirect_stderr(io.StringIO()):
        try:
            TransformersConverter(str(checkpoint)).convert(str(into), quantization=kind.value, force=True)
        except (ValueError, KeyError, RuntimeError) as cause:
            raise InputError(f"CTranslate2 cannot convert the checkpoint: {cause}") from cause
        WhisperTokenizerFast.from_pretrained(checkpoint).save_pretrained(into)
        WhisperFeatureExtractor.from_pretrained(checkpoint).save_pretrained(into)
    shutil.copyfile(checkpoint / GENERATION_NAME, into / GENERATION_NAME)


def check_ctranslate2(
    folder: Path, store: CalibrationStore, baseline: Path, identity: Identity
) -> Mapping[Component, Fidelity]:
    """Check the settings of a CTranslate2 variant, and its encoder against the baseline's.

    The decoder is not compared, since CTranslate2 returns logits only after its logit filters.

    Args:
        baseline: folder of the OpenVINO variant that was recorded.

    Raises:
        ParityError: a setting differs; the message names it.
        StageError: the output of the encoder differs too much from the baseline's.
    """
    import ctranslate2

    compute = ComputeSpec()
    graph = load_encoder_graph(baseline, compute)
    with errors_only():
        model = ctranslate2.models.Whisper(str(folder), device="cpu", intra_threads=compute.threads)
    _check_settings(folder, identity, is_multilingual=model.is_multilingual)

    def run_float(call: Call) -> NDArray[np.float32]:
        return graph.run(call["input_features"]).copy()

    def run_quantized(call: Call) -> NDArray[np.float32]:
        features = np.ascontiguousarray(call["input_features"])
        return np.array(model.encode(ctranslate2.StorageView.from_array(features)))

    calls = unrecorded_speech(baseline, store.clip_ids()).calls(Component.ENCODER, is_stateful=False)
    fidelity = compare_outputs(run_float, run_quantized, calls)
    check_fidelity(Component.ENCODER, fidelity, ComponentQuantization(smooth_quant_alpha=None))
    return {Component.ENCODER: fidelity}


def _check_settings(folder: Path, expected: Identity, *, is_multilingual: bool) -> None:
    """Check the settings that the format can store; whether it is multilingual follows from the vocabulary's size."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    wanted: dict[str, object] = {
        "suppress_ids": list(expected.suppress_tokens),
        "suppress_ids_begin": list(expected.begin_suppress_tokens),
    }
    if expected.languages:
        wanted["lang_ids"] = sorted(token for _, token in expected.languages)
    if expected.alignment_heads:
        wanted["alignment_heads"] = [list(pair) for pair in expected.alignment_heads]
    wrong = next((key for key, value in wanted.items() if (config.get(key) or []) != value), None)
    if wrong is not None:
        raise ParityError(
            f"{folder.name}: {wrong} in config.json is not what the checkpoint has; CTranslate2's converter changed it, "
            "which would change transcripts"
        )
    if is_multilingual != expected.is_multilingual:
        raise ParityError(
            f"{folder.name}: CTranslate2 takes the model for {'multilingual' if is_multilingual else 'English-only'}, "
            f"which it is not: CTranslate2 decides by the size of the vocabulary, here {expected.vocab_size}. Use another format"
        )


def scheme_of(kind: Ctranslate2Type) -> Scheme:
    """Return the scheme that a type corresponds to: INT8 weights, or float."""
    is_int8 = kind in (Ctranslate2Type.INT8, Ctranslate2Type.INT8_FLOAT32)
    return Scheme.W8 if is_int8 else Scheme.FLOAT


def component_bytes(folder: Path) -> Mapping[Component, int]:
    """Divide the size of a CTranslate2 variant's only file between its components."""
    path = folder / CTRANSLATE2_FILE
    encoder = sum(
        len(variable.raw) for variable in list_variables(path) if _is_of(variable, Component.ENCODER)
    )
    return {Component.ENCODER: encoder, Component.DECODER: path.stat().st_size - encoder}


def count_ctranslate2(folder: Path, component: Component) -> Int8Count:
    """Count the stored matrices of a component, and those that are INT8.

    Query, key and value of self-attention are one matrix, as are key and value of cross-attention, and token embedding
    and output layer. CTranslate2 quantizes the activation before an INT8 matrix on the fly.
    """
    matrices = [
        variable
        for variable in list_variables(folder / CTRANSLATE2_FILE)
        if _is_of(variable, component)
        and variable.name.endswith("/weight")
        and len(variable.shape) >= MATRIX_RANK
    ]
    int8 = [variable for variable in matrices if variable.type_id == INT8_TYPE_ID]
    return Int8Count(
        weights=len(int8),
        activations=len(int8),
        weighted=len(matrices),
        float_bytes_fp16=0,
        int8_bytes=sum(len(variable.raw) for variable in int8),
    )


def _is_of(variable: StoredVariable, component: Component) -> bool:
    return variable.name.startswith(f"{component}/")
