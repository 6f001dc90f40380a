"""Who stands out, and who does not: cases by hand, small numbers, and simulated projects of honest people."""

from __future__ import annotations

import random
from collections.abc import Mapping
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from annotation.logic import bias, outliers
from annotation.logic.agreement import Tally
from annotation.logic.outliers import Outlier, Reason, Speed, Work, describe, find_outliers, reference

THRESHOLD = 0.7
DEGREES = ("significantly", "better", "slightly", "negligibly")


def marked_people(works: Mapping[str, Work]) -> dict[str, list[Reason]]:
    marked = find_outliers(works, gold_threshold=THRESHOLD)
    return {name: [each.reason for each in reasons] for name, reasons in marked.items()}


def tally(same: int, items: int, pairs: int = 6) -> Tally:
    """Items of which people order `same` pairs alike in every other one more, in every other one less."""
    each = [same + (1 if n % 2 else -1) for n in range(items)]
    return Tally(
        sum(each),
        pairs * items,
        items,
        sum(n * n for n in each),
        pairs * sum(each),
        pairs * pairs * items,
    )


OTHERS = {f"other-{n}": Work(speed=Speed(200 + 10 * n, 180 + 10 * n, 50)) for n in range(5)}


class TestAgreement:
    def test_an_interval_below_that_of_the_others_is_marked(self) -> None:
        works = {"odd": Work(agreement=tally(3, 60), others=tally(5, 200))}
        (outlier,) = find_outliers(works, gold_threshold=THRESHOLD)["odd"]
        assert (outlier.reason, outlier.n, outlier.value, outlier.compared) == (
            Reason.AGREEMENT,
            60,
            0.5,
            pytest.approx(5 / 6),
        )
        assert "50% of pairs (" in describe(outlier)
        assert "among themselves on 83%" in describe(outlier)

    def test_a_higher_agreement_is_not(self) -> None:
        assert not marked_people({"fine": Work(agreement=tally(5, 60), others=tally(3, 200))})

    def test_on_few_items_nobody_is_marked(self) -> None:
        assert not marked_people({"new": Work(agreement=tally(1, 19), others=tally(5, 200))})
        assert not marked_people({"odd": Work(agreement=tally(1, 60), others=tally(5, 19))})
        assert marked_people({"odd": Work(agreement=tally(1, 20), others=tally(5, 20))})

    def test_a_difference_of_some_points_is_not_enough_however_certain_it_is(self) -> None:
        certain = Work(
            agreement=Tally(6600, 10_000, 10_000, 6600, 6600, 10_000),
            others=Tally(74_000, 100_000, 100_000, 74_000, 74_000, 100_000),
        )
        assert certain.agreement.share
        assert certain.others.share
        assert certain.agreement.share.high < certain.others.share.low
        assert not marked_people({"a little odd": certain})

    def test_the_same_items_are_the_reference_where_there_are_enough(self) -> None:
        here, everywhere = tally(5, 20), tally(4, 300)
        assert reference(here, everywhere) is here
        assert reference(tally(5, 19), everywhere) is everywhere

    def test_a_tally_without_a_part_of_its_items_is_that_of_the_rest(self) -> None:
        assert tally(5, 30) + tally(3, 20) - tally(3, 20) == tally(5, 30)


class TestSpeed:
    def test_faster_than_anybody_reads_is_marked(self) -> None:
        marked = find_outliers(OTHERS | {"fast": Work(speed=Speed(1450, 900, 40))}, gold_threshold=THRESHOLD)
        assert list(marked) == ["fast"]
        sentence = describe(marked["fast"][0])
        assert "1,450 words" in sentence
        assert "usually through 220" in sentence
        assert "more than 600" in sentence

    def test_also_where_nobody_else_was_measured(self) -> None:
        assert marked_people({"alone": Work(speed=Speed(1450, 900, 40))}) == {"alone": [Reason.SPEED]}

    def test_the_slow_end_of_the_interval_counts(self) -> None:
        assert not marked_people(OTHERS | {"maybe fast": Work(speed=Speed(1450, 400, 40))})

    def test_much_faster_than_everybody_else_is_marked_below_the_limit_of_reading(self) -> None:
        slow = {f"slow-{n}": Work(speed=Speed(60 + n, 50, 50)) for n in range(5)}
        assert marked_people(slow | {"fast": Work(speed=Speed(300, 250, 50))}) == {"fast": [Reason.SPEED]}
        few = dict(list(slow.items())[:3])
        assert not marked_people(few | {"fast": Work(speed=Speed(300, 250, 50))})

    def test_who_is_not_twice_as_fast_is_not(self) -> None:
        alike = {f"alike-{n}": Work(speed=Speed(100, 95, 50)) for n in range(9)}
        assert not marked_people(alike | {"quick": Work(speed=Speed(190, 185, 50))})

    def test_where_most_times_are_none_of_reading_nobody_is_marked(self) -> None:
        programs = {f"program-{n}": Work(speed=Speed(9000 + n, 9000, 50)) for n in range(6)}
        assert not marked_people(programs)
        assert not outliers.are_times_of_reading(programs)
        assert outliers.are_times_of_reading(OTHERS)
        assert outliers.are_times_of_reading({})

    def test_two_of_five_who_rush_do_not_hide_each_other(self) -> None:
        three = dict(list(OTHERS.items())[:3])
        rushing = {name: Work(speed=Speed(2000, 1500, 30)) for name in ("a", "b")}
        assert marked_people(three | rushing) == {"a": [Reason.SPEED], "b": [Reason.SPEED]}

    def test_on_few_judgments_nobody_is_marked(self) -> None:
        assert not marked_people(OTHERS | {"new": Work(speed=Speed(5000, 4000, 19))})


class TestPosition:
    def test_a_habit_is_marked_in_both_directions(self) -> None:
        works = {
            "first": Work(first=bias.binomial_test(70, 100, 0.5)),
            "second": Work(first=bias.binomial_test(30, 100, 0.5)),
            "fair": Work(first=bias.binomial_test(52, 100, 0.5)),
        }
        assert marked_people(works) == {"first": [Reason.POSITION], "second": [Reason.POSITION]}

    def test_it_is_corrected_for_the_people_tested(self) -> None:
        lucky = bias.binomial_test(66, 100, 0.5)
        assert lucky
        assert bias.LEVEL / 50 < lucky.p < bias.LEVEL
        assert marked_people({"lucky": Work(first=lucky)})
        crowd = {f"person-{n}": Work(first=bias.binomial_test(50, 100, 0.5)) for n in range(49)}
        assert not marked_people(crowd | {"lucky": Work(first=lucky)})

    def test_a_small_habit_is_not_marked_however_certain_it_is(self) -> None:
        assert not marked_people({"slight": Work(first=bias.binomial_test(5500, 10_000, 0.5))})

    def test_on_few_judgments_nobody_is_marked(self) -> None:
        assert not marked_people({"new": Work(first=bias.binomial_test(19, 19, 0.5))})
        assert marked_people({"odd": Work(first=bias.binomial_test(20, 20, 0.5))})


class TestGold:
    def test_an_accuracy_whose_interval_is_below_the_threshold_is_marked(self) -> None:
        works = {"bad": Work(gold=(20, 0.3)), "good": Work(gold=(20, 0.9)), "unsure": Work(gold=(20, 0.6))}
        assert marked_people(works) == {"bad": [Reason.GOLD]}

    def test_on_few_items_nobody_is_marked(self) -> None:
        assert not marked_people({"new": Work(gold=(9, 0.0))})
        assert marked_people({"bad": Work(gold=(10, 0.0))})


class TestSameValue:
    @staticmethod
    def work(n: int, **values: int) -> Work:
        return Work(values=values, valued=n)

    def test_always_the_same_degree_is_marked(self) -> None:
        others = {f"other-{n}": self.work(100, better=40, slightly=60) for n in range(3)}
        marked = find_outliers(others | {"odd": self.work(40, better=40)}, gold_threshold=THRESHOLD)
        assert list(marked) == ["odd"]
        assert "the same degree, “Better”, in 100% of 40 judgments" in describe(marked["odd"][0])

    def test_ties_only_are_marked(self) -> None:
        marked = find_outliers(
            {"other": self.work(100, tied=3), "odd": self.work(40, tied=39)}, gold_threshold=THRESHOLD
        )
        assert "Ties all answers in 98%" in describe(marked["odd"][0])

    def test_what_everybody_does_is_not(self) -> None:
        everybody = {f"person-{n}": self.work(100, better=97, slightly=3) for n in range(3)}
        assert not marked_people(everybody | {"same": self.work(40, better=40)})

    def test_without_others_or_on_few_judgments_nobody_is_marked(self) -> None:
        assert not marked_people({"alone": self.work(40, better=40)})
        other = {"other": self.work(100, better=40, slightly=60)}
        assert not marked_people(other | {"new": self.work(19, better=19)})
        assert not marked_people({"other": Work(), "alone": self.work(40, better=40)})


@given(st.integers(-1, 60), st.integers(1, 60), st.floats(0, 1))
def test_the_tail_of_the_binomial_is_scipy_s(successes: int, n: int, share: float) -> None:
    assert outliers._at_most(successes, n, share) == pytest.approx(
        stats.binom.cdf(successes, n, share), rel=1e-6, abs=1e-9
    )


def test_somebody_may_be_marked_for_several_reasons_the_gravest_first() -> None:
    odd = Work(gold=(20, 0.2), first=bias.binomial_test(90, 100, 0.5), speed=Speed(3000, 2500, 50))
    assert marked_people(OTHERS | {"odd": odd}) == {"odd": [Reason.GOLD, Reason.SPEED, Reason.POSITION]}


def test_every_reason_has_a_sentence() -> None:
    for reason in Reason:
        for detail in ("tied", "better") if reason is Reason.SAME else ("",):
            sentence = describe(Outlier(reason, 0.9, 0.4, 1234, detail=detail))
            assert "1,234" in sentence
            assert "%(" not in sentence


# --- simulated projects ---------------------------------------------------------------------------------------


class Crowd:
    """People who do honest work, each a little different: in judgment, speed, use of degrees, and amount of work."""

    def __init__(self, seed: int, people: int) -> None:
        self.rng = random.Random(seed)
        self.people = people

    def works(self, **careless: str) -> dict[str, Work]:
        """Everybody's work; `careless` names those who judge at random, and those who always take the first."""
        rng = self.rng
        rest = self.tally(0.7, 300)
        works = {}
        for n in range(self.people):
            name, items = f"person_{n}", round(4 * 100 ** rng.random())
            habit = careless.get(name, "")
            right = 0.45 if habit == "random" else rng.gauss(0.7, 0.03)
            gold = rng.randrange(30)
            hits = sum(
                rng.random() < (0.5 if habit == "random" else min(1.0, rng.gauss(0.88, 0.05)))
                for _ in range(gold)
            )
            firsts = sum(habit == "first" or rng.random() < 0.25 for _ in range(items))
            works[name] = Work(
                speed=self.speed(items),
                agreement=self.tally(right, items),
                others=rest,
                first=bias.binomial_test(firsts, items, 0.25),
                gold=(gold, hits / gold if gold else 0.0),
                values=self.degrees(items),
                valued=items,
            )
        return works

    def tally(self, right: float, items: int) -> Tally:
        """Of items with six pairs each, some harder than others."""
        sums = Tally()
        for _ in range(items):
            ease = self.rng.betavariate(4 * right, 4 * (1 - right))
            same = sum(self.rng.random() < ease for _ in range(6))
            sums += Tally(same, 6, 1, same * same, 6 * same, 36)
        return sums

    def speed(self, items: int) -> Speed:
        usual = 150 * self.rng.lognormvariate(0, 0.3)
        speeds = sorted(usual * self.rng.lognormvariate(0, 0.7) for _ in range(items))
        slow = max(0, round(items / 2 - outliers.SLOW_END_Z * items**0.5 / 2) - 1)
        return Speed(median(speeds), speeds[slow], items)

    def degrees(self, items: int) -> dict[str, int]:
        taste = [self.rng.gammavariate(10 * share, 1) for share in (0.15, 0.35, 0.3, 0.2)]
        drawn = self.rng.choices(DEGREES, taste, k=items)
        return {degree: drawn.count(degree) for degree in DEGREES}


def test_chance_marks_somebody_of_fifty_honest_people_in_at_most_one_of_twenty_projects() -> None:
    marked = [marked_people(Crowd(seed, people=50).works()) for seed in range(60)]
    assert sum(map(bool, marked)) <= 3, [each for each in marked if each]


def test_who_judges_at_random_or_takes_the_first_is_marked() -> None:
    missed = []
    for seed in range(10):
        crowd = Crowd(seed, people=12)
        crowd.rng.random()
        works = crowd.works(person_0="random", person_1="first")
        marked = marked_people(works)
        assert set(marked) <= {"person_0", "person_1"}
        if works["person_0"].agreement.clusters >= 60 and Reason.AGREEMENT not in marked.get("person_0", []):
            missed.append((seed, "random"))
        if works["person_1"].valued >= 30 and Reason.POSITION not in marked.get("person_1", []):
            missed.append((seed, "first"))
    assert not missed
