"""Import of files of prompts, in the background."""

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

from annotation.access import Role, current_user, project_for
from annotation.actions import imports, uploads
from annotation.actions.uploads import UploadError
from annotation.api import errors
from annotation.api.lookup import get_or_404
from annotation.api.pagination import CURSOR, NewestFirst, Page
from annotation.api.validation import validate_body
from annotation.api.view import ApiView
from annotation.models import Import, User


class ImportFileOut(serializers.ModelSerializer[Import]):
    """`report`, when it has ended: how many `rows` the file has, and how many of them were `kept` (`unchanged`: without anything
    new) or `set_aside` as not comparable; how many `prompts`, `responses`, `items` and `judgments` are new, how many answers were
    `held_back` as near-identical, and what was `left_out` of rows that were kept; what became of each of the `columns`; the
    invalid rows as `errors`, `[[row, sentence], …]`, which were set aside if the import is done; or the `reason` why nothing
    was imported."""

    percent = serializers.IntegerField()
    report = serializers.DictField()

    class Meta:
        model = Import
        fields = (
            "id",
            "name",
            "bytes",
            "shape",
            "other_columns",
            "set_aside_share",
            "judgments",
            "judged_by",
            "state",
            "percent",
            "report",
            "created_at",
            "finished_at",
        )


class ImportFilePage(Page):
    results = ImportFileOut(many=True)


class ImportFileIn(serializers.Serializer[Any]):
    file = serializers.FileField(
        max_length=1000,
        help_text="JSON Lines, a JSON list, CSV or Parquet, optionally compressed with gzip; the formats of common public"
        " datasets are recognised.",
    )

    mapping = serializers.JSONField(
        default=dict,
        help_text='The role of each column, for a file of no known format, as a JSON object: `{"question": "prompt",'
        ' "a": "answer", "b": "answer"}`. Roles: prompt, answer, system, context, id, tag, preference, annotator, metadata,'
        " left out."
        " Without it, the project's last mapping is used if the file has its columns.",
    )
    other_columns = serializers.ChoiceField(
        choices=Import.OtherColumns.choices,
        default=Import.OtherColumns.STOP,
        help_text="What becomes of columns that the format does not have and that hold texts, lists or objects: by default"
        " they stop the import.",
    )
    set_aside_share = serializers.FloatField(
        min_value=0,
        max_value=1,
        default=0.0,
        help_text="Up to this share of invalid rows, they are set aside and the others imported.",
    )
    judgments = serializers.ChoiceField(
        choices=Import.Judgments.choices,
        default=Import.Judgments.LEAVE_OUT,
        help_text="What becomes of the preferences in the file: by default they are left out. `import` stores them as imported"
        " judgments, beside the queue; `queue` gives the items to annotators, too.",
    )
    judged_by = serializers.ChoiceField(
        choices=User.Account.choices,
        default="",
        allow_blank=True,
        help_text="Who made them, people or models, where neither the rows nor the format say it.",
    )


class ImportsApi(ApiView):
    parser_classes = (MultiPartParser,)

    @extend_schema(
        summary="The project's imports",
        operation_id="imports_list",
        parameters=[CURSOR],
        responses={200: ImportFilePage} | errors.WRITE,
        tags=["prompts"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Newest first, 100 per page. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        return NewestFirst().page_response(project.imports.all(), request, ImportFileOut)

    @extend_schema(
        summary="Import a file",
        operation_id="imports_start",
        request={"multipart/form-data": ImportFileIn},
        responses={202: ImportFileOut} | errors.WRITE | errors.TOO_LARGE,
        tags=["prompts"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """It is read in the background. Nothing is imported if more rows are invalid than may be set aside. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        body = validate_body(request, ImportFileIn)
        file, mapping = body.pop("file"), body.pop("mapping")
        if not isinstance(mapping, dict):
            raise ValidationError({"mapping": ["It is not an object."]})
        if file.size > settings.MAX_UPLOAD_BYTES:
            raise errors.TooLarge(uploads.too_large_message(file.size))
        try:
            upload = uploads.save_upload(
                project=project, name=file.name, file=file, creator=current_user(request), mapping=mapping
            )
        except UploadError as error:
            raise ValidationError({"file": [str(error)]}) from error
        try:
            imports.start(upload, **body)
        except UploadError as error:
            imports.cancel(upload)
            raise ValidationError({"judgments": [str(error)]}) from error
        location = reverse("api-import", args=[slug, upload.pk])
        return Response(ImportFileOut(upload).data, status=202, headers={"Location": location})


class ImportApi(ApiView):
    @extend_schema(
        summary="The state of an import",
        operation_id="imports_get",
        responses={200: ImportFileOut} | errors.READ,
        tags=["prompts"],
    )
    def get(self, request: Request, slug: str, pk: int) -> Response:
        """For leads."""
        return Response(ImportFileOut(_import(request, slug, pk)).data)


class CancelImportApi(ApiView):
    @extend_schema(
        summary="Cancel an import",
        operation_id="imports_cancel",
        request=None,
        responses={200: ImportFileOut} | errors.READ | errors.CONFLICT,
        tags=["prompts"],
    )
    def post(self, request: Request, slug: str, pk: int) -> Response:
        """Takes effect within seconds; nothing is imported. For leads."""
        upload = _import(request, slug, pk)
        try:
            imports.cancel(upload)
        except UploadError as error:
            raise errors.Conflict(str(error)) from error
        return Response(ImportFileOut(upload).data)


def _import(request: Request, slug: str, pk: int) -> Import:
    return get_or_404(project_for(request.user, slug, Role.LEAD).imports.all(), pk)
