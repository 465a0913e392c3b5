"""Missed terms are counted by whole words, as often as they occur."""

import numpy as np

from sottovoce.speech.clips import Clip
from sottovoce.speech.loading import LoadedClip
from sottovoce.train.decoder.evaluation import errors_of, missed_terms
from sottovoce.train.decoder.labels import LabelledClip


def clip(text: str) -> LabelledClip:
    loaded = LoadedClip(clip=Clip(clip_id=text, audio=b"", text=text), wave=np.zeros(1, np.float32))
    return LabelledClip(clip=loaded, language="en", prompt=(), labels=())


def test_terms_are_counted_as_whole_words_in_any_capitalization() -> None:
    clips = [clip("Warfarin and warfarin for atrial fibrillation."), clip("A ferritin of nine")]
    texts = ["War for in and warfarin for Atrial Fibrillation", "apoferritin of nine"]
    assert missed_terms(clips, texts, ["warfarin", "atrial fibrillation", "ferritin"]) == (4, 2)


def test_a_term_said_more_often_than_written_makes_up_for_none() -> None:
    assert missed_terms([clip("warfarin"), clip("warfarin")], ["warfarin warfarin", ""], ["warfarin"]) == (
        2,
        1,
    )


def test_word_errors_are_of_normalized_texts() -> None:
    found = errors_of([clip("It's nine."), clip("Two words")], ["it is 9", "two"])
    assert [each.errors for each in found] == [0, 1]
