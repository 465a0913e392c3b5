"""Teacher forcing: a variant against itself, against another layout, and against a damaged one."""

import shutil
from pathlib import Path

import numpy as np
import openvino
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from sottovoce.optimize.checks.teacher_forcing import (
    Candidate,
    Comparison,
    TeacherSequence,
    compare,
    generate_teachers,
    kl_divergence,
)
from sottovoce.progress import Silent
from sottovoce.runtime.loading import load
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import component_path
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.speech.loading import LoadedClip, load_clips
from sottovoce.speech.sets import read_speech
from sottovoce.terms import Component

LOGITS = arrays(np.float32, 12, elements=st.floats(-8, 8, width=32))


@pytest.fixture(scope="module")
def clips(tones: Path) -> tuple[LoadedClip, ...]:
    return load_clips(read_speech(str(tones)).clips, wanted=3).loaded


@pytest.fixture(scope="module")
def teachers(baseline: Path, clips: tuple[LoadedClip, ...]) -> tuple[TeacherSequence, ...]:
    return generate_teachers(Candidate.load(baseline, ComputeSpec()), clips, Silent())


def compared(folder: Path, teachers: tuple[TeacherSequence, ...]) -> Comparison:
    return compare(Candidate.load(folder, ComputeSpec()), teachers)


def test_the_baseline_generates_the_tokens_of_its_transcript(
    baseline: Path, clips: tuple[LoadedClip, ...], teachers: tuple[TeacherSequence, ...]
) -> None:
    transcriber, candidate = load(baseline), Candidate.load(baseline, ComputeSpec())
    options = TranscribeOptions(
        language="en",
        without_timestamps=True,
        temperature=0.0,
        log_prob_threshold=-1e9,  # a random model is never sure
        vad_filter=False,
    )
    for clip, teacher in zip(clips, teachers, strict=True):
        transcript = transcriber.transcribe(clip.wave, options)
        segments = transcript.segments
        assert candidate.transcribe(teacher).strip() == transcript.text
        end = teacher.tokens[-1]
        texts = tuple(token for segment in segments for token in segment.tokens)
        assert tuple(token for token in teacher.tokens if token < end) == texts
        # The end token is appended: a random model goes on until it is stopped.
        assert [int(token) for token in teacher.likeliest[:-1, 0]] == list(teacher.tokens[:-1])


def test_a_variant_agrees_with_itself(baseline: Path, teachers: tuple[TeacherSequence, ...]) -> None:
    same = compared(baseline, teachers)
    assert same.top1_disagreement == 0
    assert same.kl_divergence == pytest.approx(0, abs=1e-5)
    assert same.n_tokens == sum(len(teacher.tokens) for teacher in teachers)


def test_the_layout_makes_no_difference(tiny_run: Path, teachers: tuple[TeacherSequence, ...]) -> None:
    """One is fed token by token, the other all tokens at once."""
    stateful = compared(tiny_run / "fp32-stateful", teachers)
    assert stateful.top1_disagreement == 0
    assert stateful.kl_divergence == pytest.approx(0, abs=1e-4)


def test_a_damaged_variant_diverges(
    tiny_run: Path, teachers: tuple[TeacherSequence, ...], tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_run / "fp32-stateful", damaged)
    path = component_path(damaged, Component.ENCODER)
    core = openvino.Core()
    model = core.read_model(path)
    generator = np.random.default_rng(0)
    for operation in model.get_ops():
        if operation.get_type_name() == "Constant" and len(operation.get_output_shape(0)) == 2:
            noise = 0.1 * generator.standard_normal(operation.data.shape).astype(np.float32)
            noisy = openvino.opset13.constant(operation.data + noise)
            for target in operation.output(0).get_target_inputs():
                target.replace_source_output(noisy.output(0))
    openvino.save_model(model, tmp_path / "noisy.xml", compress_to_fp16=False)
    del model
    for suffix in (".xml", ".bin"):
        (tmp_path / f"noisy{suffix}").replace(path.with_suffix(suffix))
    assert (
        compared(damaged, teachers).kl_divergence
        > 100 * compared(tiny_run / "fp32-stateful", teachers).kl_divergence
    )


@given(LOGITS, LOGITS)
def test_the_divergence_is_that_of_scipy_where_all_tokens_are_compared(
    base: np.ndarray[tuple[int], np.dtype[np.float32]], other: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> None:
    order = np.argsort(-base)
    found = kl_divergence(other, order, log_softmax(base.astype(np.float64))[order].astype(np.float32))
    expected = entropy(softmax(base.astype(np.float64)), softmax(other.astype(np.float64)))
    assert found == pytest.approx(expected, abs=2e-5)


@given(LOGITS, LOGITS, st.integers(1, 11))
def test_comparing_fewer_tokens_never_finds_more(
    base: np.ndarray[tuple[int], np.dtype[np.float32]],
    other: np.ndarray[tuple[int], np.dtype[np.float32]],
    n_compared: int,
) -> None:
    order = np.argsort(-base)
    logs = log_softmax(base.astype(np.float64))[order].astype(np.float32)
    everything = kl_divergence(other, order, logs)
    some = kl_divergence(other, order[:n_compared], logs[:n_compared])
    assert -2e-5 <= some <= everything + 2e-5
