"""Annotators who stand out, each with the reason and its figures: tests on counts, corrected for the number of people.

Each check has a smallest number of observations, a smallest effect and a family-wise significance level (`bias.LEVEL`, 1%), so
that chance marks somebody in about one of twenty-five projects, however many people are checked. docs/quality.md describes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import exp, lgamma, log, log1p
from statistics import median, median_low

from annotation.logic import bias
from annotation.logic.agreement import Tally
from annotation.logic.bias import Test
from annotation.logic.degrees import LABELS
from annotation.logic.translation import format_number
from annotation.logic.translation import gettext as _

MIN_JUDGMENTS = 20
"""Nobody is marked on fewer judgments (or items, for the agreement)."""
MIN_GOLD = 10
"""Nobody is marked for their accuracy on fewer judgments of gold items."""
MIN_POINTS = 0.1
"""The smallest difference of two shares that marks somebody: with enough judgments any difference is significant."""
HONEST_DIFFERENCE = 0.05
"""People who do their best differ as much in how far they agree with others: only what is lower than that is tested."""
ALWAYS = 0.95
"""The share of judgments with the same value from which they count as always the same."""
FASTEST_READING = 600
"""Words a minute. Most adults read 175 to 300 (Brysbaert 2019, "How many words do we read per minute?", Journal of Memory and
Language 109); this is twice the upper end."""
CHARACTERS_PER_WORD = 6
"""With the space. Scripts without spaces have more words in as many characters, so readers of them seem slower, never faster."""
MIN_PEOPLE = 5
"""Fewer people have no distribution of speeds to stand out from; the limit of reading holds for them, too."""
MIN_TIMES_AS_FAST, MAX_Z = 2.0, 3.5
"""How far from the others' speed marks somebody: this many times as fast, and beyond this modified z-score (Iglewicz and Hoaglin
1993, "How to Detect and Handle Outliers")."""
SLOW_END_Z = 3.29
"""For the slow end of the 99.9% interval of a median."""


NO_TALLY = Tally()


class Reason(StrEnum):
    """Why somebody is marked, the gravest first."""

    GOLD = "gold"
    AGREEMENT = "agreement"
    SPEED = "speed"
    SAME = "same"
    POSITION = "position"


@dataclass(frozen=True)
class Speed:
    """Words of the shown answers by time on the item, a minute: the median over n judgments, and the slow end of its interval."""

    median: float
    slow: float
    n: int


@dataclass(frozen=True)
class Work:
    """What one annotator did.

    Attributes:
        agreement: with others, on the items that both judged.
        others: the others' agreement among themselves (`reference`).
        first: how often they chose the answer shown first, against chance.
        gold: how many judgments of gold items, and what share of their known pairs is right.
        values: how many judgments have which value: a degree of preference, or `tied` where all answers are tied.
        valued: how many judgments there are in all that could have these values.
    """

    speed: Speed | None = None
    agreement: Tally = NO_TALLY
    others: Tally = NO_TALLY
    first: Test | None = None
    gold: tuple[int, float] = (0, 0.0)
    values: Mapping[str, int] | None = None
    valued: int = 0


@dataclass(frozen=True)
class Outlier:
    """A reason why somebody is marked.

    Attributes:
        value: a share, or words a minute.
        compared: what it is compared with: the others' value, chance, or the threshold.
        n: the observations that it was counted on.
        low, high: the 95% interval of a share.
        detail: the value that is always the same.
    """

    reason: Reason
    value: float
    compared: float
    n: int
    low: float = 0.0
    high: float = 1.0
    detail: str = ""


def reference(same_items: Tally, everywhere: Tally) -> Tally:
    """The others' agreement among themselves that somebody's agreement is compared with: on the same items, where enough of them
    were judged by two others, otherwise on all items."""
    return same_items if same_items.clusters >= MIN_JUDGMENTS else everywhere


def find_outliers(works: Mapping[str, Work], *, gold_threshold: float) -> dict[str, list[Outlier]]:
    """Who stands out, by name, each with at least one reason.

    gold_threshold: the accuracy on gold items that the project expects.
    """
    found: dict[str, list[Outlier]] = {}
    checks = (_gold(works, gold_threshold), _agreement(works), _speed(works), _same(works), _position(works))
    for check in checks:
        for name, outlier in check.items():
            found.setdefault(name, []).append(outlier)
    return found


def are_times_of_reading(works: Mapping[str, Work]) -> bool:
    """Whether most people's times can be those of somebody who reads. They are not where programs judge, or times are lost."""
    medians = [speed.median for speed in _speeds(works).values()]
    return not medians or median_low(medians) <= FASTEST_READING


def _significant(tested: Mapping[str, tuple[Outlier, float]]) -> dict[str, Outlier]:
    """Those of `(outlier, p)` that are significant after Holm's correction for all that were tested."""
    names = bias.holm({name: p for name, (_outlier, p) in tested.items()})
    return {name: outlier for name, (outlier, _p) in tested.items() if name in names}


def _gold(works: Mapping[str, Work], threshold: float) -> dict[str, Outlier]:
    """The accuracy's interval is below the threshold."""
    tested = {}
    for name, work in works.items():
        n, share = work.gold
        if n >= MIN_GOLD:
            interval = bias.share_interval(share * n, n)
            outlier = Outlier(Reason.GOLD, share, threshold, n, interval.low, interval.high)
            tested[name] = outlier, _at_most(round(share * n), n, threshold)
    return {name: each for name, each in _significant(tested).items() if each.high < threshold}


def _agreement(works: Mapping[str, Work]) -> dict[str, Outlier]:
    """The agreement's interval is below that of the others among themselves."""
    tested, others = {}, {}
    for name, work in works.items():
        own, rest = work.agreement.share, work.others.share
        if own is None or rest is None:
            continue
        if min(work.agreement.clusters, work.others.clusters) < MIN_JUDGMENTS:
            continue
        expected = max(0.0, rest.value - HONEST_DIFFERENCE)
        test = bias.difference_test(_effective(work.agreement, own.value), _effective(work.others, expected))
        assert test is not None
        outlier = Outlier(Reason.AGREEMENT, own.value, rest.value, work.agreement.clusters, own.low, own.high)
        tested[name], others[name] = (outlier, test.p), rest
    return {
        name: each
        for name, each in _significant(tested).items()
        if each.high < others[name].low and each.compared - each.value >= MIN_POINTS
    }


def _effective(tally: Tally, share: float) -> tuple[float, float]:
    return share * tally.effective, tally.effective


def _speeds(works: Mapping[str, Work]) -> dict[str, Speed]:
    return {name: work.speed for name, work in works.items() if work.speed and work.speed.n >= MIN_JUDGMENTS}


def _speed(works: Mapping[str, Work]) -> dict[str, Outlier]:
    """Faster than anybody reads, or much faster than everybody else; nobody where most times are none of reading."""
    speeds = _speeds(works)
    found = {}
    for name, speed in speeds.items():
        others = [other.median for key, other in speeds.items() if key != name]
        usual = median_low(others) if others else 0.0
        if usual > FASTEST_READING:
            continue
        if speed.slow > FASTEST_READING or _is_far(speed.slow, others):
            found[name] = Outlier(Reason.SPEED, speed.median, usual, speed.n)
    return found


def _is_far(speed: float, others: list[float]) -> bool:
    if len(others) < MIN_PEOPLE - 1:
        return False
    logs = [log(other) for other in others]
    middle = median(logs)
    spread = median(abs(value - middle) for value in logs) / 0.6745
    distance = log(speed) - middle
    return distance > log(MIN_TIMES_AS_FAST) and distance > MAX_Z * spread


def _same(works: Mapping[str, Work]) -> dict[str, Outlier]:
    """Nearly all judgments have the same value, which the others give more rarely."""
    tested = {}
    for name, work in works.items():
        if not work.values or work.valued < MIN_JUDGMENTS:
            continue
        value, times = max(work.values.items(), key=lambda pair: pair[1])
        rest = [other for key, other in works.items() if key != name and other.values]
        valued = sum(other.valued for other in rest)
        if not valued:
            continue
        usual = sum((other.values or {}).get(value, 0) for other in rest) / valued
        interval = bias.share_interval(times, work.valued)
        outlier = Outlier(
            Reason.SAME, times / work.valued, usual, work.valued, interval.low, interval.high, value
        )
        tested[name] = outlier, 1 - _at_most(times - 1, work.valued, usual)
    return {
        name: each
        for name, each in _significant(tested).items()
        if each.value >= ALWAYS and each.value - each.compared >= MIN_POINTS
    }


def _position(works: Mapping[str, Work]) -> dict[str, Outlier]:
    """The first answer is chosen far more, or far less, often than by chance: answers are shown in random order."""
    tested = {
        name: (
            Outlier(
                Reason.POSITION,
                test.observed.value,
                test.expected,
                test.observed.n,
                test.observed.low,
                test.observed.high,
            ),
            test.p,
        )
        for name, work in works.items()
        if (test := work.first) is not None and test.observed.n >= MIN_JUDGMENTS
    }
    return {
        name: each
        for name, each in _significant(tested).items()
        if abs(each.value - each.compared) >= MIN_POINTS
    }


def _at_most(successes: int, n: int, share: float) -> float:
    """The probability of at most so many successes in n trials."""
    if successes < 0:
        return 0.0
    if successes >= n or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    constant = lgamma(n + 1)
    terms = (
        constant - lgamma(k + 1) - lgamma(n - k + 1) + k * log(share) + (n - k) * log1p(-share)
        for k in range(successes + 1)
    )
    return min(1.0, sum(exp(term) for term in terms))


# --- in words -------------------------------------------------------------------------------------------------


def describe(outlier: Outlier) -> str:
    """The reason in one sentence, with its figures."""
    values = {
        "share": f"{100 * outlier.value:.0f}",
        "low": f"{100 * outlier.low:.0f}",
        "high": f"{100 * outlier.high:.0f}",
        "compared": f"{100 * outlier.compared:.0f}",
        "n": format_number(outlier.n),
    }
    match outlier.reason:
        case Reason.GOLD:
            text = _(
                "Gold accuracy of %(share)s%% (%(low)s%% to %(high)s%%) in %(n)s judgments, below the %(compared)s%% that the"
                " project expects."
            )
        case Reason.AGREEMENT:
            text = _(
                "Agrees with others on %(share)s%% of pairs (%(low)s%% to %(high)s%%) over %(n)s items; the others agree among"
                " themselves on %(compared)s%%."
            )
        case Reason.SPEED:
            return _describe_speed(outlier)
        case Reason.SAME if outlier.detail == "tied":
            text = _(
                "Ties all answers in %(share)s%% of %(n)s judgments; the others do so in %(compared)s%% of theirs."
            )
        case Reason.SAME:
            text = _(
                "Gives the same degree, “%(degree)s”, in %(share)s%% of %(n)s judgments; the others give it in %(compared)s%% of"
                " theirs."
            )
            values["degree"] = _(LABELS[outlier.detail])
        case Reason.POSITION:
            text = _(
                "Chooses the answer shown first in %(share)s%% of %(n)s judgments (%(low)s%% to %(high)s%%); by chance it would"
                " be %(compared)s%%."
            )
    return text % values


def _describe_speed(outlier: Outlier) -> str:
    values = {
        "words": words_per_minute(outlier.value),
        "n": format_number(outlier.n),
        "usual": words_per_minute(outlier.compared),
        "most": format_number(FASTEST_READING),
    }
    if outlier.compared and outlier.value <= FASTEST_READING:
        return (
            _(
                "Works through %(words)s words of answers a minute (median of %(n)s judgments), others usually through %(usual)s."
            )
            % values
        )
    if outlier.compared:
        return (
            _(
                "Works through %(words)s words of answers a minute (median of %(n)s judgments), others usually through %(usual)s."
                " Nobody reads more than %(most)s."
            )
            % values
        )
    return (
        _(
            "Works through %(words)s words of answers a minute (median of %(n)s judgments). Nobody reads more than %(most)s."
        )
        % values
    )


def words_per_minute(speed: float) -> str:
    """For people: two digits of it count."""
    if speed >= 10_000:
        return _("over 10,000")
    return format_number(round(speed, -1) if speed >= 100 else round(speed))
