"""Items for reviewers: those with disagreement, skips or review flags, and one item with all of its judgments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db.models import QuerySet

from annotation.analytics.agreement import AGREEING_PAIRS, COUNTED_JUDGMENTS, JUDGMENT_PAIRS, RANKINGS
from annotation.analytics.filters import NO_FILTERS, Filters
from annotation.analytics.overview import MANY
from annotation.analytics.time_steps import WEEK
from annotation.db.sql_rows import SqlRows
from annotation.logic import consensus
from annotation.logic.agreement import tally
from annotation.logic.ranking import LETTERS
from annotation.models import (
    ImportedJudgment,
    Item,
    Judgment,
    Opinion,
    OpinionSet,
    Project,
    Response,
    ReviewFlag,
    Skip,
    Slot,
    Verdict,
)
from annotation.models.judgments import DISAGREEMENT

MAX_IMPORTED = 50
"""More imported judgments of one item are not listed."""

# --- items that need review ----------------------------------------------------------------------------------------

# without filters: from `Agreement`, which a worker keeps up to date, by its index
MEASURED = """
SELECT agreement.item_id, agreement.share, item.prompt_id
FROM annotation_agreement AS agreement
JOIN annotation_item AS item ON item.id = agreement.item_id
WHERE agreement.project_id = %(project)s AND agreement.share < %(below)s AND item.gold IS NULL {open}
"""

# with filters: computed from the judgments that match
COUNTED = """
WITH {judgments}, {rankings}, {judgment_pairs}
SELECT judgment_pairs.item_id, sum(same)::float / sum(pairs) AS share, judgment_pairs.prompt_id
FROM judgment_pairs JOIN annotation_item AS item ON item.id = judgment_pairs.item_id
WHERE true {open}
GROUP BY judgment_pairs.item_id, judgment_pairs.prompt_id
HAVING sum(same)::float / sum(pairs) < %(below)s
"""

OPEN = """
AND item.state <> 'retired'
AND NOT EXISTS (SELECT FROM annotation_verdict AS verdict WHERE verdict.item_id = item.id)
"""


@dataclass(frozen=True)
class Disagreement:
    """An item with low agreement: `share` of its pairs are ordered alike."""

    item_id: int
    share: float
    prompt: str
    tags: list[str]

    @property
    def pk(self) -> int:
        return self.item_id

    @property
    def percent(self) -> int:
        return round(100 * self.share)


LOWEST_FIRST = ("share", "item_id")
"""The order of disagreements, which an index has where nothing is filtered."""


def disagreements(project: Project, filters: Filters) -> SqlRows[Disagreement]:
    """The items without a verdict on which people disagree, with columns `share` and `item_id`. With filters, the agreement is
    that of the judgments that match."""
    where, values = filters.where()
    of_annotator = ""
    if filters.annotator:
        of_annotator = "WHERE a.annotator_id = %(annotator)s OR b.annotator_id = %(annotator)s"
        values["annotator"] = filters.annotator.pk
    is_counted = bool(filters.is_active or filters.since)
    if is_counted:
        differing = COUNTED.format(
            judgments=COUNTED_JUDGMENTS.format(where=where),
            rankings=RANKINGS,
            judgment_pairs=JUDGMENT_PAIRS.format(agreeing_pairs=AGREEING_PAIRS, of_annotator=of_annotator),
            open=OPEN,
        )
    else:
        differing = MEASURED.format(open=OPEN)
    return SqlRows(
        differing,
        Disagreement,
        values | {"project": project.pk, "below": DISAGREEMENT} | WEEK.values,
        columns="page.item_id, page.share, left(prompt.messages->-1->>'content', 200), prompt.tags",
        joins="JOIN annotation_prompt AS prompt ON prompt.id = page.prompt_id",
        counts_to=MANY if is_counted else 0,
    )


def review_requests(project: Project) -> QuerySet[Skip]:
    """Skips that annotators sent to a reviewer and that are not resolved yet, oldest first."""
    return (
        Skip.objects.filter(item__project=project, reason=Skip.Reason.REVIEW, resolved_at=None)
        .select_related("annotator", "item__prompt")
        .order_by("id")
    )


def flagged_items(project: Project) -> QuerySet[ReviewFlag]:
    """Judgments that reward models flagged for review and that are not resolved yet, oldest first."""
    return (
        ReviewFlag.objects.filter(judgment__item__project=project, resolved_at=None)
        .select_related("judgment__annotator", "judgment__item__prompt")
        .order_by("id")
    )


# --- one item -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """An answer on an item's page. `strength` is the Bradley-Terry strength, scaled to a bar of 0 to 100."""

    letter: str
    response: Response
    rank: int | None
    strength: float


@dataclass(frozen=True)
class AnswerRating:
    """One annotator's rank, quality, safety and flags for one answer, and what the project's own questions asked: ratings by
    key, and comments on passages. `place`: where it stood on the annotator's screen, from 1; None where that is not known."""

    rank: int | None
    quality: int | None = None
    safe: bool | None = None
    flags: tuple[str, ...] = ()
    criteria: Mapping[str, int] = field(default_factory=dict)
    comments: Sequence[Mapping[str, Any]] = ()
    place: int | None = None


@dataclass(frozen=True)
class ItemJudgment:
    """One annotator's judgment: a rating per answer, in the order of the letters. `distance` from the consensus is the share
    of pairs ordered differently."""

    name: str
    ratings: list[AnswerRating]
    judgment: Judgment
    distance: float | None = None

    @property
    def ranks(self) -> list[int]:
        return [rating.rank or 0 for rating in self.ratings]


@dataclass(frozen=True)
class ImportedItemJudgment:
    """An imported judgment: a rating per answer, in the order of the letters."""

    ratings: list[AnswerRating]
    judgment: ImportedJudgment


@dataclass(frozen=True)
class PairOpinion:
    """A judge's opinion on two answers: the letter of the one that it prefers (that of the first where it has no preference)
    and of the other, how sure it is, and how many of the people who ordered them agree with it."""

    better: str
    worse: str
    confidence: float
    agreeing: int
    people: int
    opinion: Opinion

    @property
    def flips(self) -> bool:
        """Whether it prefers the other one if they change places."""
        p_ab, p_ba = self.opinion.p_ab, self.opinion.p_ba
        return p_ab is not None and p_ba is not None and (p_ab - 0.5) * (p_ba - 0.5) < 0


@dataclass(frozen=True)
class ReviewRequest:
    """What an annotator had entered when they sent the item to a reviewer; it does not count as a judgment."""

    skip: Skip
    ratings: list[AnswerRating]

    @property
    def unsafe_preferred(self) -> bool:
        """Whether an unsafe answer is ranked above a safe one, which is refused as a judgment."""
        return any(
            worse.safe is False and better.safe is not False and (worse.rank or 0) < (better.rank or 0)
            for worse in self.ratings
            for better in self.ratings
            if worse.rank and better.rank
        )


@dataclass(frozen=True)
class ItemReview:
    """An item with its judgments, consensus, skips, review flags and verdicts. `written`: the judgments in which an answer was
    written instead."""

    item: Item
    candidates: list[Candidate]
    judgments: list[ItemJudgment]
    written: list[Judgment]
    consensus: list[int]
    agreement: int | None
    review_requests: list[ReviewRequest]
    skips: list[Skip]
    review_flags: list[ReviewFlag]
    verdicts: list[Verdict]
    open_slots: int
    imported: list[ImportedItemJudgment]
    opinion_set: OpinionSet | None
    opinions: list[PairOpinion]

    @property
    def comments(self) -> list[dict[str, str]]:
        """Annotators' comments on passages of the answers, answer by answer."""
        return [
            {
                "letter": candidate.letter,
                "name": judgment.name,
                "quote": comment["quote"],
                "text": comment["text"],
            }
            for place, candidate in enumerate(self.candidates)
            for judgment in self.judgments
            for comment in judgment.ratings[place].comments
        ]


def item_review(item: Item) -> ItemReview:
    """Eight queries: answers, judgments with their placements, skips, review flags, verdicts, slots, imported judgments, and
    the newest opinions on the answers."""
    responses = sorted(item.responses.all(), key=lambda response: response.pk)
    order = [response.pk for response in responses]
    judgments, written = _judgments(item, order)
    rankings = [judgment.ranks for judgment in judgments]
    consensus_ranks = consensus.kemeny(rankings)
    ranks: list[int | None] = list(consensus_ranks) if consensus_ranks else [None] * len(order)
    strengths = (
        consensus.bradley_terry(consensus.votes(rankings)) if len(rankings) > 1 else [0.0] * len(order)
    )
    widest = max(map(abs, strengths), default=0) or 1
    agreement = tally([rankings]).share
    pairs = len(order) * (len(order) - 1) / 2 or 1
    skips = list(item.skips.select_related("annotator").order_by("id"))
    opinions = _opinions(item, order)
    return ItemReview(
        item=item,
        candidates=[
            Candidate(letter, response, rank, round(50 + 45 * strength / widest, 1))
            for letter, response, rank, strength in zip(LETTERS, responses, ranks, strengths, strict=False)
        ],
        judgments=[
            replace(judgment, distance=consensus.distance(judgment.ranks, consensus_ranks) / pairs)
            for judgment in judgments
        ],
        written=written,
        consensus=consensus_ranks,
        agreement=agreement.percent if agreement else None,
        review_requests=[
            ReviewRequest(skip, _ratings_before_skip(skip, order)) for skip in skips if skip.data
        ],
        skips=skips,
        review_flags=list(
            ReviewFlag.objects.filter(judgment__item=item, resolved_at=None)
            .select_related("judgment__annotator")
            .order_by("id")
        ),
        verdicts=list(item.verdicts.select_related("reviewer").order_by("-id")),
        open_slots=item.slots.exclude(state=Slot.State.DONE).count(),
        imported=_imported_judgments(item, order),
        opinion_set=opinions[0].opinion_set if opinions else None,
        opinions=[_pair_opinion(opinion, order, judgments) for opinion in opinions],
    )


def _judgments(item: Item, order: list[int]) -> tuple[list[ItemJudgment], list[Judgment]]:
    """Those that order all answers, and those that wrote one."""
    judgments = (
        Judgment.objects.current()
        .filter(item=item)
        .select_related("annotator", "guideline", "demonstration")
        .prefetch_related("placements")
        .order_by("id")
    )
    complete = []
    for judgment in judgments:
        placed = {placement.response_id: placement for placement in judgment.placements.all()}
        if order and set(placed) == set(order):
            ratings = [
                AnswerRating(
                    *(p.rank, p.quality, p.safe, tuple(p.flags), p.criteria, p.comments),
                    place=judgment.shown_order.index(pk) + 1,
                )
                for pk, p in ((pk, placed[pk]) for pk in order)
            ]
            complete.append(ItemJudgment(judgment.annotator.username, ratings, judgment))
    return complete, [judgment for judgment in judgments if judgment.demonstration is not None]


def _imported_judgments(item: Item, order: list[int]) -> list[ImportedItemJudgment]:
    imported = item.imported_judgments.select_related("source").order_by("id")[:MAX_IMPORTED]
    return [
        ImportedItemJudgment([_imported_rating(judgment, pk) for pk in order], judgment)
        for judgment in imported
    ]


def _opinions(item: Item, order: list[int]) -> list[Opinion]:
    """The opinions on an item's answers in the newest set that has any."""
    on_answers = Opinion.objects.filter(prompt=item.prompt_id, first__in=order, second__in=order)
    newest = on_answers.order_by("-opinion_set_id").values("opinion_set_id")[:1]
    return list(
        on_answers.filter(opinion_set_id=newest)
        .select_related("opinion_set__constitution")
        .order_by("first_id", "second_id", "principle")
    )


def _pair_opinion(opinion: Opinion, order: list[int], judgments: Sequence[ItemJudgment]) -> PairOpinion:
    better, worse = order.index(opinion.first_id), order.index(opinion.second_id)
    if opinion.p < 0.5:
        better, worse = worse, better
    ordered = [j.ranks[better] - j.ranks[worse] for j in judgments if j.judgment.slot_id]
    return PairOpinion(
        LETTERS[better],
        LETTERS[worse],
        max(opinion.p, 1 - opinion.p),
        sum(difference < 0 for difference in ordered),
        sum(difference != 0 for difference in ordered),
        opinion,
    )


def _imported_rating(judgment: ImportedJudgment, response_id: int) -> AnswerRating:
    if response_id not in judgment.responses:
        return AnswerRating(None)
    place = judgment.responses.index(response_id)
    return AnswerRating(
        judgment.ranks[place],
        judgment.quality[place] if judgment.quality else None,
        judgment.safe[place] if judgment.safe else None,
        tuple(_mapping(judgment.details.get("flags")).get(str(response_id), ())),
    )


def _ratings_before_skip(skip: Skip, order: list[int]) -> list[AnswerRating]:
    """Ratings from the data stored with a skip: `{"ranks": {id: rank}, "marks": {id: {"safe": …}}}`. It came from a form, so
    invalid values are dropped."""
    data = skip.data if isinstance(skip.data, dict) else {}
    ranks, marks = _mapping(data.get("ranks")), _mapping(data.get("marks"))
    ratings = []
    for pk in map(str, order):
        rank, mark = ranks.get(pk), marks.get(pk)
        safe = _mapping(mark).get("safe")
        ratings.append(
            AnswerRating(
                rank if isinstance(rank, int) else None, safe=safe if isinstance(safe, bool) else None
            )
        )
    return ratings


def _mapping(part: Any) -> dict[str, Any]:
    return part if isinstance(part, dict) else {}


def ranks_by_letter(ranks: Mapping[str, int] | None, candidates: list[Candidate]) -> list[int | None]:
    """Ranks by response id (as in a verdict or a gold answer), in the order of the letters."""
    return [(ranks or {}).get(str(candidate.response.pk)) for candidate in candidates]


def next_to_review(project: Project, item: Item) -> int | None:
    """Another item to review: the undecided one with the lowest agreement, or else one with a flagged judgment."""
    worst = disagreements(project, NO_FILTERS).read(LOWEST_FIRST, limit=2)
    others = (row.item_id for row in worst if row.item_id != item.pk)
    review_flags = (
        flagged_items(project).exclude(judgment__item=item).values_list("judgment__item", flat=True)
    )
    return next(others, None) or review_flags.first()
