"""Webhooks of a project, and their deliveries."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, project_for
from annotation.actions import webhook_delivery, webhooks
from annotation.api import errors
from annotation.api.lookup import get_or_404
from annotation.api.pagination import CURSOR, ById, Page
from annotation.api.validation import validate_body
from annotation.api.view import ApiView
from annotation.models import Delivery, Webhook
from annotation.models.webhooks import EVENTS

_EVENTS = serializers.ListField(
    child=serializers.ChoiceField(list(EVENTS.items())),
    min_length=1,
    max_length=len(EVENTS),
    help_text=" ".join(f"`{name}`: {words}." for name, words in EVENTS.items()),
)


class WebhookOut(serializers.ModelSerializer[Webhook]):
    events = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Webhook
        fields = ("id", "url", "events", "active", "created_at")


class NewWebhookOut(WebhookOut):
    secret = serializers.CharField(
        help_text="The key of the signatures of its messages. It is shown only once."
    )

    class Meta:
        model = Webhook
        fields = (*WebhookOut.Meta.fields, "secret")


class WebhookIn(serializers.Serializer[Any]):
    url = serializers.CharField(max_length=500, help_text="https://… or http://…, a public address.")
    events = _EVENTS


class WebhookChange(serializers.Serializer[Any]):
    active = serializers.BooleanField(
        required=False, help_text="False: messages wait, and new events are not recorded."
    )
    events = serializers.ListField(
        child=serializers.ChoiceField(list(EVENTS.items())),
        required=False,
        min_length=1,
        max_length=len(EVENTS),
        help_text="The events sent from now on.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise ValidationError("Give `active`, `events`, or both.")
        return attrs


class DeliveryOut(serializers.ModelSerializer[Delivery]):
    body = serializers.DictField(help_text="What was sent, without its id.")

    class Meta:
        model = Delivery
        fields = (
            *("id", "event", "body", "state", "attempts", "next_at", "status", "answer", "problem"),
            *("created_at", "tried_at", "delivered_at"),
        )


class DeliveryPage(Page):
    results = DeliveryOut(many=True)


class WebhooksApi(ApiView):
    @extend_schema(
        summary="The project's webhooks",
        operation_id="webhooks_list",
        responses={200: WebhookOut(many=True)} | errors.READ,
        tags=["webhooks"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        return Response(WebhookOut(project.webhooks.all(), many=True).data)

    @extend_schema(
        summary="Add a webhook",
        operation_id="webhooks_add",
        request=WebhookIn,
        responses={201: NewWebhookOut} | errors.WRITE,
        examples=[
            OpenApiExample(
                "tell a training cluster",
                {"url": "https://example.com/hooks/palate", "events": ["snapshot.frozen"]},
                request_only=True,
            )
        ],
        tags=["webhooks"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Sends a POST for each event from now on; failed deliveries are retried over nearly four days, with growing delays.
        Addresses of the server's own network are refused. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        with errors.as_field_errors(webhooks.WebhookError):
            webhook = webhooks.add(
                project=project, creator=current_user(request), **validate_body(request, WebhookIn)
            )
        return Response(NewWebhookOut(webhook).data, status=201, headers={"Cache-Control": "no-store"})


class WebhookApi(ApiView):
    @extend_schema(
        summary="Pause or resume a webhook, or change its events",
        operation_id="webhooks_change",
        request=WebhookChange,
        responses={200: WebhookOut} | errors.WRITE,
        tags=["webhooks"],
    )
    def patch(self, request: Request, slug: str, pk: int) -> Response:
        """For leads."""
        webhook = _webhook(request, slug, pk)
        data, actor = validate_body(request, WebhookChange), current_user(request)
        if "events" in data:
            webhooks.change_events(webhook=webhook, events=data["events"], actor=actor)
        if "active" in data:
            webhooks.set_active(webhook=webhook, active=data["active"], actor=actor)
        return Response(WebhookOut(webhook).data)

    @extend_schema(
        summary="Remove a webhook",
        operation_id="webhooks_remove",
        responses={204: OpenApiResponse(description="Removed, with its log.")} | errors.READ,
        tags=["webhooks"],
    )
    def delete(self, request: Request, slug: str, pk: int) -> Response:
        """For leads."""
        webhooks.remove(webhook=_webhook(request, slug, pk), actor=current_user(request))
        return Response(status=204)


class TestApi(ApiView):
    @extend_schema(
        summary="Test a webhook",
        operation_id="webhooks_test",
        request=None,
        responses={201: DeliveryOut} | errors.READ,
        tags=["webhooks"],
    )
    def post(self, request: Request, slug: str, pk: int) -> Response:
        """A message of the event `test`, within seconds. For leads."""
        webhook = _webhook(request, slug, pk)
        return Response(DeliveryOut(webhook_delivery.send_test(webhook)).data, status=201)


class DeliveriesApi(ApiView):
    @extend_schema(
        summary="The deliveries of a webhook",
        operation_id="webhooks_deliveries",
        parameters=[CURSOR],
        responses={200: DeliveryPage} | errors.WRITE,
        tags=["webhooks"],
    )
    def get(self, request: Request, slug: str, pk: int) -> Response:
        """Oldest first, 100 per page, with their results. For leads."""
        return ById().page_response(_webhook(request, slug, pk).deliveries.all(), request, DeliveryOut)


class RedeliverApi(ApiView):
    @extend_schema(
        summary="Redeliver a message",
        operation_id="webhooks_redeliver",
        request=None,
        responses={200: DeliveryOut} | errors.READ,
        tags=["webhooks"],
    )
    def post(self, request: Request, slug: str, pk: int, delivery: int) -> Response:
        """Within seconds, whatever its state. For leads."""
        message = get_or_404(_webhook(request, slug, pk).deliveries.all(), delivery)
        webhook_delivery.redeliver(message)
        message.refresh_from_db()
        return Response(DeliveryOut(message).data)


def _webhook(request: Request, slug: str, pk: int) -> Webhook:
    return get_or_404(project_for(request.user, slug, Role.LEAD).webhooks.all(), pk)
