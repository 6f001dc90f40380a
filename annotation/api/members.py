"""Who belongs to a project, and in which role."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation.access import Role, person, project_for
from annotation.actions import members
from annotation.actions.members import MemberError
from annotation.api import errors
from annotation.api.finding import one
from annotation.models import Member


class MemberOut(serializers.ModelSerializer[Member]):
    username = serializers.CharField(source="user.username")
    pseudonym = serializers.CharField(source="user.pseudonym", help_text="As exports name them.")
    account = serializers.CharField(source="user.account", help_text="person or machine.")

    class Meta:
        model = Member
        fields = ("id", "username", "pseudonym", "account", "role")


class RoleIn(serializers.Serializer[Any]):
    role = serializers.ChoiceField(Member.Role.choices)


class MemberIn(RoleIn):
    username = serializers.CharField(max_length=150, help_text="Of somebody who has an account.")


class MembersApi(APIView):
    @extend_schema(
        summary="The project's members",
        operation_id="members_list",
        responses={200: MemberOut(many=True)} | errors.READ,
        tags=["projects"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        return Response(MemberOut(project.members.select_related("user").order_by("pk"), many=True).data)

    @extend_schema(
        summary="Let somebody into the project",
        operation_id="members_add",
        request=MemberIn,
        responses={201: MemberOut} | errors.WRITE,
        tags=["projects"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        given = MemberIn(data=request.data)
        given.is_valid(raise_exception=True)
        with errors.by_field(MemberError):
            member = members.add_member(project=project, actor=person(request), **given.validated_data)
        return Response(MemberOut(member).data, status=201)


class MemberApi(APIView):
    @extend_schema(
        summary="Give a member another role",
        operation_id="members_change",
        request=RoleIn,
        responses={200: MemberOut} | errors.WRITE,
        tags=["projects"],
    )
    def patch(self, request: Request, slug: str, pk: int) -> Response:
        """A project always keeps a lead. For leads."""
        member = _member(request, slug, pk)
        given = RoleIn(data=request.data)
        given.is_valid(raise_exception=True)
        with errors.by_field(MemberError):
            members.change_role(member=member, actor=person(request), **given.validated_data)
        return Response(MemberOut(member).data)

    @extend_schema(
        summary="Take somebody out of the project",
        operation_id="members_remove",
        responses={204: OpenApiResponse(description="They are out. What they judged stays.")} | errors.WRITE,
        tags=["projects"],
    )
    def delete(self, request: Request, slug: str, pk: int) -> Response:
        """A project always keeps a lead. For leads."""
        with errors.by_field(MemberError):
            members.remove_member(member=_member(request, slug, pk), actor=person(request))
        return Response(status=204)


def _member(request: Request, slug: str, pk: int) -> Member:
    project = project_for(request.user, slug, Role.LEAD)
    return one(project.members.select_related("user"), pk)
