"""Judges' opinions beside people's judgments of the same pairs of responses: how far a judge may be trusted.

People are accounts of persons; of each, the newest judgment of a pair counts that is not revised and holds a slot. Gold items
are left out, as in the agreement of annotators: a lead chose them, and everybody gets them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest

from django.db import connection
from django.utils.translation import gettext as _

from annotation.analytics.figures import figure
from annotation.analytics.filters import NO_FILTERS, Filters
from annotation.logic import judge_trust
from annotation.logic.agreement import Interval
from annotation.logic.judge_trust import (
    MAX_EXCESS_LENGTH_PREFERENCE,
    MIN_RATIO,
    MIN_SWAP_CONSISTENCY,
    Cascade,
    Comparison,
    JudgedPair,
    Preference,
    ReliabilityBin,
)
from annotation.logic.prediction_powered import PoweredRate, prediction_powered
from annotation.logic.translation import format_number
from annotation.models import OpinionSet, Project, Prompt
from annotation.models.judgments import is_current, is_excluded

MAX_DISAGREEMENTS = 20
MAX_WIN_RATES = 10

# The opinions of some sets, one for each pair of responses, the one with the lower id first: the mean over principles
OPINIONS = """
opinions AS MATERIALIZED (
    SELECT opinion.opinion_set_id AS set_id, opinion.prompt_id,
           least(opinion.first_id, opinion.second_id) AS first, greatest(opinion.first_id, opinion.second_id) AS second,
           avg(CASE WHEN opinion.first_id < opinion.second_id THEN opinion.p ELSE 1 - opinion.p END) AS p
    FROM annotation_opinion AS opinion
    JOIN annotation_prompt AS prompt ON prompt.id = opinion.prompt_id
    WHERE opinion.opinion_set_id = ANY(%(sets)s) AND (NOT %(held_out)s OR prompt.split = 'held_out')
    GROUP BY 1, 2, 3, 4
)"""

VOTES = f"""
votes AS MATERIALIZED (
    SELECT first, second, max(item_id) AS item_id,
           count(*) FILTER (WHERE difference < 0)::int AS for_first,
           count(*) FILTER (WHERE difference > 0)::int AS for_second, count(*)::int AS people
    FROM (
        SELECT DISTINCT ON (compared.first, compared.second, judgment.annotator_id)
               compared.first, compared.second, judgment.item_id, a.rank - b.rank AS difference
        FROM (SELECT DISTINCT first, second FROM opinions) AS compared
        JOIN annotation_placement AS a ON a.response_id = compared.first
        JOIN annotation_placement AS b ON b.judgment_id = a.judgment_id AND b.response_id = compared.second
        JOIN annotation_judgment AS judgment ON judgment.id = a.judgment_id
        JOIN annotation_item AS item ON item.id = judgment.item_id
        JOIN annotation_user AS person ON person.id = judgment.annotator_id
        WHERE item.gold IS NULL AND judgment.slot_id IS NOT NULL AND person.account = 'person' AND {is_current()}
          AND NOT {is_excluded()}
        ORDER BY compared.first, compared.second, judgment.annotator_id, judgment.id DESC) AS newest
    GROUP BY first, second
)"""

PAIRS = f"""
WITH {OPINIONS}, {VOTES}
SELECT opinions.set_id, votes.item_id, opinions.prompt_id, opinions.p, votes.for_first, votes.for_second,
       sign(length(a.text) - length(b.text))::int,
       (a.author_id IS NOT DISTINCT FROM opinion_set.author_id)::int
           - (b.author_id IS NOT DISTINCT FROM opinion_set.author_id)::int
FROM opinions JOIN votes USING (first, second)
JOIN annotation_opinionset AS opinion_set ON opinion_set.id = opinions.set_id
JOIN annotation_response AS a ON a.id = opinions.first
JOIN annotation_response AS b ON b.id = opinions.second
WHERE votes.for_first + votes.for_second > 0
ORDER BY opinions.set_id, opinions.prompt_id, opinions.first, opinions.second
"""

# one row for each two authors, the later one first, with a list of their prompts: the share of people who prefer the
# first one's response, -1 if nobody compared them, and the judge's probability; a tie is half a win
WIN_RATES = f"""
WITH {OPINIONS}, {VOTES},
sides AS (
    SELECT opinions.prompt_id, greatest(a.author_id, b.author_id) AS author, least(a.author_id, b.author_id) AS other,
           CASE WHEN a.author_id > b.author_id THEN p ELSE 1 - p END AS f,
           CASE WHEN a.author_id > b.author_id THEN share ELSE 1 - share END AS y
    FROM (SELECT *, (votes.for_first - votes.for_second)::float / votes.people / 2 + 0.5 AS share
          FROM opinions LEFT JOIN votes USING (first, second)) AS opinions
    JOIN annotation_response AS a ON a.id = opinions.first
    JOIN annotation_response AS b ON b.id = opinions.second
    WHERE a.author_id <> b.author_id
)
SELECT author.name, other.name, array_agg(coalesce(y, -1) ORDER BY prompt_id), array_agg(f ORDER BY prompt_id)
FROM (SELECT author, other, prompt_id, avg(y) AS y, coalesce(avg(f) FILTER (WHERE y IS NOT NULL), avg(f)) AS f
      FROM sides GROUP BY author, other, prompt_id) AS prompts
JOIN annotation_author AS author ON author.id = prompts.author
JOIN annotation_author AS other ON other.id = prompts.other
GROUP BY author.id, other.id
ORDER BY count(y) DESC, author.id, other.id LIMIT {MAX_WIN_RATES}
"""

# `p_ab` and `p_ba` are of the first response in both orders
SWAPS = """
SELECT opinion_set_id, count(*) FILTER (WHERE sign(p_ab - 0.5) = sign(p_ba - 0.5)), count(*), avg((p_ab + 1 - p_ba) / 2)
FROM annotation_opinion
WHERE opinion_set_id = ANY(%(sets)s) AND p_ab IS NOT NULL AND p_ba IS NOT NULL
GROUP BY opinion_set_id
"""


@dataclass(frozen=True)
class Swaps:
    """How a judge answers if the two responses change places.

    Attributes:
        consistency: the share of pairs with the same preference.
        first_shown: the mean probability that it gives the response shown first; a half is without bias.
    """

    consistency: Interval
    first_shown: float

    @property
    def is_low(self) -> bool:
        return self.consistency.value < MIN_SWAP_CONSISTENCY


@dataclass(frozen=True)
class DisagreedPair:
    """A pair on which most people prefer what the judge does not: its confidence, and the votes for and against its choice."""

    item: int
    confidence: float
    votes_for: int
    votes_against: int
    prompt: str


@dataclass(frozen=True)
class WinRate:
    """How often the responses of one author are preferred to those of another."""

    author: str
    other: str
    rate: PoweredRate


@dataclass(frozen=True)
class Trust:
    """Whether a judge's opinions count. `comparison` is None if no two people ordered the same pair of its pairs."""

    comparison: Comparison | None
    has_pairs: bool

    @property
    def weight(self) -> float:
        """Of an opinion beside a judgment; 0 if it does not count."""
        return judge_trust.weight(self.comparison.judge.low) if self.counts and self.comparison else 0.0

    @property
    def counts(self) -> bool:
        return self.comparison is not None and judge_trust.is_trusted(self.comparison)

    @property
    def sentence(self) -> str:
        """Whether it counts, and why."""
        if not self.has_pairs:
            return _(
                "How far it agrees with people is unknown: they have not judged any held-out answers that it compared. Its"
                " opinions count only where a lead gives them a weight, or starts a round that uses them unmeasured."
            )
        if (comparison := self.comparison) is None:
            return _(
                "How far it agrees with people is unknown: no two people have judged the same held-out answers that it compared."
                " Its opinions count only where a lead gives them a weight, or starts a round that uses them unmeasured."
            )
        values = {
            "judge": f"{comparison.judge.value:.0%}",
            "low": f"{comparison.judge.low:.0%}",
            "people": f"{comparison.people.value:.0%}",
            "minimum": f"{MIN_RATIO:.0%}",
            "weight": format_number(self.weight, 2),
        }
        if judge_trust.weight(comparison.judge.low) == 0:
            text = _(
                "It does not count: it agrees with people on %(judge)s of the pairs, but perhaps only on %(low)s, which may be"
                " chance."
            )
            return text % values
        if comparison.ratio is None:
            return _("It does not count: people do not agree with each other on any pair.")
        values |= {
            "ratio": f"{comparison.ratio.value:.0%}",
            "ratio_low": f"{comparison.ratio.low:.0%}",
        }
        if self.counts:
            return (
                _(
                    "It counts, with weight %(weight)s: it agrees with people on %(judge)s of the pairs on which they agree"
                    " with each other on %(people)s. That is %(ratio)s of their agreement, at least %(ratio_low)s."
                )
                % values
            )
        return (
            _(
                "It does not count: it agrees with people on %(judge)s of the pairs on which they agree with each other on"
                " %(people)s. That is %(ratio)s of their agreement, but perhaps only %(ratio_low)s; at least %(minimum)s is"
                " needed."
            )
            % values
        )


@dataclass(frozen=True)
class SetSummary:
    """An opinion set with its main figures."""

    opinion_set: OpinionSet
    trust: Trust
    swaps: Swaps | None


@dataclass(frozen=True)
class TrustReport:
    """How far the judge of an opinion set may be trusted.

    Attributes:
        held_out_only: only held-out prompts were looked at.
        pairs, prompts, votes: pairs with an opinion that at least one person ordered, their prompts, and people's votes.
        agreement, kappa: with people, on these pairs.
        scale: of p' = sigmoid(scale · logit p); `reliability` and `ece` are of p, `ece_recalibrated` is of p' (cross-fitted).
        length, own: preference of the longer, and of the judge's own response.
        cascade: where opinions can stand in for judgments, if anywhere.
        win_rates: of two authors each, from judgments and opinions.
        disagreements: the pairs with most confidence in what most people do not prefer.
    """

    held_out_only: bool
    pairs: int
    prompts: int
    votes: int
    trust: Trust
    agreement: Interval | None
    kappa: float | None
    scale: float
    reliability: list[ReliabilityBin]
    ece: float | None
    ece_recalibrated: float | None
    swaps: Swaps | None
    length: Preference | None
    own: Preference | None
    cascade: Cascade | None
    win_rates: list[WinRate]
    disagreements: list[DisagreedPair]

    @property
    def counts(self) -> bool:
        return self.trust.counts

    @property
    def weight(self) -> float:
        return self.trust.weight

    @property
    def warnings(self) -> list[str]:
        """Biases beyond what is acceptable, each as a sentence."""
        found = []
        if self.swaps and self.swaps.is_low:
            found.append(
                _(
                    "It often changes its preference if the answers change places: it has the same one for %(share)s of the"
                    " pairs, and %(minimum)s are asked for."
                )
                % {"share": f"{self.swaps.consistency.value:.0%}", "minimum": f"{MIN_SWAP_CONSISTENCY:.0%}"}
            )
        if self.length and self.length.difference.value > MAX_EXCESS_LENGTH_PREFERENCE:
            found.append(
                _("It prefers the longer answer in %(judge)s of the pairs, people in %(people)s.")
                % {"judge": f"{self.length.judge:.0%}", "people": f"{self.length.people:.0%}"}
            )
        if self.own and self.own.difference.low > 0:
            found.append(
                _("It prefers its own answers in %(judge)s of the pairs with one, people in %(people)s.")
                % {"judge": f"{self.own.judge:.0%}", "people": f"{self.own.people:.0%}"}
            )
        return found


def summaries(project: Project, opinion_sets: Sequence[OpinionSet]) -> list[SetSummary]:
    """The main figures of some of a project's sets, on held-out prompts; of a large one they may be some minutes old."""
    found = _summaries(project, NO_FILTERS, *(row.pk for row in opinion_sets))
    return [SetSummary(row, *found[row.pk]) for row in opinion_sets]


@figure
def _summaries(_project: Project, _filters: Filters, *ids: int) -> dict[int, tuple[Trust, Swaps | None]]:
    """By the set's id. Two queries."""
    pairs: defaultdict[int, list[JudgedPair]] = defaultdict(list)
    for set_id, _item, pair in _pairs(ids, held_out_only=True):
        pairs[set_id].append(pair)
    swaps = _swaps(ids)
    return {pk: (_trust(pairs[pk], seed=0), swaps.get(pk)) for pk in ids}


def trust_report(opinion_set: OpinionSet, *, held_out_only: bool = True, seed: int = 0) -> TrustReport:
    """The report on a set, from people's current judgments. Four queries. `seed`: of the bootstraps; the same judgments and
    seed give the same report."""
    return _report(opinion_set.pk, held_out_only=held_out_only, seed=seed)


def cached_trust_report(opinion_set: OpinionSet) -> TrustReport:
    """The same for pages; of a large project it may be some minutes old."""
    return _trust_report(opinion_set.project, NO_FILTERS, opinion_set.pk)


@figure
def _trust_report(_project: Project, _filters: Filters, opinion_set: int) -> TrustReport:
    return _report(opinion_set, held_out_only=True, seed=0)


def _report(opinion_set: int, *, held_out_only: bool, seed: int) -> TrustReport:
    rows = _pairs([opinion_set], held_out_only=held_out_only)
    pairs = [pair for _set, _item, pair in rows]
    scale = judge_trust.fit_scale(pairs)
    bins = judge_trust.reliability(pairs)
    recalibrated = judge_trust.reliability(pairs, judge_trust.cross_fitted(pairs, seed=seed))
    return TrustReport(
        held_out_only=held_out_only,
        pairs=len(pairs),
        prompts=len({pair.prompt for pair in pairs}),
        votes=sum(pair.votes for pair in pairs),
        trust=_trust(pairs, seed=seed),
        agreement=judge_trust.agreement(pairs, lambda pair: pair.judge_agreement),
        kappa=judge_trust.kappa(pairs),
        scale=scale,
        reliability=bins,
        ece=judge_trust.calibration_error(bins),
        ece_recalibrated=judge_trust.calibration_error(recalibrated),
        swaps=_swaps([opinion_set]).get(opinion_set),
        length=judge_trust.length_preference(pairs, seed=seed),
        own=judge_trust.self_preference(pairs, seed=seed),
        cascade=judge_trust.cascade(pairs, scale),
        win_rates=_win_rates(opinion_set, held_out_only),
        disagreements=_disagreements([(item, pair) for _set, item, pair in rows]),
    )


def _trust(pairs: Sequence[JudgedPair], *, seed: int) -> Trust:
    return Trust(judge_trust.compare_with_people(pairs, seed=seed), bool(pairs))


def _pairs(sets: Sequence[int], *, held_out_only: bool) -> list[tuple[int, int, JudgedPair]]:
    """The pairs of some sets that people ordered: the set's id, an item that has the pair, and the pair."""
    with connection.cursor() as cursor:
        cursor.execute(PAIRS, {"sets": list(sets), "held_out": held_out_only})
        return [(set_id, item_id, JudgedPair(*row)) for set_id, item_id, *row in cursor.fetchall()]


def _swaps(sets: Sequence[int]) -> dict[int, Swaps]:
    """By the set's id; without sets whose judge reads each response by itself."""
    with connection.cursor() as cursor:
        cursor.execute(SWAPS, {"sets": list(sets)})
        rows = [
            (set_id, judge_trust.swap_consistency(consistent, pairs), first_shown)
            for set_id, consistent, pairs, first_shown in cursor.fetchall()
        ]
    return {
        set_id: Swaps(consistency, first_shown) for set_id, consistency, first_shown in rows if consistency
    }


def _win_rates(opinion_set: int, held_out_only: bool) -> list[WinRate]:
    """Of every two authors whose responses enough people have compared."""
    with connection.cursor() as cursor:
        cursor.execute(WIN_RATES, {"sets": [opinion_set], "held_out": held_out_only})
        rows: list[tuple[str, str, list[float], list[float]]] = cursor.fetchall()
    rates = []
    for author, other, ys, fs in rows:
        prompts = list(zip(ys, fs, strict=True))
        rate = prediction_powered([(y, f) for y, f in prompts if y >= 0], [f for y, f in prompts if y < 0])
        if rate is not None:
            rates.append(WinRate(author, other, rate))
    return rates


def _disagreements(rows: Sequence[tuple[int, JudgedPair]]) -> list[DisagreedPair]:
    against = [(item, pair) for item, pair in rows if pair.judge_agreement < 0.5]
    worst = nlargest(MAX_DISAGREEMENTS, against, key=lambda row: abs(row[1].p - 0.5))
    prompts = Prompt.objects.only("messages").in_bulk({pair.prompt for _item, pair in worst})
    return [
        DisagreedPair(
            item,
            max(pair.p, 1 - pair.p),
            min(pair.first, pair.second),
            max(pair.first, pair.second),
            str(prompts[pair.prompt].messages[-1]["content"])[:200],
        )
        for item, pair in worst
    ]
