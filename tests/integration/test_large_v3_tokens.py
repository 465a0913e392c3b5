"""Large-v3's mel bins and vocabulary: 128 and 51,866, one language more, so that tasks and timestamps have other numbers."""

from pathlib import Path

import numpy as np
import pytest

from sottovoce.optimize.pipeline import optimize
from sottovoce.optimize.plan import plan
from sottovoce.progress import Silent
from sottovoce.recipes.load import load_recipe
from sottovoce.runtime import load
from sottovoce.runtime.decoding.tokenizer import WhisperTokenizer
from sottovoce.runtime.model.shape import PUBLISHED, WhisperShape
from sottovoce.runtime.transcript import Task
from sottovoce.speech.sets import read_speech
from tests.support.checkpoints import narrow_v3_checkpoint
from tests.support.tones import tone

pytestmark = [pytest.mark.large, pytest.mark.timeout(1200)]

YUE, TRANSLATE, TRANSCRIBE, NO_SPEECH, NO_TIMESTAMPS = 50_358, 50_359, 50_360, 50_363, 50_364
"""Of `added_tokens.json` of openai/whisper-large-v3."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return narrow_v3_checkpoint(tmp_path_factory.mktemp("v3") / "v3")


def test_prompts_have_the_numbers_of_large_v3(checkpoint: Path) -> None:
    tokenizer = WhisperTokenizer.load(checkpoint)
    start = tokenizer.special.start
    plain = tokenizer.prompt(language="yue", task=Task.TRANSCRIBE, with_timestamps=False)
    translated = tokenizer.prompt(language="en", task=Task.TRANSLATE, with_timestamps=True)
    assert plain == (start, YUE, TRANSCRIBE, NO_TIMESTAMPS)
    assert translated == (start, start + 1, TRANSLATE)
    assert tokenizer.special.no_speech == NO_SPEECH
    assert tokenizer.special.first_timestamp == NO_TIMESTAMPS + 1
    assert len(tokenizer.special.languages) == 100


def test_the_shape_has_128_mel_bins_and_51866_tokens(checkpoint: Path) -> None:
    shape, published = WhisperShape.read(checkpoint), PUBLISHED["large-v3"]
    assert (shape.n_mels, shape.vocab_size) == (published.n_mels, published.vocab_size) == (128, 51_866)


@pytest.mark.parametrize("recipe", ["int8-fast", "int8", "onnx-int8"])
def test_every_recipe_makes_a_variant_that_says_the_same_languages_and_times(
    checkpoint: Path, tones: Path, recipe: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    chosen = load_recipe(recipe, ("calibration.n_clips=4",))
    run = optimize(
        plan(str(checkpoint), chosen, read_speech(str(tones)), out, force=False),
        force=False,
        reporter=Silent(),
    )
    variant = load(run.folder / chosen.quantize.name)

    assert "yue" in variant.languages
    assert variant.detect_language(tone(3.0)).language in variant.languages
    transcript = variant.transcribe(tone(3.0), language="yue")
    tokens = np.concatenate([each.tokens for each in transcript.segments])
    assert tokens.size
    assert tokens.max() < YUE
