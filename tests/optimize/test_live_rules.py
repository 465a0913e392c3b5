"""When live words are final: which rule is chosen, and how it is stored."""

from dataclasses import replace
from pathlib import Path

import pytest

from sottovoce.errors import InputError, SpecError, StageError
from sottovoce.optimize.live.candidates import LiveWord, Outcome, add_outcomes, choose_rule, compare_with_file
from sottovoce.optimize.live.tune import tune_live
from sottovoce.progress import Silent
from sottovoce.runs import read_run
from sottovoce.runtime.live.options import CommitPolicy, CommitRule
from sottovoce.runtime.model.variant import read_commit_rule
from sottovoce.runtime.transcript import Word
from sottovoce.speech.sets import read_speech
from sottovoce.terms import Format

QUICK = CommitRule(policy=CommitPolicy.AGREEMENT)
CAREFUL = CommitRule(policy=CommitPolicy.ALIGNMENT, guard_s=0.6)


def outcome(rule: CommitRule, n_errors: int, delay_s: float) -> Outcome:
    return Outcome(rule=rule, n_words=1000, n_errors=n_errors, delays_s=(delay_s, delay_s))


def word(text: str, end_s: float) -> Word:
    return Word(text=text, start_s=end_s - 0.2, end_s=end_s, probability=0.9)


def test_words_count_as_right_where_the_file_has_them_too() -> None:
    file = [word(" Eleven", 1.0), word(" cold", 1.4), word(" days.", 2.0)]
    live = [LiveWord(text=" eleven", committed_s=1.5), LiveWord(text=" days", committed_s=2.75)]
    found = compare_with_file(QUICK, live, file, "en")
    assert (found.n_words, found.n_errors) == (3, 1)
    assert found.delays_s == (0.5, 0.75)
    twice = add_outcomes([found, found])
    assert (twice.n_words, twice.n_errors, twice.mean_delay_s) == (6, 2, 0.625)


def test_words_that_the_file_does_not_have_are_errors() -> None:
    assert compare_with_file(QUICK, [LiveWord(text=" you", committed_s=1.0)], [], "en").n_errors == 1


@pytest.mark.parametrize(("n_errors", "chosen"), [(14, QUICK), (16, CAREFUL)])
def test_the_quickest_rule_is_chosen_unless_it_costs_words(n_errors: int, chosen: CommitRule) -> None:
    best = choose_rule([outcome(QUICK, n_errors, 0.5), outcome(CAREFUL, 10, 0.8)])
    assert best.rule == chosen


def test_a_rule_that_commits_nothing_is_not_chosen() -> None:
    deaf = Outcome(rule=QUICK, n_words=10, n_errors=0, delays_s=())
    assert choose_rule([deaf, outcome(CAREFUL, 10, 0.8)]).rule == CAREFUL
    with pytest.raises(StageError, match="no words were recognized"):
        choose_rule([deaf])


def test_a_rule_in_a_manifest_that_says_nothing_useful_is_refused(tmp_path: Path) -> None:
    for facts in (
        '{"live": 7}',
        '{"live": {"policy": "hope", "guard_s": 1}}',
        '{"live": {"policy": "agreement"}}',
    ):
        (tmp_path / "manifest.json").write_text(f'{{"facts": {facts}}}')
        with pytest.raises(InputError, match="tune-live"):
            read_commit_rule(tmp_path)
    (tmp_path / "manifest.json").write_text('{"facts": {"live": null}}')
    assert read_commit_rule(tmp_path) is None


def test_a_variant_that_does_not_align_words_is_refused(tiny_run: Path, tones: Path) -> None:
    run = read_run(tiny_run)
    variant = run.variant("int8")
    other = replace(variant, facts=variant.facts.model_copy(update={"format": Format.ONNX}))
    with pytest.raises(SpecError, match="does not align words"):
        tune_live(replace(run, variants=(run.baseline, other)), read_speech(str(tones)), Silent())
