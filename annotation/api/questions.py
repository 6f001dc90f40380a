"""A project's own questions to annotators."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, project_for
from annotation.actions.projects import write_questions
from annotation.api import errors
from annotation.api.validation import validate_body
from annotation.api.view import ApiView
from annotation.logic.questions import (
    MAX_MIN_CHARS,
    MAX_SCALE,
    MIN_SCALE,
    PRESETS,
    QuestionError,
    QuestionKind,
    read_questions,
)
from annotation.models import Project, QuestionSet
from annotation.queries import all_questions


class QuestionOut(serializers.Serializer[Any]):
    key = serializers.CharField(help_text="Its name in exports; the same in all versions.")
    kind = serializers.ChoiceField([kind.value for kind in QuestionKind])
    label = serializers.CharField()  # type: ignore[assignment]
    help = serializers.CharField(allow_blank=True)
    required = serializers.BooleanField()  # type: ignore[assignment]
    scale = serializers.IntegerField(
        min_value=MIN_SCALE, max_value=MAX_SCALE, help_text="Ratings are 1 to this."
    )
    low = serializers.CharField(allow_blank=True, help_text="What 1 means.")
    high = serializers.CharField(allow_blank=True, help_text="What the highest rating means.")
    min_chars = serializers.IntegerField(min_value=0, max_value=MAX_MIN_CHARS, help_text="Of a free text.")


class QuestionSetOut(serializers.ModelSerializer[QuestionSet]):
    version = serializers.IntegerField(source="number")
    questions = QuestionOut(many=True)
    is_current = serializers.SerializerMethodField()

    class Meta:
        model = QuestionSet
        fields = ("version", "questions", "is_current", "created_at")

    def get_is_current(self, version: QuestionSet) -> bool:
        return version.pk == version.project.question_set_id


class QuestionsIn(serializers.Serializer[Any]):
    questions = serializers.JSONField(
        help_text="A list; `kind` and `label` are needed, a missing `key` is made from the label."
    )


class QuestionsApi(ApiView):
    @extend_schema(
        summary="Every version of a project's own questions",
        operation_id="questions_list",
        responses={200: QuestionSetOut(many=True)} | errors.READ,
        tags=["projects"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Newest first. For every member."""
        return Response(_versions(project_for(request.user, slug)))

    @extend_schema(
        summary="Change a project's own questions",
        operation_id="questions_write",
        request=QuestionsIn,
        responses={200: QuestionSetOut(many=True)} | errors.WRITE,
        examples=[
            OpenApiExample(
                "three criteria",
                {"questions": [question.as_data() for question in PRESETS]},
                request_only=True,
            )
        ],
        tags=["projects"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Takes effect from the next item on; the same questions again create no new version, an empty list asks none. A question
        with another kind or scale than before gets a new key. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        try:
            questions = read_questions(
                validate_body(request, QuestionsIn)["questions"], all_questions(project)
            )
        except QuestionError as error:
            place = "" if error.number is None else f"Question {error.number + 1}, {error.field or 'all'}: "
            raise ValidationError({"questions": [f"{place}{error}"]}) from error
        write_questions(project=project, questions=questions, author=current_user(request))
        return Response(_versions(project))


def _versions(project: Project) -> Any:
    versions = project.question_sets.select_related("project").order_by("-number")
    return QuestionSetOut(versions, many=True).data
