"""The fidelity check looks at speech that calibration did not record."""

from pathlib import Path

import numpy as np
import pytest

from sottovoce.calibrate.store import CalibrationStore
from sottovoce.optimize.checks.fidelity import note_damage
from sottovoce.optimize.checks.unrecorded import N_CLIPS, N_PREFIXES, UnrecordedSpeech, unrecorded_speech
from sottovoce.runs import Fidelity
from sottovoce.terms import Component
from tests.support.notes import Notes


@pytest.fixture(scope="module")
def unrecorded(baseline: Path, record: Path) -> UnrecordedSpeech:
    return unrecorded_speech(baseline, CalibrationStore(record).clip_ids())


def test_no_recorded_clip_is_used(baseline: Path, record: Path, unrecorded: UnrecordedSpeech) -> None:
    used = frozenset(unrecorded.clip_ids)
    assert len(used) == len(unrecorded.sequences) == N_CLIPS
    assert not used & CalibrationStore(record).clip_ids()
    others = unrecorded_speech(baseline, used)
    assert len(others.clip_ids) == N_CLIPS
    assert not used.intersection(others.clip_ids)


def test_calls_of_each_component_are_those_of_the_decoded_clips(unrecorded: UnrecordedSpeech) -> None:
    n_steps = sum(each.token_ids.shape[1] - each.n_prompt for each in unrecorded.sequences)
    wanted = {
        Component.ENCODER: N_CLIPS,
        Component.DECODER: N_CLIPS,
        Component.DECODER_WITH_PAST: n_steps,
    }
    assert n_steps >= N_CLIPS
    for component, n_calls in wanted.items():
        calls = unrecorded.calls(component, is_stateful=False)
        assert len(calls) == len(list(calls)) == n_calls
    first = unrecorded.sequences[0]
    prompts = [call["input_ids"].shape[1] for call in unrecorded.calls(Component.DECODER, is_stateful=False)]
    assert prompts[0] == first.n_prompt  # a stateless first pass never gets more
    prefixes = [call["input_ids"].shape[1] for call in unrecorded.calls(Component.DECODER, is_stateful=True)]
    assert len(prefixes) == N_CLIPS * N_PREFIXES
    assert prefixes[0] == first.n_prompt
    assert prefixes[N_PREFIXES - 1] == first.token_ids.shape[1]


def test_steps_follow_the_tokens_of_a_clip(unrecorded: UnrecordedSpeech) -> None:
    first = unrecorded.sequences[0]
    n_steps = first.token_ids.shape[1] - first.n_prompt
    steps = list(unrecorded.calls(Component.DECODER_WITH_PAST, is_stateful=False))[:n_steps]
    fed = np.concatenate([step["input_ids"] for step in steps], axis=1)
    np.testing.assert_array_equal(fed, first.token_ids[:, first.n_prompt :])


@pytest.mark.parametrize(
    ("component", "error", "agreement", "message"),
    [
        (Component.DECODER_WITH_PAST, 0.3, 0.87, "87% of its tokens are the float one's"),
        (Component.DECODER, 0.3, 0.91, "91% of its tokens are the float one's"),
        (Component.DECODER, 0.3, 0.95, None),
        (Component.ENCODER, 0.16, 0.5, "its output is off by 16%"),
        (Component.ENCODER, 0.13, 0.5, None),
    ],
)
def test_a_component_that_is_damaged_is_noted(
    component: Component, error: float, agreement: float, message: str | None
) -> None:
    notes = Notes()
    note_damage(component, Fidelity(n_calls=76, relative_error=error, token_agreement=agreement), notes)
    warning = (
        f"warning: quantization damages the {component}: {message} on clips that were not recorded; "
        "record more clips, or measure it with `sottovoce benchmark`"
    )
    assert notes.texts == ([] if message is None else [warning])
