"""Calls of a model's components on speech that calibration did not record.

Ranges that fit a few recorded clips and nothing else destroy a model, and the recorded clips do not show it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from sottovoce.calibrate.record import CALIBRATION_SPLIT
from sottovoce.calibrate.store import Call, Calls, DecodedSequence, StepRebuilder
from sottovoce.optimize.checks.teacher_forcing import Candidate
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.speech.clips import Clip, spread_over_languages, transcribable
from sottovoce.speech.loading import LoadedClip, load_clips
from sottovoce.speech.sets import read_speech
from sottovoce.speech.synthetic import demo_speech
from sottovoce.terms import Component

N_CLIPS = 6

N_PREFIXES = 8
"""Calls of a stateful decoder for each clip, with more and more of its tokens: a clip alone gives one next token."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UnrecordedSpeech:
    """What a float variant decodes of sottovoce's own clips, other than recorded ones."""

    folder: Path
    clip_ids: tuple[str, ...]
    sequences: tuple[DecodedSequence, ...]

    def calls(self, component: Component, *, is_stateful: bool) -> Calls:
        """Return the calls of a component of the variant.

        Args:
            is_stateful: the decoder keeps its keys and values itself.
        """
        if component is Component.ENCODER:
            return Calls(length=len(self.sequences), make=self._encoder_calls)
        if component is Component.DECODER:
            if is_stateful:
                return Calls(length=N_PREFIXES * len(self.sequences), make=self._prefix_calls)
            return Calls(length=len(self.sequences), make=self._prompt_calls)
        n_steps = sum(each.token_ids.shape[1] - each.n_prompt for each in self.sequences)
        return Calls(length=n_steps, make=self._step_calls)

    def _encoder_calls(self) -> Iterator[Call]:
        for sequence in self.sequences:
            yield {"input_features": sequence.features}

    def _prompt_calls(self) -> Iterator[Call]:
        for sequence in self.sequences:
            prompt = np.ascontiguousarray(sequence.token_ids[:, : sequence.n_prompt])
            yield {"input_ids": prompt, "encoder_hidden_states": sequence.encoder_states}

    def _prefix_calls(self) -> Iterator[Call]:
        start = {"beam_idx": np.zeros(1, dtype=np.int32)}
        for sequence in self.sequences:
            n_tokens = sequence.token_ids.shape[1]
            for length in np.linspace(sequence.n_prompt, n_tokens, N_PREFIXES).round().astype(int):
                tokens = np.ascontiguousarray(sequence.token_ids[:, :length])
                yield {"input_ids": tokens, "encoder_hidden_states": sequence.encoder_states, **start}

    def _step_calls(self) -> Iterator[Call]:
        rebuild = StepRebuilder(self.folder)
        for sequence in self.sequences:
            yield from rebuild.steps(sequence)


@lru_cache(maxsize=1)
def unrecorded_speech(folder: Path, recorded: frozenset[str]) -> UnrecordedSpeech:
    """Decode a few of sottovoce's own clips with a float variant; the last result is kept.

    Args:
        folder: of the variant, in OpenVINO.
        recorded: ids of the clips that were recorded.
    """
    candidate = Candidate.load(folder, ComputeSpec())
    clips = load_clips(_choose(recorded, english_only=not candidate.is_multilingual), wanted=N_CLIPS).loaded
    return UnrecordedSpeech(
        folder=folder,
        clip_ids=tuple(clip.clip.clip_id for clip in clips),
        sequences=tuple(_decode(candidate, clip) for clip in clips),
    )


def _choose(recorded: frozenset[str], *, english_only: bool) -> tuple[Clip, ...]:
    """Return clips that were not recorded, those of the split `eval` first, spread over the languages."""
    speech = transcribable(read_speech(str(demo_speech())), english_only=english_only)
    fresh = [clip for clip in speech if clip.clip_id not in recorded] or speech
    return spread_over_languages(sorted(fresh, key=lambda clip: clip.split == CALIBRATION_SPLIT))


def _decode(candidate: Candidate, clip: LoadedClip) -> DecodedSequence:
    features, states = candidate.encode(clip.wave)
    teacher = candidate.generate(clip)
    tokens = (*teacher.prompt, *(teacher.tokens[:-1] or teacher.tokens))
    return DecodedSequence(
        features=features,
        encoder_states=states,
        token_ids=np.array([tokens], dtype=np.int64),
        n_prompt=len(teacher.prompt),
    )
