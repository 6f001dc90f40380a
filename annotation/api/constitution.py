"""The constitution of a project: the principles that judges go by."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, project_for
from annotation.actions.constitutions import write_constitution
from annotation.api import errors
from annotation.api.validation import validate_body
from annotation.api.view import ApiView
from annotation.logic.principles import STARTING_PRINCIPLES, PrincipleError, read_principles
from annotation.models import Constitution, Project


class CommentWordsOut(serializers.Serializer[Any]):
    start = serializers.CharField(help_text="How a comment on an answer begins.")
    good = serializers.CharField(help_text="How it goes on after a good answer.")
    bad = serializers.CharField(help_text="How it goes on after a bad one.")
    also = serializers.CharField(allow_blank=True, help_text="A second good word.")


class PrincipleOut(serializers.Serializer[Any]):
    key = serializers.CharField(help_text="Its name in opinions and exports.")
    tag = serializers.CharField(
        allow_blank=True, help_text="Of the prompts that it is for; empty: those that no tag names."
    )
    compare = serializers.CharField(
        allow_blank=True, help_text="The question by which a judge compares two answers."
    )
    critique = serializers.CharField(allow_blank=True, help_text="How a model criticises its answer.")
    revise = serializers.CharField(allow_blank=True, help_text="How it then rewrites the answer.")
    comment = CommentWordsOut(required=False, help_text="For judges too small to follow an instruction.")


class ConstitutionOut(serializers.ModelSerializer[Constitution]):
    version = serializers.IntegerField(source="number")
    principles = PrincipleOut(many=True)

    class Meta:
        model = Constitution
        fields = ("version", "principles", "created_at")


class ConstitutionIn(serializers.Serializer[Any]):
    principles = serializers.JSONField(
        help_text="A list of 1 to 50; `key` is needed, and `compare` or `comment`."
    )


class ConstitutionApi(ApiView):
    @extend_schema(
        summary="Every version of a project's constitution",
        operation_id="constitution_list",
        responses={200: ConstitutionOut(many=True)} | errors.READ,
        tags=["projects"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Newest first: the first is the current one. For leads and reviewers."""
        return Response(_versions(project_for(request.user, slug, Role.LEAD, Role.REVIEWER)))

    @extend_schema(
        summary="Change a project's constitution",
        operation_id="constitution_write",
        request=ConstitutionIn,
        responses={200: ConstitutionOut(many=True)} | errors.WRITE,
        examples=[
            OpenApiExample(
                "a start",
                {"principles": [principle.as_data() for principle in STARTING_PRINCIPLES]},
                request_only=True,
            )
        ],
        tags=["projects"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Judges go by it from the next run on; the same principles again create no new version. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        try:
            principles = read_principles(validate_body(request, ConstitutionIn)["principles"])
        except PrincipleError as error:
            raise ValidationError({"principles": [error.located]}) from error
        write_constitution(project=project, principles=principles, author=current_user(request))
        return Response(_versions(project))


def _versions(project: Project) -> Any:
    return ConstitutionOut(project.constitutions.all(), many=True).data
