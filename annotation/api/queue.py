"""The annotation queue, for scripts and AI labelers: next item, skip, renew, draft."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import current_user, project_for
from annotation.actions.drafts import save_draft
from annotation.actions.leases import Lease, LeaseState, claim, renew
from annotation.actions.queue import QueueError
from annotation.actions.skips import skip
from annotation.api import errors
from annotation.api.prompts import MessageOut
from annotation.api.questions import QuestionOut
from annotation.api.validation import validate_body
from annotation.api.view import ApiView
from annotation.logic.degrees import LABELS
from annotation.logic.limits import MAX_SKIP_NOTE_CHARS, MAX_TEXT_CHARS, MAX_TICKET_CHARS
from annotation.logic.masking import mask
from annotation.logic.ranking import LETTERS
from annotation.models import ApiToken, Judgment, Project, Skip, User
from annotation.opaque import opaque_id
from annotation.queries import item_to_judge, questions_of


class ShownAnswer(serializers.Serializer[Any]):
    label = serializers.CharField(help_text="A, B, C, … in the order shown.")  # type: ignore[assignment]
    text = serializers.CharField()


class NextOut(serializers.Serializer[Any]):
    ticket = serializers.CharField(help_text="Send it with the judgment, or with the skip.")
    item = serializers.CharField(
        help_text="Stands for the item: the same each time for you, and another for everybody else."
    )
    prompt = MessageOut(many=True)
    answers = ShownAnswer(
        many=True,
        help_text="Shuffled, without their authors. If there are none, write the answer; if there is one, improve it.",
    )
    degrees = serializers.ListField(
        child=serializers.CharField(), help_text="One of these is required; empty if none is."
    )
    asks = serializers.ListField(
        child=serializers.CharField(),
        help_text="What else is asked: any of quality, safety, flags, rationale, required rationale.",
    )
    questions = QuestionOut(
        many=True, help_text="The project's own; their answers go into `marks` and `answers`."
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
        help_text="Whatever your client needs to restore the draft; the web page restores `ranks`, `marks`, `degree`, "
        f"`rationale`, `answers` and `text`, as in a judgment. At most {MAX_TEXT_CHARS:,} characters."
    )

    def validate_data(self, data: Any) -> Any:
        if len(str(data)) > MAX_TEXT_CHARS:
            raise ValidationError(f"At most {MAX_TEXT_CHARS:,} characters are saved.")
        return data


class RenewOut(serializers.Serializer[Any]):
    held = serializers.BooleanField(help_text="False: someone else may have the item now.")


class NextIn(serializers.Serializer[Any]):
    besides = serializers.CharField(
        required=False,
        max_length=MAX_TICKET_CHARS,
        help_text="The ticket of your current item: the response is the item after it, with its own lease.",
    )


_EXAMPLE = {
    "ticket": "gAAAAABqGx…",
    "item": "5b1d0c9e7f3a2468",
    "prompt": [{"role": "user", "content": "What is the capital of France?"}],
    "answers": [
        {"label": "A", "text": "Lyon, I think."},
        {"label": "B", "text": "Paris."},
    ],
    "degrees": list(LABELS),
    "asks": [],
    "questions": [],
    "guideline_version": 1,
    "lease_minutes": 30,
}
_SKIP = {"ticket": "gAAAAABqGx…", "reason": "cannot_judge", "note": "It is in Welsh."}


class NextApi(ApiView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Take the next item",
        operation_id="queue_next",
        request=NextIn,
        responses={200: NextOut, 204: OpenApiResponse(description="There are no items left for you.")}
        | errors.WRITE
        | errors.CONFLICT,
        examples=[OpenApiExample("an item", _EXAMPLE, response_only=True, status_codes=["200"])],
        tags=["queue"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Your item to judge, leased for `lease_minutes`; repeating the request returns the same one. 409 says why you get none
        for now. For every member."""
        project, annotator = project_for(request.user, slug), current_user(request)
        ticket = validate_body(request, NextIn).get("besides")
        on_screen = lease_of(ticket, annotator=annotator, project=project) if ticket else None
        try:
            lease = claim(project=project, annotator=annotator, on_screen=on_screen)
        except QueueError as error:
            raise errors.Conflict(str(error)) from error
        return Response(status=204) if lease is None else Response(_item_data(project, annotator, lease))


def _item_data(project: Project, annotator: User, lease: Lease) -> dict[str, Any]:
    """What the page shows, as data. Names of models are masked in answers; a single answer, to be improved, is not masked,
    since its text becomes part of what is written."""
    item = item_to_judge(lease.item_id, annotator)
    texts = {response.pk: response.text for response in item.responses.all()}
    if len(texts) > 1:
        texts = {response: mask(text) for response, text in texts.items()}
    guideline = project.guideline
    shown = zip(LETTERS, lease.shown_order, strict=False)
    return {
        "ticket": lease.ticket(),
        "item": opaque_id("item", item.pk, annotator.pk),
        "prompt": item.prompt.messages,
        "answers": [{"label": label, "text": texts[id]} for label, id in shown],
        "degrees": Judgment.Degree.values if len(texts) == 2 else [],
        "asks": lease.extra_questions,
        "questions": [question.as_data() for question in questions_of(lease.question_set_id)],
        "guideline_version": guideline.number if guideline else None,
        "lease_minutes": project.lease_minutes,
    }


class SkipApi(ApiView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Skip an item",
        operation_id="queue_skip",
        request=SkipIn,
        responses={204: OpenApiResponse(description="It goes to someone else.")} | errors.WRITE,
        examples=[OpenApiExample("not mine to judge", _SKIP, request_only=True)],
        tags=["queue"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """You do not get it again; repeating the request changes nothing. For every member."""
        project = project_for(request.user, slug)
        data = validate_body(request, SkipIn)
        lease = lease_of(data["ticket"], annotator=current_user(request), project=project)
        skip(lease=lease, reason=data["reason"], note=data.get("note", ""))
        return Response(status=204)


class RenewApi(ApiView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Renew the lease of an item",
        operation_id="queue_renew",
        request=TicketIn,
        responses={200: RenewOut} | errors.WRITE,
        tags=["queue"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """A whole lease from now. For every member."""
        project = project_for(request.user, slug)
        ticket = validate_body(request, TicketIn)["ticket"]
        lease = lease_of(ticket, annotator=current_user(request), project=project)
        return Response({"held": renew(lease=lease) is LeaseState.HELD})


class DraftApi(ApiView):
    scope = ApiToken.Scope.ANNOTATE

    @extend_schema(
        summary="Save a draft",
        operation_id="queue_draft",
        request=DraftIn,
        responses={204: OpenApiResponse(description="Saved, if your lease is valid.")} | errors.WRITE,
        tags=["queue"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Your input for an item so far; the web page restores it. For every member."""
        project = project_for(request.user, slug)
        data = validate_body(request, DraftIn)
        lease = lease_of(data["ticket"], annotator=current_user(request), project=project)
        try:
            save_draft(lease=lease, data=_with_ids(data["data"], lease))
        except QueueError as error:
            raise ValidationError({"data": [str(error)]}) from error
        return Response(status=204)


def _with_ids(data: Any, lease: Lease) -> Any:
    """The draft with ids of responses in place of labels, since the item may be shown in another order later, and without
    what is no label: by keys that are ids, a draft that is shown again would tell whose they are."""
    if not isinstance(data, dict):
        return data
    ids = {label: str(pk) for label, pk in zip(LETTERS, lease.shown_order, strict=False)}
    entered = {name: data[name] for name in ("ranks", "marks") if isinstance(data.get(name), dict)}
    return data | {
        name: {ids[label]: value for label, value in values.items() if label in ids}
        for name, values in entered.items()
    }


def lease_of(ticket: str, *, annotator: User, project: Project, chat: bool = False) -> Lease:
    """The lease of a ticket from `next` or, with `chat`, of a message of a live chat.

    Raises:
        ValidationError: it is invalid, another user's, of another project, or of the other kind.
    """
    try:
        lease = Lease.read(ticket, annotator=annotator, chat=chat)
    except QueueError as error:
        raise ValidationError({"ticket": [str(error)]}) from error
    if lease.project_id != project.pk:
        raise ValidationError({"ticket": ["This ticket is of another project."]})
    return lease
