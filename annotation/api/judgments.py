"""What people said, going out; a judgment coming in; and a change of mind."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation.access import Role, current_user, member_for, project_for
from annotation.actions.judgments import AlreadyJudged, JudgmentError, ResponseRatings, revise, submit
from annotation.actions.snapshots import FreezeError
from annotation.api import errors, exports
from annotation.api.lookup import one
from annotation.api.pagination import CURSOR, NewestFirst, Page
from annotation.api.queue import lease_of
from annotation.http.file_downloads import send_live, send_snapshot
from annotation.logic.limits import MAX_RATIONALE_CHARS, MAX_TEXT_CHARS, MAX_TICKET_CHARS
from annotation.logic.ranking import LETTERS
from annotation.logic.response_flags import FLAGS
from annotation.models import ApiToken, Judgment, Placement, Project

_RANK = {"type": "integer", "minimum": 1, "maximum": 9}


@extend_schema_field(
    {
        "oneOf": [
            {"type": "object", "additionalProperties": _RANK},
            {"type": "array", "items": _RANK, "maxItems": 9},
        ]
    }
)
class RanksField(serializers.Field[dict[str, int], Any, Any, Any]):
    """`{"A": 2, "B": 1}` by the label shown, `{"1031": 2, "1032": 1}` by the response's id, or `[2, 1]` in the order
    shown."""

    def to_internal_value(self, data: Any) -> dict[str, int]:
        given = dict(zip(LETTERS, data, strict=False)) if isinstance(data, list) else data
        if not isinstance(given, dict) or len(data) > len(LETTERS):
            raise ValidationError(
                "Give each answer's rank by its label, by its id, or all in the order shown."
            )
        if not all(type(rank) is int for rank in given.values()):
            raise ValidationError("A rank is a whole number; 1 is best, equal ranks are ties.")
        return {str(key): rank for key, rank in given.items()}

    def to_representation(self, value: Any) -> Any:
        return value


class MarksIn(serializers.Serializer[Any]):
    quality = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=7)
    safe = serializers.BooleanField(required=False, allow_null=True)
    flags = serializers.ListField(
        child=serializers.ChoiceField(list(FLAGS.items())), required=False, max_length=len(FLAGS)
    )


class Said(serializers.Serializer[Any]):
    ranks = RanksField(required=False, help_text="Every answer's rank: 1 is best, equal ranks are ties.")
    degree = serializers.ChoiceField(
        Judgment.Degree.choices,
        required=False,
        allow_null=True,
        help_text="Of two answers, where it must be given.",
    )
    rationale = serializers.CharField(required=False, allow_blank=True, max_length=MAX_RATIONALE_CHARS)
    marks = serializers.DictField(
        child=MarksIn(),
        required=False,
        help_text="By label or id, where the project asks for them: quality 1 to 7, safe, and flags.",
    )
    text = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=MAX_TEXT_CHARS,
        trim_whitespace=False,
        help_text="The answer that you wrote, where the item shows none or one.",
    )
    idempotency_key = serializers.UUIDField(
        help_text="Yours, one per judgment. After a lost connection send the same again: it counts once."
    )

    def what(self, shown_order: list[int]) -> dict[str, Any]:
        """The arguments of `judge.submit`, by the ids of what was shown.

        Raises:
            ValidationError: a label or an id does not stand in the item.
        """
        data = dict(self.validated_data)
        data.pop("ticket", None)
        marks = by_response(data.pop("marks", {}), shown_order, "marks")
        if len(shown_order) > 1 and "ranks" not in data:
            raise ValidationError({"ranks": ["This field is required."]})
        return data | {
            "ranks": by_response(data.pop("ranks", {}), shown_order, "ranks"),
            "ratings": {
                id: ResponseRatings(mark.get("quality"), mark.get("safe"), tuple(mark.get("flags", ())))
                for id, mark in marks.items()
            },
        }


class JudgmentIn(Said):
    ticket = serializers.CharField(
        max_length=MAX_TICKET_CHARS, help_text="From `next`: proof of what was shown to whom."
    )


class PlacementOut(serializers.ModelSerializer[Placement]):
    response = serializers.IntegerField(source="response_id")
    flags = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Placement
        fields = ("response", "rank", "quality", "safe", "flags")


class JudgmentOut(serializers.ModelSerializer[Judgment]):
    counted = serializers.SerializerMethodField(
        help_text="False: it came after its lease had run out, and others had filled the item's places."
    )
    shown_order = serializers.ListField(child=serializers.IntegerField())
    text = serializers.CharField(
        source="demonstration.text", default=None, allow_null=True, help_text="What was written."
    )
    placements = PlacementOut(many=True)

    class Meta:
        model = Judgment
        fields = (
            *("id", "item", "degree", "rationale", "shown_order", "text", "placements", "counted"),
            *("supersedes", "created_at"),
        )

    def get_counted(self, judgment: Judgment) -> bool:
        return judgment.slot_id is not None


class JudgmentsApi(APIView):
    renderer_classes = exports.RENDERERS
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Export judgments",
        operation_id="judgments_export",
        parameters=[
            *exports.SELECTION,
            OpenApiParameter(
                "snapshot", int, description="The number of a snapshot; without it, what is there now."
            ),
        ],
        responses=exports.FILE_ANSWER | exports.RANGES | errors.WRITE,
        examples=exports.EXAMPLES,
        tags=["judgments"],
    )
    def get(self, request: Request, slug: str) -> HttpResponseBase:
        """Everything that people said, without what a later revision replaced, in the order of prompt, item and judgment.
        People appear by pseudonym.

        A judgment that came too late to count stands in `raw` only. Of a snapshot, the answer has an ETag and takes `Range`,
        so that a broken download goes on where it stopped. For leads and reviewers.
        """
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        selection = exports.selection_of(request, "snapshot")
        number = request.query_params.get("snapshot")
        if number is None:
            return send_live(project, selection)
        snapshot = exports.snapshot_of(project, number, "snapshot")
        try:
            return send_snapshot(request, snapshot, selection)
        except FreezeError as error:
            raise ValidationError({"detail": str(error)}) from error

    @extend_schema(
        summary="Submit a judgment",
        operation_id="judgments_submit",
        request=JudgmentIn,
        responses={201: JudgmentOut} | errors.WRITE | errors.CONFLICT,
        examples=[
            OpenApiExample(
                "a ranking with a tie",
                {
                    "ticket": "eyJzbG90X2lkIjo…",
                    "ranks": {"A": 2, "B": 1, "C": 2, "D": 3},
                    "idempotency_key": "2b0c8d4e-6f0f-4f3e-9d7b-6a4f6f0a9a11",
                },
                request_only=True,
            ),
            OpenApiExample(
                "a comparison",
                {
                    "ticket": "eyJzbG90X2lkIjo…",
                    "ranks": [1, 2],
                    "degree": "slightly",
                    "rationale": "The second one does not answer the question.",
                    "marks": {"A": {"quality": 6, "safe": True}, "B": {"quality": 2, "safe": True}},
                    "idempotency_key": "0f2b3f86-2a07-4b51-8f0e-5b8d4f8a7c02",
                },
                request_only=True,
            ),
            OpenApiExample(
                "an answer that was asked for",
                {
                    "ticket": "eyJzbG90X2lkIjo…",
                    "text": "Paris is the capital of France.",
                    "idempotency_key": "7b1d7f0e-55b3-4d0a-8a9e-1f5f6c3d2e03",
                },
                request_only=True,
            ),
        ],
        tags=["queue"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Judge the item that `next` gave. Sending the same key again answers with the judgment that was kept; another
        judgment of the same item is a conflict. For every member."""
        project = project_for(request.user, slug)
        given = JudgmentIn(data=request.data)
        given.is_valid(raise_exception=True)
        lease = lease_of(given.validated_data["ticket"], annotator=current_user(request), project=project)
        try:
            judgment = submit(lease=lease, **given.what(lease.shown_order))
        except AlreadyJudged as error:
            raise errors.Conflict(str(error)) from error
        except JudgmentError as error:
            raise ValidationError({error.field: [str(error)]}) from error
        return Response(JudgmentOut(judgment).data, status=201)


class JudgmentPage(Page):
    results = JudgmentOut(many=True)


class MineApi(APIView):
    @extend_schema(
        summary="What you said",
        operation_id="judgments_mine",
        parameters=[CURSOR],
        responses={200: JudgmentPage} | errors.WRITE,
        tags=["judgments"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Without what you said differently later; newest first, 100 a page. For every member."""
        project = project_for(request.user, slug)
        mine = Judgment.objects.current().filter(item__project=project, annotator=current_user(request))
        said = mine.select_related("demonstration").prefetch_related("placements")
        return NewestFirst().answer(said, request, JudgmentOut)


class JudgmentApi(APIView):
    @extend_schema(
        summary="One judgment",
        operation_id="judgments_retrieve",
        responses={200: JudgmentOut} | errors.READ,
        tags=["judgments"],
    )
    def get(self, request: Request, slug: str, pk: int) -> Response:
        """Your own; leads and reviewers see everybody's."""
        member = member_for(request.user, slug)
        judgment = _judgment(member.project, pk)
        if member.role == Role.ANNOTATOR and judgment.annotator_id != member.user_id:
            raise PermissionDenied("This judgment is somebody else's: leads and reviewers see it.")
        return Response(JudgmentOut(judgment).data)


class ReviseApi(APIView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Change your mind",
        operation_id="judgments_revise",
        request=Said,
        responses={201: JudgmentOut} | errors.WRITE,
        tags=["queue"],
    )
    def post(self, request: Request, slug: str, pk: int) -> Response:
        """A new judgment in the place of your own, which is kept as it was. For every member."""
        project = project_for(request.user, slug)
        judgment = _judgment(project, pk)
        given = Said(data=request.data)
        given.is_valid(raise_exception=True)
        said = given.what(judgment.shown_order)
        with errors.by_field(JudgmentError):
            newer = revise(judgment=judgment, annotator=current_user(request), **said)
        return Response(JudgmentOut(newer).data, status=201)


def _judgment(project: Project, pk: int) -> Judgment:
    said = Judgment.objects.filter(item__project=project)
    return one(said.select_related("demonstration", "item").prefetch_related("placements"), pk)


def by_response(given: dict[str, Any], shown_order: list[int], field: str) -> dict[int, Any]:
    """By response id, from what was given by label or by id.

    Raises:
        ValidationError: a label or an id does not stand in the item, or one answer is named twice.
    """
    ids = dict(zip(LETTERS, shown_order, strict=False)) | {str(id): id for id in shown_order}
    if unknown := [key for key in given if key not in ids]:
        raise ValidationError({field: [f"{unknown[0][:40]!r} does not stand in this item."]})
    named = {ids[key]: value for key, value in given.items()}
    if len(named) < len(given):
        raise ValidationError({field: ["An answer is ranked twice, by its label and by its id."]})
    return named
