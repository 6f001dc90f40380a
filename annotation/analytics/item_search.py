"""The list of items: by what it is narrowed and in which order it comes, all in the page's address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils.formats import date_format

from annotation.analytics.time_steps import DAY
from annotation.models import Item, Judgment, Project, Skip, Slot, Verdict

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
    are those with a judgment of a person, of a degree, under a version of the guidelines, or from a moment to another, that
    one left out (UTC)."""

    state: str = ""
    tag: str = ""
    text: str = ""
    annotator: str = ""
    degree: str = ""
    reason: str = ""
    version: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    sort: str = ""

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
            since=_moment(text("from")),
            until=_moment(text("to"), ends=True),
            sort=LEAST_AGREED if text("sort") == LEAST_AGREED else "",
        )

    @property
    def narrowed(self) -> bool:
        """Whether it leaves items out."""
        return replace(self, sort="") != Search()

    @property
    def when(self) -> str:
        """From when to when, in words: days, or moments where they are not whole ones."""
        whole = all(at is None or at.time() == time() for at in (self.since, self.until))
        last = self.until - DAY if self.until and whole else self.until
        if whole and self.since and self.since == last:
            return f"on {date_format(self.since, 'j F Y')}"
        style, zone = ("j F Y", "") if whole else ("j F Y, H:i", " UTC")
        ends = (("from", self.since), ("to", last))
        return " ".join(f"{word} {date_format(at, style)}{zone}" for word, at in ends if at)

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
            wanted &= Q(created_at__gte=self.since)
        if self.until:
            wanted &= Q(created_at__lt=self.until)
        return wanted or None


def _moment(text: str, *, ends: bool = False) -> datetime | None:
    """Of `2026-11-20T14:05` or `2026-11-20`, in UTC; where a day `ends` something, the moment after it. None of what is
    no time."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment + DAY if ends and len(text) == len("2026-11-20") else moment
    except (ValueError, OverflowError):
        return None


def found(project: Project, search: Search) -> QuerySet[Item]:
    """The items, the newest first or those on which people agree least, with `said`, how many judged each, and `waits`,
    whether it waits for somebody."""
    # counted for the items of the page alone, where joining would count for all of them
    counted = (
        Judgment.objects.filter(item=OuterRef("pk"), supersedes=None, slot__isnull=False)
        .order_by()
        .values("item")
        .annotate(n=Count("pk"))
    )
    items = (
        Item.objects.filter(project=project)
        .select_related("prompt", "agreement")
        .annotate(said=Coalesce(Subquery(counted.values("n")), 0))
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
        items = items.filter(prompt__messages__says=search.text)
    if (judged := search.judged) is not None:
        items = items.filter(Exists(Judgment.objects.current().filter(judged, item=OuterRef("pk"))))
    if search.sort == LEAST_AGREED:
        # by the index of `Agreement`, which holds only items that two people judged
        items = items.filter(agreement__project=project).order_by("agreement__share", "pk")
        if search.state != "gold":
            items = items.filter(gold__isnull=True)
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
