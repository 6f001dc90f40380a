"""What people said, going out as a stream; and a judgment coming in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
)
from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation.access import Role, person, project_for
from annotation.actions import freeze
from annotation.actions.judge import AlreadyJudged, JudgmentError, submit
from annotation.api import errors
from annotation.api.queue import lease_of
from annotation.api.renderers import NDJSON, NDJSONRenderer
from annotation.logic.formats import FORMATS, Row, export
from annotation.models import Judgment, Project
from annotation.queries import judgment_rows
from annotation.streaming import in_threads

LETTERS = "ABCDEFGHI"


_RANK = {"type": "integer", "minimum": 1, "maximum": 9}


@extend_schema_field(
    {
        "oneOf": [
            {"type": "object", "additionalProperties": _RANK},
            {"type": "array", "items": _RANK, "minItems": 2, "maxItems": 9},
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


class JudgmentIn(serializers.Serializer[Any]):
    ticket = serializers.CharField(max_length=4000, help_text="From `next`: proof of what was shown to whom.")
    ranks = RanksField(help_text="Every answer's rank: 1 is best, equal ranks are ties.")
    degree = serializers.ChoiceField(
        Judgment.Degree.choices,
        required=False,
        allow_null=True,
        help_text="Of two answers, where it must be given.",
    )
    rationale = serializers.CharField(required=False, allow_blank=True, max_length=10_000)
    idempotency_key = serializers.UUIDField(
        help_text="Yours, one per judgment. After a lost connection send the same again: it counts once."
    )


class JudgmentOut(serializers.ModelSerializer[Judgment]):
    counted = serializers.SerializerMethodField(
        help_text="False: it came after its lease had run out, and others had filled the item's places."
    )

    class Meta:
        model = Judgment
        fields = ("id", "item", "degree", "counted", "created_at")

    def get_counted(self, judgment: Judgment) -> bool:
        return judgment.slot_id is not None


_TRL = {
    "prompt": [{"role": "user", "content": "What is the capital of France?"}],
    "chosen": [{"role": "assistant", "content": "Paris."}],
    "rejected": [{"role": "assistant", "content": "Lyon, I think."}],
    "margin": 0.0,
}


class JudgmentsApi(APIView):
    renderer_classes = (JSONRenderer, NDJSONRenderer)

    @extend_schema(
        summary="Export judgments",
        operation_id="judgments_export",
        parameters=[
            OpenApiParameter(
                "format",
                str,
                enum=list(FORMATS),
                default="trl",
                description="trl: a line per preference pair. rankings: a line per ranking. raw: a line per judgment, "
                "with all that is known of it.",
            ),
            OpenApiParameter(
                "snapshot", int, description="The number of a snapshot; without it, what is there now."
            ),
        ],
        responses={(200, NDJSON): OpenApiResponse({"type": "string"}, "JSON Lines, streamed.")}
        | errors.READ
        | errors.BAD_FIELDS,
        examples=[OpenApiExample("trl", _TRL, response_only=True, media_type=NDJSON, status_codes=["200"])],
        tags=["judgments"],
    )
    def get(self, request: Request, slug: str) -> StreamingHttpResponse:
        """Everything that people said, oldest first, without what a later revision replaced. People appear by pseudonym.

        A judgment that came too late to count stands in `raw` only. For leads and reviewers.
        """
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        format = request.query_params.get("format", "trl")
        if format not in FORMATS:
            raise ValidationError({"format": [f"{format!r} is no format: there are {', '.join(FORMATS)}."]})
        number = request.query_params.get("snapshot")
        rows = judgment_rows(project) if number is None else _frozen(project, number)
        name = project.slug if number is None else f"{project.slug}-snapshot-{number}"
        return StreamingHttpResponse(
            in_threads(export(rows, format)),
            content_type=f"{NDJSON}; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}-{format}.jsonl"'},
        )

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
                    "idempotency_key": "0f2b3f86-2a07-4b51-8f0e-5b8d4f8a7c02",
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
        data = given.validated_data
        lease = lease_of(data.pop("ticket"), annotator=person(request), project=project)
        ranks = by_response(data.pop("ranks"), lease.shown_order)
        try:
            judgment = submit(lease=lease, ranks=ranks, **data)
        except AlreadyJudged as error:
            raise errors.Conflict(str(error)) from error
        except JudgmentError as error:
            raise ValidationError({error.field: [str(error)]}) from error
        return Response(JudgmentOut(judgment).data, status=201)


def by_response(ranks: dict[str, int], shown_order: list[int]) -> dict[int, int]:
    """Response id -> rank, from ranks by label or by id.

    Raises:
        ValidationError: a label or an id does not stand in the item, or one answer is ranked twice.
    """
    ids = dict(zip(LETTERS, shown_order, strict=False)) | {str(id): id for id in shown_order}
    if unknown := [key for key in ranks if key not in ids]:
        raise ValidationError({"ranks": [f"{unknown[0][:40]!r} does not stand in this item."]})
    named = {ids[key]: rank for key, rank in ranks.items()}
    if len(named) < len(ranks):
        raise ValidationError({"ranks": ["An answer is ranked twice, by its label and by its id."]})
    return named


def _frozen(project: Project, number: str) -> Iterator[Row]:
    known = number.isdecimal() and len(number) < 9
    snapshot = project.snapshots.filter(number=int(number)).first() if known else None
    if snapshot is None:
        raise ValidationError(
            {"snapshot": [f"{number[:40]!r} is the number of no snapshot of this project."]}
        )
    if not freeze.file_of(snapshot).is_file():
        raise NotFound(f"The file of {snapshot} is not on this server.")
    return freeze.read(snapshot)
