"""Addresses that are told of what happens in a project."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation.access import Role, current_user, project_for
from annotation.actions import webhook_delivery, webhooks
from annotation.api import errors
from annotation.api.lookup import one
from annotation.api.pagination import CURSOR, ById, Page
from annotation.api.validation import body
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
    secret = serializers.CharField(help_text="What signs its messages. It is shown this once.")

    class Meta:
        model = Webhook
        fields = (*WebhookOut.Meta.fields, "secret")


class WebhookIn(serializers.Serializer[Any]):
    url = serializers.CharField(max_length=500, help_text="https://… or http://…, out on the internet.")
    events = _EVENTS


class WebhookChange(serializers.Serializer[Any]):
    active = serializers.BooleanField(
        required=False, help_text="False: messages wait, and nothing new is noted, not even afterwards."
    )
    events = serializers.ListField(
        child=serializers.ChoiceField(list(EVENTS.items())),
        required=False,
        min_length=1,
        max_length=len(EVENTS),
        help_text="All that it is told of from now on.",
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


class WebhooksApi(APIView):
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
        """It is told by POST of what happens from now on; what does not arrive is sent again, over nearly four days, each time
        after a longer wait. Addresses of the server's own network are refused. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        with errors.by_field(webhooks.WebhookError):
            webhook = webhooks.add(project=project, creator=current_user(request), **body(request, WebhookIn))
        return Response(NewWebhookOut(webhook).data, status=201, headers={"Cache-Control": "no-store"})


class WebhookApi(APIView):
    @extend_schema(
        summary="Pause a webhook, let it go on, change its events",
        operation_id="webhooks_change",
        request=WebhookChange,
        responses={200: WebhookOut} | errors.WRITE,
        tags=["webhooks"],
    )
    def patch(self, request: Request, slug: str, pk: int) -> Response:
        """For leads."""
        webhook = _webhook(request, slug, pk)
        asked, actor = body(request, WebhookChange), current_user(request)
        if "events" in asked:
            webhooks.change_events(webhook=webhook, events=asked["events"], actor=actor)
        if "active" in asked:
            webhooks.set_active(webhook=webhook, active=asked["active"], actor=actor)
        return Response(WebhookOut(webhook).data)

    @extend_schema(
        summary="Remove a webhook",
        operation_id="webhooks_remove",
        responses={204: OpenApiResponse(description="It is gone, and its log with it.")} | errors.READ,
        tags=["webhooks"],
    )
    def delete(self, request: Request, slug: str, pk: int) -> Response:
        """For leads."""
        webhooks.remove(webhook=_webhook(request, slug, pk), actor=current_user(request))
        return Response(status=204)


class TestApi(APIView):
    @extend_schema(
        summary="Send a webhook a test",
        operation_id="webhooks_test",
        request=None,
        responses={201: DeliveryOut} | errors.READ,
        tags=["webhooks"],
    )
    def post(self, request: Request, slug: str, pk: int) -> Response:
        """A message of the event `test`, within seconds. For leads."""
        webhook = _webhook(request, slug, pk)
        return Response(DeliveryOut(webhook_delivery.send_test(webhook)).data, status=201)


class DeliveriesApi(APIView):
    @extend_schema(
        summary="What a webhook was told",
        operation_id="webhooks_deliveries",
        parameters=[CURSOR],
        responses={200: DeliveryPage} | errors.WRITE,
        tags=["webhooks"],
    )
    def get(self, request: Request, slug: str, pk: int) -> Response:
        """Oldest first, 100 a page, with what became of it. For leads."""
        return ById().answer(_webhook(request, slug, pk).deliveries.all(), request, DeliveryOut)


class RedeliverApi(APIView):
    @extend_schema(
        summary="Send a message again",
        operation_id="webhooks_redeliver",
        request=None,
        responses={200: DeliveryOut} | errors.READ,
        tags=["webhooks"],
    )
    def post(self, request: Request, slug: str, pk: int, delivery: int) -> Response:
        """Within seconds, whatever became of it before. For leads."""
        found = one(_webhook(request, slug, pk).deliveries.all(), delivery)
        webhook_delivery.redeliver(found)
        found.refresh_from_db()
        return Response(DeliveryOut(found).data)


def _webhook(request: Request, slug: str, pk: int) -> Webhook:
    return one(project_for(request.user, slug, Role.LEAD).webhooks.all(), pk)
