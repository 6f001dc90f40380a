"""Files of prompts, in any shape that is known: kept at once, read by a worker."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation.access import Role, current_user, project_for
from annotation.actions import imports
from annotation.actions.imports import UploadError
from annotation.api import errors
from annotation.api.lookup import one
from annotation.api.pagination import CURSOR, NewestFirst, Page
from annotation.api.validation import body
from annotation.models import Import


class FileOut(serializers.ModelSerializer[Import]):
    """`report`, once it is over: how many `prompts`, `responses` and `items` are new, how many rows were `unchanged`, what
    was `held_back` and `set_aside`; or `errors`, `[[row, sentence], …]`, or the `reason`, and then nothing was taken."""

    percent = serializers.IntegerField()
    report = serializers.DictField()

    class Meta:
        model = Import
        fields = ("id", "name", "bytes", "shape", "state", "percent", "report", "created_at", "finished_at")


class FilePage(Page):
    results = FileOut(many=True)


class FileIn(serializers.Serializer[Any]):
    file = serializers.FileField(
        max_length=1000,
        help_text="JSON Lines, a JSON list, CSV or Parquet, as it is or packed by gzip; the shapes of common public datasets"
        " are recognised.",
    )


class ImportsApi(APIView):
    parser_classes = (MultiPartParser,)

    @extend_schema(
        summary="Files that were imported",
        operation_id="imports_list",
        parameters=[CURSOR],
        responses={200: FilePage} | errors.WRITE,
        tags=["prompts"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Newest first, 100 a page. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        return NewestFirst().answer(project.imports.all(), request, FileOut)

    @extend_schema(
        summary="Import a file",
        operation_id="imports_start",
        request={"multipart/form-data": FileIn},
        responses={202: FileOut} | errors.WRITE | errors.TOO_LARGE,
        tags=["prompts"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """It is read in the background: all of it is taken or, with errors, nothing. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        file = body(request, FileIn)["file"]
        if file.size > settings.MAX_UPLOAD_BYTES:
            raise errors.TooLarge(imports.too_large(file.size))
        try:
            upload = imports.keep_upload(
                project=project, name=file.name, chunks=file.chunks(), creator=current_user(request)
            )
        except UploadError as error:
            raise ValidationError({"file": [str(error)]}) from error
        imports.start(upload)
        there = reverse("api-import", args=[slug, upload.pk])
        return Response(FileOut(upload).data, status=202, headers={"Location": there})


class ImportApi(APIView):
    @extend_schema(
        summary="How an import goes, or went",
        operation_id="imports_get",
        responses={200: FileOut} | errors.READ,
        tags=["prompts"],
    )
    def get(self, request: Request, slug: str, pk: int) -> Response:
        """For leads."""
        return Response(FileOut(_import(request, slug, pk)).data)


class CancelImportApi(APIView):
    @extend_schema(
        summary="Stop an import",
        operation_id="imports_cancel",
        request=None,
        responses={200: FileOut} | errors.READ | errors.CONFLICT,
        tags=["prompts"],
    )
    def post(self, request: Request, slug: str, pk: int) -> Response:
        """Within seconds; nothing of it stays. For leads."""
        upload = _import(request, slug, pk)
        try:
            imports.cancel(upload)
        except UploadError as error:
            raise errors.Conflict(str(error)) from error
        return Response(FileOut(upload).data)


def _import(request: Request, slug: str, pk: int) -> Import:
    return one(project_for(request.user, slug, Role.LEAD).imports.all(), pk)
