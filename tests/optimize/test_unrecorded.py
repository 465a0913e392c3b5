"""The fidelity check looks at speech that calibration did not record."""

from pathlib import Path

import numpy as np
import pytest

from sottovoce.calibrate.store import CalibrationStore
from sottovoce.optimize.checks.fidelity import note_damage
from sottovoce.optimize.checks.unrecorded import N_CLIPS, N_PREFIXES, UnrecordedSpeech, unrecorded_speech
from sottovoce.runs import Fidelity
from sottovoce.speech.sets import read_speech
from sottovoce.speech.synthetic import demo_speech
from sottovoce.terms import Component
from tests.support.notes import Notes


@pytest.fixture(scope="module")
def unrecorded(baseline: Path, record: Path) -> UnrecordedSpeech:
    return unrecorded_speech(baseline, CalibrationStore(record).clip_ids())


def test_no_recorded_clip_is_used(baseline: Path, unrecorded: UnrecordedSpeech) -> None:
    used = {each.features.tobytes() for each in unrecorded.sequences}
    assert len(used) == N_CLIPS
    ids = frozenset(clip.clip_id for clip in read_speech(str(demo_speech())).clips[:50])
    others = {each.features.tobytes() for each in unrecorded_speech(baseline, ids).sequences}
    assert others
    assert not used & others


def test_calls_of_each_component_are_those_of_the_decoded_clips(unrecorded: UnrecordedSpeech) -> None:
    n_steps = sum(each.token_ids.shape[1] - each.n_prompt for each in unrecorded.sequences)
    wanted = {
        Component.ENCODER: N_CLIPS,
        Component.DECODER: N_CLIPS * N_PREFIXES,
        Component.DECODER_WITH_PAST: n_steps,
    }
    assert n_steps >= N_CLIPS
    for component, n_calls in wanted.items():
        calls = unrecorded.calls(component, is_stateful=False)
        assert len(calls) == len(list(calls)) == n_calls
    prefixes = [call["input_ids"].shape[1] for call in unrecorded.calls(Component.DECODER, is_stateful=True)]
    first = unrecorded.sequences[0]
    assert prefixes[0] == first.n_prompt
    assert prefixes[N_PREFIXES - 1] == first.token_ids.shape[1]


def test_steps_follow_the_tokens_of_a_clip(unrecorded: UnrecordedSpeech) -> None:
    first = unrecorded.sequences[0]
    n_steps = first.token_ids.shape[1] - first.n_prompt
    steps = list(unrecorded.calls(Component.DECODER_WITH_PAST, is_stateful=False))[:n_steps]
    fed = np.concatenate([step["input_ids"] for step in steps], axis=1)
    np.testing.assert_array_equal(fed, first.token_ids[:, first.n_prompt :])


@pytest.mark.parametrize(
    ("component", "agreement", "is_noted"),
    [
        (Component.DECODER_WITH_PAST, 0.87, True),
        (Component.DECODER, 0.91, True),
        (Component.DECODER, 0.95, False),
        (Component.ENCODER, 0.5, False),
    ],
)
def test_a_decoder_that_often_chooses_other_tokens_is_noted(
    component: Component, agreement: float, *, is_noted: bool
) -> None:
    notes = Notes()
    note_damage(component, Fidelity(n_calls=76, relative_error=0.3, token_agreement=agreement), notes)
    assert [f"{agreement:.0%} of its tokens" in note for note in notes.texts] == [True] * is_noted
