"""Check that an exported variant computes what its checkpoint computes in PyTorch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import ParityError
from sottovoce.reference_pipeline import OptimumPipeline, one_torch_thread, quiet_libraries
from sottovoce.runs import Parity
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.audio.features import Features
from sottovoce.runtime.decoding.attempt import Attempt, prefill
from sottovoce.runtime.decoding.logit_filters import LogitFilters
from sottovoce.runtime.decoding.strategies import Greedy
from sottovoce.runtime.decoding.tokenizer import Tokens, WhisperTokenizer
from sottovoce.runtime.model.base import Decoder, Encoded, States
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.load import load_decoder, load_encoder_graph
from sottovoce.runtime.model.openvino.memory import give_back_unused
from sottovoce.runtime.transcript import Task

MAX_ENCODER_DIFFERENCE = 1e-3
"""Largest tolerated difference between encoder outputs, relative to the largest output.

Two float32 implementations of 4 to 32 layers differ by 1e-6 to 1e-4 (docs/lab-notes.md); a wrong
weight, a wrong layout or bf16 arithmetic differs by more than 1e-2.
"""

N_PARITY_CLIPS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityClip:
    """A clip to compare on; the language is None where a model is English-only."""

    clip_id: str
    wave: Wave
    language: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What PyTorch computes for a clip, in float32.

    Attributes:
        features: float32, shape (1, n_mels, 3000).
        encoder_states: float32, shape (1, 1500, d_model).
        tokens: greedy, without prompt and end.
    """

    clip: ParityClip
    features: Features
    encoder_states: NDArray[np.float32]
    tokens: Tokens


def compute_references(model: Any, processor: Any, clips: Sequence[ParityClip]) -> tuple[Reference, ...]:
    """Run a PyTorch Whisper on clips.

    Args:
        model: `WhisperForConditionalGeneration` in float32.
        processor: its `WhisperProcessor`.
        clips: at most 30 s each.
    """
    return tuple(_reference(model, processor, clip) for clip in clips)


def _reference(model: Any, processor: Any, clip: ParityClip) -> Reference:
    import torch

    extracted = processor.feature_extractor(clip.wave, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
    is_multilingual = model.generation_config.is_multilingual
    options = {"language": clip.language, "task": "transcribe"} if is_multilingual else {}
    with torch.no_grad(), quiet_libraries():
        states = model.model.encoder(extracted.input_features).last_hidden_state
        output = model.generate(extracted.input_features, num_beams=1, do_sample=False, **options)
    end = model.generation_config.eos_token_id
    return Reference(
        clip=clip,
        features=extracted.input_features.numpy(),
        encoder_states=states.numpy(),
        tokens=tuple(int(token) for token in output[0] if int(token) != end),
    )


def check_parity(folder: Path, references: Sequence[Reference], compute: ComputeSpec) -> Parity:
    """Compare an OpenVINO variant with PyTorch on real features, through optimum's pipeline.

    Raises:
        ParityError: the encoder differs by more than rounding, or a greedy token differs.
    """
    variant = OptimumPipeline.load(folder, compute, compile_all=False)
    with one_torch_thread():
        encoded = [variant.encode(reference.features) for reference in references]
        worst = max(map(partial(_check_states, folder.name), encoded, references))
        encoder = variant.free_encoder()
        give_back_unused()
        for encoder.states, reference in zip(encoded, references, strict=True):
            tokens = variant.generate(variant.features(reference.clip.wave), reference.clip.language)
            _check_tokens(folder.name, tokens, reference, reference.tokens, variant.text)
    return Parity(n_clips=len(references), encoder_max_difference=worst, identical_tokens=True)


def check_onnx_parity(folder: Path, references: Sequence[Reference], compute: ComputeSpec) -> Parity:
    """Compare an ONNX variant with PyTorch on real features, through the runtime's own decoding.

    The runtime stops a repetition early; such a reference is compared up to there.

    Raises:
        ParityError: the encoder differs by more than rounding, or a greedy token differs.
    """
    encoder, decoder = load_encoder_graph(folder, compute), load_decoder(folder, compute)
    tokenizer = WhisperTokenizer.load(folder)
    worst = 0.0
    for reference in references:
        states = encoder.run(reference.features)
        worst = max(worst, _check_states(folder.name, states, reference))
        attempt = _decode(decoder, states, tokenizer, reference)
        expected = reference.tokens[: len(attempt.tokens)] if attempt.has_looped else reference.tokens
        _check_tokens(folder.name, attempt.tokens, reference, expected, tokenizer.text)
    return Parity(n_clips=len(references), encoder_max_difference=worst, identical_tokens=True)


def _decode(decoder: Decoder, states: States, tokenizer: WhisperTokenizer, reference: Reference) -> Attempt:
    special = tokenizer.special
    prompt = tokenizer.prompt(
        language=reference.clip.language or "en", task=Task.TRANSCRIBE, with_timestamps=False
    )
    decoder.start(Encoded(states))
    prefilled = prefill(decoder, prompt, special)
    filters = LogitFilters(special, with_timestamps=False)
    (attempt,) = Greedy().decode(decoder, prefilled, filters, [max(1, len(reference.tokens))])
    return attempt


def _check_states(name: str, states: NDArray[np.float32], reference: Reference) -> float:
    difference = relative_difference(states, reference.encoder_states)
    if not difference <= MAX_ENCODER_DIFFERENCE:  # nan fails too
        raise ParityError(
            f"{name}: the encoder differs from PyTorch by {difference:.1e} of its largest output on "
            f"{reference.clip.clip_id}, want at most {MAX_ENCODER_DIFFERENCE:.0e}; the export is wrong"
        )
    return difference


def _check_tokens(
    name: str, found: Tokens, reference: Reference, expected: Tokens, text: Callable[[Tokens], str]
) -> None:
    if found == expected:
        return
    pairs = enumerate(zip(found, expected, strict=False))
    index = next((i for i, (a, b) in pairs if a != b), min(len(found), len(expected)))
    raise ParityError(
        f"{name}: greedy token {index} of {reference.clip.clip_id} differs from PyTorch "
        f"({text(found)!r} against {text(expected)!r}); the export is wrong"
    )


def relative_difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the largest absolute difference, divided by the largest absolute expected value."""
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12))
