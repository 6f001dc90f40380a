"""The people's own queue, for scripts and AI labelers: take an item, give it back."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation.access import current_user, project_for
from annotation.actions.drafts import save_draft
from annotation.actions.leases import Lease, claim, renew
from annotation.actions.queue import QueueError
from annotation.actions.skips import skip
from annotation.api import errors
from annotation.api.prompts import Message
from annotation.api.validation import body
from annotation.logic.degrees import LABELS
from annotation.logic.limits import MAX_SKIP_NOTE_CHARS, MAX_TEXT_CHARS, MAX_TICKET_CHARS
from annotation.logic.masking import mask
from annotation.logic.ranking import LETTERS
from annotation.models import ApiToken, Judgment, Project, Skip, User
from annotation.queries import item_to_judge


class ShownAnswer(serializers.Serializer[Any]):
    label = serializers.CharField(help_text="A, B, C, … in the order shown.")  # type: ignore[assignment]
    id = serializers.IntegerField()
    text = serializers.CharField()


class NextOut(serializers.Serializer[Any]):
    ticket = serializers.CharField(help_text="Send it back with the judgment, or with the skip.")
    item = serializers.IntegerField()
    prompt = Message(many=True)
    answers = ShownAnswer(
        many=True,
        help_text="Shuffled, and blind to who wrote them. With none, write the answer; with one, write a better one.",
    )
    degrees = serializers.ListField(
        child=serializers.CharField(), help_text="One of these must be given; empty where none is wanted."
    )
    asks = serializers.ListField(
        child=serializers.CharField(),
        help_text="What is asked beside the order: of quality, safety, flags, rationale, required rationale.",
    )
    guideline_version = serializers.IntegerField(allow_null=True)
    lease_minutes = serializers.IntegerField()


class TicketIn(serializers.Serializer[Any]):
    ticket = serializers.CharField(max_length=MAX_TICKET_CHARS, help_text="From `next`.")


class SkipIn(TicketIn):
    reason = serializers.ChoiceField(Skip.Reason.choices)
    note = serializers.CharField(required=False, allow_blank=True, max_length=MAX_SKIP_NOTE_CHARS)


class DraftIn(TicketIn):
    data = serializers.JSONField(  # type: ignore[assignment]
        help_text=f"Any JSON, whatever your page needs to continue; at most {MAX_TEXT_CHARS:,} characters."
    )

    def validate_data(self, data: Any) -> Any:
        if len(str(data)) > MAX_TEXT_CHARS:
            raise ValidationError(f"At most {MAX_TEXT_CHARS:,} characters are kept.")
        return data


class RenewOut(serializers.Serializer[Any]):
    held = serializers.BooleanField(help_text="False: somebody else may have the item by now.")


class NextIn(serializers.Serializer[Any]):
    besides = serializers.CharField(
        required=False,
        max_length=MAX_TICKET_CHARS,
        help_text="The ticket of the item that you have now: the answer is the one after it, under a lease of its own.",
    )


_EXAMPLE = {
    "ticket": "eyJzbG90X2lkIjo…",
    "item": 12,
    "prompt": [{"role": "user", "content": "What is the capital of France?"}],
    "answers": [
        {"label": "A", "id": 1032, "text": "Lyon, I think."},
        {"label": "B", "id": 1031, "text": "Paris."},
    ],
    "degrees": list(LABELS),
    "asks": [],
    "guideline_version": 1,
    "lease_minutes": 30,
}
_SKIP = {"ticket": "eyJzbG90X2lkIjo…", "reason": "cannot_judge", "note": "It is in Welsh."}


class NextApi(APIView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Take the next item",
        operation_id="queue_next",
        request=NextIn,
        responses={200: NextOut, 204: OpenApiResponse(description="Nothing is left for you.")}
        | errors.WRITE
        | errors.CONFLICT,
        examples=[OpenApiExample("an item", _EXAMPLE, response_only=True, status_codes=["200"])],
        tags=["queue"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Your item to judge, held for you for `lease_minutes`; asking again gives the same one. 409 says why you get none
        for now. For every member."""
        project, annotator = project_for(request.user, slug), current_user(request)
        ticket = body(request, NextIn).get("besides")
        on_screen = lease_of(ticket, annotator=annotator, project=project) if ticket else None
        try:
            lease = claim(project=project, annotator=annotator, on_screen=on_screen)
        except QueueError as error:
            raise errors.Conflict(str(error)) from error
        return Response(status=204) if lease is None else Response(_shown(project, annotator, lease))


def _shown(project: Project, annotator: User, lease: Lease) -> dict[str, Any]:
    """What the page shows, as data. Answers are read without what they say of the model that wrote them; a single one, to
    be made better, is given as it is, since its text becomes part of what is written."""
    item = item_to_judge(lease.item_id, annotator)
    texts = {response.pk: response.text for response in item.responses.all()}
    if len(texts) > 1:
        texts = {response: mask(text) for response, text in texts.items()}
    guideline = project.guideline
    shown = zip(LETTERS, lease.shown_order, strict=False)
    return {
        "ticket": lease.ticket(),
        "item": item.pk,
        "prompt": item.prompt.messages,
        "answers": [{"label": label, "id": id, "text": texts[id]} for label, id in shown],
        "degrees": Judgment.Degree.values if len(texts) == 2 else [],
        "asks": lease.extra_questions,
        "guideline_version": guideline.number if guideline else None,
        "lease_minutes": project.lease_minutes,
    }


class SkipApi(APIView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Give an item back",
        operation_id="queue_skip",
        request=SkipIn,
        responses={204: OpenApiResponse(description="It is somebody else's now.")} | errors.WRITE,
        examples=[OpenApiExample("not mine to judge", _SKIP, request_only=True)],
        tags=["queue"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """You do not get it again; skipping it twice changes nothing. For every member."""
        project = project_for(request.user, slug)
        data = body(request, SkipIn)
        lease = lease_of(data["ticket"], annotator=current_user(request), project=project)
        skip(lease=lease, reason=data["reason"], note=data.get("note", ""))
        return Response(status=204)


class RenewApi(APIView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Keep an item for longer",
        operation_id="queue_renew",
        request=TicketIn,
        responses={200: RenewOut} | errors.WRITE,
        tags=["queue"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """A whole lease from now. For every member."""
        project = project_for(request.user, slug)
        ticket = body(request, TicketIn)["ticket"]
        lease = lease_of(ticket, annotator=current_user(request), project=project)
        return Response({"held": renew(lease=lease)})


class DraftApi(APIView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Keep a draft",
        operation_id="queue_draft",
        request=DraftIn,
        responses={204: OpenApiResponse(description="Kept, if you still hold the item.")} | errors.WRITE,
        tags=["queue"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """What you have said of an item so far; its own page shows it again. For every member."""
        project = project_for(request.user, slug)
        given = body(request, DraftIn)
        lease = lease_of(given["ticket"], annotator=current_user(request), project=project)
        try:
            save_draft(lease=lease, data=given["data"])
        except QueueError as error:
            raise ValidationError({"data": [str(error)]}) from error
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
