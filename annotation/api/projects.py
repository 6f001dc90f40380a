from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation.access import person, project_for
from annotation.api import errors
from annotation.models import Member, Project
from annotation.queries import progress


class ProjectLine(serializers.ModelSerializer[Project]):
    role = serializers.ChoiceField(Member.Role.choices, help_text="Yours.")

    class Meta:
        model = Project
        fields = ("slug", "name", "criterion", "k", "overlap", "lease_minutes", "role", "created_at")


class ProgressOut(serializers.Serializer[Any]):
    """In wanted judgments."""

    wanted = serializers.IntegerField()
    done = serializers.IntegerField()
    leased = serializers.IntegerField()
    left = serializers.IntegerField()
    last_hour = serializers.IntegerField()
    percent = serializers.IntegerField()
    eta_s = serializers.FloatField(allow_null=True, help_text="At the pace of the last hour.")


class ProjectDetail(ProjectLine):
    progress = ProgressOut()
    guideline = serializers.CharField(allow_null=True, help_text="Markdown, the version in force.")
    guideline_version = serializers.IntegerField(allow_null=True)

    class Meta:
        model = Project
        fields = (*ProjectLine.Meta.fields, "progress", "guideline", "guideline_version")


class ProjectsApi(APIView):
    @extend_schema(
        summary="Your projects",
        operation_id="projects_list",
        responses={200: ProjectLine(many=True)} | errors.UNAUTHORIZED,
        tags=["projects"],
    )
    def get(self, request: Request) -> Response:
        """Every project that you are a member of, with your role in it."""
        memberships = person(request).memberships.select_related("project").order_by("project__name")
        return Response([_line(member.project, member.role) for member in memberships])


class ProjectApi(APIView):
    @extend_schema(
        summary="One project and its progress",
        operation_id="projects_retrieve",
        responses={200: ProjectDetail} | errors.READ,
        tags=["projects"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """What people are asked, what they are told, and how far the queue is."""
        project = project_for(request.user, slug)
        role = project.members.get(user=person(request)).role
        now, guideline = progress(project), project.guideline
        return Response(
            {
                **_line(project, role),
                "progress": {
                    "wanted": now.wanted,
                    "done": now.done,
                    "leased": now.leased,
                    "left": now.left,
                    "last_hour": now.last_hour,
                    "percent": now.percent,
                    "eta_s": now.eta.total_seconds() if now.eta else None,
                },
                "guideline": guideline.text if guideline else None,
                "guideline_version": guideline.number if guideline else None,
            }
        )


def _line(project: Project, role: str) -> dict[str, Any]:
    project.role = role  # type: ignore[attr-defined]
    return dict(ProjectLine(project).data)
