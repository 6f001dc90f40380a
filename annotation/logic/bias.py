"""Habits that have nothing to do with the answers: choosing what stands first, or what is longest; and change over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erfc, exp, lgamma, log, log1p, sqrt

from annotation.logic.agreement import Interval, wilson

LEVEL = 0.01
"""A habit is flagged where chance would show it less than once in a hundred projects, however many people are tested."""


@dataclass(frozen=True)
class Test:
    """A share, with its 95% interval, against what is expected; `p` is two-sided."""

    observed: Interval
    expected: float
    p: float

    @property
    def points(self) -> int:
        """How many percentage points above the expectation it is."""
        return round(100 * (self.observed.value - self.expected))


def binomial_test(successes: int, n: int, expected: float) -> Test | None:
    """The exact two-sided binomial test: the probability of everything that is no likelier than what was seen. None of no
    observations."""
    if n <= 0:
        return None
    observed = Interval(successes / n, *wilson(successes, n), n)
    return Test(observed, expected, _binomial_p(successes, n, expected))


def _binomial_p(successes: int, n: int, expected: float) -> float:
    if not 0 < expected < 1:
        return float(successes == n * expected)
    constant = lgamma(n + 1)

    def likelihood(k: int) -> float:
        return constant - lgamma(k + 1) - lgamma(n - k + 1) + k * log(expected) + (n - k) * log1p(-expected)

    seen = likelihood(successes) + 1e-7  # what is as likely but for rounding counts
    return min(1.0, sum(exp(here) for k in range(n + 1) if (here := likelihood(k)) <= seen))


def difference_test(first: tuple[float, float], second: tuple[float, float]) -> Test | None:
    """The score test that two shares, each `(successes, n)`, are equal (Agresti 2013, section 3.2.2). `observed` is the
    first one. None where either has no observations."""
    (x, n), (y, m) = first, second
    if n <= 0 or m <= 0:
        return None
    pooled = (x + y) / (n + m)
    error = sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    p = erfc(abs(x / n - y / m) / error / sqrt(2)) if error > 0 else 1.0
    return Test(Interval(x / n, *wilson(x, n), round(n)), y / m, p)


def holm(values: Mapping[str, float], level: float = LEVEL) -> set[str]:
    """Which of several tests hold together (Holm 1979): with so many people, somebody looks odd by chance."""
    found: set[str] = set()
    ordered = sorted(values.items(), key=lambda pair: pair[1])
    for place, (name, p) in enumerate(ordered):
        if p > level / (len(ordered) - place):
            break
        found.add(name)
    return found


SESSION_GAP_S = 30 * 60
"""A pause of so long begins a new session."""

STRETCHES = ((1, "1–10"), (11, "11–25"), (26, "26–50"), (51, "51–100"), (101, "past 100"))
"""The places in a session that are looked at together: where each begins, and its name."""


def places_in_session(times: Sequence[float]) -> list[int]:
    """The place of each judgment in its session, from 1; `times` in seconds, in order."""
    places: list[int] = []
    for i, at in enumerate(times):
        begins = i == 0 or at - times[i - 1] > SESSION_GAP_S
        places.append(1 if begins else places[-1] + 1)
    return places


def stretch(place: int) -> int:
    """Which of `STRETCHES` a place belongs to."""
    return sum(place >= begins for begins, _ in STRETCHES) - 1
