"""The people's own queue, for scripts and AI labelers: take an item, give it back."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation.access import person, project_for
from annotation.actions.queue import Lease, QueueError, claim, skip
from annotation.api import errors
from annotation.api.prompts import Message
from annotation.models import Judgment, Project, Skip, User
from annotation.queries import item_to_judge


class ShownAnswer(serializers.Serializer[Any]):
    label = serializers.CharField(help_text="A, B, C, … in the order shown.")  # type: ignore[assignment]
    id = serializers.IntegerField()
    text = serializers.CharField()


class NextOut(serializers.Serializer[Any]):
    ticket = serializers.CharField(help_text="Send it back with the judgment, or with the skip.")
    item = serializers.IntegerField()
    prompt = Message(many=True)
    answers = ShownAnswer(many=True, help_text="Shuffled, and blind to who wrote them.")
    degrees = serializers.ListField(
        child=serializers.CharField(), help_text="One of these must be given; empty for a ranking."
    )
    guideline_version = serializers.IntegerField(allow_null=True)
    lease_minutes = serializers.IntegerField()


class SkipIn(serializers.Serializer[Any]):
    ticket = serializers.CharField(max_length=4000)
    reason = serializers.ChoiceField(Skip.Reason.choices)


class NextApi(APIView):
    @extend_schema(
        summary="Take the next item",
        operation_id="queue_next",
        request=None,
        responses={200: NextOut, 204: OpenApiResponse(description="Nothing is left for you.")}
        | errors.READ
        | errors.CONFLICT,
        examples=[
            OpenApiExample(
                "an item",
                {
                    "ticket": "eyJzbG90X2lkIjo…",
                    "item": 12,
                    "prompt": [{"role": "user", "content": "What is the capital of France?"}],
                    "answers": [
                        {"label": "A", "id": 1032, "text": "Lyon, I think."},
                        {"label": "B", "id": 1031, "text": "Paris."},
                    ],
                    "degrees": ["significantly", "better", "slightly", "negligibly"],
                    "guideline_version": 1,
                    "lease_minutes": 30,
                },
                response_only=True,
                status_codes=["200"],
            )
        ],
        tags=["queue"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Your item to judge, held for you for `lease_minutes`; asking again gives the same one. For every member."""
        project, annotator = project_for(request.user, slug), person(request)
        try:
            lease = claim(project=project, annotator=annotator)
        except QueueError as error:
            raise errors.Conflict(str(error)) from error
        if lease is None:
            return Response(status=204)
        item = item_to_judge(lease.item_id, annotator)
        texts = {response.pk: response.text for response in item.responses.all()}
        guideline = project.guideline
        shown = zip("ABCDEFGHI", lease.shown_order, strict=False)
        return Response(
            {
                "ticket": lease.ticket(),
                "item": item.pk,
                "prompt": item.prompt.messages,
                "answers": [{"label": label, "id": id, "text": texts[id]} for label, id in shown],
                "degrees": Judgment.Degree.values if len(texts) == 2 else [],
                "guideline_version": guideline.number if guideline else None,
                "lease_minutes": project.lease_minutes,
            }
        )


class SkipApi(APIView):
    @extend_schema(
        summary="Give an item back",
        operation_id="queue_skip",
        request=SkipIn,
        responses={204: OpenApiResponse(description="It is somebody else's now.")} | errors.WRITE,
        tags=["queue"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """You do not get it again; skipping it twice changes nothing. For every member."""
        project = project_for(request.user, slug)
        given = SkipIn(data=request.data)
        given.is_valid(raise_exception=True)
        lease = lease_of(given.validated_data["ticket"], annotator=person(request), project=project)
        skip(lease=lease, reason=given.validated_data["reason"])
        return Response(status=204)


def lease_of(ticket: str, *, annotator: User, project: Project) -> Lease:
    """The lease that a ticket of `next` stands for.

    Raises:
        ValidationError: it is damaged, somebody else's, or of another project.
    """
    try:
        lease = Lease.read(ticket, annotator=annotator)
    except QueueError as error:
        raise ValidationError({"ticket": [str(error)]}) from error
    if not project.items.filter(pk=lease.item_id).exists():
        raise ValidationError({"ticket": ["This ticket is of another project."]})
    return lease
