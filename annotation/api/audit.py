"""The audit trail of a project."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, project_for
from annotation.api import errors
from annotation.api.pagination import CURSOR, NewestFirst, Page
from annotation.api.view import ApiView
from annotation.audit import THE_SITE, VERBS, audit_entries
from annotation.models import AuditEntry


class AuditEntryOut(serializers.ModelSerializer[AuditEntry]):
    actor = serializers.CharField(
        source="actor.username", default=None, allow_null=True, help_text="Null if the site itself acted."
    )
    verb = serializers.ChoiceField(sorted(VERBS.items()))

    class Meta:
        model = AuditEntry
        fields = ("id", "at", "actor", "verb", "subject", "data")


class AuditEntryPage(Page):
    results = AuditEntryOut(many=True)


class AuditFilter(serializers.Serializer[Any]):
    who = serializers.CharField(default="", allow_blank=True, max_length=150)
    verb = serializers.ChoiceField(sorted(VERBS), default="", allow_blank=True)


class AuditApi(ApiView):
    @extend_schema(
        summary="The audit trail",
        operation_id="audit_list",
        parameters=[
            OpenApiParameter(
                "who", str, description=f"Only entries of this user; `{THE_SITE}` for the site itself."
            ),
            OpenApiParameter("verb", str, enum=sorted(VERBS), description="Only entries with this verb."),
            CURSOR,
        ],
        responses={200: AuditEntryPage} | errors.WRITE,
        tags=["people"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Newest first, 100 a page. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        filters = AuditFilter(data=request.query_params)
        filters.is_valid(raise_exception=True)
        entries = audit_entries(
            project, actor=filters.validated_data["who"], verb=filters.validated_data["verb"]
        )
        return NewestFirst().page_response(entries, request, AuditEntryOut)
