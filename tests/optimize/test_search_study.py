"""The space of a search and its study on disk."""

from pathlib import Path
from typing import Any

import pytest

from sottovoce.errors import InputError, SpecError
from sottovoce.optimize.search.report import Settings, TrialOutcome, describe_settings
from sottovoce.optimize.search.search import divide
from sottovoce.optimize.search.space import Space, space_of
from sottovoce.optimize.search.study import Study, first_settings
from sottovoce.recipes.load import load_recipe, parse_recipe
from sottovoce.statistics.intervals import Interval

ALPHA = "quantize.components.encoder.smooth_quant_alpha"
MARGIN = "quantize.elastic.margin_s"
PURPOSE = {"recipe": "a", "model": "tiny"}


def space(choices: dict[str, Any]) -> Space:
    raw = {**load_recipe("int8-fast").resolved(), "search": {"choices": choices}}
    return space_of(parse_recipe(raw, "test"))


@pytest.fixture
def small() -> Space:
    return space({ALPHA: [0.6, 0.7], MARGIN: [0.5, 1.0, 1.5]})


def outcome(speedup: float = 2.0, divergence: float = 0.01) -> TrialOutcome:
    return TrialOutcome(
        speedup=speedup,
        flips=0.01,
        divergence=divergence,
        n_tokens=10,
        size_bytes=1,
        wer_increase=Interval(value=0.0, low=0.0, high=0.0),
    )


def test_the_recipes_own_value_is_first_and_values_are_distinct(small: Space) -> None:
    assert small.choices[ALPHA] == (0.8, 0.6, 0.7)
    assert small.choices[MARGIN] == (0.5, 1.0, 1.5)
    assert small.n_combinations == 9


def test_settings_change_the_recipe_and_nothing_else(small: Space) -> None:
    changed = small.with_settings({ALPHA: 0.6, MARGIN: 1.0})
    assert changed.quantize.components.encoder.smooth_quant_alpha == 0.6
    assert changed.quantize.elastic is not None
    assert changed.quantize.elastic.margin_s == 1.0
    assert small.with_settings(small.own) == small.recipe


def test_all_clips_are_transcribed_where_one_choice_needs_tokens(small: Space) -> None:
    assert small.recipe.n_transcribed_clips == 8
    w4 = {"scheme": "w4", "group_size": 64, "scale_estimation": True}
    assert space({"quantize.components.decoder": [w4]}).recipe.n_transcribed_clips == 64


def test_all_choices_of_the_ready_recipe_are_valid() -> None:
    ready = space_of(load_recipe("search"))
    for settings in first_settings(ready):
        ready.with_settings(settings)
    assert ready.n_combinations > 1000


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"quantize.components.encoder.smooth_quant_alfa": [0.1]}, "no such key"),
        ({"quantize.components.encoder.smooth_quant_alpha.x": [0.1]}, "no such key"),
        ({ALPHA: [1.7]}, "less than or equal to 1"),
        ({ALPHA: ["much"]}, "valid number"),
        ({ALPHA: [0.8]}, "one value only"),
        ({"calibration.n_clips": [8]}, "keys of the section quantize only"),
    ],
)
def test_an_invalid_choice_is_refused_and_named(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        space(choices)
    assert next(iter(choices)).rsplit(".", 1)[-1] in str(caught.value)


def test_a_recipe_without_choices_is_refused() -> None:
    with pytest.raises(SpecError, match="has no section search"):
        space_of(load_recipe("int8-fast"))


def test_each_choice_alone_is_tried_first(small: Space) -> None:
    first = list(first_settings(small))
    assert first[0] == small.own
    alone = [{path for path in settings if settings[path] != small.own[path]} for settings in first[1:]]
    assert [len(paths) for paths in alone] == [1, 1, 1, 1]
    assert alone[:2] == [{ALPHA}, {MARGIN}]


def test_no_setting_is_tried_twice_and_the_end_is_reported(small: Space, tmp_path: Path) -> None:
    study = Study(tmp_path, small, purpose=PURPOSE, seed=0)
    seen = []
    while (drawn := study.draw()) is not None:
        number, settings = drawn
        seen.append(settings)
        study.add(number, outcome(2.0, 0.01 * len(seen)))
    assert len(seen) == len({str(settings) for settings in seen}) == 9
    assert len(study.trials()) == 9


def test_a_failed_trial_is_kept_with_its_reason_and_not_tried_again(small: Space, tmp_path: Path) -> None:
    study = Study(tmp_path, small, purpose=PURPOSE, seed=0)
    drawn = study.draw()
    assert drawn is not None
    study.add(drawn[0], TrialOutcome(failure="destroyed"))
    (kept,) = Study(tmp_path, small, purpose=PURPOSE, seed=0).trials()
    assert kept.outcome.failure == "destroyed"
    again = study.draw()
    assert again is not None
    assert again[1] != drawn[1]


def test_a_study_that_was_interrupted_draws_the_running_trial_again(small: Space, tmp_path: Path) -> None:
    study = Study(tmp_path, small, purpose=PURPOSE, seed=0)
    for _ in range(2):
        drawn = study.draw()
        assert drawn is not None
        study.add(drawn[0], outcome())
    study.spent_s = 12.5
    interrupted = study.draw()
    assert interrupted is not None
    del study
    reopened = Study(tmp_path, small, purpose=PURPOSE, seed=0)
    assert len(reopened.trials()) == 2
    assert reopened.spent_s == 12.5
    drawn_again = [reopened.draw() for _ in range(3)]
    assert interrupted[1] in [each[1] for each in drawn_again if each is not None]


def test_two_workers_get_different_settings(small: Space, tmp_path: Path) -> None:
    study = Study(tmp_path, small, purpose=PURPOSE, seed=0)
    drawn = [study.draw() for _ in range(6)]
    assert len({str(each[1]) for each in drawn if each is not None}) == 6


def test_a_study_with_another_purpose_is_refused(small: Space, tmp_path: Path) -> None:
    Study(tmp_path, small, purpose=PURPOSE, seed=0)
    with pytest.raises(InputError, match="another model"):
        Study(tmp_path, small, purpose={**PURPOSE, "model": "base"}, seed=0)


@pytest.mark.parametrize(
    ("n_clips", "judging", "confirming"),
    [
        (200, range(48), range(48, 168)),
        (168, range(48), range(48, 168)),
        (150, range(48), range(30, 150)),
        (93, range(46), range(93)),
        (1, range(1), range(1)),
    ],
)
def test_too_few_clips_are_shared_so_that_word_errors_are_counted_on_the_other_half_first(
    n_clips: int, judging: range, confirming: range
) -> None:
    section = load_recipe("search").search
    assert section is not None
    assert divide(range(n_clips), section) == (tuple(judging), tuple(confirming))


def test_a_damaged_study_is_one_clear_error(small: Space, tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"not a database at all, but long enough to be read as one" * 40)
    with pytest.raises(InputError, match=r"study\.db is damaged"):
        Study(tmp_path, small, purpose=PURPOSE, seed=0)


def test_settings_are_described_by_what_differs(small: Space) -> None:
    assert describe_settings(small.own, small.own) == "as the recipe says"
    assert describe_settings({**small.own, ALPHA: 0.6}, small.own) == "smooth_quant_alpha=0.6"
    kept: Settings = {"keep": [{"reason": "why", "types": ["Convolution"], "names": [], "patterns": []}]}
    assert describe_settings(kept, {"keep": []}) == "keep=Convolution"
