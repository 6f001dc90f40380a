"""The timesheet of a project's members."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from annotation import timesheets
from annotation.access import Role, project_for
from annotation.api import errors
from annotation.api.view import ApiView
from annotation.logic import periods
from annotation.logic.periods import PeriodError
from annotation.logic.time_zones import zone_named


class TimesheetLineOut(serializers.Serializer[Any]):
    date = serializers.DateField(source="day")
    user = serializers.CharField()
    items = serializers.IntegerField(source="work.items", help_text="Judged for the first time on this day.")
    edits = serializers.IntegerField(source="work.edits", help_text="Revisions.")
    skips = serializers.IntegerField(source="work.skips")
    active_minutes = serializers.FloatField(
        source="work.active_minutes", help_text="From opening items to submitting or skipping them."
    )
    first = serializers.DateTimeField(source="work.first", allow_null=True)
    last = serializers.DateTimeField(source="work.last", allow_null=True)


class TimesheetApi(ApiView):
    @extend_schema(
        summary="Timesheet of the members",
        operation_id="timesheet_get",
        parameters=[
            OpenApiParameter("period", str, enum=list(periods.NAMES), description="`this-week` by default."),
            OpenApiParameter("from", str, description="First day, such as 2026-11-20, instead of `period`."),
            OpenApiParameter("to", str, description="Last day."),
            OpenApiParameter(
                "time_zone", str, description="IANA name of the zone of the days; UTC by default."
            ),
            OpenApiParameter("format", str, enum=["json", "csv"], description="`json` by default."),
        ],
        responses={
            (200, "application/json"): TimesheetLineOut(many=True),
            (200, "text/csv"): OpenApiResponse(str, description="With `format=csv`."),
        }
        | errors.READ,
        tags=["people"],
    )
    def get(self, request: Request, slug: str) -> Response | HttpResponse:
        """Items, edits, skips and active time of everybody, by day. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        query = request.query_params
        form = query.get("format", "json")
        if form not in ("json", "csv"):
            raise serializers.ValidationError({"format": [f"{form!r} is not a format: json, csv."]})
        try:
            zone = zone_named(query.get("time_zone") or "UTC")
        except ValueError as error:
            raise serializers.ValidationError({"time_zone": [str(error)]}) from None
        with errors.as_field_errors(PeriodError):
            period = periods.read(query, timesheets.today(zone))
        lines = timesheets.lines_of_project(project, period.first, period.last, zone)
        names = timesheets.user_names(lines)
        if form == "csv":
            text = timesheets.write_csv(lines, zone, {project.pk: project.name}, names)
            return HttpResponse(text, content_type="text/csv; charset=utf-8")
        rows = [{"day": line.day, "user": names[line.user_id], "work": line.work} for line in lines]
        return Response(TimesheetLineOut(rows, many=True).data)
