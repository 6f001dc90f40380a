"""Invitations: links for joining a project."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, project_for
from annotation.actions import invitations
from annotation.api import errors
from annotation.api.lookup import get_or_404
from annotation.api.validation import validate_body
from annotation.api.view import ApiView
from annotation.models import Invitation, Member


class InvitationOut(serializers.ModelSerializer[Invitation]):
    class Meta:
        model = Invitation
        fields = ("id", "role", "places", "used", "note", "created_at", "expires_at", "revoked_at")


class NewInvitationOut(InvitationOut):
    link = serializers.URLField(help_text="The link for joining. It is shown only once.")

    class Meta:
        model = Invitation
        fields = (*InvitationOut.Meta.fields, "link")


class InvitationIn(serializers.Serializer[Any]):
    role = serializers.ChoiceField(Member.Role.choices, default=Member.Role.ANNOTATOR)
    places = serializers.IntegerField(
        default=1, min_value=1, max_value=1000, help_text="How many people may use it."
    )
    days = serializers.IntegerField(default=7, min_value=1, max_value=90, help_text="Until it expires.")
    note = serializers.CharField(default="", allow_blank=True, max_length=120, help_text="For whom it is.")


class InvitationsApi(ApiView):
    @extend_schema(
        summary="The project's invitations",
        operation_id="invitations_list",
        responses={200: InvitationOut(many=True)} | errors.READ,
        tags=["people"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Newest first, including used, expired and revoked ones. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        return Response(InvitationOut(project.invitations.order_by("-id"), many=True).data)

    @extend_schema(
        summary="Invite people",
        operation_id="invitations_make",
        request=InvitationIn,
        responses={201: NewInvitationOut} | errors.WRITE,
        examples=[OpenApiExample("a class", {"places": 30, "note": "Spring course"}, request_only=True)],
        tags=["people"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Creates a link with which people join by themselves, with an existing or a new account. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        invitation, key = invitations.invite(
            project=project, creator=current_user(request), **validate_body(request, InvitationIn)
        )
        link = request.build_absolute_uri(reverse("join", args=[key]))
        created = {**InvitationOut(invitation).data, "link": link}
        return Response(created, status=201, headers={"Cache-Control": "no-store"})


class InvitationApi(ApiView):
    @extend_schema(
        summary="Revoke an invitation",
        operation_id="invitations_revoke",
        responses={204: OpenApiResponse(description="Its link is invalid from now on.")} | errors.READ,
        tags=["people"],
    )
    def delete(self, request: Request, slug: str, pk: int) -> Response:
        """Members who joined by it stay. For leads."""
        invitation = get_or_404(project_for(request.user, slug, Role.LEAD).invitations.all(), pk)
        invitations.revoke(invitation=invitation, actor=current_user(request))
        return Response(status=204)
