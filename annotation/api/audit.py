"""The audit trail: who did what in a project."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation.access import Role, project_for
from annotation.api import errors
from annotation.api.pagination import CURSOR, NewestFirst, Page
from annotation.audit import THE_SITE, VERBS, audit_entries
from annotation.models import AuditEntry


class DeedOut(serializers.ModelSerializer[AuditEntry]):
    actor = serializers.CharField(
        source="actor.username", default=None, allow_null=True, help_text="Null where the site itself acted."
    )
    verb = serializers.ChoiceField(sorted(VERBS.items()))

    class Meta:
        model = AuditEntry
        fields = ("id", "at", "actor", "verb", "subject", "data")


class DeedPage(Page):
    results = DeedOut(many=True)


class Wanted(serializers.Serializer[Any]):
    who = serializers.CharField(default="", allow_blank=True, max_length=150)
    verb = serializers.ChoiceField(sorted(VERBS), default="", allow_blank=True)


class AuditApi(APIView):
    @extend_schema(
        summary="Who did what",
        operation_id="audit_list",
        parameters=[
            OpenApiParameter(
                "who", str, description=f"Only what this user did; `{THE_SITE}` for the site itself."
            ),
            OpenApiParameter("verb", str, enum=sorted(VERBS), description="Only audit_entries of this kind."),
            CURSOR,
        ],
        responses={200: DeedPage} | errors.WRITE,
        tags=["people"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Newest first, 100 a page. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        wanted = Wanted(data=request.query_params)
        wanted.is_valid(raise_exception=True)
        entries = audit_entries(
            project, actor=wanted.validated_data["who"], verb=wanted.validated_data["verb"]
        )
        return NewestFirst().answer(entries, request, DeedOut)
