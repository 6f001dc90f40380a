"""Agreement of annotators: Krippendorff's alpha, Kendall's tau-b, percent agreement and accuracy on gold items.

Everything works on counts, so that the database can do the counting. A *tally* sums a group of pairs of judgments; a
*unit* of alpha is one thing that several annotators gave a value.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from math import sqrt

from annotation.logic.translation import gettext as _
from annotation.logic.translation import gettext_noop

Z_95 = 1.959963984540054
GOLD_MISS = 2 / 3
"""A judgment of a gold item that orders less than this share of the known pairs correctly is a miss."""

Coincidences = dict[tuple[int, int], float]
"""How often two values occur in one unit, counted in both orders."""


@dataclass(frozen=True)
class Interval:
    """A value with the bounds of its 95% interval and its number of observations."""

    value: float
    low: float
    high: float
    n: int

    @property
    def percent(self) -> int:
        return round(100 * self.value)


# --- percent agreement ----------------------------------------------------------------------------------------


def wilson(right: float, n: float, z: float = Z_95) -> tuple[float, float]:
    """The bounds of Wilson's score interval of `right` of `n` (Wilson 1927). `(0, 1)` of none."""
    if n <= 0:
        return 0.0, 1.0
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Tally:
    """Sums over pairs of judgments of the same items.

    Attributes:
        same, pairs: pairs of answers that two annotators ordered the same way, of all that both ordered.
        clusters: items. Pairs of one item are correlated, so an interval that treats them as independent would be too
            narrow: the sums of squares below give the design effect (Kish 1965, section 5.4).
        same2, cross, pairs2: over the items, the sums of same², same·pairs and pairs².
        tau, rankings: the sum of Kendall's tau-b over pairs of judgments, and of how many pairs of judgments.
    """

    same: float = 0.0
    pairs: float = 0.0
    clusters: int = 0
    same2: float = 0.0
    cross: float = 0.0
    pairs2: float = 0.0
    tau: float = 0.0
    rankings: int = 0

    def __add__(self, other: Tally) -> Tally:
        """The tally of two groups that have no item in common."""
        return Tally(*(a + b for a, b in zip(self._all, other._all, strict=True)))  # type: ignore[arg-type]

    def __sub__(self, part: Tally) -> Tally:
        """The tally without the items of a part of it."""
        return Tally(*(a - b for a, b in zip(self._all, part._all, strict=True)))  # type: ignore[arg-type]

    @property
    def _all(self) -> tuple[float, ...]:
        return (
            self.same,
            self.pairs,
            self.clusters,
            self.same2,
            self.cross,
            self.pairs2,
            self.tau,
            self.rankings,
        )

    @property
    def effective(self) -> float:
        """The effective number of independent observations, between the number of items and that of pairs."""
        if self.pairs <= 0:
            return 0.0
        share = self.same / self.pairs
        spread = self.same2 - 2 * share * self.cross + share * share * self.pairs2
        if self.clusters < 2 or spread <= 1e-12:
            return float(self.clusters)
        variance = spread / self.pairs**2 * self.clusters / (self.clusters - 1)
        return max(1.0, min(self.pairs, share * (1 - share) / variance))

    @property
    def share(self) -> Interval | None:
        """Percent agreement as a share, with Wilson's interval on the effective number; None if there are no pairs."""
        if self.pairs <= 0:
            return None
        share, n = self.same / self.pairs, self.effective
        return Interval(share, *wilson(share * n, n), int(self.pairs))

    @property
    def mean_tau(self) -> float | None:
        return self.tau / self.rankings if self.rankings else None


# --- rankings -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Concordance:
    """How two rankings of the same k answers order the k choose 2 pairs."""

    concordant: int
    discordant: int
    tied_both: int
    tied_first: int
    tied_second: int

    @property
    def pairs(self) -> int:
        return self.concordant + self.discordant + self.tied_both + self.tied_first + self.tied_second

    @property
    def same(self) -> int:
        """Pairs that both order the same way, or both tie."""
        return self.concordant + self.tied_both

    @property
    def tau_b(self) -> float | None:
        """Kendall's tau-b (Kendall 1945); None if either ranking ties everything."""
        strict = self.concordant + self.discordant
        first, second = strict + self.tied_second, strict + self.tied_first
        return (self.concordant - self.discordant) / sqrt(first * second) if first and second else None


def concordance(first: Sequence[int], second: Sequence[int]) -> Concordance:
    """Compare two rankings: rank by position, 1 is best, equal ranks are ties."""
    counts: Counter[tuple[int, int]] = Counter()
    for i, j in combinations(range(len(first)), 2):
        counts[_sign(first[j] - first[i]), _sign(second[j] - second[i])] += 1
    return Concordance(
        concordant=counts[1, 1] + counts[-1, -1],
        discordant=counts[1, -1] + counts[-1, 1],
        tied_both=counts[0, 0],
        tied_first=counts[0, 1] + counts[0, -1],
        tied_second=counts[1, 0] + counts[-1, 0],
    )


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)


def tally(items: Iterable[Sequence[Sequence[int]]]) -> Tally:
    """The tally of items, each given by its rankings: every two rankings of an item are a pair."""
    total = Tally()
    for rankings in items:
        compared = [concordance(a, b) for a, b in combinations(rankings, 2)]
        if not compared:
            continue
        same, pairs = sum(c.same for c in compared), sum(c.pairs for c in compared)
        taus = [c.tau_b for c in compared if c.tau_b is not None]
        total += Tally(same, pairs, 1, same**2, same * pairs, pairs**2, sum(taus), len(taus))
    return total


def gold_pairs(gold: Mapping[int, int], ranks: Mapping[int, int]) -> tuple[int, int]:
    """How many of the pairs that gold orders the ranks order the same way, and how many pairs there are. A tie is not
    correct."""
    known = [(i, j) for i in gold for j in gold if gold[i] < gold[j]]
    return sum(ranks[i] < ranks[j] for i, j in known), len(known)


# --- Krippendorff's alpha -------------------------------------------------------------------------------------


def coincidences(units: Iterable[tuple[Sequence[int], int]]) -> Coincidences:
    """How often two values occur in one unit (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", step 2).

    Args:
        units: the values that different annotators gave a unit, and how many units have the same values. Units with a
            single value are left out.
    """
    counts: defaultdict[tuple[int, int], float] = defaultdict(float)
    for values, times in units:
        if len(values) < 2:
            continue
        weight = times / (len(values) - 1)
        by_value = Counter(values)
        for (a, n), (b, m) in product(by_value.items(), repeat=2):
            counts[a, b] += weight * (n * (m - 1) if a == b else n * m)
    return dict(counts)


def alpha(counts: Coincidences, *, level: str) -> float | None:
    """Krippendorff's alpha: 1 is perfect, 0 is chance, below is worse than chance.

    Args:
        counts: as `coincidences` returns them.
        level: `nominal` or `ordinal`.

    None if disagreement is impossible: there are fewer than two values, or all are the same.
    """
    totals: defaultdict[int, float] = defaultdict(float)
    for (value, _other), n in counts.items():
        totals[value] += n
    n = sum(totals.values())
    distance = _nominal if level == "nominal" else _ordinal(totals)
    expected = sum(totals[a] * totals[b] * distance(a, b) for a in totals for b in totals)
    if n <= 1 or expected <= 0:
        return None
    observed = sum(times * distance(a, b) for (a, b), times in counts.items())
    return 1 - (n - 1) * observed / expected


def _nominal(a: int, b: int) -> float:
    return float(a != b)


def _ordinal(totals: Mapping[int, float]) -> Callable[[int, int], float]:
    """The squared number of values from a to b, with half of those at either end."""

    @cache
    def distance(a: int, b: int) -> float:
        between = sum(n for value, n in totals.items() if min(a, b) <= value <= max(a, b))
        return float((between - (totals[a] + totals[b]) / 2) ** 2)

    return distance


def alpha_interval(blocks: Mapping[int, Coincidences], *, level: str) -> Interval | None:
    """Alpha with a 95% interval by the delete-a-group jackknife (Kott 2001). `blocks` are the coincidences of disjoint groups
    of items. None if alpha is undefined; with one block only, the bounds are alpha itself."""
    total = merged(blocks.values())
    value = alpha(total, level=level)
    if value is None:
        return None
    n = round(sum(total.values()))
    without = [alpha(merged([total], minus=block), level=level) for block in blocks.values()]
    others = [v for v in without if v is not None]
    if len(others) < 2:
        return Interval(value, value, value, n)
    groups = len(others)
    error = sqrt((groups - 1) / groups * sum((v - value) ** 2 for v in others))
    return Interval(value, max(-1.0, value - Z_95 * error), min(1.0, value + Z_95 * error), n)


def merged(parts: Iterable[Coincidences], minus: Coincidences | None = None) -> Coincidences:
    """The sum of coincidences, minus those of one part."""
    total: defaultdict[tuple[int, int], float] = defaultdict(float)
    for part in parts:
        for key, n in part.items():
            total[key] += n
    for key, n in (minus or {}).items():
        total[key] -= n
    return {key: n for key, n in total.items() if n > 1e-9}


# --- in words -------------------------------------------------------------------------------------------------


def in_words(value: float | None) -> str:
    """What an alpha or a tau means, as half a sentence."""
    if value is None:
        return _("nobody has judged the same item yet")
    for least, words in (
        (0.8, gettext_noop("people agree almost always")),
        (0.6, gettext_noop("people agree well beyond chance")),
        (0.4, gettext_noop("people agree more often than not; some questions divide them")),
        (0.2, gettext_noop("people agree a little beyond chance")),
        (0.05, gettext_noop("people hardly agree more than by chance")),
    ):
        if value >= least:
            return _(words)
    return _("people agree no more than by chance")
