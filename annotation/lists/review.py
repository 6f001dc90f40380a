"""The lists of what waits for a reviewer, one for each kind, at one URL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from operator import attrgetter
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from annotation import threads
from annotation.analytics import annotators, items
from annotation.analytics.filters import Filters
from annotation.lists.choices import is_version, people, periods, tags, versions
from annotation.lists.definition import Column, Filter, Key, ListDefinition, SortKey, Text, Values
from annotation.models import Project

KINDS: dict[str, Text] = {
    "disagreements": _("Disagreements"),
    "sent": _("Sent by annotators"),
    "gold": _("Failed gold items"),
    "flagged": _("Reward model disagrees"),
    "questions": _("Questions"),
}
ITEM_ID = "item_id"
BY_ID: SortKey = Key((("id", int),))

FILTERS = (
    Filter("annotator", _("Annotator"), people, every=_("Everyone")),
    Filter("days", _("Period"), periods, every=_("All time")),
    Filter("tag", _("Tag"), tags, accepts=bool),
)
OF_GUIDELINES = Filter("version", _("Guidelines"), versions, every=_("All versions"), accepts=is_version)


def _matching(rows: QuerySet[Any], values: Values, *, person: str, item: str = "item") -> QuerySet[Any]:
    """Those of the rows that match the filters. person, item: the paths to the annotator and to the item."""
    if name := values.get("annotator"):
        rows = rows.filter(**{f"{person}__username": name})
    if days := values.get("days"):
        rows = rows.filter(created_at__gte=timezone.now() - timedelta(days=int(days)))
    if tag := values.get("tag"):
        rows = rows.filter(**{f"{item}__prompt__tags__contains": [tag]})
    return rows


def _last_message(path: str) -> Callable[[Any], str]:
    """Of a row, the beginning of the last message of the prompt at a path."""
    prompt = attrgetter(path)

    def text(row: Any) -> str:
        messages = prompt(row).messages
        return str(messages[-1]["content"])[:200] if messages else ""

    return text


def _list(
    kind: str,
    *,
    rows: Callable[[Project, Values], Any],
    columns: tuple[Column, ...],
    sort: str,
    item: str = ITEM_ID,
    prompt: Callable[[Any], str] = attrgetter("prompt"),
    filters: tuple[Filter, ...] = FILTERS,
) -> ListDefinition:
    """The list of a kind. item: the path to the item's id."""
    return ListDefinition(
        name="review",
        parameters={} if kind == "disagreements" else {"kind": kind},
        columns=(
            Column("item", _("Item"), attrgetter(item)),
            Column("prompt", value=prompt),
            *columns,
        ),
        filters=filters,
        rows=rows,
        sort=sort,
        subject=attrgetter(item),
    )


REVIEW = {
    "disagreements": _list(
        "disagreements",
        rows=lambda project, values: items.disagreements(project, Filters.read(values, project)),
        columns=(
            Column("tags", value=lambda row: "; ".join(row.tags)),
            Column(
                "agreement",
                _("Agreement"),
                lambda row: row.share,
                Key((("share", float), ("item_id", int))),
                is_number=True,
            ),
        ),
        filters=(*FILTERS, OF_GUIDELINES),
        sort="agreement",
    ),
    "sent": _list(
        "sent",
        rows=lambda project, values: _matching(items.review_requests(project), values, person="annotator"),
        columns=(
            Column("annotator", _("Annotator"), lambda skip: skip.annotator.pseudonym),
            Column("note", value=lambda skip: skip.note),
            Column("state", _("State"), lambda skip: skip.item.state),
            Column("sent", pgettext_lazy("column", "Sent"), lambda skip: skip.created_at, BY_ID),
        ),
        prompt=_last_message("item.prompt"),
        sort="sent",
    ),
    "gold": _list(
        "gold",
        rows=lambda project, values: annotators.gold_misses(project, Filters.read(values, project)),
        columns=(
            Column("annotator", _("Annotator"), lambda miss: miss.pseudonym),
            Column("right", _("Pairs right"), lambda miss: miss.right, is_number=True),
            Column("pairs", value=lambda miss: miss.pairs),
            Column("judged", _("Judged"), lambda miss: miss.at, Key((("judgment_id", int),)), descends=True),
        ),
        filters=(*FILTERS, OF_GUIDELINES),
        sort="-judged",
    ),
    "flagged": _list(
        "flagged",
        rows=lambda project, values: _matching(
            items.flagged_items(project), values, person="judgment__annotator", item="judgment__item"
        ),
        columns=(
            Column("annotator", _("Annotator"), lambda flag: flag.judgment.annotator.pseudonym),
            Column("reason", _("Reason"), lambda flag: flag.reason),
            Column("judged", value=lambda flag: flag.judgment.created_at),
            Column("flagged", _("Flagged"), lambda flag: flag.created_at, BY_ID),
        ),
        item="judgment.item_id",
        prompt=_last_message("judgment.item.prompt"),
        sort="flagged",
    ),
    "questions": _list(
        "questions",
        rows=lambda project, values: _matching(threads.open_questions(project), values, person="author"),
        columns=(
            Column("annotator", _("Annotator"), lambda message: message.author.pseudonym),
            Column("question", value=lambda message: message.text),
            Column("asked", _("Asked"), lambda message: message.created_at, BY_ID),
        ),
        prompt=_last_message("item.prompt"),
        sort="asked",
    ),
}
