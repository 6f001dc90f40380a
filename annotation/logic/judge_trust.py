"""How far a judge, a model that compares answers, may be trusted: its agreement with people beside people's own, the weight
of its opinions, recalibration, biases, and where its opinions can stand in for judgments.

Every pair of answers counts once, however many people judged it, so that both agreements are of the same pairs. Pairs of one
prompt are alike: intervals are over prompts.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import NormalDist, fmean

from annotation.logic.agreement import Z_95, Interval, Tally, wilson

MIN_RATIO = 0.85
"""Least share of people's own agreement that the judge's agreement with them must reach, at the lower end of the interval."""
MIN_SWAP_CONSISTENCY = 0.8
MAX_EXCESS_LENGTH_PREFERENCE = 0.1
RESAMPLES = 1000
MAX_CLUSTERS = 200
EPSILON = 1e-6
"""Probabilities of 0 and 1 are taken for this and 1 minus this."""
FOLDS = 5
BINS = 10
MIN_CASCADE_PAIRS = 30
CASCADE_THRESHOLDS = tuple(step / 20 for step in range(10))
CASCADE_Z = NormalDist().inv_cdf(1 - 0.05 / 2 / len(CASCADE_THRESHOLDS))


@dataclass(frozen=True)
class JudgedPair:
    """Two responses to a prompt, with a judge's opinion and people's votes.

    Attributes:
        p: the judge's probability that the first one is better.
        first, second: how many people ranked the first one above the second, and the other way round; a tie is no vote.
        longer: 1 if the first one is longer, -1 if the second is, 0 if neither is.
        own: 1 if the judge wrote the first one only, -1 if the second only, else 0.
    """

    prompt: int
    p: float
    first: int
    second: int
    longer: int = 0
    own: int = 0

    @property
    def votes(self) -> int:
        return self.first + self.second

    @property
    def people(self) -> float:
        """The share of votes for the first one."""
        return self.first / self.votes

    @property
    def judge_agreement(self) -> float:
        """The share of people who prefer what the judge prefers."""
        choice = preference(self.p)
        return choice * self.people + (1 - choice) * (1 - self.people)

    @property
    def people_agreement(self) -> float:
        """The share of pairs of people who agree: (C(first, 2) + C(second, 2)) / C(votes, 2), of two or more votes."""
        same = self.first * (self.first - 1) + self.second * (self.second - 1)
        return same / (self.votes * (self.votes - 1))


def preference(p: float) -> float:
    """1 for the first one, 0 for the second, a half where the judge has no preference."""
    return 0.5 if p == 0.5 else float(p > 0.5)


# --- agreement ------------------------------------------------------------------------------------------------


def agreement(
    pairs: Iterable[JudgedPair], of: Callable[[JudgedPair], float], *, z: float = Z_95
) -> Interval | None:
    """The mean of a share over pairs, with Wilson's interval (1927) on the effective number of pairs, which accounts for the
    likeness of pairs of one prompt (Kish 1965, section 5.4). None without pairs."""
    clusters = _by_prompt((pair.prompt, (of(pair), 1.0)) for pair in pairs)
    tally = Tally(
        sum(same for same, _ in clusters),
        sum(n for _, n in clusters),
        len(clusters),
        sum(same * same for same, _ in clusters),
        sum(same * n for same, n in clusters),
        sum(n * n for _, n in clusters),
    )
    if tally.pairs == 0:
        return None
    share, n = tally.same / tally.pairs, tally.effective
    return Interval(share, *wilson(share * n, n, z), int(tally.pairs))


@dataclass(frozen=True)
class Comparison:
    """A judge beside people, on the pairs that two or more of them ordered.

    Attributes:
        judge: its agreement with people, with Wilson's interval; `judge_bootstrap` is the same with a bootstrap's.
        people: the agreement of people with each other.
        ratio: the first over the second, with a bootstrap's interval; None where people never agree.
    """

    judge: Interval
    judge_bootstrap: Interval
    people: Interval
    ratio: Interval | None
    pairs: int
    prompts: int


def compare_with_people(pairs: Iterable[JudgedPair], *, seed: int = 0) -> Comparison | None:
    """None if no two people ordered the same pair."""
    overlap = [pair for pair in pairs if pair.votes > 1]
    judge = agreement(overlap, lambda pair: pair.judge_agreement)
    people = agreement(overlap, lambda pair: pair.people_agreement)
    if judge is None or people is None:
        return None
    clusters = _by_prompt(
        (pair.prompt, (pair.judge_agreement, pair.people_agreement, 1.0)) for pair in overlap
    )
    n = len(overlap)
    judge_bounds, ratio_bounds = bootstrap(
        clusters,
        lambda same, _, pairs: same / pairs,
        lambda same, own, _: same / own if own else None,
        seed=seed,
    )
    ratio = None
    if people.value > 0:
        ratio = Interval(judge.value / people.value, *(ratio_bounds or (0.0, float("inf"))), n)
    judge_bootstrap = Interval(judge.value, *(judge_bounds or (0.0, 1.0)), n)
    return Comparison(judge, judge_bootstrap, people, ratio, n, len(clusters))


def bootstrap(
    clusters: Sequence[tuple[float, ...]], *statistics: Callable[..., float | None], seed: int = 0
) -> list[tuple[float, float] | None]:
    """The 95% percentile intervals of statistics of sums, by one bootstrap over clusters (Efron and Tibshirani 1993, chapter
    13); None for each with fewer than two clusters.

    Args:
        clusters: sums of each prompt. Of more than 200, random groups of them are drawn instead, which takes no longer and
            gives nearly the same intervals.
        statistics: of the total sums; None where one is undefined.
    """
    rng = random.Random(seed)  # noqa: S311 - no secret
    if len(clusters) > MAX_CLUSTERS:
        shuffled = rng.sample(clusters, len(clusters))
        clusters = [_sums(shuffled[start::MAX_CLUSTERS]) for start in range(MAX_CLUSTERS)]
    if len(clusters) < 2:
        return [None] * len(statistics)
    resamples = [_sums(rng.choices(clusters, k=len(clusters))) for _ in range(RESAMPLES)]
    return [_percentile_interval([statistic(*sums) for sums in resamples]) for statistic in statistics]


def _percentile_interval(drawn: Iterable[float | None]) -> tuple[float, float] | None:
    values = sorted(value for value in drawn if value is not None)
    if not values:
        return None
    return values[round(0.025 * (len(values) - 1))], values[round(0.975 * (len(values) - 1))]


def _sums(rows: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(map(sum, zip(*rows, strict=True)))


def _by_prompt(rows: Iterable[tuple[int, tuple[float, ...]]]) -> list[tuple[float, ...]]:
    """The sums of each prompt's rows."""
    clusters: defaultdict[int, list[tuple[float, ...]]] = defaultdict(list)
    for prompt, row in rows:
        clusters[prompt].append(row)
    return [_sums(rows) for rows in clusters.values()]


def weight(low: float | None) -> float:
    """How much an opinion counts beside a person's judgment: 2 (2 low - 1)², at most 1, where `low` is the lower bound of the
    judge's agreement with people; 0 where that may be chance.

    2a - 1 is the correlation of two answers with agreement a, and its square the part of a person's answer that the judge
    knows.
    """
    return 0.0 if low is None or low <= 0.5 else min(1.0, 2 * (2 * low - 1) ** 2)


def is_trusted(comparison: Comparison) -> bool:
    """Whether the judge's opinions may count: its agreement with people is beyond chance, and not far below their own."""
    ratio = comparison.ratio
    return weight(comparison.judge.low) > 0 and ratio is not None and ratio.low >= MIN_RATIO


def kappa(pairs: Iterable[JudgedPair]) -> float | None:
    """Cohen's kappa (1960) of the judge and a person: (o - e) / (1 - e), where o is how often they agree and e how often they
    would if they chose independently, each the first response as often as they do. None where e is 1 or without pairs."""
    choices = [(preference(pair.p), pair.people) for pair in pairs]
    if not choices:
        return None
    judge, people = (fmean(column) for column in zip(*choices, strict=True))
    observed = fmean(a * b + (1 - a) * (1 - b) for a, b in choices)
    expected = judge * people + (1 - judge) * (1 - people)
    return None if expected > 1 - 1e-12 else (observed - expected) / (1 - expected)


# --- calibration ----------------------------------------------------------------------------------------------


def recalibrated(p: float, scale: float) -> float:
    """p' = sigmoid(scale · logit p)."""
    return _sigmoid(scale * _logit(p))


def fit_scale(pairs: Sequence[JudgedPair]) -> float:
    """The scale a ≥ 0 of p' = sigmoid(a · logit p) that makes people's votes most likely: temperature scaling (Guo et al.
    2017, arXiv:1706.04599), a = 1 / temperature. 0, so that p' is always a half, for a judge that is against people, or
    without data.

    Each pair weighs 1. One vote for and one against the judge are added, at the root mean square of its logits, so that a is
    finite if it is always right: a judge that is always as sure and right k times of n gets p' = (k + 1) / (n + 2).
    """
    rows = [(_logit(pair.p), pair.people) for pair in pairs]
    size = sqrt(fmean(x * x for x, _ in rows)) if rows else 0.0
    if size == 0:
        return 0.0
    rows += [(size, 1.0), (size, 0.0)]

    def slope(a: float) -> float:
        return sum(x * (y - _sigmoid(a * x)) for x, y in rows)

    if slope(0.0) <= 0:
        return 0.0
    low, high = 0.0, 1 / size
    while slope(high) > 0:
        low, high = high, 2 * high
    a = (low + high) / 2
    # the likelihood is concave: Newton's steps, and bisection where one leaves the bracket
    for _ in range(100):
        here = slope(a)
        low, high = (a, high) if here > 0 else (low, a)
        curvature = sum(x * x * (q := _sigmoid(a * x)) * (1 - q) for x, _ in rows)
        step = a + here / curvature if curvature > 0 else low
        new = step if low < step < high else (low + high) / 2
        if abs(new - a) < 1e-10 * high:
            return new
        a = new
    return a


def cross_fitted(pairs: Sequence[JudgedPair], *, seed: int = 0) -> list[float]:
    """p' of each pair by a scale that was fitted on other prompts, so that figures of p' on the same pairs are fair. With
    one prompt there are no others, and p' is a half."""
    prompts = sorted({pair.prompt for pair in pairs})
    random.Random(seed).shuffle(prompts)  # noqa: S311 - no secret
    folds = {prompt: place % FOLDS for place, prompt in enumerate(prompts)}
    scales = [fit_scale([pair for pair in pairs if folds[pair.prompt] != fold]) for fold in range(FOLDS)]
    return [recalibrated(pair.p, scales[folds[pair.prompt]]) for pair in pairs]


@dataclass(frozen=True)
class ReliabilityBin:
    """Pairs of which the judge is about as sure: its mean confidence, max(p, 1 - p), and how often people agree with it."""

    confidence: float
    accuracy: float
    pairs: int


def reliability(
    pairs: Sequence[JudgedPair], probabilities: Sequence[float] | None = None
) -> list[ReliabilityBin]:
    """Pairs in ten bins of equal width by confidence, from a half to 1, without empty ones. `probabilities`: in place of the
    pairs' own."""
    bins: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for pair, p in zip(pairs, probabilities or [pair.p for pair in pairs], strict=True):
        confidence, choice = max(p, 1 - p), preference(p)
        accuracy = choice * pair.people + (1 - choice) * (1 - pair.people)
        bins[min(int((confidence - 0.5) * 2 * BINS), BINS - 1)].append((confidence, accuracy))
    return [
        ReliabilityBin(fmean(c for c, _ in members), fmean(a for _, a in members), len(members))
        for _, members in sorted(bins.items())
    ]


def calibration_error(bins: Sequence[ReliabilityBin]) -> float | None:
    """The expected calibration error: the mean over pairs of |accuracy - confidence| of their bin (Naeini et al. 2015)."""
    total = sum(bin.pairs for bin in bins)
    return sum(bin.pairs * abs(bin.accuracy - bin.confidence) for bin in bins) / total if total else None


def _sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x)) if x >= 0 else exp(x) / (1 + exp(x))


def _logit(p: float) -> float:
    p = min(max(p, EPSILON), 1 - EPSILON)
    return log(p / (1 - p))


# --- biases ---------------------------------------------------------------------------------------------------


def swap_consistency(consistent: int, pairs: int) -> Interval | None:
    """Of the pairs that the judge was asked in both orders, those where it prefers the same answer, with Wilson's interval."""
    return Interval(consistent / pairs, *wilson(consistent, pairs), pairs) if pairs else None


@dataclass(frozen=True)
class Preference:
    """How often the judge and people prefer one kind of answer on the same pairs, and the difference with its interval."""

    judge: float
    people: float
    difference: Interval


def length_preference(pairs: Iterable[JudgedPair], *, seed: int = 0) -> Preference | None:
    """P(longer preferred), of pairs with different lengths: that of the judge minus that of people shows its own bias, since
    longer answers may be better."""
    return _preference([(pair, pair.longer) for pair in pairs if pair.longer], seed)


def self_preference(pairs: Iterable[JudgedPair], *, seed: int = 0) -> Preference | None:
    """P(own answer preferred), of pairs of which the judge wrote exactly one (Panickssery et al. 2024, arXiv:2404.13076)."""
    return _preference([(pair, pair.own) for pair in pairs if pair.own], seed)


def _preference(pairs: Sequence[tuple[JudgedPair, int]], seed: int) -> Preference | None:
    """Of pairs and the sides of the answers in question: 1 for the first, -1 for the second."""
    if not pairs:
        return None
    judge = [0.5 + side * (preference(pair.p) - 0.5) for pair, side in pairs]
    people = [0.5 + side * (pair.people - 0.5) for pair, side in pairs]
    clusters = _by_prompt(
        (pair.prompt, (j - p, 1.0)) for (pair, _), j, p in zip(pairs, judge, people, strict=True)
    )
    (bounds,) = bootstrap(clusters, lambda difference, n: difference / n, seed=seed)
    judges, peoples = fmean(judge), fmean(people)
    return Preference(judges, peoples, Interval(judges - peoples, *(bounds or (-1.0, 1.0)), len(pairs)))


# --- opinions in place of judgments ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Cascade:
    """Where opinions can stand in for judgments: pairs with |p' - 1/2| of at least `threshold`, which are `share` of all. The
    intervals are of 99.5%."""

    threshold: float
    share: float
    judge: Interval
    people: Interval


def cascade(pairs: Iterable[JudgedPair], scale: float) -> Cascade | None:
    """The lowest threshold above which the judge agrees with people no less than they agree with each other on the same
    pairs: the lower bound of the one is not below the other. None if there is none.

    Thresholds are 0, 0.05, …, 0.45, each with 30 pairs or more. As several are tried, each bound is that of a 99.5% interval
    (Bonferroni).
    """
    overlap = [
        (abs(recalibrated(pair.p, scale) - 0.5), pair) for pair in pairs if pair.votes > 1 and scale > 0
    ]
    for threshold in CASCADE_THRESHOLDS:
        above = [pair for confidence, pair in overlap if confidence >= threshold]
        if len(above) < MIN_CASCADE_PAIRS:
            break
        judge = agreement(above, lambda pair: pair.judge_agreement, z=CASCADE_Z)
        people = agreement(above, lambda pair: pair.people_agreement, z=CASCADE_Z)
        if judge and people and judge.low >= people.value:
            return Cascade(threshold, len(above) / len(overlap), judge, people)
    return None
