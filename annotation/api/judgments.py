"""Judgments: export, submission, revision."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_field,
)
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, member_for, project_for
from annotation.actions.judgments import AlreadyJudged, JudgmentError, ResponseRatings, revise, submit
from annotation.api import errors, exports
from annotation.api.lookup import get_or_404
from annotation.api.ordering import Ordering
from annotation.api.pagination import CURSOR, Page
from annotation.api.queue import lease_of
from annotation.api.validation import ObjectIn, validate
from annotation.api.view import ApiView
from annotation.exports.selection import SelectionError
from annotation.http.file_downloads import send_live_export, send_snapshot_export
from annotation.lists.judgments import JUDGMENTS
from annotation.logic.limits import MAX_RATIONALE_CHARS, MAX_TEXT_CHARS, MAX_TICKET_CHARS
from annotation.logic.questions import (
    MAX_ANSWER_CHARS,
    MAX_COMMENT_CHARS,
    MAX_QUESTIONS,
    MAX_QUOTE_CHARS,
    Comment,
)
from annotation.logic.ranking import LETTERS
from annotation.logic.response_flags import FLAGS
from annotation.models import ApiToken, Judgment, Placement, Project
from annotation.opaque import opaque_id

ORDERING = Ordering(JUDGMENTS, own="-judgment")
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
    """`{"A": 2, "B": 1}` by the label shown, or `[2, 1]` in the order shown."""

    def to_internal_value(self, data: Any) -> dict[str, int]:
        ranks = dict(zip(LETTERS, data, strict=False)) if isinstance(data, list) else data
        if not isinstance(ranks, dict) or len(data) > len(LETTERS):
            raise ValidationError("Give each answer's rank by its label, or all in the order shown.")
        if not all(type(rank) is int for rank in ranks.values()):
            raise ValidationError("A rank is a whole number; 1 is best, equal ranks are ties.")
        return {str(key): rank for key, rank in ranks.items()}

    def to_representation(self, value: Any) -> Any:
        return value


class CommentIn(ObjectIn):
    text = serializers.CharField(max_length=MAX_COMMENT_CHARS)
    quote = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=MAX_QUOTE_CHARS,
        trim_whitespace=False,
        help_text="The passage, word for word; empty for a comment on the whole answer.",
    )
    occurrence = serializers.IntegerField(
        required=False, min_value=0, help_text="Which of the places with these words, counted from 0."
    )


class MarksIn(ObjectIn):
    quality = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=7)
    safe = serializers.BooleanField(required=False, allow_null=True)
    flags = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        max_length=len(FLAGS) + MAX_QUESTIONS,
        help_text=f"Of {', '.join(FLAGS)}, and the keys of the project's own flags.",
    )
    criteria = serializers.DictField(
        child=serializers.IntegerField(),
        required=False,
        help_text="Ratings, by the keys of the project's own questions.",
    )
    comments = CommentIn(many=True, required=False, help_text="On passages of the answer.")


class JudgmentIn(serializers.Serializer[Any]):
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
        help_text="By label, where the project asks for them: quality 1 to 7, safe, flags, and what its own questions ask.",
    )
    answers = serializers.DictField(
        child=serializers.CharField(allow_blank=True, max_length=MAX_ANSWER_CHARS),
        required=False,
        help_text="Free texts, by the keys of the project's own questions.",
    )
    text = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=MAX_TEXT_CHARS,
        trim_whitespace=False,
        help_text="The answer that you wrote, where the item shows none or one.",
    )
    idempotency_key = serializers.UUIDField(
        help_text="A key of yours, one per judgment. After a lost connection repeat the request: it counts once."
    )

    def arguments(self, shown_order: list[int]) -> dict[str, Any]:
        """The arguments of `submit` and `revise`, by response id.

        Raises:
            ValidationError: a label is not in the item.
        """
        data = dict(self.validated_data)
        data.pop("ticket", None)
        labels = dict(zip(LETTERS, shown_order, strict=False))
        marks = by_response(data.pop("marks", {}), labels, "marks")
        if len(shown_order) > 1 and "ranks" not in data:
            raise ValidationError({"ranks": ["This field is required."]})
        return data | {
            "ranks": by_response(data.pop("ranks", {}), labels, "ranks"),
            "ratings": {
                id: ResponseRatings(
                    quality=mark.get("quality"),
                    safe=mark.get("safe"),
                    flags=tuple(mark.get("flags", ())),
                    criteria=mark.get("criteria", {}),
                    comments=tuple(Comment(**comment) for comment in mark.get("comments", ())),
                )
                for id, mark in marks.items()
            },
        }


class SubmissionIn(JudgmentIn):
    ticket = serializers.CharField(
        max_length=MAX_TICKET_CHARS, help_text="From `next`: what was shown, to whom."
    )


class OwnCommentOut(serializers.Serializer[Any]):
    """Without its place in the text: it would tell of a hidden name whether it is there, and how long it is."""

    text = serializers.CharField()
    quote = serializers.CharField()
    occurrence = serializers.IntegerField()


class CommentOut(OwnCommentOut):
    start = serializers.IntegerField(allow_null=True, help_text="Counted in characters of the answer's text.")
    end = serializers.IntegerField(allow_null=True)


class OwnPlacementOut(serializers.ModelSerializer[Placement]):
    label = serializers.SerializerMethodField(help_text="A, B, C, … in the order shown.")  # type: ignore[assignment]
    flags = serializers.ListField(child=serializers.CharField())
    comments = OwnCommentOut(many=True)

    class Meta:
        model = Placement
        fields = ("label", "rank", "quality", "safe", "flags", "criteria", "comments")

    def get_label(self, placement: Placement) -> str:
        return LETTERS[placement.judgment.shown_order.index(placement.response_id)]


class PlacementOut(OwnPlacementOut):
    response = serializers.IntegerField(source="response_id")
    comments = CommentOut(many=True)

    class Meta:
        model = Placement
        fields = ("response", *OwnPlacementOut.Meta.fields)


class OwnJudgmentOut(serializers.ModelSerializer[Judgment]):
    """What annotators see of their own: neither ids of responses nor of items, which tell which is older."""

    item = serializers.SerializerMethodField(help_text="As in `next`.")
    counted = serializers.SerializerMethodField(
        help_text="False: it came after its lease had expired, and others had filled the item's slots."
    )
    text = serializers.CharField(
        source="demonstration.text", default=None, allow_null=True, help_text="The answer that was written."
    )
    placements = OwnPlacementOut(many=True, source="placements_in_order")

    class Meta:
        model = Judgment
        fields: tuple[str, ...] = (
            *("id", "item", "degree", "rationale", "answers", "text", "placements", "counted"),
            *("supersedes", "created_at"),
        )

    def get_item(self, judgment: Judgment) -> str:
        return opaque_id("item", judgment.item_id, judgment.annotator_id)

    def get_counted(self, judgment: Judgment) -> bool:
        return judgment.slot_id is not None


class JudgmentOut(OwnJudgmentOut):
    """What leads and reviewers see."""

    item = serializers.IntegerField(source="item_id")  # type: ignore[assignment]
    shown_order = serializers.ListField(child=serializers.IntegerField())
    placements = PlacementOut(many=True, source="placements_in_order")

    class Meta(OwnJudgmentOut.Meta):
        fields = (*OwnJudgmentOut.Meta.fields, "shown_order")


class JudgmentsApi(ApiView):
    renderer_classes = exports.RENDERERS
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Export judgments",
        operation_id="judgments_export",
        parameters=[
            *exports.SELECTION,
            OpenApiParameter(
                "snapshot", int, description="The number of a snapshot; without it, the current judgments."
            ),
        ],
        responses=exports.FILE_RESPONSE | exports.RANGES | errors.WRITE,
        examples=exports.EXAMPLES,
        tags=["judgments"],
    )
    def get(self, request: Request, slug: str) -> HttpResponseBase:
        """All judgments, without those that were revised, in the order of prompt, item and judgment. Annotators appear by
        pseudonym.

        Judgments that came too late to count are in `raw` only. Exports have an ETag; those of a snapshot support `Range`, so
        that an interrupted download can be resumed, and current ones are compressed if you accept it. For leads and reviewers.
        """
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        number = request.query_params.get("snapshot")
        selection = exports.read_selection(request, "snapshot", of_snapshot=number is not None)
        if number is None:
            with errors.as_field_errors(SelectionError):
                return send_live_export(request, project, selection)
        snapshot = exports.get_snapshot(project, number, "snapshot")
        return send_snapshot_export(request, snapshot, selection)

    @extend_schema(
        summary="Submit a judgment",
        operation_id="judgments_submit",
        request=SubmissionIn,
        responses={201: OwnJudgmentOut} | errors.WRITE | errors.CONFLICT,
        examples=[
            OpenApiExample(
                "a ranking with a tie",
                {
                    "ticket": "gAAAAABqGx…",
                    "ranks": {"A": 2, "B": 1, "C": 2, "D": 3},
                    "idempotency_key": "2b0c8d4e-6f0f-4f3e-9d7b-6a4f6f0a9a11",
                },
                request_only=True,
            ),
            OpenApiExample(
                "a comparison",
                {
                    "ticket": "gAAAAABqGx…",
                    "ranks": [1, 2],
                    "degree": "slightly",
                    "rationale": "The second one does not answer the question.",
                    "marks": {"A": {"quality": 6, "safe": True}, "B": {"quality": 2, "safe": True}},
                    "idempotency_key": "0f2b3f86-2a07-4b51-8f0e-5b8d4f8a7c02",
                },
                request_only=True,
            ),
            OpenApiExample(
                "a demonstration",
                {
                    "ticket": "gAAAAABqGx…",
                    "text": "Paris is the capital of France.",
                    "idempotency_key": "7b1d7f0e-55b3-4d0a-8a9e-1f5f6c3d2e03",
                },
                request_only=True,
            ),
        ],
        tags=["queue"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Judge the item from `next`. Repeating the same key returns the stored judgment; another judgment of the same item is
        a conflict. For every member."""
        project = project_for(request.user, slug)
        serializer = SubmissionIn(data=request.data)
        validate(serializer)
        lease = lease_of(
            serializer.validated_data["ticket"], annotator=current_user(request), project=project
        )
        try:
            judgment = submit(lease=lease, **serializer.arguments(lease.shown_order))
        except AlreadyJudged as error:
            raise errors.Conflict(str(error)) from error
        except JudgmentError as error:
            raise ValidationError({error.field: [str(error)]}) from error
        return Response(OwnJudgmentOut(judgment).data, status=201)


class JudgmentPage(Page):
    results = OwnJudgmentOut(many=True)


class MyJudgmentsApi(ApiView):
    @extend_schema(
        summary="Your judgments",
        operation_id="judgments_mine",
        parameters=[CURSOR, ORDERING.parameter],
        responses={200: JudgmentPage} | errors.WRITE,
        tags=["judgments"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Without those that you revised; newest first, 100 per page. For every member."""
        project = project_for(request.user, slug)
        mine = Judgment.objects.current().filter(project=project, annotator=current_user(request))
        judgments = mine.select_related("demonstration").prefetch_related("placements")
        return ORDERING.page_response(judgments, request, OwnJudgmentOut)


class JudgmentApi(ApiView):
    @extend_schema(
        summary="One judgment",
        operation_id="judgments_retrieve",
        responses={
            200: PolymorphicProxySerializer(
                "JudgmentByRole", [OwnJudgmentOut, JudgmentOut], resource_type_field_name=None
            )
        }
        | errors.READ,
        tags=["judgments"],
    )
    def get(self, request: Request, slug: str, pk: int) -> Response:
        """Your own, as `mine` has it; leads and reviewers see all, with the ids of items and responses."""
        member = member_for(request.user, slug)
        judgment = _judgment(member.project, pk)
        if member.role != Role.ANNOTATOR:
            return Response(JudgmentOut(judgment).data)
        if judgment.annotator_id != member.user_id:
            raise PermissionDenied("This judgment is another annotator's: only leads and reviewers see it.")
        return Response(OwnJudgmentOut(judgment).data)


class ReviseApi(ApiView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Revise a judgment",
        operation_id="judgments_revise",
        request=JudgmentIn,
        responses={201: OwnJudgmentOut} | errors.WRITE,
        tags=["queue"],
    )
    def post(self, request: Request, slug: str, pk: int) -> Response:
        """Adds a judgment that replaces your own, which is kept unchanged. For every member."""
        project = project_for(request.user, slug)
        judgment = _judgment(project, pk)
        serializer = JudgmentIn(data=request.data)
        validate(serializer)
        arguments = serializer.arguments(judgment.shown_order)
        with errors.as_field_errors(JudgmentError):
            newer = revise(judgment=judgment, annotator=current_user(request), **arguments)
        return Response(OwnJudgmentOut(newer).data, status=201)


def _judgment(project: Project, pk: int) -> Judgment:
    judgments = Judgment.objects.filter(project=project)
    return get_or_404(judgments.select_related("demonstration", "item").prefetch_related("placements"), pk)


def by_response(values: dict[str, Any], ids: dict[str, int], field: str) -> dict[int, Any]:
    """The values by response id, from values by what stands for one in `ids`.

    Raises:
        ValidationError: a name is not in `ids`, or an answer is named twice.
    """
    if unknown := [key for key in values if key not in ids]:
        raise ValidationError({field: [f"{unknown[0][:40]!r} is not in this item."]})
    result = {ids[key]: value for key, value in values.items()}
    if len(result) < len(values):
        raise ValidationError({field: ["An answer is named twice."]})
    return result
