"""Snapshots: creation, dataset card, exports, comparison."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, project_for
from annotation.actions import snapshot_jobs
from annotation.actions.snapshots import SnapshotError, snapshot_path
from annotation.api import errors, exports
from annotation.api.lookup import get_or_404
from annotation.api.pagination import CURSOR, NewestFirst, Page
from annotation.api.validation import validate_body
from annotation.api.view import ApiView
from annotation.exports.dataset_card import render_card
from annotation.exports.snapshot_diff import compare_snapshots
from annotation.http.file_downloads import send_hub_archive, send_snapshot_export
from annotation.models import Snapshot, SnapshotJob


class SnapshotOut(serializers.ModelSerializer[Snapshot]):
    counts = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="Judgments and pairs, also by split; prompts and annotators, and so on. Imported judgments and their pairs"
        " are counted apart, as `imported` and `imported_pairs`.",
    )

    class Meta:
        model = Snapshot
        fields = ("number", "note", "counts", "sha256", "last_judgment", "created_at")


class SnapshotPage(Page):
    results = SnapshotOut(many=True)


class SnapshotDetail(SnapshotOut):
    manifest = serializers.DictField(help_text="Statistics, guidelines, and how it was collected.")
    card = serializers.SerializerMethodField(help_text="The dataset card, in Markdown.")

    class Meta:
        model = Snapshot
        fields = (*SnapshotOut.Meta.fields, "manifest", "card")

    def get_card(self, snapshot: Snapshot) -> str:
        return render_card(snapshot.manifest) if snapshot.manifest else ""


class SnapshotIn(serializers.Serializer[Snapshot]):
    note = serializers.CharField(required=False, allow_blank=True, max_length=200, default="")
    licence = serializers.CharField(
        required=False, allow_blank=True, max_length=100, default="", help_text="As in `cc-by-4.0`."
    )
    imported = serializers.BooleanField(default=False, help_text="With the imported judgments.")


class SnapshotJobOut(serializers.ModelSerializer[SnapshotJob]):
    """A snapshot that a worker creates: `judgments_total` is an estimate until it is done, `error` says why it failed, and
    `snapshot` is its number when it is done."""

    percent = serializers.IntegerField()
    snapshot = serializers.SlugRelatedField[Snapshot](slug_field="number", read_only=True, allow_null=True)

    class Meta:
        model = SnapshotJob
        fields = (
            "id",
            "note",
            "licence",
            "imported",
            "state",
            "percent",
            "judgments_done",
            "judgments_total",
            "error",
            "snapshot",
            "created_at",
            "finished_at",
        )


class ExampleOut(serializers.Serializer[Any]):
    kind = serializers.CharField(help_text="added, replaced or changed.")
    judgment = serializers.IntegerField()
    item = serializers.IntegerField()
    annotator = serializers.CharField()
    prompt = serializers.CharField(help_text="The beginning of its last message.")
    ranks = serializers.ListField(child=serializers.IntegerField())
    fields = serializers.ListField(  # type: ignore[assignment]
        child=serializers.CharField(), help_text="The columns that changed."
    )


class DifferenceOut(serializers.Serializer[Any]):
    """Counts of judgments."""

    added = serializers.IntegerField()
    removed = serializers.IntegerField()
    replaced = serializers.IntegerField(help_text="By a newer revision of the same person.")
    changed = serializers.IntegerField(
        help_text="The same judgment with other columns, such as the agreement."
    )
    same = serializers.IntegerField()
    new_prompts = serializers.IntegerField()
    new_pairs = serializers.IntegerField()
    annotators = serializers.ListField(
        child=serializers.CharField(), help_text="Annotators in this snapshot only."
    )
    examples = ExampleOut(many=True)


class SnapshotsApi(ApiView):
    @extend_schema(
        summary="The project's snapshots",
        operation_id="snapshots_list",
        parameters=[CURSOR],
        responses={200: SnapshotPage} | errors.WRITE,
        tags=["snapshots"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Newest first, 100 per page. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        return NewestFirst().page_response(project.snapshots.all(), request, SnapshotOut)

    @extend_schema(
        summary="Create a snapshot",
        operation_id="snapshots_freeze",
        request=SnapshotIn,
        responses={201: SnapshotOut, 202: SnapshotJobOut} | errors.WRITE | errors.CONFLICT,
        examples=[
            OpenApiExample("before a release", {"note": "pilot", "licence": "cc-by-4.0"}, request_only=True)
        ],
        tags=["snapshots"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Write every counted judgment to a file that never changes, and keep its SHA-256 and a manifest. In a large project a
        worker does it: the response is 202 with a job, which `Location` follows; a second job is refused. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        try:
            created = snapshot_jobs.request_snapshot(
                project=project, creator=current_user(request), **validate_body(request, SnapshotIn)
            )
        except snapshot_jobs.OpenJob as error:
            raise errors.Conflict(str(error)) from error
        except SnapshotError as error:
            raise ValidationError({"detail": str(error)}) from error
        if isinstance(created, Snapshot):
            return Response(SnapshotOut(created).data, status=201)
        location = reverse("api-snapshot-job", args=[slug, created.pk])
        return Response(SnapshotJobOut(created).data, status=202, headers={"Location": location})


class SnapshotJobApi(ApiView):
    @extend_schema(
        summary="The state of a snapshot that a worker creates",
        operation_id="snapshots_job",
        responses={200: SnapshotJobOut} | errors.READ,
        tags=["snapshots"],
    )
    def get(self, request: Request, slug: str, pk: int) -> Response:
        """For leads."""
        return Response(SnapshotJobOut(_job(request, slug, pk)).data)


class CancelSnapshotJobApi(ApiView):
    @extend_schema(
        summary="Cancel a snapshot that a worker creates",
        operation_id="snapshots_job_cancel",
        request=None,
        responses={200: SnapshotJobOut} | errors.READ | errors.CONFLICT,
        tags=["snapshots"],
    )
    def post(self, request: Request, slug: str, pk: int) -> Response:
        """Takes effect within seconds; there is no snapshot then. For leads."""
        job = _job(request, slug, pk)
        try:
            snapshot_jobs.cancel(job)
        except SnapshotError as error:
            raise errors.Conflict(str(error)) from error
        return Response(SnapshotJobOut(job).data)


def _job(request: Request, slug: str, pk: int) -> SnapshotJob:
    return get_or_404(project_for(request.user, slug, Role.LEAD).snapshot_jobs.all(), pk)


class SnapshotApi(ApiView):
    @extend_schema(
        summary="One snapshot and its dataset card",
        operation_id="snapshots_retrieve",
        responses={200: SnapshotDetail} | errors.READ,
        tags=["snapshots"],
    )
    def get(self, request: Request, slug: str, number: int) -> Response:
        """With its manifest: counts, agreement, bias, guidelines, and how it was collected. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        return Response(SnapshotDetail(exports.get_snapshot(project, number)).data)


class SnapshotFileApi(ApiView):
    renderer_classes = exports.RENDERERS

    @extend_schema(
        summary="Export a snapshot",
        operation_id="snapshots_export",
        parameters=exports.SELECTION,
        responses=exports.FILE_RESPONSE | exports.RANGES | errors.WRITE,
        examples=exports.EXAMPLES,
        tags=["snapshots"],
    )
    def get(self, request: Request, slug: str, number: int) -> HttpResponseBase:
        """The same bytes every time, with an ETag; an interrupted download is resumed with `Range`. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        snapshot = exports.get_snapshot(project, number)
        return send_snapshot_export(request, snapshot, exports.read_selection(request, of_snapshot=True))


class SnapshotHubApi(ApiView):
    renderer_classes = exports.ZIP_RENDERERS

    @extend_schema(
        summary="A folder for the Hugging Face hub",
        operation_id="snapshots_hub",
        responses={
            (200, "application/zip"): OpenApiResponse({"type": "string", "format": "binary"}, "Zipped.")
        }
        | exports.RANGES
        | errors.WRITE,
        tags=["snapshots"],
    )
    def get(self, request: Request, slug: str, number: int) -> HttpResponseBase:
        """The dataset card as README.md, the manifest, and Parquet files by format and split: unpacked,
        `datasets.load_dataset(folder)` opens it. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        return send_hub_archive(request, exports.get_snapshot(project, number))


class DifferenceApi(ApiView):
    @extend_schema(
        summary="Compare with another snapshot",
        operation_id="snapshots_difference",
        parameters=[
            OpenApiParameter("from", int, required=True, description="The number of the other snapshot.")
        ],
        responses={200: DifferenceOut} | errors.WRITE,
        tags=["snapshots"],
    )
    def get(self, request: Request, slug: str, number: int) -> Response:
        """Changes from the other snapshot to this one, with examples. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        newer = exports.get_snapshot(project, number)
        older = exports.get_snapshot(project, request.query_params.get("from", ""), "from")
        return Response(DifferenceOut(compare_snapshots(snapshot_path(older), snapshot_path(newer))).data)
