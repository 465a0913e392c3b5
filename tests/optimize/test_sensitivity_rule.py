"""The rule which blocks cost more than they save, and the keys of a recipe that follow."""

from dataclasses import replace
from itertools import count

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.optimize.sensitivity.report import BlockKind, BlockResult, Implication
from sottovoce.optimize.sensitivity.rule import (
    MIN_COST_RATIO,
    MIN_DIVERGENCE_SHARE,
    Assessment,
    Cost,
    advise,
    imply,
)
from sottovoce.optimize.sensitivity.timing import BUDGET_S, MAX_ROUNDS, MIN_ROUNDS, time_in_turns
from sottovoce.recipes.load import load_recipe, override_recipe, parse_recipe
from sottovoce.recipes.recipe import ComponentQuantization, ComponentSpecs, KeepFloat
from sottovoce.terms import Component

KEEP = Implication.KEEP_FLOAT

divergences = st.floats(0, 1, allow_subnormal=False).map(lambda nats: round(nats, 6))
savings = st.floats(-0.05, 0.05).map(lambda seconds: round(seconds, 6))
studies = st.lists(st.builds(Cost, divergence=divergences, saved_s=savings), min_size=1, max_size=40)


def implications(*costs: tuple[float, float]) -> list[Implication]:
    found = imply([Cost(divergence=divergence, saved_s=saved) for divergence, saved in costs])
    return [verdict.implies for verdict in found]


def test_a_block_that_costs_much_and_saves_little_is_to_stay_float() -> None:
    assert implications((0.9, 0.1), (0.05, 0.9), (0.01, -0.1), (0.04, 0.3)) == [
        KEEP,
        Implication.WORTH_IT,
        Implication.NO_GAIN,
        Implication.HARMLESS,
    ]


def test_a_block_that_costs_most_is_worth_it_if_it_saves_most() -> None:
    assert implications((0.9, 0.9), (0.1, 0.1)) == [Implication.WORTH_IT, Implication.WORTH_IT]


def test_where_nothing_saves_time_whatever_costs_is_to_stay_float() -> None:
    assert implications((0.9, -0.1), (0.01, 0.0)) == [KEEP, Implication.NO_GAIN]


def test_where_nothing_diverges_nothing_is_to_stay_float() -> None:
    assert implications((0.0, 0.1), (0.0, -0.1)) == [Implication.HARMLESS, Implication.NO_GAIN]


def kept(verdicts: tuple[Assessment, ...]) -> list[int]:
    return [place for place, verdict in enumerate(verdicts) if verdict.implies is KEEP]


@given(studies)
def test_blocks_that_stay_float_cost_much_and_give_up_at_most_a_third_of_the_time(costs: list[Cost]) -> None:
    verdicts = imply(costs)
    assert len(verdicts) == len(costs)
    for place in kept(verdicts):
        assert verdicts[place].divergence_share >= MIN_DIVERGENCE_SHARE
    given_up = sum(verdicts[place].saving_share for place in kept(verdicts))
    assert given_up <= 1 / MIN_COST_RATIO + 1e-9


@given(studies)
def test_shares_add_up(costs: list[Cost]) -> None:
    verdicts = imply(costs)
    for shares, whole in (
        ([v.divergence_share for v in verdicts], sum(cost.divergence for cost in costs)),
        ([v.saving_share for v in verdicts], sum(max(0.0, cost.saved_s) for cost in costs)),
    ):
        assert sum(shares) == pytest.approx(1.0 if whole > 0 else 0.0)


@given(studies, st.integers(1, 6), st.integers(1, 6))
def test_units_do_not_matter(costs: list[Cost], nats: int, seconds: int) -> None:
    scaled = [Cost(divergence=cost.divergence * 2**nats, saved_s=cost.saved_s * 2**seconds) for cost in costs]
    assert kept(imply(scaled)) == kept(imply(costs))


@given(studies, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(costs: list[Cost], random: object) -> None:
    places = list(range(len(costs)))
    random.shuffle(places)  # type: ignore[attr-defined]  # hypothesis' own Random
    shuffled = imply([costs[place] for place in places])
    verdicts = imply(costs)
    for place, verdict in zip(places, shuffled, strict=True):
        assert verdict.divergence_share == pytest.approx(verdicts[place].divergence_share)
        assert verdict.saving_share == pytest.approx(verdicts[place].saving_share)


@given(studies, st.data())
def test_a_block_that_is_to_stay_float_still_is_when_it_diverges_more(
    costs: list[Cost], data: st.DataObject
) -> None:
    found = kept(imply(costs))
    if not found:
        return
    place = data.draw(st.sampled_from(found))
    worse = [
        replace(cost, divergence=2 * cost.divergence) if at == place else cost
        for at, cost in enumerate(costs)
    ]
    assert place in kept(imply(worse))


def result(kind: BlockKind, layer: int | None, implies: Implication, component: Component) -> BlockResult:
    return BlockResult(
        component=component,
        kind=kind,
        layer=layer,
        pattern=rf".*[.]layers[.]{layer}[.]fc[12]/.*",
        n_weights=2,
        flips=0.01,
        divergence=0.01,
        divergence_error=0.001,
        output_error=None,
        saved_s=0.001,
        saved_low_s=0.0,
        saved_high_s=0.002,
        divergence_share=0.8,
        saving_share=0.05,
        implies=implies,
    )


def ffn(layer: int, implies: Implication = KEEP, component: Component = Component.ENCODER) -> BlockResult:
    return result(BlockKind.FFN, layer, implies, component)


@pytest.mark.parametrize("name", ["int8", "int8-fast"])
def test_the_advice_can_be_put_into_a_recipe_and_on_the_command_line(name: str) -> None:
    recipe = load_recipe(name)
    (advice,), notes = advise((ffn(3), ffn(1), ffn(2, Implication.HARMLESS)), recipe.quantize.components)
    section = yaml.safe_load(advice.recipe)["quantize"]["components"]["encoder"]
    raw = recipe.resolved()
    raw["quantize"]["components"]["encoder"] |= section
    pasted = parse_recipe(raw, "with the advice")
    assert pasted == override_recipe(recipe, [advice.override])
    keeps = pasted.quantize.components.encoder.keep_float
    assert keeps[: len(recipe.quantize.components.encoder.keep_float)] == (
        recipe.quantize.components.encoder.keep_float
    )
    assert [keep.patterns for keep in keeps[-2:]] == [(ffn(3).pattern,), (ffn(1).pattern,)]
    assert "80 % of the divergence" in keeps[-1].reason
    assert advice.blocks == ("layer 3 FFN", "layer 1 FFN")
    assert notes == ()


@given(st.lists(st.integers(0, 31), unique=True, max_size=6), st.text(min_size=1, max_size=30))
def test_the_advice_keeps_what_the_recipe_keeps(layers: list[int], reason: str) -> None:
    own = KeepFloat(reason=reason, names=("a: 'b' \"c\"",))
    specs = ComponentSpecs(encoder=ComponentQuantization(scheme="w8a8", keep_float=(own,)))
    advice, _ = advise([ffn(layer) for layer in layers], specs)
    assert len(advice) == bool(layers)
    for each in advice:
        keeps = yaml.safe_load(each.recipe)["quantize"]["components"]["encoder"]["keep_float"]
        key, _, value = each.override.partition("=")
        assert key == "quantize.components.encoder.keep_float"
        assert yaml.safe_load(value) == keeps
        assert KeepFloat.model_validate(keeps[0]) == own
        assert len(keeps) == 1 + len(layers)


def test_a_scheme_that_keeps_no_weight_float_gives_a_note_instead() -> None:
    specs = load_recipe("int8-fast").quantize.components
    advice, notes = advise([ffn(0, component=Component.DECODER)], specs)
    keeps_weights = "w8" in str(notes)
    assert (advice == ()) == keeps_weights
    assert len(notes) == keeps_weights


def test_two_ways_are_timed_in_turns() -> None:
    order: list[str] = []
    ticks = count()
    saving = time_in_turns(
        [lambda: order.append("float a"), lambda: order.append("float b")],
        [lambda: order.append("int8 a"), lambda: order.append("int8 b")],
        clock=lambda: float(next(ticks)) / 1000,
    )
    assert order[:4] == ["float a", "int8 a", "int8 b", "float b"]
    assert order[4:8] == ["int8 a", "float a", "float b", "int8 b"]
    assert len(order) == 4 * (1 + MAX_ROUNDS)
    assert saving.float_s == pytest.approx(0.001)
    assert (saving.saved_s, saving.low_s, saving.high_s) == pytest.approx((0.0, 0.0, 0.0))


class Clock:
    """Seconds that pass only while work is done."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def work(self, *seconds: float) -> None:
        """Take the next of some lengths in turn."""
        self.now_s += seconds[int(self.now_s) % len(seconds)]


def test_what_the_other_way_saves_is_a_median_over_rounds() -> None:
    clock = Clock()
    saving = time_in_turns([lambda: clock.work(0.3)], [lambda: clock.work(0.1)], clock=clock)
    assert saving.float_s == pytest.approx(0.3)
    assert saving.saved_s == pytest.approx(0.2)


def test_slow_work_is_done_in_fewer_rounds() -> None:
    clock = Clock()
    done: list[None] = []

    def work() -> None:
        done.append(None)
        clock.work(BUDGET_S)

    time_in_turns([work], [work], clock=clock)
    assert len(done) == 2 * (1 + MIN_ROUNDS)
