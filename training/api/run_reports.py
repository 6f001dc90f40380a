"""What a run has reported: its metrics, and the end of its log."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role
from annotation.api import errors
from annotation.api.view import ApiView
from training.api.access import run_for
from training.models import Metric, RunLog
from training.runs.advice import advise

METRICS_PAGE = 5000


class MetricOut(serializers.ModelSerializer[Metric]):
    values = serializers.DictField(child=serializers.FloatField(allow_null=True))

    class Meta:
        model = Metric
        fields = ("step", "values")


class MetricsApi(ApiView):
    @extend_schema(
        summary="A run's metrics",
        operation_id="runs_metrics",
        parameters=[OpenApiParameter("after", int, description="Only steps past this one.")],
        responses={200: MetricOut(many=True)} | errors.READ | errors.BAD_FIELDS,
        examples=[
            OpenApiExample(
                "a step", {"step": 10, "values": {"loss": 0.61, "accuracy": 0.66}}, response_only=True
            )
        ],
        tags=["runs"],
    )
    def get(self, request: Request, pk: int) -> Response:
        """By step, at most 5,000 at once: ask again with `after`, also to follow a run. For leads and reviewers."""
        run = run_for(request, pk, Role.LEAD, Role.REVIEWER)
        after = request.query_params.get("after", "-1")
        if not after.removeprefix("-").isdecimal() or len(after) > 10:
            raise ValidationError({"after": [f"{after[:40]!r} is not a step."]})
        return Response(MetricOut(run.metrics.filter(step__gt=int(after))[:METRICS_PAGE], many=True).data)


class RunLogOut(serializers.Serializer[Any]):
    text = serializers.CharField(help_text="At most its last 20,000 characters; empty before it has ended.")
    advice = serializers.ListField(
        child=serializers.CharField(), help_text="Of a failed run: what can be done, the likeliest first."
    )


class RunLogApi(ApiView):
    @extend_schema(
        summary="A run's log",
        operation_id="runs_log",
        responses={200: RunLogOut} | errors.READ,
        tags=["runs"],
    )
    def get(self, request: Request, pk: int) -> Response:
        """The end of what the training program printed when the run ended last. For leads and reviewers."""
        run = run_for(request, pk, Role.LEAD, Role.REVIEWER)
        text = RunLog.objects.filter(run=run).values_list("text", flat=True).first()
        return Response(RunLogOut({"text": text or "", "advice": advise(run)}).data)
