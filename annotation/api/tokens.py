"""API tokens of the current user: list and revoke. They are created on the account page or by `manage.py create_token`, so
that a stolen token cannot make another one that outlives it."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import current_user
from annotation.api import errors
from annotation.api.lookup import get_or_404
from annotation.api.view import ApiView
from annotation.models import ApiToken


class TokenOut(serializers.ModelSerializer[ApiToken]):
    class Meta:
        model = ApiToken
        fields = ("id", "name", "scope", "created_at", "expires_at", "last_used_at")


class TokensApi(ApiView):
    @extend_schema(
        summary="Your API tokens",
        operation_id="tokens_list",
        responses={200: TokenOut(many=True)} | errors.READ,
        tags=["people"],
    )
    def get(self, request: Request) -> Response:
        """Newest first, without their keys: a key is shown once, when the token is created on the account page."""
        return Response(TokenOut(current_user(request).api_tokens.order_by("-id"), many=True).data)


class TokenApi(ApiView):
    @extend_schema(
        summary="Revoke an API token",
        operation_id="tokens_revoke",
        responses={204: OpenApiResponse(description="Its key is invalid from now on.")} | errors.READ,
        tags=["people"],
    )
    def delete(self, request: Request, pk: int) -> Response:
        """One of your own, including the one that this request is authenticated by."""
        get_or_404(current_user(request).api_tokens.all(), pk).delete()
        return Response(status=204)
