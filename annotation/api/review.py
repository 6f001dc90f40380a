"""Review of an item: verdict, gold ranks, retiring and reopening."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, project_for
from annotation.actions import review
from annotation.actions.review import ReviewError
from annotation.api import errors
from annotation.api.items import ItemOut, with_counts
from annotation.api.judgments import JudgmentOut, RanksField, by_response
from annotation.api.lookup import get_or_404
from annotation.api.validation import validate_body
from annotation.api.view import ApiView
from annotation.logic.ranking import LETTERS
from annotation.models import Item, Judgment, User, Verdict


class VerdictOut(serializers.ModelSerializer[Verdict]):
    ranks = serializers.DictField(child=serializers.IntegerField(), help_text="By response id.")

    class Meta:
        model = Verdict
        fields = ("ranks", "degree", "note", "created_at")


class ItemDetail(ItemOut):
    judgments = serializers.SerializerMethodField(help_text="Current ones, oldest first.")
    verdict = serializers.SerializerMethodField(help_text="The newest one.")

    class Meta:
        model = Item
        fields = (*ItemOut.Meta.fields, "judgments", "verdict")

    def get_judgments(self, item: Item) -> list[dict[str, Any]]:
        judgments = Judgment.objects.current().filter(item=item).order_by("pk").prefetch_related("placements")
        return list(JudgmentOut(judgments.select_related("item", "demonstration"), many=True).data)

    def get_verdict(self, item: Item) -> dict[str, Any] | None:
        newest = item.verdicts.order_by("-pk").first()
        return dict(VerdictOut(newest).data) if newest else None


class ItemActionIn(serializers.Serializer[Any]):
    ranks = RanksField(
        required=False, help_text="For `verdict` and `gold`: by response id, or in the order of `responses`."
    )
    degree = serializers.ChoiceField(
        Judgment.Degree.choices,
        required=False,
        allow_null=True,
        help_text="For the verdict on two answers.",
    )
    note = serializers.CharField(required=False, allow_blank=True, help_text="For `verdict`.")
    explanation = serializers.CharField(
        required=False, allow_blank=True, help_text="For `gold`: why these are the correct ranks."
    )
    reason = serializers.CharField(
        required=False, allow_blank=True, help_text="For `retire`: why it is taken out of the queue."
    )


def _verdict(item: Item, actor: User, data: dict[str, Any]) -> None:
    review.give_verdict(
        item=item, reviewer=actor, ranks=data["ranks"], degree=data.get("degree"), note=data.get("note", "")
    )


def _gold(item: Item, actor: User, data: dict[str, Any]) -> None:
    review.make_gold(item=item, actor=actor, ranks=data["ranks"], explanation=data.get("explanation", ""))


def _retire(item: Item, actor: User, data: dict[str, Any]) -> None:
    review.retire(item=item, actor=actor, reason=data.get("reason", ""))


def _reopen(item: Item, actor: User, data: dict[str, Any]) -> None:
    review.reopen(item=item, actor=actor)


def _dismiss(item: Item, actor: User, data: dict[str, Any]) -> None:
    review.dismiss(item=item)


ACTIONS: dict[str, Callable[[Item, User, dict[str, Any]], None]] = {
    "verdict": _verdict,
    "gold": _gold,
    "retire": _retire,
    "reopen": _reopen,
    "dismiss": _dismiss,
}


class ItemApi(ApiView):
    @extend_schema(
        summary="One item with its judgments",
        operation_id="items_retrieve",
        responses={200: ItemDetail} | errors.READ,
        tags=["prompts"],
    )
    def get(self, request: Request, slug: str, pk: int) -> Response:
        """For leads and reviewers."""
        return Response(ItemDetail(_item(request, slug, pk)).data)


class ItemActApi(ApiView):
    @extend_schema(
        summary="Act on an item",
        operation_id="items_act",
        parameters=[OpenApiParameter("verb", str, "path", enum=list(ACTIONS))],
        request=ItemActionIn,
        responses={200: ItemDetail} | errors.WRITE,
        examples=[OpenApiExample("retire", {"reason": "All answers are the same."}, request_only=True)],
        tags=["prompts"],
    )
    def post(self, request: Request, slug: str, pk: int, verb: str) -> Response:
        """`verdict`: decide its ranks; `gold`: set its known ranks; `retire` it from the queue; `reopen` it; `dismiss` its
        skips and review flags. For leads and reviewers."""
        item = _item(request, slug, pk)
        data = validate_body(request, ItemActionIn)
        if verb not in ACTIONS:
            raise ValidationError({"verb": [f"{verb!r} is not one of the verbs: {', '.join(ACTIONS)}."]})
        responses = sorted(item.responses.values_list("pk", flat=True))
        ids = dict(zip(LETTERS, responses, strict=False)) | {str(pk): pk for pk in responses}
        ranks = by_response(data.get("ranks", {}), ids, "ranks")
        with errors.as_field_errors(ReviewError):
            ACTIONS[verb](item, current_user(request), data | {"ranks": ranks})
        return Response(ItemDetail(_item(request, slug, pk)).data)


def _item(request: Request, slug: str, pk: int) -> Item:
    project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return get_or_404(with_counts(Item.objects.filter(project=project)), pk)
