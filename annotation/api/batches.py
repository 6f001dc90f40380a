"""Batches: items assigned to named members with a due date."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation import queries
from annotation.access import Role, current_user, project_for
from annotation.actions import batches
from annotation.actions.batches import BatchError
from annotation.analytics.item_search import Search
from annotation.api import errors
from annotation.api.lookup import get_or_404
from annotation.api.pagination import CURSOR, NewestFirst, Page
from annotation.api.validation import validate_body
from annotation.api.view import ApiView
from annotation.logic.limits import MAX_BATCH_ITEMS
from annotation.models import Batch, Project


class BatchPersonOut(serializers.Serializer[Any]):
    username = serializers.CharField()
    done = serializers.IntegerField(help_text="Judgments.")


class BatchOut(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="batch.pk")
    name = serializers.CharField(source="batch.name")
    due_at = serializers.DateTimeField(source="batch.due_at")
    closed_at = serializers.DateTimeField(source="batch.closed_at", allow_null=True)
    total = serializers.IntegerField(help_text="Judgments that it asks for.")
    done = serializers.IntegerField(help_text="Judgments so far.")
    late = serializers.BooleanField(source="is_late", help_text="It is overdue, and something is left.")
    people = serializers.SerializerMethodField()

    @extend_schema_field(BatchPersonOut(many=True))
    def get_people(self, row: queries.BatchProgress) -> list[dict[str, Any]]:
        return [{"username": person.username, "done": done} for person, done in row.people]


class BatchPage(Page):
    results = BatchOut(many=True)


class NewBatchOut(BatchOut):
    items = serializers.IntegerField(help_text="How many items were assigned.")
    judged = serializers.IntegerField(
        help_text="Items left out because all of its people have judged, skipped or opened them, or have them in a batch."
    )
    taken = serializers.IntegerField(
        help_text="Items left out because they are in other batches or need nobody else."
    )


class BatchIn(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80)
    users = serializers.ListField(
        child=serializers.CharField(max_length=150),
        min_length=1,
        max_length=200,
        help_text="Names of members.",
    )
    due_at = serializers.DateTimeField()
    limit = serializers.IntegerField(
        min_value=1, max_value=MAX_BATCH_ITEMS, help_text="Of the newest open items that match."
    )
    tag = serializers.CharField(max_length=60, default="")
    text = serializers.CharField(
        max_length=200, default="", help_text="Contained in the prompt, ignoring case."
    )
    metadata = serializers.CharField(max_length=200, default="", help_text="`name=value`.")

    def validate_metadata(self, text: str) -> str:
        if text and "=" not in text:
            raise serializers.ValidationError("Metadata is searched for as name=value.")
        return text


class DueIn(serializers.Serializer[Any]):
    due_at = serializers.DateTimeField()


class BatchesApi(ApiView):
    @extend_schema(
        summary="The project's batches",
        operation_id="batches_list",
        parameters=[CURSOR],
        responses={200: BatchPage} | errors.READ,
        tags=["people"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Newest first, 100 per page. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        pages = NewestFirst()
        found = pages.paginate_queryset(queries.batches_of(project), request) or []
        return pages.get_paginated_response(BatchOut(queries.batch_progress(found), many=True).data)

    @extend_schema(
        summary="Assign a batch",
        operation_id="batches_create",
        request=BatchIn,
        responses={201: NewBatchOut} | errors.WRITE,
        examples=[
            OpenApiExample(
                "fifty items for one person",
                {
                    "name": "Week 48",
                    "users": ["bob"],
                    "due_at": "2026-11-27T17:00:00Z",
                    "limit": 50,
                    "tag": "code",
                },
                request_only=True,
            )
        ],
        tags=["people"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Until the batch is due or closed, nobody else gets its items, and its people get them first. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        body = validate_body(request, BatchIn)
        users = user_ids(project, body["users"])
        filters = {name: body[name] for name in ("tag", "text", "metadata")}
        with errors.as_field_errors(BatchError):
            new = batches.create_batch(
                project=project,
                name=body["name"],
                users=users,
                due_at=body["due_at"],
                limit=body["limit"],
                search=Search.read({**filters, "state": "open"}),
                actor=current_user(request),
            )
        counts = {"items": new.items, "judged": new.judged, "taken": new.taken}
        return Response(_out(project, new.batch) | counts, status=201)


class BatchApi(ApiView):
    @extend_schema(
        summary="Change when a batch is due",
        operation_id="batches_change",
        request=DueIn,
        responses={200: BatchOut} | errors.WRITE,
        tags=["people"],
    )
    def patch(self, request: Request, slug: str, pk: int) -> Response:
        """For leads."""
        batch = _batch(request, slug, pk)
        due_at = validate_body(request, DueIn)["due_at"]
        with errors.as_field_errors(BatchError):
            batches.change_due(batch=batch, due_at=due_at, actor=current_user(request))
        return Response(_out(batch.project, batch))


class CloseBatchApi(ApiView):
    @extend_schema(
        summary="Close a batch",
        operation_id="batches_close",
        request=None,
        responses={200: BatchOut} | errors.WRITE,
        tags=["people"],
    )
    def post(self, request: Request, slug: str, pk: int) -> Response:
        """What is left of it goes back to everybody. For leads."""
        batch = _batch(request, slug, pk)
        batches.close_batch(batch=batch, actor=current_user(request))
        return Response(_out(batch.project, batch))


def _batch(request: Request, slug: str, pk: int) -> Batch:
    return get_or_404(project_for(request.user, slug, Role.LEAD).batches.select_related("project"), pk)


def _out(project: Project, batch: Batch) -> dict[str, Any]:
    (row,) = queries.batch_progress(list(queries.batches_of(project).filter(pk=batch.pk)))
    return dict(BatchOut(row).data)


def user_ids(project: Project, names: list[str]) -> list[int]:
    """The ids of members, by their user names.

    Raises:
        ValidationError: somebody is not a member.
    """
    members = project.members.filter(user__username__in=names)
    ids = dict(members.values_list("user__username", "user"))
    if unknown := [name for name in names if name not in ids]:
        raise ValidationError({"users": [f"{unknown[0]!r} is not a member of {project}."]})
    return list(ids.values())
