"""Reminders: which annotators may be reminded that items are waiting for them, and reminding them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, project_for
from annotation.actions.reminders import MAX_PEOPLE, ReminderError, recipients, remind
from annotation.api import errors
from annotation.api.batches import user_ids
from annotation.api.pagination import CURSOR, ById, Page
from annotation.api.validation import validate_body
from annotation.api.view import ApiView
from annotation.models import Member


class RecipientOut(serializers.Serializer[Any]):
    username = serializers.CharField(source="member.user.username")
    has_items = serializers.BooleanField(help_text="Whether something is left for them.")
    reminded_at = serializers.DateTimeField(
        allow_null=True, help_text="When they were reminded, in the last 12 hours."
    )
    paused_at = serializers.DateTimeField(source="member.paused_at", allow_null=True)
    may_be_reminded = serializers.BooleanField(
        help_text="They have items left, are not paused, and were not reminded lately."
    )


class RecipientPage(Page):
    results = RecipientOut(many=True)


class RemindIn(serializers.Serializer[Any]):
    users = serializers.ListField(
        child=serializers.CharField(max_length=150),
        min_length=1,
        max_length=MAX_PEOPLE,
        help_text="User names of members.",
    )


class RemindedOut(serializers.Serializer[Any]):
    sent = serializers.ListField(child=serializers.CharField(), help_text="Who was reminded.")
    left_out = serializers.ListField(
        child=serializers.CharField(),
        help_text="Who was not: reminded lately, paused, or nothing is left for them.",
    )


class RemindersApi(ApiView):
    @extend_schema(
        summary="Whom to remind",
        operation_id="reminders_list",
        parameters=[CURSOR],
        responses={200: RecipientPage} | errors.READ | errors.BAD_FIELDS,
        tags=["people"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """The project's annotators in the order in which they joined, 100 per page. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        annotators = project.members.filter(role=Member.Role.ANNOTATOR).select_related("user", "project")
        pages = ById()
        found = pages.paginate_queryset(annotators, request) or []
        return pages.get_paginated_response(RecipientOut(recipients(project, found), many=True).data)

    @extend_schema(
        summary="Remind members",
        operation_id="reminders_send",
        request=RemindIn,
        responses={201: RemindedOut} | errors.WRITE,
        tags=["people"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """In the app and, where the site sends e-mails, in their next digest; nobody twice within 12 hours. A 400 if none of them
        may be reminded now. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        users = user_ids(project, validate_body(request, RemindIn)["users"])
        with errors.as_field_errors(ReminderError):
            done = remind(project=project, users=users, actor=current_user(request))
        names = {
            "sent": [member.user.username for member in done.sent],
            "left_out": [member.user.username for member in done.left_out],
        }
        return Response(RemindedOut(names).data, status=201)
