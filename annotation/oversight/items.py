"""Items as reviewers look for them: all of them, those on which people differ, and one with everything said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from annotation.logic import consensus
from annotation.logic.agreement import tally
from annotation.logic.ranking import LETTERS
from annotation.models import Item, Judgment, Project, Response, Skip, Slot, Verdict
from annotation.oversight.agreement import MET, SAID, SHAPES
from annotation.oversight.filters import EVERYTHING, Filters
from annotation.oversight.kept import kept
from annotation.oversight.times import WEEK

LEAST_AGREED = "agreement"
"""The order in which the items on which people agree least come first."""
STATES = {
    "open": "Open",
    "done": "Done",
    "restricted": "For reviewers",
    "retired": "Retired",
    "gold": "Gold",
    "decided": "Decided",
}


@dataclass(frozen=True)
class Search:
    """What an items list shows: items in a state, by tag and text, or the items behind a figure of another page, which
    are those with a judgment of a person, of a degree, under a version of the guidelines, or between two days (UTC)."""

    state: str = ""
    tag: str = ""
    text: str = ""
    annotator: str = ""
    degree: str = ""
    reason: str = ""
    version: int | None = None
    since: date | None = None
    until: date | None = None

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Search:
        """From a query string; what is unknown finds everything."""

        def text(name: str) -> str:
            return query.get(name, "").replace("\0", "").strip()[:200]

        version = text("version")
        return cls(
            state=text("state") if text("state") in STATES else "",
            tag=text("tag"),
            text=text("text"),
            annotator=text("annotator"),
            degree=text("degree"),
            reason=text("reason"),
            version=int(version) if version.isdecimal() and len(version) < 8 else None,
            since=_day(text("from")),
            until=_day(text("to")),
        )

    @property
    def judged(self) -> Q | None:
        """Which judgments an item must have one of; None where any item will do."""
        wanted = Q()
        if self.annotator:
            wanted &= Q(annotator__username=self.annotator)
        if self.degree:
            wanted &= Q(degree=self.degree)
        if self.version is not None:
            wanted &= Q(guideline__number=self.version)
        if self.since:
            wanted &= Q(created_at__gte=datetime.combine(self.since, time(), UTC))
        if self.until:
            wanted &= Q(created_at__lt=datetime.combine(self.until, time(), UTC) + timedelta(days=1))
        return wanted or None


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def found(project: Project, search: Search) -> QuerySet[Item]:
    """The items, newest first, with `said`, how many judged each, and `waits`, for how many it waits."""
    counted = Q(judgments__supersedes=None, judgments__slot__isnull=False)
    items = (
        Item.objects.filter(project=project)
        .select_related("prompt")
        .annotate(said=Count("judgments", filter=counted, distinct=True))
        .order_by("-id")
    )
    waiting = Slot.objects.filter(item=OuterRef("pk")).exclude(state=Slot.State.DONE)
    verdicts = Verdict.objects.filter(item=OuterRef("pk"))
    items = items.annotate(decided=Exists(verdicts), waits=Exists(waiting))
    if search.state:
        items = items.filter(_in_state(search.state))
    if search.tag:
        items = items.filter(prompt__tags__contains=[search.tag])
    if search.text:
        items = items.filter(prompt__messages__icontains=search.text)
    if (judged := search.judged) is not None:
        items = items.filter(Exists(Judgment.objects.current().filter(judged, item=OuterRef("pk"))))
    if search.reason:
        items = items.filter(Exists(Skip.objects.filter(item=OuterRef("pk"), reason=search.reason)))
    return items


def _in_state(state: str) -> Q:
    if state == "gold":
        return Q(gold__isnull=False)
    if state == "decided":
        return Q(decided=True)
    if state == "done":
        return Q(state=Item.State.OPEN, gold__isnull=True, waits=False)
    if state == "open":
        return Q(state=Item.State.OPEN, gold__isnull=True, waits=True)
    return Q(state=state)


# --- what needs a look ----------------------------------------------------------------------------------------

DISAGREEMENTS = """
WITH {said}, {shapes}, {met}
SELECT met.item_id, sum(same)::int, sum(pairs)::int, count(*)::int, min(tau), left(prompt.messages->-1->>'content', 200),
       prompt.tags
FROM met
JOIN annotation_item AS item ON item.id = met.item_id
JOIN annotation_prompt AS prompt ON prompt.id = met.prompt_id
WHERE item.state <> 'retired'
  AND NOT EXISTS (SELECT FROM annotation_verdict AS verdict WHERE verdict.item_id = met.item_id)
GROUP BY met.item_id, prompt.id
HAVING sum(same)::float / sum(pairs) < %(below)s
ORDER BY sum(same)::float / sum(pairs), avg(tau), met.item_id
"""


@dataclass(frozen=True)
class Disagreement:
    """An item on which people differ, `percent` being how far they agree."""

    item: int
    same: int
    pairs: int
    meetings: int
    worst_tau: float | None
    prompt: str
    tags: list[str]

    @property
    def percent(self) -> int:
        return round(100 * self.same / self.pairs)


BELOW = 2 / 3
"""Items on which people agree less than this wait for a verdict."""


def disagreements(
    project: Project, filters: Filters, *, limit: int = 50, offset: int = 0
) -> tuple[list[Disagreement], int]:
    """The items without a verdict on which people differ, the worst first; and how many there are in all."""
    where, values = filters.where()
    whose = ""
    if filters.annotator:
        whose = "WHERE a.annotator_id = %(annotator)s OR b.annotator_id = %(annotator)s"
        values["annotator"] = filters.annotator.pk
    query = DISAGREEMENTS.format(
        said=SAID.format(where=where), shapes=SHAPES, met=MET.format(whose=whose)
    )
    values |= {"project": project.pk, "below": BELOW, "limit": limit, "offset": offset} | WEEK.values
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT *, count(*) OVER () FROM ({query}) AS items LIMIT %(limit)s OFFSET %(offset)s", values
        )
        rows = cursor.fetchall()
    return [Disagreement(*row[:-1]) for row in rows], rows[0][-1] if rows else 0


def sent(project: Project) -> QuerySet[Skip]:
    """What annotators left to a reviewer and nobody has answered yet, the oldest first."""
    return (
        Skip.objects.filter(item__project=project, reason=Skip.Reason.REVIEW, resolved_at=None)
        .select_related("annotator", "item__prompt")
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
    verdicts: list[Verdict]
    waits: int


def everything(item: Item) -> Everything:
    """Five queries: answers, judgments with their placements, skips, verdicts, slots."""
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
    """The worst other item on which people differ and that nobody has decided yet, to go on with."""
    worst = kept(
        project,
        EVERYTHING,
        "worst",
        count=lambda: [one.item for one in disagreements(project, EVERYTHING, limit=50)[0]],
    )
    decided = Verdict.objects.filter(item__in=worst).values_list("item_id", flat=True)
    retired = Item.objects.filter(pk__in=worst, state=Item.State.RETIRED).values_list("pk", flat=True)
    done = {item.pk, *decided.union(retired)}
    return next((pk for pk in worst if pk not in done), None)
