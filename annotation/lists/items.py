"""The list of a project's items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from annotation.analytics.item_search import CHOICES, FASTEST, LEAST_AGREED, STATES, Search, search_items
from annotation.lists.choices import is_version, people, tags, versions
from annotation.lists.definition import Column, Filter, Key, ListDefinition, Text, Values
from annotation.models import Item, Judgment, Project, Skip


def state_of(item: Any) -> str:
    """A key of `STATES`, of an item as `search_items` annotates it."""
    if item.gold is not None:
        return "gold"
    if item.is_decided:
        return "decided"
    if item.state != Item.State.OPEN:
        return str(item.state)
    return "open" if item.is_waiting else "done"


def _rows(project: Project, values: Values) -> QuerySet[Item]:
    return search_items(project, Search.read(values))


def _degrees(project: Project) -> Iterable[tuple[str, Text]]:
    return Judgment.Degree.choices if project.k == 2 else ()


def _time(values: Mapping[str, str]) -> Text:
    return _("Judged %(when)s") % {"when": Search.read(values).when}


def _share(item: Any) -> float | None:
    agreement = getattr(item, "agreement", None)
    return agreement.share if agreement and item.gold is None else None


def _prompt(item: Any) -> str:
    messages = item.prompt.messages
    return str(messages[-1]["content"])[:200] if messages else ""


ITEMS = ListDefinition(
    name="items",
    sort="-item",
    columns=(
        Column("item", _("Item"), lambda item: item.pk, Key((("id", int),)), descends=True),
        Column("prompt_id", value=lambda item: item.prompt.external_id),
        Column("prompt", value=_prompt),
        Column("tags", value=lambda item: "; ".join(item.prompt.tags)),
        Column("state", _("State"), state_of),
        Column(
            LEAST_AGREED,
            _("Agreement"),
            _share,
            Key((("agreement__share", float), ("agreement__item_id", int))),
            is_number=True,
        ),
        Column("judgments", _("Judgments"), lambda item: item.judgment_count, is_number=True),
        # by links of the pages of people, whose quickest judgments they show
        Column(FASTEST, key=Key((("seconds", float), ("id", int)))),
        Column("created", value=lambda item: item.created_at),
    ),
    filters=(
        Filter("text", _("Search prompts")),
        Filter("state", _("State"), lambda _project: STATES.items()),
        Filter("tag", _("Tag"), tags, accepts=bool),
        Filter("annotator", _("Judged by"), people, every=_("Anyone"), accepts=bool),
        Filter("chose", _("They chose"), lambda _project: CHOICES.items(), is_field=False),
        Filter("degree", _("Degree"), _degrees),
        Filter("reason", _("Skip reason"), lambda _project: Skip.Reason.choices),
        Filter("version", _("Guidelines"), versions, accepts=is_version),
        Filter("metadata", _("Metadata"), accepts=lambda value: "=" in value, is_field=False),
        Filter(
            "from",
            _("Judged"),
            accepts=lambda value: bool(Search.read({"from": value}).since),
            is_field=False,
            describe=_time,
            clears=("to",),
        ),
        Filter(
            "to",
            _("Judged"),
            accepts=lambda value: bool(Search.read({"to": value}).until),
            is_field=False,
            describe=_time,
        ),
    ),
    rows=_rows,
)
