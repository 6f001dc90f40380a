from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation.access import Role, person, project_for
from annotation.actions.freeze import FreezeError, freeze
from annotation.api import errors
from annotation.models import Snapshot


class SnapshotOut(serializers.ModelSerializer[Snapshot]):
    counts = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="Judgments and pairs, also by split; prompts and annotators.",
    )

    class Meta:
        model = Snapshot
        fields = ("number", "note", "counts", "sha256", "last_judgment", "created_at")


class SnapshotIn(serializers.Serializer[Snapshot]):
    note = serializers.CharField(required=False, allow_blank=True, max_length=200, default="")


class SnapshotsApi(APIView):
    @extend_schema(
        summary="The project's snapshots",
        operation_id="snapshots_list",
        responses={200: SnapshotOut(many=True)} | errors.READ,
        tags=["snapshots"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Newest first. Their judgments are at `judgments/?snapshot=number`. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        return Response(SnapshotOut(project.snapshots.all(), many=True).data)

    @extend_schema(
        summary="Freeze a snapshot",
        operation_id="snapshots_freeze",
        request=SnapshotIn,
        responses={201: SnapshotOut} | errors.WRITE,
        tags=["snapshots"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Write every counted judgment to a file that never changes, and keep its SHA-256. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        given = SnapshotIn(data=request.data)
        given.is_valid(raise_exception=True)
        try:
            snapshot = freeze(project=project, creator=person(request), note=given.validated_data["note"])
        except FreezeError as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(SnapshotOut(snapshot).data, status=201)
