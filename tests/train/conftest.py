"""Clips of four speakers with the same tones, random padding states, and what the tiny baseline gives for the clips."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from sottovoce.optimize.checks.teacher_forcing import Candidate
from sottovoce.optimize.openvino.padding_states import PaddingKeys, counts_after
from sottovoce.optimize.pipeline import quantize_again
from sottovoce.progress import Silent
from sottovoce.recipes.load import load_recipe
from sottovoce.runs import read_run
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.elastic import PaddingStates
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.runtime.model.load import load_encoder_graph
from sottovoce.speech.clips import Clip, ClipSet
from sottovoce.speech.loading import LoadedClip, load_clips
from sottovoce.terms import ElasticSpec
from sottovoce.train.variant.lessons import LessonBook
from sottovoce.train.variant.padding import Padding
from tests.support.tones import tone, write_wav

N_STATES = 12
N_LAYERS, N_HEADS, D_HEAD = 2, 2, 32
"""Of the tiny encoder."""


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> ClipSet:
    """Name eight clips of four speakers who have the same two tones: what some teach fits the others."""
    folder = tmp_path_factory.mktemp("train-speech")
    clips = []
    for i in range(8):
        path = folder / f"{i}.wav"
        write_wav(path, tone(2.0 + i / 100, pitch_hz=200.0 + 100 * (i % 2)))
        clips.append(
            Clip(clip_id=f"tone-{i}", audio=path, language="en", speaker=f"s{i // 2}", source="tones")
        )
    return ClipSet(name="tones", clips=tuple(clips))


@pytest.fixture(scope="session")
def clips(speech: ClipSet) -> tuple[LoadedClip, ...]:
    return load_clips(speech.clips, wanted=4).loaded


@pytest.fixture(scope="session")
def padding() -> Padding:
    """Make random padding of the tiny model's shape."""
    random = np.random.default_rng(0)
    labels = random.integers(0, N_STATES, (N_LAYERS, N_HEADS, 1500)).astype(np.uint8)
    keys, values = random.standard_normal((2, N_LAYERS, N_HEADS, N_STATES, D_HEAD)).astype(np.float32)
    return Padding(
        keys=PaddingKeys(
            keys=keys,
            values=values,
            counts=np.stack([[counts_after(head, N_STATES) for head in layer] for layer in labels]),
        ),
        states=random.standard_normal((N_STATES, N_HEADS * D_HEAD)).astype(np.float32),
        clusters=labels[0, 0],
    )


@pytest.fixture(scope="session")
def book(
    tiny_run: Path,
    clips: tuple[LoadedClip, ...],
    padding: Padding,
    tmp_path_factory: pytest.TempPathFactory,
) -> LessonBook:
    """Hold the lessons of the clips."""
    source = tiny_run / "fp32-stateful"
    spec = ElasticSpec(silence_centroids=N_STATES)
    student = Encoder(
        load_encoder_graph(source, ComputeSpec()),
        PaddingStates(spec, padding.states.astype(np.float16), padding.clusters),
    )
    book = LessonBook(tmp_path_factory.mktemp("book") / "lessons")
    book.write_missing(clips, Candidate.load(source, ComputeSpec()), student, Silent())
    return book


@pytest.fixture
def _little_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let training take a few seconds of speech."""
    monkeypatch.setattr("sottovoce.train.speech.MIN_AUDIO_S", 10.0)


@pytest.fixture(scope="session")
def fast_run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a run with the variant int8-fast of 12 padding states. Not to be changed."""
    folder = tmp_path_factory.mktemp("fast") / "run"
    shutil.copytree(tiny_run, folder)
    recipe = load_recipe("int8-fast", ["quantize.elastic.silence_centroids=12"])
    quantize_again(read_run(folder), recipe, Silent(), as_own=True)
    return folder
