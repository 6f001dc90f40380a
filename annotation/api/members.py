"""Members of a project: roles, accounts, warnings and pauses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db.models import prefetch_related_objects
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import Role, current_user, project_for
from annotation.actions import exclusions, members, rules
from annotation.actions.exclusions import ExclusionError
from annotation.actions.members import MemberError
from annotation.actions.rules import RuleError
from annotation.analytics.figures import NotCounted, counted_by_worker
from annotation.api import errors
from annotation.api.lookup import get_or_404
from annotation.api.ordering import Ordering
from annotation.api.validation import validate_body
from annotation.api.view import ApiView
from annotation.lists.members import MEMBERS, OF_ALL
from annotation.models import Exclusion, Member, User

ACTIONS: dict[str, Callable[[Member, User, str], object]] = {
    "pause": lambda member, actor, reason: rules.pause(member=member, actor=actor, reason=reason),
    "warn": lambda member, actor, reason: rules.warn(member=member, actor=actor, reason=reason),
    "resume": lambda member, actor, reason: rules.resume(member=member, actor=actor),
    "exclude": lambda member, actor, reason: exclusions.exclude(
        project=member.project, user=member.user, reason=reason, actor=actor
    ),
    "include": lambda member, actor, reason: exclusions.include(
        project=member.project, user=member.user, actor=actor
    ),
}


ORDERING = Ordering(MEMBERS, own="", note="Without it, members are in the order in which they joined.")


class MemberOut(serializers.ModelSerializer[Member]):
    username = serializers.CharField(source="user.username")
    pseudonym = serializers.CharField(source="user.pseudonym", help_text="As exports name them.")
    account = serializers.CharField(source="user.account", help_text="person or machine.")
    excluded_at = serializers.SerializerMethodField(
        help_text="Since when their judgments do not count: see `exclude`. Null: they do."
    )
    excluded_reason = serializers.SerializerMethodField(help_text="Empty while they count.")

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_excluded_at(self, member: Member) -> datetime | None:
        exclusion = self._exclusion(member)
        return exclusion.created_at if exclusion else None

    def get_excluded_reason(self, member: Member) -> str:
        exclusion = self._exclusion(member)
        return exclusion.reason if exclusion else ""

    @staticmethod
    def _exclusion(member: Member) -> Exclusion | None:
        everywhere = member.user.exclusions.all()  # read once for a list
        return next((one for one in everywhere if one.project_id == member.project_id), None)

    class Meta:
        model = Member
        fields = (
            *("id", "username", "pseudonym", "account", "role", "joined_at", "qualified_at"),
            *("paused_at", "paused_reason", "warned_at", "warning", "excluded_at", "excluded_reason"),
        )


class NewAccountOut(MemberOut):
    password = serializers.CharField(help_text="For signing in. It is shown only once.")
    key = serializers.CharField(
        help_text="For a machine: an API token with the scope `annotate`. It is shown only once."
    )

    class Meta:
        model = Member
        fields = (*MemberOut.Meta.fields, "password", "key")


class RoleIn(serializers.Serializer[Any]):
    role = serializers.ChoiceField(Member.Role.choices)


class MemberIn(RoleIn):
    username = serializers.CharField(max_length=150, help_text="Of an existing account.")


class AccountIn(serializers.Serializer[Any]):
    username = serializers.CharField(max_length=150, help_text="Letters, digits and @ . + - _")
    account = serializers.ChoiceField(User.Account.choices, default=User.Account.PERSON)


class ReasonIn(serializers.Serializer[Any]):
    reason = serializers.CharField(
        default="", allow_blank=True, help_text="Shown to the member. Not for `resume`."
    )


class MembersApi(ApiView):
    @extend_schema(
        summary="The project's members",
        operation_id="members_list",
        parameters=[ORDERING.parameter],
        responses={200: MemberOut(many=True)} | errors.READ | errors.BAD_FIELDS,
        tags=["people"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """All of them. Of the orders, `today`, `total` and `last` are by how many items they judged today and in all, and by when
        they judged last; 503 while a worker counts that in a large project. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        name = ORDERING.read(request)
        if not name:
            everybody = project.members.select_related("user").prefetch_related("user__exclusions")
            return Response(MemberOut(everybody.order_by("pk"), many=True).data)
        with counted_by_worker(project):
            rows = MEMBERS.rows(project, {"sort": name})
        if name.removeprefix("-") in OF_ALL and any(row.work.total is None for row in rows):
            raise NotCounted
        found = ORDERING.sorted(rows, request).all()
        listed = [row.member for row in found]
        prefetch_related_objects(listed, "user__exclusions")
        return Response(MemberOut(listed, many=True).data)

    @extend_schema(
        summary="Add a member",
        operation_id="members_add",
        request=MemberIn,
        responses={201: MemberOut} | errors.WRITE,
        tags=["people"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        with errors.as_field_errors(MemberError):
            member = members.add_member(
                project=project, actor=current_user(request), **validate_body(request, MemberIn)
            )
        return Response(MemberOut(member).data, status=201)


class MemberApi(ApiView):
    @extend_schema(
        summary="Change a member's role",
        operation_id="members_change",
        request=RoleIn,
        responses={200: MemberOut} | errors.WRITE,
        tags=["people"],
    )
    def patch(self, request: Request, slug: str, pk: int) -> Response:
        """A project always keeps a lead. For leads."""
        member = _member(request, slug, pk)
        with errors.as_field_errors(MemberError):
            members.change_role(member=member, actor=current_user(request), **validate_body(request, RoleIn))
        return Response(MemberOut(member).data)

    @extend_schema(
        summary="Remove a member",
        operation_id="members_remove",
        responses={204: OpenApiResponse(description="Removed. Their judgments stay.")} | errors.WRITE,
        tags=["people"],
    )
    def delete(self, request: Request, slug: str, pk: int) -> Response:
        """A project always keeps a lead. For leads."""
        with errors.as_field_errors(MemberError):
            members.remove_member(member=_member(request, slug, pk), actor=current_user(request))
        return Response(status=204)


class AccountsApi(ApiView):
    @extend_schema(
        summary="Create an account for a new member",
        operation_id="members_create",
        request=AccountIn,
        responses={201: NewAccountOut} | errors.WRITE,
        tags=["people"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """The new member is an annotator. For leads."""
        project = project_for(request.user, slug, Role.LEAD)
        with errors.as_field_errors(MemberError):
            new = members.create_account(
                project=project, actor=current_user(request), **validate_body(request, AccountIn)
            )
        data = {**MemberOut(new.member).data, "password": new.password, "key": new.key}
        return Response(data, status=201, headers={"Cache-Control": "no-store"})


class MemberActApi(ApiView):
    @extend_schema(
        summary="Pause, warn or resume a member, exclude or include their judgments",
        operation_id="members_act",
        parameters=[OpenApiParameter("verb", str, OpenApiParameter.PATH, enum=list(ACTIONS))],
        request=ReasonIn,
        responses={200: MemberOut} | errors.WRITE,
        tags=["people"],
    )
    def post(self, request: Request, slug: str, pk: int, verb: str) -> Response:
        """`pause`: they get no items until resumed. `warn`: the reason is shown above their work. `resume` ends both, and rules
        consider only later judgments. `exclude`: their judgments stay, but do not count in snapshots, training data and rounds
        until `include`. For leads."""
        member = _member(request, slug, pk)
        reason = validate_body(request, ReasonIn)["reason"]
        if verb not in ACTIONS:
            raise ValidationError({"verb": [f"{verb!r} is not one of the verbs: {', '.join(ACTIONS)}."]})
        with errors.as_field_errors(RuleError, ExclusionError):
            ACTIONS[verb](member, current_user(request), reason)
        return Response(MemberOut(_member(request, slug, pk)).data)


def _member(request: Request, slug: str, pk: int) -> Member:
    project = project_for(request.user, slug, Role.LEAD)
    return get_or_404(project.members.select_related("user", "project"), pk)
