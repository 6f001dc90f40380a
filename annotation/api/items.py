"""Items of the queue, and guidelines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Count, Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, project_for
from annotation.actions.projects import write_guideline
from annotation.analytics.item_search import LEAST_AGREED
from annotation.api import errors, filtering
from annotation.api.ordering import Ordering
from annotation.api.pagination import CURSOR, Page
from annotation.api.validation import validate_body
from annotation.api.view import ApiView
from annotation.lists.items import ITEMS
from annotation.logic.limits import MAX_TEXT_CHARS
from annotation.models import Guideline, Item, Slot

ORDERING = Ordering(
    ITEMS,
    own="item",
    note="`agreement` has only items that two people judged, without those whose answer is known.",
)


class ItemOut(serializers.ModelSerializer[Item]):
    prompt_id = serializers.CharField(source="prompt.external_id")
    responses = serializers.SerializerMethodField(help_text="Their ids.")
    gold = serializers.SerializerMethodField(help_text="Whether it has a known answer.")
    wanted = serializers.IntegerField(help_text="How many judgments it needs.")
    done = serializers.IntegerField()

    class Meta:
        model = Item
        fields = (
            *("id", "prompt_id", "responses", "state", "retired_reason", "gold", "probability", "wanted"),
            *("done", "created_at"),
        )

    def get_responses(self, item: Item) -> list[int]:
        return sorted(candidate.response_id for candidate in item.candidates.all())

    def get_gold(self, item: Item) -> bool:
        return item.gold is not None


class ItemPage(Page):
    results = ItemOut(many=True)


class GuidelineOut(serializers.ModelSerializer[Guideline]):
    class Meta:
        model = Guideline
        fields = ("number", "text", "created_at")


class GuidelineIn(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=MAX_TEXT_CHARS, help_text="In Markdown.")


def with_counts(items: QuerySet[Item]) -> QuerySet[Item]:
    """The items with the counts that `ItemOut` shows."""
    return (
        items.select_related("prompt")
        .prefetch_related("candidates")
        .annotate(wanted=Count("slots"), done=Count("slots", filter=Q(slots__state=Slot.State.DONE)))
    )


def _counted(items: Iterable[Item]) -> list[Item]:
    """The items of a page, in their order, with the counts of these alone."""
    found = with_counts(Item.objects.all()).in_bulk([item.pk for item in items])
    return [found[item.pk] for item in items]


class ItemsApi(ApiView):
    @extend_schema(
        summary="The project's items",
        operation_id="items_list",
        parameters=[
            CURSOR,
            OpenApiParameter("state", str, enum=Item.State.values),
            *filtering.PARAMETERS,
            ORDERING.parameter,
        ],
        responses={200: ItemPage} | errors.WRITE,
        tags=["prompts"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """In the order of their ids or by agreement, 100 per page. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        state = filtering.choice_parameter(request, "state", Item.State.values)
        items = Item.objects.filter(project=project, **filtering.prompt_filters(request, "prompt__"))
        if ORDERING.read(request).removeprefix("-") == LEAST_AGREED:
            items = items.filter(agreement__project=project, gold__isnull=True).select_related("agreement")
        return ORDERING.page_response(
            items.filter(state=state) if state else items, request, ItemOut, shown=_counted
        )


class GuidelinesApi(ApiView):
    @extend_schema(
        summary="Every version of the guidelines",
        operation_id="guidelines_list",
        responses={200: GuidelineOut(many=True)} | errors.READ,
        tags=["projects"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Newest first, in Markdown. For every member."""
        project = project_for(request.user, slug)
        return Response(GuidelineOut(project.guidelines.order_by("-number"), many=True).data)

    @extend_schema(
        summary="Write a new version of the guidelines",
        operation_id="guidelines_write",
        request=GuidelineIn,
        responses={201: GuidelineOut, 200: GuidelineOut} | errors.WRITE,
        tags=["projects"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Takes effect from the next item on. An unchanged text creates no new version. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        before = project.guideline
        version = write_guideline(
            project=project, author=current_user(request), **validate_body(request, GuidelineIn)
        )
        return Response(GuidelineOut(version).data, status=200 if version == before else 201)
