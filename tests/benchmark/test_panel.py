"""The same transcripts under several normalizers, and by part of the clips."""

import numpy as np
import pytest

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import AccuracyVerdict, Normalizer
from sottovoce.benchmark.statistics.panel import disagrees, make_panel, normalize_as
from sottovoce.benchmark.statistics.strata import StratumKind, group_by_stratum
from sottovoce.statistics.accuracy import word_errors
from sottovoce.statistics.intervals import make_blocks
from tests.support.results import build_sample

ROW = build_sample().rows[0]


@pytest.mark.parametrize(
    ("normalizer", "text", "language", "expected"),
    [
        (Normalizer.RAW, "Mr. Smith's 22 cats!", "en", "Mr. Smith's 22 cats!"),
        (Normalizer.WHISPER, "Mr. Smith's twenty two cats!", "en", "mister smith is 22 cats"),
        (Normalizer.WHISPER_BASIC, "Mr. Smith's 22 cats!", "en", "mr smith s 22 cats"),
        (Normalizer.CHARACTERS, "A cat.", "en", "a c a t"),
        (Normalizer.CHARACTERS, "貓 在", "zh", "猫 在"),
    ],
)
def test_each_normalizer_gives_the_expected_text(
    normalizer: Normalizer, text: str, language: str, expected: str
) -> None:
    assert normalize_as(normalizer, text, language) == expected


def test_a_variant_that_only_loses_punctuation_is_beyond_the_margin_in_raw_text_alone() -> None:
    said = "the cat, the dog and the bird."
    texts = [(said, said, said.replace(",", "").replace(".", ""), "en")] * 150
    panel = make_panel(texts, make_blocks([None] * 150), margin=0.005, rng=np.random.default_rng(0))
    verdicts = {row.normalizer: row.verdict for row in panel}
    assert verdicts.pop(Normalizer.RAW) is AccuracyVerdict.BEYOND
    assert set(verdicts.values()) == {AccuracyVerdict.WITHIN}
    assert disagrees(panel)


def test_characters_are_counted_as_an_error_rate_of_characters() -> None:
    (row,) = [
        row
        for row in make_panel(
            [("abcd", "abcd", "abxd", "en")], make_blocks([None]), margin=0.5, rng=np.random.default_rng(0)
        )
        if row.normalizer is Normalizer.CHARACTERS
    ]
    assert row.delta.value == pytest.approx(0.25)
    assert row.variant == word_errors("a b c d", "a b x d")


def row(**changed: object) -> ClipRow:
    return ROW.model_copy(update=changed)


def test_a_clip_is_in_one_stratum_of_each_kind_that_it_has() -> None:
    rows = [
        row(language="en", speaker=None, audio_s=4.9, snr_db=10.0),
        row(language="de", speaker="a", audio_s=5.0, snr_db=30.0),
        row(language="en", speaker="a", audio_s=25.0, snr_db=None),
    ]
    parts = group_by_stratum(rows)
    assert parts[StratumKind.LANGUAGE, "en"] == (0, 2)
    assert parts[StratumKind.SPEAKER, "a"] == (1, 2)
    assert [name for kind, name in parts if kind is StratumKind.LENGTH] == [
        "under 5 s",
        "5 to 10 s",
        "20 s and over",
    ]
    assert [name for kind, name in parts if kind is StratumKind.NOISE] == ["under 15 dB", "30 dB and over"]
