"""Who belongs to a project, in which role; and a word with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation.access import Role, current_user, project_for
from annotation.actions import members, rules
from annotation.actions.members import MemberError
from annotation.actions.rules import RuleError
from annotation.api import errors
from annotation.api.lookup import one
from annotation.api.validation import body
from annotation.models import Member, User

DEEDS: dict[str, Callable[[Member, User, str], object]] = {
    "pause": lambda member, actor, reason: rules.pause(member=member, actor=actor, reason=reason),
    "warn": lambda member, actor, reason: rules.warn(member=member, actor=actor, reason=reason),
    "resume": lambda member, actor, reason: rules.resume(member=member, actor=actor),
}


class MemberOut(serializers.ModelSerializer[Member]):
    username = serializers.CharField(source="user.username")
    pseudonym = serializers.CharField(source="user.pseudonym", help_text="As exports name them.")
    account = serializers.CharField(source="user.account", help_text="person or machine.")

    class Meta:
        model = Member
        fields = (
            *("id", "username", "pseudonym", "account", "role", "joined_at", "qualified_at"),
            *("paused_at", "paused_reason", "warned_at", "warning"),
        )


class NewAccountOut(MemberOut):
    password = serializers.CharField(help_text="To sign in with. It is shown this once.")
    key = serializers.CharField(
        help_text="For a machine: of a token that may annotate. It is shown this once."
    )

    class Meta:
        model = Member
        fields = (*MemberOut.Meta.fields, "password", "key")


class RoleIn(serializers.Serializer[Any]):
    role = serializers.ChoiceField(Member.Role.choices)


class MemberIn(RoleIn):
    username = serializers.CharField(max_length=150, help_text="Of somebody who has an account.")


class AccountIn(serializers.Serializer[Any]):
    username = serializers.CharField(max_length=150, help_text="Letters, digits and @ . + - _")
    account = serializers.ChoiceField(User.Account.choices, default=User.Account.PERSON)


class ReasonIn(serializers.Serializer[Any]):
    reason = serializers.CharField(
        default="", allow_blank=True, help_text="They read it above their work. Not for `resume`."
    )


class MembersApi(APIView):
    @extend_schema(
        summary="The project's members",
        operation_id="members_list",
        responses={200: MemberOut(many=True)} | errors.READ,
        tags=["people"],
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
        tags=["people"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        with errors.by_field(MemberError):
            member = members.add_member(
                project=project, actor=current_user(request), **body(request, MemberIn)
            )
        return Response(MemberOut(member).data, status=201)


class MemberApi(APIView):
    @extend_schema(
        summary="Give a member another role",
        operation_id="members_change",
        request=RoleIn,
        responses={200: MemberOut} | errors.WRITE,
        tags=["people"],
    )
    def patch(self, request: Request, slug: str, pk: int) -> Response:
        """A project always keeps a lead. For leads."""
        member = _member(request, slug, pk)
        with errors.by_field(MemberError):
            members.change_role(member=member, actor=current_user(request), **body(request, RoleIn))
        return Response(MemberOut(member).data)

    @extend_schema(
        summary="Take somebody out of the project",
        operation_id="members_remove",
        responses={204: OpenApiResponse(description="They are out. What they judged stays.")} | errors.WRITE,
        tags=["people"],
    )
    def delete(self, request: Request, slug: str, pk: int) -> Response:
        """A project always keeps a lead. For leads."""
        with errors.by_field(MemberError):
            members.remove_member(member=_member(request, slug, pk), actor=current_user(request))
        return Response(status=204)


class AccountsApi(APIView):
    @extend_schema(
        summary="Make an account for a new member",
        operation_id="members_create",
        request=AccountIn,
        responses={201: NewAccountOut} | errors.WRITE,
        tags=["people"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """They annotate in this project. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        with errors.by_field(MemberError):
            made = members.create_account(
                project=project, actor=current_user(request), **body(request, AccountIn)
            )
        answer = {**MemberOut(made.member).data, "password": made.password, "key": made.key}
        return Response(answer, status=201, headers={"Cache-Control": "no-store"})


class MemberActApi(APIView):
    @extend_schema(
        summary="Pause or warn somebody, or let them go on",
        operation_id="members_act",
        parameters=[OpenApiParameter("verb", str, OpenApiParameter.PATH, enum=list(DEEDS))],
        request=ReasonIn,
        responses={200: MemberOut} | errors.WRITE,
        tags=["people"],
    )
    def post(self, request: Request, slug: str, pk: int, verb: str) -> Response:
        """`pause`: they get no more work until somebody lifts it. `warn`: they read it above their work. `resume` lifts both,
        and the rules look at what comes from then on. For leads."""
        member = _member(request, slug, pk)
        reason = body(request, ReasonIn)["reason"]
        if verb not in DEEDS:
            raise ValidationError({"verb": [f"{verb!r} cannot be done: there are {', '.join(DEEDS)}."]})
        with errors.by_field(RuleError):
            DEEDS[verb](member, current_user(request), reason)
        return Response(MemberOut(_member(request, slug, pk)).data)


def _member(request: Request, slug: str, pk: int) -> Member:
    project = project_for(request.user, slug, Role.LEAD)
    return one(project.members.select_related("user", "project"), pk)
