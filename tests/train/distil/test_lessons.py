"""Which clips teach, and the loss of a student."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sottovoce.speech.clips import Clip
from sottovoce.speech.loading import LoadedClip
from sottovoce.train.distil.lessons import CROSS_ENTROPY_SHARE, TEMPERATURE, lesson_loss, taught_clips


def clip(text: str | None) -> LoadedClip:
    return LoadedClip(
        clip=Clip(clip_id="a", audio=b"", text=text, language="en"),
        wave=np.zeros(16_000, np.float32),
    )


REFERENCE = "the quick brown fox jumps over that lazy old dog"


@pytest.mark.parametrize(
    ("text", "transcript", "is_taught"),
    [
        (REFERENCE, REFERENCE, True),
        (REFERENCE, "THE quick brown fox jumps over that lazy old", True),
        (REFERENCE, "the quick brown fox jumps over that lazy", False),
        (None, "anything", True),
        (None, " ", False),
        (REFERENCE, "", False),
    ],
)
def test_a_clip_with_too_many_errors_of_the_teacher_does_not_teach(
    text: str | None, transcript: str, *, is_taught: bool
) -> None:
    found = taught_clips([clip(text)], [transcript], max_wer=0.1, language="en")
    assert [each.clip.text for each in found] == ([transcript] if is_taught else [])


def test_the_loss_is_that_of_the_teachers_words_where_the_student_is_its_teacher() -> None:
    logits, labels = torch.randn(4, 9), torch.tensor([1, 2, 3, 8])
    expected = CROSS_ENTROPY_SHARE * -torch.log_softmax(logits, -1)[torch.arange(4), labels].sum()
    assert float(lesson_loss(logits, logits, labels)) == pytest.approx(float(expected), rel=1e-5)


def test_the_divergence_is_measured_at_the_temperature() -> None:
    """Two tokens, by hand: the teacher holds the first for certain, the student both for equal."""
    teacher, student = torch.tensor([[60.0, 0.0]]), torch.zeros(1, 2)
    expected = CROSS_ENTROPY_SHARE * math.log(2) + TEMPERATURE**2 * math.log(2)
    assert float(lesson_loss(student, teacher, torch.tensor([0]))) == pytest.approx(expected, rel=1e-5)


def test_only_what_the_teacher_says_is_taught() -> None:
    (found,) = taught_clips([clip("HELLO THERE")], [" Hello there."], max_wer=0.0, language="en")
    assert found.clip.text == " Hello there."


def test_chinese_is_counted_in_characters_where_the_clip_names_no_language() -> None:
    """One of twelve characters is another: as a single word, all of the text would be wrong."""
    unnamed = clip("今天天气很好我们去公园玩")
    unnamed = replace(unnamed, clip=replace(unnamed.clip, language=None))
    assert taught_clips([unnamed], ["今天天气很好我们去公园完"], max_wer=0.1, language="zh")
    assert not taught_clips([unnamed], ["今天天气很好我们去公园完"], max_wer=0.1, language="en")
