"""Items as reviewers meet them: those that need a look, and one with everything said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from annotation.analytics.agreement import MET, SAID, SAME, SHAPES
from annotation.analytics.filters import EVERYTHING, Filters
from annotation.analytics.time_steps import WEEK
from annotation.logic import consensus
from annotation.logic.agreement import tally
from annotation.logic.ranking import LETTERS
from annotation.models import Item, Judgment, Project, Response, ReviewFlag, Skip, Slot, Verdict
from annotation.models.judgments import DIFFER

# --- what needs a look ----------------------------------------------------------------------------------------

# of all judgments, as a worker measured it: `Agreement` and its index
MEASURED = """
SELECT agreement.item_id, agreement.share, item.prompt_id
FROM annotation_agreement AS agreement
JOIN annotation_item AS item ON item.id = agreement.item_id
WHERE agreement.project_id = %(project)s AND agreement.share < %(below)s AND item.gold IS NULL {open}
"""

# of the judgments that filters let through, counted now
COUNTED = """
WITH {said}, {shapes}, {met}
SELECT met.item_id, sum(same)::float / sum(pairs) AS share, met.prompt_id
FROM met JOIN annotation_item AS item ON item.id = met.item_id
WHERE true {open}
GROUP BY met.item_id, met.prompt_id
HAVING sum(same)::float / sum(pairs) < %(below)s
"""

OPEN = """
AND item.state <> 'retired'
AND NOT EXISTS (SELECT FROM annotation_verdict AS verdict WHERE verdict.item_id = item.id)
"""

WORST = """
SELECT found.item_id, found.share, left(prompt.messages->-1->>'content', 200), prompt.tags, found.n
FROM (SELECT *, count(*) OVER () AS n FROM ({found}) AS every
      ORDER BY share, item_id LIMIT %(limit)s OFFSET %(offset)s) AS found
JOIN annotation_prompt AS prompt ON prompt.id = found.prompt_id
ORDER BY found.share, found.item_id
"""


@dataclass(frozen=True)
class Disagreement:
    """An item on which people differ, `percent` being how far they agree."""

    item: int
    share: float
    prompt: str
    tags: list[str]

    @property
    def percent(self) -> int:
        return round(100 * self.share)


def disagreements(
    project: Project, filters: Filters, *, limit: int = 50, offset: int = 0
) -> tuple[list[Disagreement], int]:
    """The items without a verdict on which people differ, the worst first; and how many there are in all. One query."""
    where, values = filters.where()
    whose = ""
    if filters.annotator:
        whose = "WHERE a.annotator_id = %(annotator)s OR b.annotator_id = %(annotator)s"
        values["annotator"] = filters.annotator.pk
    if filters.any or filters.since:
        met = MET.format(same=SAME, whose=whose)
        found = COUNTED.format(said=SAID.format(where=where), shapes=SHAPES, met=met, open=OPEN)
    else:
        found = MEASURED.format(open=OPEN)
    values |= {"project": project.pk, "below": DIFFER, "limit": limit, "offset": offset} | WEEK.values
    with connection.cursor() as cursor:
        cursor.execute(WORST.format(found=found), values)
        rows = cursor.fetchall()
    return [Disagreement(*row[:-1]) for row in rows], rows[0][-1] if rows else 0


def sent(project: Project) -> QuerySet[Skip]:
    """What annotators left to a reviewer and nobody has answered yet, the oldest first."""
    return (
        Skip.objects.filter(item__project=project, reason=Skip.Reason.REVIEW, resolved_at=None)
        .select_related("annotator", "item__prompt")
        .order_by("id")
    )


def flagged_items(project: Project) -> QuerySet[ReviewFlag]:
    """The judgments that somebody other than a person asks a reviewer to look at, the oldest first."""
    return (
        ReviewFlag.objects.filter(judgment__item__project=project, resolved_at=None)
        .select_related("judgment__annotator", "judgment__item__prompt")
        .order_by("id")
    )


# --- one item -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """An answer in an item's page. `strength` is Bradley and Terry's, as a percentage of the widest."""

    letter: str
    response: Response
    rank: int | None
    strength: float


@dataclass(frozen=True)
class Cell:
    """What one person said of one answer."""

    rank: int | None
    quality: int | None = None
    safe: bool | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Voice:
    """What one person said of each answer, in the order of the letters. `far`: their distance from the consensus, as a
    share of the pairs."""

    name: str
    cells: list[Cell]
    judgment: Judgment
    far: float | None = None

    @property
    def ranks(self) -> list[int]:
        return [cell.rank or 0 for cell in self.cells]


@dataclass(frozen=True)
class Sent:
    """What somebody had said when they left the item to a reviewer; it does not count."""

    skip: Skip
    cells: list[Cell]

    @property
    def unsafe_preferred(self) -> bool:
        """Whether it was refused: an unsafe answer stands above a safe one."""
        return any(
            worse.safe is False and better.safe is not False and (worse.rank or 0) < (better.rank or 0)
            for worse in self.cells
            for better in self.cells
            if worse.rank and better.rank
        )


@dataclass(frozen=True)
class Everything:
    """An item with all that was said about it."""

    item: Item
    candidates: list[Candidate]
    voices: list[Voice]
    consensus: list[int]
    agreement: int | None
    sent: list[Sent]
    skips: list[Skip]
    review_flags: list[ReviewFlag]
    verdicts: list[Verdict]
    waits: int


def everything(item: Item) -> Everything:
    """Six queries: answers, judgments with their placements, skips, review flags, verdicts, slots."""
    responses = sorted(item.responses.all(), key=lambda response: response.pk)
    order = [response.pk for response in responses]
    voices = _voices(item, order)
    rankings = [voice.ranks for voice in voices]
    agreed = consensus.kemeny(rankings)
    ranks: list[int | None] = list(agreed) if agreed else [None] * len(order)
    strengths = (
        consensus.bradley_terry(consensus.votes(rankings)) if len(rankings) > 1 else [0.0] * len(order)
    )
    widest = max(map(abs, strengths), default=0) or 1
    met = tally([rankings]).share
    pairs = len(order) * (len(order) - 1) / 2 or 1
    skips = list(item.skips.select_related("annotator").order_by("id"))
    return Everything(
        item=item,
        candidates=[
            Candidate(letter, response, rank, round(50 + 45 * strength / widest, 1))
            for letter, response, rank, strength in zip(LETTERS, responses, ranks, strengths, strict=False)
        ],
        voices=[
            Voice(v.name, v.cells, v.judgment, consensus.distance(v.ranks, agreed) / pairs) for v in voices
        ],
        consensus=agreed,
        agreement=met.percent if met else None,
        sent=[Sent(skip, _said_before(skip, order)) for skip in skips if skip.data],
        skips=skips,
        review_flags=list(
            ReviewFlag.objects.filter(judgment__item=item, resolved_at=None)
            .select_related("judgment__annotator")
            .order_by("id")
        ),
        verdicts=list(item.verdicts.select_related("reviewer").order_by("-id")),
        waits=item.slots.exclude(state=Slot.State.DONE).count(),
    )


def _voices(item: Item, order: list[int]) -> list[Voice]:
    judgments = (
        Judgment.objects.current()
        .filter(item=item)
        .select_related("annotator", "guideline")
        .prefetch_related("placements")
        .order_by("id")
    )
    found = []
    for judgment in judgments:
        placed = {placement.response_id: placement for placement in judgment.placements.all()}
        if order and set(placed) == set(order):
            cells = [Cell(p.rank, p.quality, p.safe, tuple(p.flags)) for p in (placed[pk] for pk in order)]
            found.append(Voice(judgment.annotator.username, cells, judgment))
    return found


def _said_before(skip: Skip, order: list[int]) -> list[Cell]:
    """From what the screens keep beside a skip: `{"ranks": {id: rank}, "marks": {id: {"safe": …}}}`. It came from a form:
    what is no rank or mark is left out."""
    data = skip.data if isinstance(skip.data, dict) else {}
    ranks, marks = _mapping(data.get("ranks")), _mapping(data.get("marks"))
    cells = []
    for pk in map(str, order):
        rank, mark = ranks.get(pk), marks.get(pk)
        safe = _mapping(mark).get("safe")
        cells.append(
            Cell(rank if isinstance(rank, int) else None, safe=safe if isinstance(safe, bool) else None)
        )
    return cells


def _mapping(part: Any) -> dict[str, Any]:
    return part if isinstance(part, dict) else {}


def in_letters(ranks: Mapping[str, int] | None, candidates: list[Candidate]) -> list[int | None]:
    """Ranks by response id, as a verdict or gold keeps them, in the order of the letters."""
    return [(ranks or {}).get(str(candidate.response.pk)) for candidate in candidates]


def next_to_review(project: Project, item: Item) -> int | None:
    """The worst other item on which people differ and that nobody has decided yet, to go on with; where there is none, one
    with a flagged judgment."""
    worst, _ = disagreements(project, EVERYTHING, limit=2)
    others = (one.item for one in worst if one.item != item.pk)
    review_flags = (
        flagged_items(project).exclude(judgment__item=item).values_list("judgment__item", flat=True)
    )
    return next(others, None) or review_flags.first()
