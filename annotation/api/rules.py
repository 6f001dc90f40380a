"""Rules that warn or pause annotators below a threshold."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, project_for
from annotation.actions import rules
from annotation.actions.rules import RuleError
from annotation.api import errors
from annotation.api.lookup import get_or_404
from annotation.api.validation import validate_body
from annotation.api.view import ApiView
from annotation.models import Rule


class RuleOut(serializers.ModelSerializer[Rule]):
    class Meta:
        model = Rule
        fields = ("id", "measure", "below", "after", "action")


class RuleIn(serializers.Serializer[Any]):
    measure = serializers.ChoiceField(Rule.Measure.choices)
    below = serializers.FloatField(
        required=False, help_text="The threshold: a share from 0 to 1, or seconds; left out for the checks."
    )
    after = serializers.IntegerField(default=10, help_text=Rule._meta.get_field("after").help_text)
    action = serializers.ChoiceField(Rule.Action.choices)


class RulesApi(ApiView):
    @extend_schema(
        summary="The project's rules",
        operation_id="rules_list",
        responses={200: RuleOut(many=True)} | errors.READ,
        tags=["people"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        return Response(RuleOut(project.rules.order_by("measure", "action"), many=True).data)

    @extend_schema(
        summary="Set a rule",
        operation_id="rules_set",
        request=RuleIn,
        responses={200: RuleOut} | errors.WRITE,
        examples=[
            OpenApiExample(
                "pause annotators who fail gold items",
                {"measure": "gold", "below": 0.6, "after": 20, "action": "pause"},
                request_only=True,
            )
        ],
        tags=["people"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Checked every minute. It replaces a rule with the same measure and action. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        with errors.as_field_errors(RuleError):
            rule = rules.save_rule(
                project=project, actor=current_user(request), **validate_body(request, RuleIn)
            )
        return Response(RuleOut(rule).data)


class RuleApi(ApiView):
    @extend_schema(
        summary="Remove a rule",
        operation_id="rules_remove",
        responses={204: OpenApiResponse(description="Existing warnings and pauses stay.")} | errors.READ,
        tags=["people"],
    )
    def delete(self, request: Request, slug: str, pk: int) -> Response:
        """For leads."""
        rule = get_or_404(project_for(request.user, slug, Role.LEAD).rules.select_related("project"), pk)
        rules.remove_rule(rule=rule, actor=current_user(request))
        return Response(status=204)
