"""Against published examples and the field's reference implementations."""

from __future__ import annotations

from collections import Counter
from math import nan

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from annotation.logic import agreement
from annotation.logic.agreement import Tally

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", example C: 4 observers, 12 units, 7 values missing
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]

RATINGS = st.integers(2, 5).flatmap(
    lambda raters: st.lists(
        st.lists(st.one_of(st.none(), st.integers(1, 5)), min_size=raters, max_size=raters),
        min_size=2,
        max_size=12,
    )
)
RANKINGS = st.integers(2, 9).flatmap(
    lambda k: st.tuples(*[st.lists(st.integers(1, 9), min_size=k, max_size=k)] * 2)
)


def units(observers: list[list[int | None]]) -> list[tuple[list[int], int]]:
    return [([v for v in unit if v is not None], 1) for unit in zip(*observers, strict=True)]


class TestAlpha:
    @pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815)])
    def test_it_is_what_krippendorff_published(self, level: str, published: float) -> None:
        value = agreement.alpha(agreement.coincidences(units(OBSERVERS)), level=level)
        assert value is not None
        assert round(value, 3) == published

    def test_two_observers_and_five_letters_are_what_he_published(self) -> None:
        # example B of the same paper
        ben, gerry = "aabbdcccedda", "babbbccceddd"
        pairs = [([ord(a), ord(b)], 1) for a, b in zip(ben, gerry, strict=True)]
        value = agreement.alpha(agreement.coincidences(pairs), level="nominal")
        assert value is not None
        assert round(value, 3) == 0.692

    @pytest.mark.parametrize("level", ["nominal", "ordinal"])
    @given(ratings=RATINGS)
    def test_it_is_what_the_reference_says(self, level: str, ratings: list[list[int | None]]) -> None:
        found = agreement.alpha(
            agreement.coincidences(([v for v in unit if v is not None], 1) for unit in ratings), level=level
        )
        data = np.array([[nan if v is None else v for v in unit] for unit in ratings]).T
        met = {v for unit in ratings if sum(v is not None for v in unit) > 1 for v in unit if v is not None}
        if len(met) < 2:
            assert found is None
            return
        # values that only stand alone in a unit are in the reference's domain, but carry no weight
        expected = krippendorff.alpha(reliability_data=data, level_of_measurement=level)
        assert found == pytest.approx(expected, abs=1e-9)

    @given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4), min_size=2, max_size=10))
    def test_units_that_are_alike_may_be_counted_together(self, ratings: list[list[int]]) -> None:
        one_by_one = agreement.coincidences((unit, 1) for unit in ratings)
        counted = agreement.coincidences(Counter(tuple(sorted(unit)) for unit in ratings).items())
        assert counted == pytest.approx(one_by_one)

    def test_nothing_to_disagree_about_has_no_alpha(self) -> None:
        assert agreement.alpha({}, level="nominal") is None
        assert agreement.alpha(agreement.coincidences([([3, 3, 3], 4)]), level="ordinal") is None
        assert agreement.alpha_interval({}, level="ordinal") is None

    def test_its_interval_holds_the_true_value_nine_times_in_ten(self) -> None:
        # two raters, two values, right three times in four and independent: alpha is (2 * 0.75 - 1) ** 2
        draw = np.random.default_rng(7)
        held, values, halves = 0, [], []
        for _ in range(100):
            truth = draw.integers(0, 2, 600)
            both = [np.where(draw.random(600) < 0.75, truth, 1 - truth) for _ in range(2)]
            blocks = {
                block: agreement.coincidences(
                    ([int(a), int(b)], 1) for a, b in zip(both[0][block::20], both[1][block::20], strict=True)
                )
                for block in range(20)
            }
            found = agreement.alpha_interval(blocks, level="nominal")
            assert found is not None
            held += found.low <= 0.25 <= found.high
            values.append(found.value)
            halves.append((found.high - found.low) / 2)
        assert held >= 88
        assert np.mean(halves) == pytest.approx(1.96 * np.std(values), rel=0.25), "no wider than it need be"


class TestConcordance:
    @given(RANKINGS)
    def test_tau_b_is_what_scipy_says(self, two: tuple[list[int], list[int]]) -> None:
        found = agreement.concordance(*two).tau_b
        if len(set(two[0])) == 1 or len(set(two[1])) == 1:
            assert found is None
        else:
            assert found == pytest.approx(stats.kendalltau(*two).statistic)

    @given(RANKINGS)
    def test_who_is_asked_first_makes_no_difference(self, two: tuple[list[int], list[int]]) -> None:
        ab, ba = agreement.concordance(*two), agreement.concordance(*reversed(two))
        assert (ab.same, ab.pairs) == (ba.same, ba.pairs)
        assert agreement.concordance(two[0], two[0]).same == ab.pairs


class TestWilson:
    @pytest.mark.parametrize(
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3
        ("right", "n", "low", "high"),
        [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ],
    )
    def test_it_is_what_newcombe_published(self, right: int, n: int, low: float, high: float) -> None:
        found = agreement.wilson(right, n)
        assert [round(bound, 4) for bound in found] == [low, high]

    def test_of_nothing_everything_is_possible(self) -> None:
        assert agreement.wilson(0, 0) == (0.0, 1.0)


class TestTally:
    def test_it_is_worked_by_hand(self) -> None:
        # item 1: 123 and 132 agree on 2 of 3 pairs, tau 1/3; item 2: three people, all the same
        found = agreement.tally([[[1, 2, 3], [1, 3, 2]], [[1, 2], [1, 2], [1, 2]]])
        assert (found.same, found.pairs, found.clusters, found.rankings) == (5, 6, 2, 4)
        assert found.mean_tau == pytest.approx((1 / 3 + 3) / 4)
        assert found.share is not None
        assert found.share.value == pytest.approx(5 / 6)

    @given(st.lists(st.lists(st.permutations([1, 2, 3]), min_size=1, max_size=3), max_size=6))
    def test_sums_of_groups_are_the_whole(self, items: list[list[list[int]]]) -> None:
        apart = agreement.tally(items[::2]) + agreement.tally(items[1::2])
        assert apart.share == agreement.tally(items).share

    def test_pairs_of_one_item_count_for_less_than_pairs_of_many(self) -> None:
        same, reverse = [[1, 2, 3, 4]] * 2, [[1, 2, 3, 4], [4, 3, 2, 1]]
        together = agreement.tally([same] * 10 + [reverse] * 10)
        # all six pairs of an item go one way: they are worth one
        assert together.effective == pytest.approx(19)
        share = together.share
        assert share is not None
        assert share.n == 120
        naive = agreement.wilson(60, 120)
        assert share.high - share.low > 2 * (naive[1] - naive[0])

    def test_where_all_items_are_alike_each_is_worth_one(self) -> None:
        assert agreement.tally([[[1, 2, 3, 4]] * 2] * 10).effective == 10

    def test_nobody_met(self) -> None:
        assert Tally().share is None
        assert Tally().mean_tau is None


class TestGold:
    def test_only_the_pairs_that_gold_orders_count_and_a_tie_is_not_right(self) -> None:
        gold = {1: 1, 2: 2, 3: 2}
        assert agreement.gold_pairs(gold, {1: 1, 2: 3, 3: 2}) == (2, 2)
        assert agreement.gold_pairs(gold, {1: 1, 2: 1, 3: 2}) == (1, 2)
        assert agreement.gold_pairs({1: 1, 2: 1}, {1: 1, 2: 2}) == (0, 0)


def test_words_go_with_the_figure() -> None:
    assert agreement.in_words(0.61) == "people agree well beyond chance"
    assert agreement.in_words(-0.2) == "people agree no more than by chance"
    assert "nobody" in agreement.in_words(None)
