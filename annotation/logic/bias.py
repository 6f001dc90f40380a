"""Tests of annotators' biases: preferring the first or the longest answer, and drift over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erfc, exp, lgamma, log, log1p, sqrt

from annotation.logic.agreement import Interval, wilson
from annotation.logic.translation import gettext_noop

LEVEL = 0.01
"""The family-wise significance level: chance flags somebody in one of a hundred projects, however many are tested."""


@dataclass(frozen=True)
class Test:
    """An observed share with its 95% interval, the expected share, and the two-sided p-value."""

    observed: Interval
    expected: float
    p: float

    @property
    def points(self) -> int:
        """How many percentage points above the expectation it is."""
        return round(100 * (self.observed.value - self.expected))


def share_interval(successes: float, n: int) -> Interval:
    """`successes` of n, which is positive, with Wilson's interval."""
    return Interval(successes / n, *wilson(successes, n), n)


def binomial_test(successes: int, n: int, expected: float) -> Test | None:
    """The exact two-sided binomial test: p is the probability of all outcomes that are at most as likely as the observed
    one. None without observations."""
    if n <= 0:
        return None
    observed = share_interval(successes, n)
    return Test(observed, expected, _binomial_p(successes, n, expected))


def _binomial_p(successes: int, n: int, expected: float) -> float:
    if not 0 < expected < 1:
        return float(successes == n * expected)
    constant = lgamma(n + 1)

    def likelihood(k: int) -> float:
        return constant - lgamma(k + 1) - lgamma(n - k + 1) + k * log(expected) + (n - k) * log1p(-expected)

    seen = likelihood(successes) + 1e-7  # outcomes that are as likely but for rounding count
    return min(1.0, sum(exp(here) for k in range(n + 1) if (here := likelihood(k)) <= seen))


def difference_test(first: tuple[float, float], second: tuple[float, float]) -> Test | None:
    """The score test that two shares, each `(successes, n)`, are equal (Agresti 2013, section 3.2.2). `observed` is the
    first one. None if either has no observations."""
    (x, n), (y, m) = first, second
    if n <= 0 or m <= 0:
        return None
    pooled = (x + y) / (n + m)
    error = sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    p = erfc(abs(x / n - y / m) / error / sqrt(2)) if error > 0 else 1.0
    return Test(Interval(x / n, *wilson(x, n), round(n)), y / m, p)


def holm(values: Mapping[str, float], level: float = LEVEL) -> set[str]:
    """The names of the tests that are significant after Holm's correction for multiple tests (Holm 1979)."""
    significant: set[str] = set()
    ordered = sorted(values.items(), key=lambda pair: pair[1])
    for place, (name, p) in enumerate(ordered):
        if p > level / (len(ordered) - place):
            break
        significant.add(name)
    return significant


SESSION_GAP_S = 30 * 60
"""A pause longer than this starts a new session."""

STRETCHES = ((1, "1–10"), (11, "11–25"), (26, "26–50"), (51, "51–100"), (101, gettext_noop("past 100")))
"""Ranges of positions in a session: the first position of each, and its name in English."""


def places_in_session(times: Sequence[float]) -> list[int]:
    """The position of each judgment in its session, from 1; `times` in seconds, in order."""
    places: list[int] = []
    for i, at in enumerate(times):
        begins = i == 0 or at - times[i - 1] > SESSION_GAP_S
        places.append(1 if begins else places[-1] + 1)
    return places


def stretch(place: int) -> int:
    """The index in `STRETCHES` of a position."""
    return sum(place >= begins for begins, _ in STRETCHES) - 1
