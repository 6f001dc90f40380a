"""The registry of models."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, project_for
from annotation.api import errors
from annotation.api.ordering import Ordering
from annotation.api.pagination import CURSOR, Page
from annotation.api.renderers import TarRenderer
from annotation.api.validation import validate_body
from annotation.api.view import ApiView
from annotation.store import MissingObject
from training.api.access import model_for
from training.errors import RunError
from training.models import ModelVersion
from training.registry import model_archive
from training.registry.actions import add_model, promote, retire
from training.registry.hub import check_hub_model
from training.registry.model_list import MODELS

ORDERING = Ordering(MODELS, own="-added")


class ModelOut(serializers.ModelSerializer[ModelVersion]):
    kind = serializers.CharField(help_text="policy or reward.")
    snapshot = serializers.IntegerField(
        source="run.snapshot.number",
        default=None,
        read_only=True,
        allow_null=True,
        help_text="The snapshot that it learned from.",
    )
    metrics = serializers.DictField(read_only=True)

    class Meta:
        model = ModelVersion
        fields = (
            *("id", "name", "kind", "location", "current", "parent", "run", "snapshot", "metrics"),
            "created_at",
        )


class ModelPage(Page):
    results = ModelOut(many=True)


class ModelIn(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(ModelVersion.Kind.choices)
    name = serializers.SlugField(max_length=120)
    location = serializers.CharField(
        max_length=500,
        help_text="/folder (or file:/folder), below the administrator's MODEL_DIRS with a config.json and safetensors, or"
        " hub:org/name@revision.",
    )
    ask_hub = serializers.BooleanField(
        default=True,
        help_text="False: a model of the hub is added although the hub does not show it to this site.",
    )


class AncestorOut(ModelOut):
    sha256 = serializers.CharField(
        source="run.snapshot.sha256", default=None, allow_null=True, help_text="Of the snapshot's file."
    )
    judgments = serializers.SerializerMethodField(help_text="How many the snapshot holds.")

    class Meta:
        model = ModelVersion
        fields = (*ModelOut.Meta.fields, "sha256", "judgments")

    def get_judgments(self, version: ModelVersion) -> int | None:
        snapshot = version.run.snapshot if version.run else None
        return snapshot.counts["judgments"] if snapshot else None


class ModelsApi(ApiView):
    @extend_schema(
        summary="The project's models",
        operation_id="models_list",
        parameters=[CURSOR, ORDERING.parameter],
        responses={200: ModelPage} | errors.WRITE,
        tags=["models"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Newest first or as `ordering` says, 100 a page. For leads and reviewers."""
        project = project_for(request.user, slug, Role.LEAD, Role.REVIEWER)
        rows = MODELS.rows(project, {})
        return ORDERING.page_response(
            rows, request, ModelOut, shown=lambda found: [row.version for row in found]
        )

    @extend_schema(
        summary="Add a model",
        operation_id="models_add",
        request=ModelIn,
        responses={201: ModelOut} | errors.WRITE,
        examples=[
            OpenApiExample(
                "from the hub",
                {
                    "kind": "policy",
                    "name": "smollm",
                    "location": "hub:HuggingFaceTB/SmolLM2-135M-Instruct@main",
                },
                request_only=True,
            )
        ],
        tags=["models"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """The first of its kind becomes current. Pickled weights, models with custom code, and those that the hub does not show
        to this site are refused. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        data = validate_body(request, ModelIn)
        with errors.as_field_errors(RunError):
            if data.pop("ask_hub"):
                check_hub_model(data["location"])
            version = add_model(project=project, **data)
        return Response(ModelOut(version).data, status=201)


class PromoteApi(ApiView):
    @extend_schema(
        summary="Make a model the current one",
        operation_id="models_promote",
        request=None,
        responses={200: ModelOut} | errors.READ | errors.CONFLICT,
        tags=["models"],
    )
    def post(self, request: Request, pk: int) -> Response:
        """From then on it is the default policy or reward model. For leads."""
        try:
            return Response(ModelOut(promote(model_for(request, pk, Role.LEAD), current_user(request))).data)
        except RunError as error:
            raise errors.Conflict(str(error)) from error


class RetireApi(ApiView):
    @extend_schema(
        summary="Retire a model",
        operation_id="models_retire",
        request=None,
        responses={200: ModelOut} | errors.READ | errors.CONFLICT,
        tags=["models"],
    )
    def post(self, request: Request, pk: int) -> Response:
        """It can no longer be chosen, and its files may be removed. Not while it is current. For leads."""
        try:
            return Response(ModelOut(retire(model_for(request, pk, Role.LEAD), current_user(request))).data)
        except RunError as error:
            raise errors.Conflict(str(error)) from error


class LineageApi(ApiView):
    @extend_schema(
        summary="A model's lineage",
        operation_id="models_lineage",
        responses={200: AncestorOut(many=True)} | errors.READ,
        tags=["models"],
    )
    def get(self, request: Request, pk: int) -> Response:
        """The model, its parent, and so on to the first, each with its snapshot. For leads and reviewers."""
        version = model_for(request, pk, Role.LEAD, Role.REVIEWER)
        return Response(AncestorOut(version.lineage(), many=True).data)


class DownloadApi(ApiView):
    renderer_classes = (JSONRenderer, TarRenderer)

    @extend_schema(
        summary="Download a model",
        operation_id="models_download",
        parameters=[
            OpenApiParameter(
                "file",
                str,
                description="One of its files, such as model.safetensors, instead of the archive. Where the store is a bucket,"
                " the answer redirects to it: a link for a quarter of an hour, without the token.",
            )
        ],
        responses={
            (200, model_archive.CONTENT_TYPE): OpenApiResponse(
                {"type": "string", "format": "binary"}, "A tar archive with one folder."
            )
        }
        | errors.READ,
        tags=["models"],
    )
    def get(self, request: Request, pk: int) -> HttpResponseBase:
        """Its weights as safetensors, its tokenizer and settings, and its card as README.md: unpacked,
        `transformers` opens the folder. For leads and reviewers. 404 where its files are not on this server."""
        version = model_for(request, pk, Role.LEAD, Role.REVIEWER)
        try:
            return model_archive.send_model(version, request.query_params.get("file", ""))
        except (RunError, MissingObject) as error:
            raise NotFound(str(error)) from error
