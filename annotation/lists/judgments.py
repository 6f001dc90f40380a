"""The list of all judgments of a project."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from annotation.lists.choices import people, periods
from annotation.lists.definition import Column, Filter, Key, ListDefinition, Text, Values
from annotation.logic.ranking import LETTERS, in_words
from annotation.models import Judgment, Project


def order_in_words(judgment: Judgment) -> str:
    """`C > A = D > B`, by the letters that the item's page gives its answers."""
    ranks = {placement.response_id: placement.rank for placement in judgment.placements.all()}
    return in_words(ranks, sorted(judgment.shown_order))


def screen_order(judgment: Judgment) -> str:
    """`C A D B`: the same letters, as the answers stood on the annotator's screen."""
    letter_of = dict(zip(sorted(judgment.shown_order), LETTERS, strict=False))
    return " ".join(letter_of[pk] for pk in judgment.shown_order)


def _rows(project: Project, values: Values) -> QuerySet[Judgment]:
    rows = (
        Judgment.objects.current()
        .filter(project=project)
        .select_related("item__prompt", "annotator", "demonstration")
        .prefetch_related("placements")
    )
    if name := values.get("annotator"):
        rows = rows.filter(annotator__username=name)
    if degree := values.get("degree"):
        rows = rows.filter(degree=degree)
    if days := values.get("days"):
        rows = rows.filter(created_at__gte=timezone.now() - timedelta(days=int(days)))
    return rows


def _degrees(project: Project) -> Iterable[tuple[str, Text]]:
    return Judgment.Degree.choices if project.k == 2 else ()


JUDGMENTS = ListDefinition(
    name="judgments",
    sort="-judgment",
    columns=(
        Column("item", _("Item"), lambda judgment: judgment.item_id),
        Column("prompt_id", value=lambda judgment: judgment.item.prompt.external_id),
        Column("annotator", _("Annotator"), lambda judgment: judgment.annotator.pseudonym),
        Column("order", _("Judgment"), order_in_words),
        Column("screen_order", value=screen_order),
        Column("degree", value=lambda judgment: judgment.degree),
        Column("rationale", value=lambda judgment: judgment.rationale),
        Column("seconds", _("Time"), lambda judgment: judgment.seconds, is_number=True),
        Column("counts", value=lambda judgment: "no" if judgment.is_late else "yes"),
        Column("judgment", _("When"), lambda judgment: judgment.pk, Key((("id", int),)), descends=True),
        Column("created", value=lambda judgment: judgment.created_at),
    ),
    filters=(
        Filter("annotator", _("Annotator"), people, every=_("Everyone"), accepts=bool),
        Filter("days", _("Period"), periods, every=_("All time")),
        Filter("degree", _("Degree"), _degrees),
    ),
    rows=_rows,
)
