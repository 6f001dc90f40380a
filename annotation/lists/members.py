"""The list of a project's members. There are few enough to sort them in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from django.utils.translation import gettext_lazy as _

from annotation.analytics.overview import MEMBERS_PER_PAGE, MemberActivity, activity_of, busiest_today
from annotation.lists.definition import Column, Filter, ListDefinition, Values
from annotation.models import Member, Project

STATES = {"active": _("Active"), "paused": _("Paused"), "warned": _("Warned")}
OF_ALL = ("total", "last")
"""The columns whose figures are read for all members, to sort by them, rather than for a page."""


@dataclass(frozen=True)
class MemberRow:
    """A member, what they did, and whether the figures beside today's were read."""

    member: Member
    work: MemberActivity
    is_read: bool = False

    @property
    def pk(self) -> int:
        return self.member.pk

    @property
    def state(self) -> str:
        """A key of `STATES`."""
        return "paused" if self.member.paused_at else "warned" if self.member.warned_at else "active"


def _rows(project: Project, values: Values) -> list[MemberRow]:
    rows = [
        MemberRow(member, MemberActivity(today=today))
        for member, today in busiest_today(project, name=values.get("name", ""))
    ]
    if values["sort"].removeprefix("-") in OF_ALL:
        rows = _with_activity(project, rows)
    return [row for row in rows if _matches(row, values)]


def _matches(row: MemberRow, values: Values) -> bool:
    return (
        values.get("role", row.member.role) == row.member.role and values.get("state", row.state) == row.state
    )


def _with_activity(project: Project, rows: Iterable[MemberRow]) -> list[MemberRow]:
    """The rows with the figures that they lack. At most two queries."""
    rows = list(rows)
    lacking = [row.member.user_id for row in rows if not row.is_read]
    if not lacking:
        return rows
    activity = activity_of(project, lacking)
    return [
        row
        if row.is_read
        else replace(row, work=replace(activity(row.member.user_id), today=row.work.today), is_read=True)
        for row in rows
    ]


MEMBERS = ListDefinition(
    name="members",
    sort="-today",
    size=MEMBERS_PER_PAGE,
    columns=(
        Column(
            "person",
            _("Person"),
            lambda row: row.member.user.username,
            lambda row: row.member.user.username.lower(),
        ),
        Column("role", _("Role"), lambda row: row.member.role, lambda row: row.member.role),
        Column("state", value=lambda row: row.state),
        Column("account", value=lambda row: row.member.user.account),
        Column(
            "today",
            _("Today"),
            lambda row: row.work.today,
            lambda row: row.work.today,
            is_number=True,
            descends=True,
        ),
        Column(
            "total",
            _("Total"),
            lambda row: row.work.total,
            lambda row: row.work.total,
            is_number=True,
            descends=True,
        ),
        Column(
            "last", _("Last judgment"), lambda row: row.work.last, lambda row: row.work.last, descends=True
        ),
        Column("joined", value=lambda row: row.member.joined_at),
    ),
    filters=(
        Filter("name", _("User name")),
        Filter("role", _("Role"), lambda _project: Member.Role.choices),
        Filter("state", _("State"), lambda _project: STATES.items()),
    ),
    rows=_rows,
    finish=_with_activity,
)
