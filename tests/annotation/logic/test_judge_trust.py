"""How far a judge may be trusted: worked numbers, properties, and simulated judges."""

from __future__ import annotations

import random
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.logic import judge_trust
from annotation.logic.agreement import wilson
from annotation.logic.judge_trust import JudgedPair

# prompt, p, votes for the first and for the second
WORKED = [
    JudgedPair(1, 0.9, 2, 0, longer=1, own=1),
    JudgedPair(1, 0.6, 1, 1, longer=-1),
    JudgedPair(2, 0.2, 2, 1, longer=-1, own=-1),
    JudgedPair(3, 0.5, 0, 2),
    JudgedPair(4, 0.3, 0, 1, longer=1),
]
pairs = st.lists(
    st.builds(
        JudgedPair,
        prompt=st.integers(1, 6),
        p=st.floats(0, 1),
        first=st.integers(1, 3),
        second=st.integers(0, 3),
        longer=st.sampled_from((-1, 0, 1)),
        own=st.sampled_from((-1, 0, 1)),
    ),
    min_size=1,
    max_size=30,
)


def simulated(
    rng: random.Random, prompts: int, *, skill: float, people: float = 0.8, votes: int = 2
) -> list[JudgedPair]:
    """One pair a prompt with a better answer, which each person prefers with probability `people` and the judge with
    probability `skill`."""
    made = []
    for prompt in range(prompts):
        is_first = rng.random() < 0.5
        first = sum((rng.random() < people) == is_first for _ in range(votes))
        sure = rng.uniform(0.5, 1)
        p = sure if (rng.random() < skill) == is_first else 1 - sure
        made.append(JudgedPair(prompt, p, first, votes - first))
    return made


# --- agreement ------------------------------------------------------------------------------------------------


def test_both_agreements_are_of_the_same_pairs_each_once() -> None:
    comparison = judge_trust.compare_with_people(WORKED)
    assert comparison is not None
    assert (comparison.pairs, comparison.prompts) == (4, 3)
    # the judge: 1, 1/2, 1/3, 1/2; people: 1, 0, 1/3, 1
    assert comparison.judge.value == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert comparison.people.value == pytest.approx((1 + 0 + 1 / 3 + 1) / 4)
    assert comparison.ratio is not None
    assert comparison.ratio.value == pytest.approx(1)
    assert judge_trust.compare_with_people([WORKED[-1]]) is None


def test_the_interval_of_independent_pairs_is_wilsons() -> None:
    right = [JudgedPair(n, 0.9, 1, 0) for n in range(30)] + [JudgedPair(n, 0.9, 0, 1) for n in range(30, 40)]
    interval = judge_trust.agreement(right, lambda pair: pair.judge_agreement)
    assert interval is not None
    # nearly 40 independent pairs: the variance is estimated with n - 1
    assert (interval.low, interval.high) == pytest.approx(wilson(30, 40), abs=0.003)


def test_pairs_of_one_prompt_do_not_narrow_an_interval_like_independent_ones() -> None:
    alike = [JudgedPair(n // 10, 0.9, int(n < 150), int(n >= 150)) for n in range(200)]
    interval = judge_trust.agreement(alike, lambda pair: pair.judge_agreement)
    assert interval is not None
    low, high = wilson(15, 20)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.01)


def test_the_bootstrap_is_about_as_wide_as_the_other_interval_and_repeats() -> None:
    made = simulated(random.Random(1), 300, skill=0.75)
    one, again, other = (judge_trust.compare_with_people(made, seed=seed) for seed in (0, 0, 1))
    assert one is not None
    assert one == again
    assert one != other
    assert one.judge_bootstrap.low == pytest.approx(one.judge.low, abs=0.015)
    assert one.judge_bootstrap.high == pytest.approx(one.judge.high, abs=0.015)
    assert one.ratio is not None
    assert one.ratio.low < one.judge.value / one.people.value < one.ratio.high


def test_many_prompts_are_drawn_in_groups_with_the_same_interval() -> None:
    rng = random.Random(2)
    clusters = [(float(rng.random() < 0.7), 1.0) for _ in range(4000)]
    (bounds,) = judge_trust.bootstrap(clusters, lambda same, n: same / n)
    assert bounds is not None
    share = sum(same for same, _ in clusters) / 4000
    half = 1.96 * (share * (1 - share) / 4000) ** 0.5
    assert bounds == pytest.approx((share - half, share + half), abs=0.003)
    assert judge_trust.bootstrap(clusters[:1], lambda same, n: same / n) == [None]


def test_where_people_never_agree_there_is_no_ratio() -> None:
    split = [JudgedPair(n, 0.7, 1, 1) for n in range(5)]
    comparison = judge_trust.compare_with_people(split)
    assert comparison is not None
    assert (comparison.people.value, comparison.ratio) == (0, None)
    one_prompt = judge_trust.compare_with_people([JudgedPair(1, 0.7, 2, 0)])
    assert one_prompt is not None
    assert one_prompt.ratio is not None
    assert (one_prompt.ratio.low, one_prompt.ratio.high) == (0, inf)


def test_the_weight_of_an_opinion() -> None:
    assert judge_trust.weight(0.7) == pytest.approx(0.32)
    assert judge_trust.weight(0.6) == pytest.approx(0.08)
    assert judge_trust.weight(0.9) == 1
    assert [judge_trust.weight(low) for low in (None, 0.0, 0.4, 0.5)] == [0, 0, 0, 0]


def test_cohens_kappa() -> None:
    # Cohen's 2 x 2: 20 both first, 5 and 10 apart, 15 both second: o = 0.7, e = 0.5
    table = [(0.9, 1, 0, 20), (0.9, 0, 1, 5), (0.1, 1, 0, 10), (0.1, 0, 1, 15)]
    made = [JudgedPair(0, p, first, second) for p, first, second, times in table for _ in range(times)]
    assert judge_trust.kappa(made) == pytest.approx(0.4)
    assert judge_trust.kappa([]) is None
    assert judge_trust.kappa([JudgedPair(0, 0.9, 1, 0)] * 3) is None


@given(pairs)
def test_agreements_are_shares_and_do_not_depend_on_which_response_is_first(made: list[JudgedPair]) -> None:
    swapped = [
        JudgedPair(pair.prompt, 1 - pair.p, pair.second, pair.first, -pair.longer, -pair.own) for pair in made
    ]
    for pair, other in zip(made, swapped, strict=True):
        assert 0 <= pair.judge_agreement <= 1
        if 1 - (1 - pair.p) == pair.p:
            assert other.judge_agreement == pytest.approx(pair.judge_agreement)
        if pair.votes > 1:
            assert 0 <= other.people_agreement == pair.people_agreement <= 1
    assert judge_trust.fit_scale(swapped) == pytest.approx(judge_trust.fit_scale(made), abs=1e-6)


# --- calibration ----------------------------------------------------------------------------------------------


def test_a_judge_that_is_always_as_sure_gets_the_rule_of_succession() -> None:
    made = [JudgedPair(n, 0.9, int(n < 7), int(n >= 7)) for n in range(10)]
    assert judge_trust.recalibrated(0.9, judge_trust.fit_scale(made)) == pytest.approx(8 / 12)
    always = [JudgedPair(n, 1.0, 1, 0) for n in range(10)]
    assert judge_trust.recalibrated(1.0, judge_trust.fit_scale(always)) == pytest.approx(11 / 12)


def test_votes_count_by_their_share() -> None:
    made = [JudgedPair(n, 0.8, 3, 1) for n in range(98)]
    assert judge_trust.recalibrated(0.8, judge_trust.fit_scale(made)) == pytest.approx((98 * 0.75 + 1) / 100)


def test_a_judge_that_is_against_people_or_says_nothing_gets_a_half() -> None:
    against = [JudgedPair(n, 0.9, 0, 1) for n in range(20)]
    assert judge_trust.fit_scale(against) == 0
    assert judge_trust.recalibrated(0.99, 0) == 0.5
    assert judge_trust.fit_scale([JudgedPair(1, 0.5, 1, 0)] * 5) == 0
    assert judge_trust.fit_scale([]) == 0


def test_fit_scale_recovers_the_scale_that_made_the_votes() -> None:
    rng = random.Random(3)
    made = []
    for n in range(4000):
        p = rng.uniform(0.01, 0.99)
        is_first = rng.random() < judge_trust.recalibrated(p, 0.4)
        made.append(JudgedPair(n, p, int(is_first), int(not is_first)))
    assert judge_trust.fit_scale(made) == pytest.approx(0.4, abs=0.05)
    raw = judge_trust.calibration_error(judge_trust.reliability(made))
    fitted = judge_trust.calibration_error(judge_trust.reliability(made, judge_trust.cross_fitted(made)))
    assert raw is not None
    assert fitted is not None
    assert raw > 0.1
    assert fitted < 0.03


@given(pairs)
def test_no_other_scale_makes_the_votes_more_likely(made: list[JudgedPair]) -> None:
    scale = judge_trust.fit_scale(made)
    logits = [judge_trust._logit(pair.p) for pair in made]
    size = (sum(x * x for x in logits) / len(logits)) ** 0.5
    rows = [*zip(logits, (pair.people for pair in made), strict=True), (size, 1.0), (size, 0.0)]

    def likelihood(a: float) -> float:
        log = judge_trust.log
        chances = ((judge_trust._sigmoid(a * x), judge_trust._sigmoid(-a * x), y) for x, y in rows)
        return sum(y * log(max(q, 1e-300)) + (1 - y) * log(max(r, 1e-300)) for q, r, y in chances)

    assert scale >= 0
    best = likelihood(scale)
    assert all(likelihood(a) <= best + 1e-6 for a in (scale * 0.9, scale * 1.1, scale + 0.01, 0.0))


def test_cross_fitting_gives_a_prompt_what_the_others_say() -> None:
    made = [JudgedPair(n, 0.9, int(n != 0), int(n == 0)) for n in range(5)]
    fitted = judge_trust.cross_fitted(made)
    # five folds of one prompt each: the first one sees 4 of 4, the others 3 of 4
    assert fitted == pytest.approx([5 / 6, *[4 / 6] * 4])
    assert judge_trust.cross_fitted(made[:1]) == [0.5]


def test_reliability_and_the_calibration_error() -> None:
    made = [JudgedPair(1, 0.92, 1, 0), JudgedPair(2, 0.06, 0, 1), JudgedPair(3, 0.55, 0, 1)]
    low, high = judge_trust.reliability(made)
    assert (low.confidence, low.accuracy, low.pairs) == (0.55, 0, 1)
    assert (high.confidence, high.accuracy, high.pairs) == (pytest.approx(0.93), 1, 2)
    assert judge_trust.calibration_error([low, high]) == pytest.approx((2 * 0.07 + 0.55) / 3)
    assert judge_trust.calibration_error([]) is None
    assert judge_trust.reliability([JudgedPair(1, 1.0, 1, 0)])[0].confidence == 1


# --- biases ---------------------------------------------------------------------------------------------------


def test_swap_consistency() -> None:
    interval = judge_trust.swap_consistency(8, 10)
    assert interval is not None
    assert (interval.value, interval.low, interval.high) == (0.8, *wilson(8, 10))
    assert judge_trust.swap_consistency(0, 0) is None


def test_preference_of_length_is_beside_that_of_people_on_the_same_pairs() -> None:
    length = judge_trust.length_preference(WORKED)
    assert length is not None
    # longer: judge 1, 0, 1, 0; people 1, 1/2, 1/3, 0
    assert length.judge == pytest.approx(1 / 2)
    assert length.people == pytest.approx((1 + 1 / 2 + 1 / 3 + 0) / 4)
    assert length.difference.value == pytest.approx(length.judge - length.people)
    assert length.difference.n == 4
    assert judge_trust.length_preference([JudgedPair(1, 0.9, 1, 0)]) is None


def test_preference_of_its_own_answers() -> None:
    own = judge_trust.self_preference(WORKED)
    assert own is not None
    assert (own.judge, own.people, own.difference.n) == (1, pytest.approx((1 + 1 / 3) / 2), 2)


def test_a_judge_that_prefers_longer_answers_differs_from_people() -> None:
    rng = random.Random(4)
    made = [
        JudgedPair(n, 0.7 if longer > 0 else 0.3, first, 1 - first, longer=longer)
        for n in range(200)
        for longer, first in [(rng.choice((-1, 1)), rng.randint(0, 1))]
    ]
    length = judge_trust.length_preference(made)
    assert length is not None
    assert length.judge == 1
    assert length.difference.low > judge_trust.MAX_EXCESS_LENGTH_PREFERENCE


# --- simulated judges -----------------------------------------------------------------------------------------


def test_a_blind_judge_gets_no_weight_and_one_with_people_s_skill_does() -> None:
    rng = random.Random(5)
    weights = []
    for _ in range(200):
        agreement = judge_trust.agreement(simulated(rng, 80, skill=0.5), lambda pair: pair.judge_agreement)
        assert agreement is not None
        weights.append(judge_trust.weight(agreement.low))
    # by a two-sided interval of 95%, one in forty, and then next to nothing
    assert sum(weight > 0 for weight in weights) <= 10
    assert max(weights) < 0.02
    good = judge_trust.compare_with_people(simulated(rng, 200, skill=0.9))
    assert good is not None
    assert good.ratio is not None
    assert good.ratio.low > judge_trust.MIN_RATIO
    assert judge_trust.weight(good.judge.low) > 0.1


def test_three_right_answers_are_no_evidence() -> None:
    three = judge_trust.compare_with_people([JudgedPair(n, 0.9, 2, 0) for n in range(3)])
    assert three is not None
    assert judge_trust.weight(three.judge.low) == 0


def test_intervals_of_the_ratio_cover_it() -> None:
    rng = random.Random(6)
    # people agree on 0.8² + 0.2² = 0.68, the judge with them on 0.7 · 0.8 + 0.3 · 0.2 = 0.62
    truth, covered = 0.62 / 0.68, 0
    for _ in range(100):
        comparison = judge_trust.compare_with_people(simulated(rng, 100, skill=0.7))
        assert comparison is not None
        assert comparison.ratio is not None
        covered += comparison.ratio.low <= truth <= comparison.ratio.high
    assert covered >= 89


# --- cascade --------------------------------------------------------------------------------------------------


def test_a_cascade_takes_opinions_where_the_judge_is_sure_and_right() -> None:
    # sure and right on easy pairs, unsure and wrong half the time on the others
    easy = [JudgedPair(n, 0.9, 2, 0) if n % 8 else JudgedPair(n, 0.9, 1, 1) for n in range(400)]
    hard = [JudgedPair(n, 0.58, 2 * (n % 2), 2 - 2 * (n % 2)) for n in range(400, 600)]
    found = judge_trust.cascade(easy + hard, 1.0)
    assert found is not None
    assert found.threshold == 0.1
    assert found.share == pytest.approx(400 / 600)
    assert (found.judge.value, found.people.value) == (pytest.approx(0.9375), pytest.approx(0.875))


def test_there_is_no_cascade_of_a_judge_that_is_worse_than_people_or_of_few_pairs() -> None:
    worse = [JudgedPair(n, 0.9 if n % 4 else 0.1, 2, 0) for n in range(400)]
    assert judge_trust.cascade(worse, 1.0) is None
    assert judge_trust.cascade([JudgedPair(n, 0.9, 2, 0) for n in range(20)], 1.0) is None
    assert judge_trust.cascade([JudgedPair(n, 0.9, 2, 1) for n in range(400)], 0.0) is None
    assert judge_trust.cascade([JudgedPair(n, 0.9, 1, 0) for n in range(400)], 1.0) is None
