"""Projects: list, creation, settings and progress."""

from __future__ import annotations

from copy import copy
from typing import Any

from django.core.exceptions import ValidationError as ModelError
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, member_for, project_for, require_project_creator
from annotation.actions.projects import SETTINGS, change_project, create_project
from annotation.analytics.outlook import outlook
from annotation.api import errors
from annotation.api.validation import validate, validate_body
from annotation.api.view import ApiView
from annotation.logic.limits import MAX_TEXT_CHARS
from annotation.models import Member, Project
from annotation.queries import progress


class ProjectSummary(serializers.ModelSerializer[Project]):
    role = serializers.ChoiceField(Member.Role.choices, help_text="Yours.")

    class Meta:
        model = Project
        fields = ("slug", "name", "criterion", "k", "overlap", "lease_minutes", "role", "created_at")


class ProgressOut(serializers.Serializer[Any]):
    """Counts of slots: one per required judgment."""

    wanted = serializers.IntegerField()
    done = serializers.IntegerField()
    leased = serializers.IntegerField()
    left = serializers.IntegerField()
    last_hour = serializers.IntegerField()
    percent = serializers.IntegerField()
    working = serializers.IntegerField(
        help_text="People who judged or opened an item in the last 15 minutes."
    )
    eta_s = serializers.FloatField(
        allow_null=True, help_text="At the pace of these people; null where nothing can be told."
    )
    eta_low_s = serializers.FloatField(allow_null=True, help_text="Of the 95% interval of `eta_s`.")
    eta_high_s = serializers.FloatField(allow_null=True)
    out_of_reach = serializers.IntegerField(
        help_text="Judgments that are left and that nobody who works now can give: each needs a person who has not judged,"
        " skipped or written something of its item, and may get it."
    )


FOR_LEADS = (
    *("gold_rate", "control_rate", "qualification_items", "qualification_accuracy"),
    "progress",
)
"""Annotators must not learn which items have a known answer: neither how many there are, nor after which ones the progress
stays as it was."""


class ProjectDetail(ProjectSummary):
    progress = ProgressOut(required=False, help_text="For leads and reviewers.")
    guideline = serializers.CharField(allow_null=True, help_text="Markdown, the current version.")
    guideline_version = serializers.IntegerField(allow_null=True)

    class Meta:
        model = Project
        fields = ("slug", *SETTINGS, "role", "created_at", "progress", "guideline", "guideline_version")


class SettingsIn(serializers.ModelSerializer[Project]):
    """`k`, `overlap` and `task` change for new items only."""

    class Meta:
        model = Project
        fields = SETTINGS

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        project = copy(self.instance) if self.instance else Project()
        try:
            _apply_settings(project, attrs).clean()
        except ModelError as error:
            raise ValidationError(error.message_dict) from error
        return attrs


class ProjectIn(SettingsIn):
    guideline = serializers.CharField(
        max_length=MAX_TEXT_CHARS, help_text="The first guidelines, in Markdown."
    )

    class Meta:
        model = Project
        fields = (*SETTINGS, "guideline")


class ProjectsApi(ApiView):
    @extend_schema(
        summary="Your projects",
        operation_id="projects_list",
        responses={200: ProjectSummary(many=True)} | errors.UNAUTHORIZED,
        tags=["projects"],
    )
    def get(self, request: Request) -> Response:
        """Every project that you are a member of, with your role in it."""
        memberships = current_user(request).memberships.select_related("project").order_by("project__name")
        return Response([_summary(member.project, member.role) for member in memberships])

    @extend_schema(
        summary="Create a project",
        operation_id="projects_create",
        request=ProjectIn,
        responses={201: ProjectDetail} | errors.WRITE,
        examples=[
            OpenApiExample(
                "two answers, with a degree",
                {
                    "name": "Helpfulness",
                    "k": 2,
                    "overlap": 2,
                    "guideline": "Prefer what helps the person more.",
                },
                request_only=True,
            )
        ],
        tags=["projects"],
    )
    def post(self, request: Request) -> Response:
        """You become its lead. Settings that are left out have their defaults. For staff."""
        require_project_creator(current_user(request))
        data = validate_body(request, ProjectIn)
        guideline = data.pop("guideline")
        project = create_project(project=Project(**data), guideline=guideline, creator=current_user(request))
        return Response(_detail(project, Role.LEAD), status=201)


class ProjectApi(ApiView):
    @extend_schema(
        summary="One project and its progress",
        operation_id="projects_retrieve",
        responses={200: ProjectDetail} | errors.READ,
        tags=["projects"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Its settings, guidelines and progress. For every member; annotators see neither the progress nor what concerns items
        with a known answer."""
        member = member_for(request.user, slug)
        detail = _detail(member.project, member.role)
        if member.role == Role.ANNOTATOR:
            detail = {name: value for name, value in detail.items() if name not in FOR_LEADS}
        return Response(detail)

    @extend_schema(
        summary="Change a project's settings",
        operation_id="projects_change",
        request=SettingsIn(partial=True),
        responses={200: ProjectDetail} | errors.WRITE,
        tags=["projects"],
    )
    def patch(self, request: Request, slug: str) -> Response:
        """Settings that are left out stay unchanged. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        serializer = SettingsIn(project, data=request.data, partial=True)
        validate(serializer)
        change_project(
            project=_apply_settings(project, serializer.validated_data), actor=current_user(request)
        )
        return Response(_detail(project, Role.LEAD))


def _summary(project: Project, role: str) -> dict[str, Any]:
    project.role = role  # type: ignore[attr-defined]
    return dict(ProjectSummary(project).data)


def _apply_settings(project: Project, settings: dict[str, Any]) -> Project:
    """The project with these settings; other keys are ignored."""
    for name in settings.keys() & set(SETTINGS):
        setattr(project, name, settings[name])
    return project


def _detail(project: Project, role: str) -> dict[str, Any]:
    """All that `ProjectDetail` has."""
    counts, guideline = progress(project), project.guideline
    ahead = outlook(project, counts)
    estimate = ahead.time_left
    return {
        **_summary(project, role),
        **SettingsIn(project).data,
        "progress": {
            "wanted": counts.total,
            "done": counts.done,
            "leased": counts.leased,
            "left": counts.left,
            "last_hour": counts.last_hour,
            "percent": counts.percent,
            "working": len(ahead.workers),
            "eta_s": estimate.seconds if estimate else None,
            "eta_low_s": estimate.low if estimate else None,
            "eta_high_s": estimate.high if estimate else None,
            "out_of_reach": ahead.out_of_reach,
        },
        "guideline": guideline.text if guideline else None,
        "guideline_version": guideline.number if guideline else None,
    }
