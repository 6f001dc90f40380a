"""Search and order of the item list, read from the query string."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Length
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotation.analytics.time_steps import DAY
from annotation.models import Item, Judgment, Placement, Project, Skip, Slot, Verdict

LEAST_AGREED = "agreement"
"""Sort key: lowest agreement first; after a `-` highest first."""
STATES = {
    "open": gettext_lazy("Open"),
    "done": gettext_lazy("Done"),
    "restricted": gettext_lazy("For reviewers"),
    "retired": gettext_lazy("Retired"),
    "gold": gettext_lazy("Gold"),
    "decided": gettext_lazy("Decided"),
}


FASTEST = "fastest"
"""Sort key: the annotator's quickest judgments first."""
CHOICES = {
    "first": gettext_lazy("The answer shown first"),
    "longest": gettext_lazy("The longest answer"),
    "tied": gettext_lazy("All answers tied"),
}
"""What somebody ranked first, by which their items are found."""


@dataclass(frozen=True)
class Search:
    """A search for items by state, tag, text and an entry of the prompt's metadata (`name=value`), or by their judgments:
    annotator, degree, what they chose, guideline version, and time from `since` up to but not including `until`."""

    state: str = ""
    tag: str = ""
    text: str = ""
    metadata: str = ""
    annotator: str = ""
    degree: str = ""
    chose: str = ""
    reason: str = ""
    version: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    sort: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Search:
        """From a query string; unknown values are ignored."""

        def text(name: str) -> str:
            return query.get(name, "").replace("\0", "").strip()[:200]

        version = text("version")
        return cls(
            state=text("state") if text("state") in STATES else "",
            tag=text("tag"),
            text=text("text"),
            metadata=text("metadata") if "=" in text("metadata") else "",
            annotator=text("annotator"),
            degree=text("degree"),
            chose=text("chose") if text("chose") in CHOICES else "",
            reason=text("reason"),
            version=int(version) if version.isdecimal() and len(version) < 8 else None,
            since=_parse_time(text("from")),
            until=_parse_time(text("to"), ends=True),
            sort=text("sort") if text("sort").removeprefix("-") in (LEAST_AGREED, FASTEST) else "",
        )

    @property
    def by(self) -> str:
        """The sort key without its direction."""
        return self.sort.removeprefix("-")

    def directed(self, *names: str) -> list[str]:
        """The fields in the direction of the sort key."""
        return [f"-{name}" if self.sort.startswith("-") else name for name in names]

    @property
    def is_narrowed(self) -> bool:
        """Whether any filter is set."""
        return replace(self, sort="") != Search()

    @property
    def when(self) -> str:
        """The time range in words: dates, or dates with times where it is not whole days."""
        since, until = (at and timezone.localtime(at) for at in (self.since, self.until))
        whole = all(at is None or at.time() == time() for at in (since, until))
        last = until - DAY if until and whole else until
        if whole and since and since == last:
            return _("on %(date)s") % {"date": date_format(since, "j F Y")}
        style, zone = ("j F Y", "") if whole else ("j F Y, H:i", f" {timezone.get_current_timezone_name()}")
        values = {"start": since, "end": last}
        words = {name: f"{date_format(at, style)}{zone}" for name, at in values.items() if at}
        if since and last:
            return _("from %(start)s to %(end)s") % words
        if since:
            return _("from %(start)s") % words
        return _("to %(end)s") % words if last else ""

    @property
    def judgment_filter(self) -> Q | None:
        """Condition that at least one judgment of the item must meet; None for none."""
        condition = Q()
        if self.annotator:
            condition &= Q(annotator__username=self.annotator)
        if self.degree:
            condition &= Q(degree=self.degree)
        if self.chose:
            condition &= _chose(self.chose)
        if self.version is not None:
            condition &= Q(guideline__number=self.version)
        if self.since:
            condition &= Q(created_at__gte=self.since)
        if self.until:
            condition &= Q(created_at__lt=self.until)
        return condition or None


def _chose(what: str) -> Q:
    """Condition on a judgment: what it ranks first, alone."""
    placements = Placement.objects.filter(judgment=OuterRef("pk"))
    best = placements.filter(rank=1)
    if what == "tied":
        return Q(Exists(best), ~Exists(placements.filter(rank__gt=1)))
    if what == "first":
        first = best.filter(response=OuterRef("shown_order__0"))
        return Q(Exists(first), ~Exists(best.exclude(response=OuterRef("shown_order__0"))))
    measured = Placement.objects.annotate(length=Length("response__text"))
    longer = measured.filter(judgment=OuterRef("judgment"), length__gt=OuterRef("length"))
    return Q(Exists(measured.filter(~Exists(longer), judgment=OuterRef("pk"), rank=1)))


def _parse_time(text: str, *, ends: bool = False) -> datetime | None:
    """`2026-11-20T14:05` or `2026-11-20` in the current zone; a date that `ends` a range becomes the start of the next day. None
    where it is neither."""
    try:
        parsed = datetime.fromisoformat(text)
        if not parsed.tzinfo:
            parsed = timezone.make_aware(parsed + DAY if ends and len(text) == len("2026-11-20") else parsed)
        parsed = parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return parsed if 1900 < parsed.year < 2200 else None


def search_items(project: Project, search: Search) -> QuerySet[Item]:
    """The items found, newest first or as they are sorted, annotated with `judgment_count`, `is_decided` and
    `is_waiting` (whether it has a slot that is not done); sorted by the fastest judgment, also with its `seconds`."""
    # a subquery counts for the items of the page only; a join would count for all of them
    counted = (
        Judgment.objects.originals()
        .filter(item=OuterRef("pk"), slot__isnull=False)
        .order_by()
        .values("item")
        .annotate(n=Count("pk"))
    )
    items = (
        Item.objects.filter(project=project)
        .select_related("prompt", "agreement")
        .annotate(judgment_count=Coalesce(Subquery(counted.values("n")), 0))
        .order_by("-id")
    )
    waiting = Slot.objects.filter(item=OuterRef("pk")).exclude(state=Slot.State.DONE)
    verdicts = Verdict.objects.filter(item=OuterRef("pk"))
    items = items.annotate(is_decided=Exists(verdicts), is_waiting=Exists(waiting))
    if search.state:
        items = items.filter(_in_state(search.state))
    if search.tag:
        items = items.filter(prompt__tags__contains=[search.tag])
    if search.metadata:
        items = items.filter(prompt__metadata__has_entry=search.metadata)
    if search.text:
        items = items.filter(prompt__messages__any_message_contains=search.text)
    if (condition := search.judgment_filter) is not None:
        judgments = Judgment.objects.current().filter(condition, item=OuterRef("pk"))
        items = items.filter(Exists(judgments))
        if search.by == FASTEST:
            items = items.annotate(seconds=Subquery(judgments.order_by("seconds").values("seconds")[:1]))
            items = items.order_by(*search.directed("seconds", "pk"))
    elif search.by == FASTEST:
        items = items.annotate(seconds=Value(0.0))
    if search.by == LEAST_AGREED:
        # uses the index of `Agreement`, which has only items that two people judged
        items = items.filter(agreement__project=project)
        items = items.order_by(*search.directed("agreement__share", "agreement__item"))
        if search.state != "gold":
            items = items.filter(gold__isnull=True)
    if search.reason:
        items = items.filter(Exists(Skip.objects.filter(item=OuterRef("pk"), reason=search.reason)))
    return items


def _in_state(state: str) -> Q:
    if state == "gold":
        return Q(gold__isnull=False)
    if state == "decided":
        return Q(is_decided=True)
    if state == "done":
        return Q(state=Item.State.OPEN, gold__isnull=True, is_waiting=False)
    if state == "open":
        return Q(state=Item.State.OPEN, gold__isnull=True, is_waiting=True)
    return Q(state=state)
