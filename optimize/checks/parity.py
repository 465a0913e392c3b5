"""The check that an exported variant computes what its checkpoint computes in PyTorch."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import ParityError
from sottovoce.reference_pipeline import OptimumPipeline, one_torch_thread, quiet_libraries
from sottovoce.runs import Parity
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.audio.features import Features
from sottovoce.runtime.decoding.tokenizer import Tokens
from sottovoce.runtime.model.compute import ComputeSpec

logger = logging.getLogger(__name__)

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
    """What PyTorch makes of a clip, in float32.

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

    extracted = processor.feature_extractor(clip.wave, sampling_rate=16_000, return_tensors="pt")
    asked = (
        {"language": clip.language, "task": "transcribe"} if model.generation_config.is_multilingual else {}
    )
    with torch.no_grad(), quiet_libraries():
        states = model.model.encoder(extracted.input_features).last_hidden_state
        output = model.generate(extracted.input_features, num_beams=1, do_sample=False, **asked)
    end = model.generation_config.eos_token_id
    return Reference(
        clip=clip,
        features=extracted.input_features.numpy(),
        encoder_states=states.numpy(),
        tokens=tuple(int(token) for token in output[0] if int(token) != end),
    )


def check_parity(folder: Path, references: Sequence[Reference], compute: ComputeSpec) -> Parity:
    """Compare an exported variant with PyTorch on real features.

    Raises:
        ParityError: the encoder differs by more than rounding, or a greedy token differs.
    """
    variant = OptimumPipeline.load(folder, compute)
    worst = 0.0
    with one_torch_thread():
        for reference in references:
            worst = max(worst, _check_clip(folder.name, variant, reference))
    return Parity(n_clips=len(references), encoder_max_difference=worst, identical_tokens=True)


def _check_clip(name: str, variant: OptimumPipeline, reference: Reference) -> float:
    states = variant.encode(reference.features)
    difference = relative_difference(states, reference.encoder_states)
    if not difference <= MAX_ENCODER_DIFFERENCE:  # nan fails too
        raise ParityError(
            f"{name}: the encoder differs from PyTorch by {difference:.1e} of its largest output on "
            f"{reference.clip.clip_id}, want at most {MAX_ENCODER_DIFFERENCE:.0e}; the export is wrong"
        )
    tokens = variant.generate(variant.features(reference.clip.wave), reference.clip.language)
    if tokens != reference.tokens:
        place = next(
            (i for i, (a, b) in enumerate(zip(tokens, reference.tokens, strict=False)) if a != b),
            min(len(tokens), len(reference.tokens)),
        )
        raise ParityError(
            f"{name}: greedy token {place} of {reference.clip.clip_id} differs from PyTorch "
            f"({variant.text(tokens)!r} against {variant.text(reference.tokens)!r}); the export is wrong"
        )
    return difference


def relative_difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the largest absolute difference, divided by the largest absolute expected value."""
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12))
