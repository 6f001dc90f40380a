"""The command palette: pages, actions, projects, people, items and documents that somebody may open, by what they type."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from annotation import navigation
from annotation.access import may_create_projects
from annotation.documents import DOCUMENTS, document, path_of
from annotation.models import Item, Member, Project, User

MAX = 6
"""Results of a section."""
MAX_CHARS = 100
_NUMBER = re.compile(r"(?:\D*\s|\D*#)?(\d{1,18})")


@dataclass(frozen=True)
class Result:
    """Something to go to: what it is called, where it is, and a word more. `written`: people wrote the title."""

    title: str | Promise
    path: str
    note: str | Promise = ""
    written: bool = False


@dataclass(frozen=True)
class Section:
    title: str
    results: list[Result]


@dataclass(frozen=True)
class Query:
    """What was typed: its text, its words, and the number at its end, as in "item 12"."""

    text: str
    words: tuple[str, ...]
    number: int | None

    @classmethod
    def read(cls, text: str) -> Query:
        text = " ".join(text.replace("\0", "").split())[:MAX_CHARS]
        number = _NUMBER.fullmatch(text)
        return cls(text, tuple(text.casefold().split()), int(number[1]) if number else None)

    def matches(self, *texts: object) -> bool:
        """Whether each word begins one of the texts' words; without words everything matches."""
        found = _words(*texts)
        return all(any(word.startswith(typed) for word in found) for typed in _words(self.text))

    def narrow(self, rows: QuerySet[Any], field: str) -> list[Any]:
        """The first few rows whose field has each of the words; none without words."""
        if not self.words:
            return []
        for word in self.words:
            rows = rows.filter(**{f"{field}__icontains": word})
        return list(rows[:MAX])

    def first(self, results: Iterable[Result]) -> list[Result]:
        """Those whose title begins with what was typed before those whose title has it, and these before the others."""

        def rank(result: Result) -> int:
            title = str(result.title)
            return 0 if title.casefold().startswith(self.text.casefold()) else 1 if self.matches(title) else 2

        return sorted(results, key=rank)


def _words(*texts: object) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", " ".join(map(str, texts)).casefold())


def places(query: Query, user: User, me: Member | None) -> list[Section]:
    """The pages of the member's project, what they can begin there, and the user's own pages."""
    found = []
    if me is not None:
        found = [
            Section(_("Actions"), query.first(_actions(query, me))),
            Section(_("Pages of this project"), query.first(_project_pages(query, me))),
        ]
        if query.words:
            found.reverse()
    own = [
        Result(title, reverse(name)) for name, title in navigation.OWN_PAGES.items() if query.matches(title)
    ]
    if may_create_projects(user) and query.matches(_("New project")):
        own.append(Result(_("New project"), reverse("project-new")))
    return [*found, Section(_("Your pages"), query.first(own))]


def projects(query: Query, user: User) -> Section:
    """The user's projects, by name. One query."""
    rows: QuerySet[Any] = Member.objects.filter(user=user).select_related("project").order_by("project__name")
    found = query.narrow(rows, "project__name") if query.words else rows[:MAX]
    return Section(_("Projects"), [_project(member) for member in found])


def people(query: Query, me: Member) -> Section:
    """The members of the project, for those who review. One query."""
    if me.role not in navigation.STAFF or not query.words:
        return Section("", [])
    members = Member.objects.filter(project=me.project_id).select_related("user").order_by("user__username")
    return Section(
        _("People"),
        [
            Result(
                member.user.username,
                reverse("annotator", args=[me.project.slug, member.user.username]),
                member.get_role_display(),
                written=True,
            )
            for member in query.narrow(members, "user__username")
        ],
    )


def items(query: Query, me: Member) -> Section:
    """The project's item of this number, for those who review. One query, none without a number."""
    if query.number is None or me.role not in navigation.STAFF:
        return Section("", [])
    found = Item.objects.filter(project=me.project_id, pk=query.number).values_list("pk", flat=True)
    title = _("Item %(n)s")
    return Section(
        _("Items"), [Result(title % {"n": pk}, reverse("item", args=[me.project.slug, pk])) for pk in found]
    )


def help_documents(query: Query) -> Section:
    """The documents, by title or heading; none without words."""
    if not query.words:
        return Section("", [])
    documents = ((name, document(name)) for name in DOCUMENTS)
    found = [
        Result(shown.title, path_of(name), written=True)
        for name, shown in documents
        if query.matches(shown.title, *(heading.text for heading in shown.headings))
    ]
    return Section(_("Help"), query.first(found)[:MAX])


def _project_pages(query: Query, me: Member) -> list[Result]:
    overview = navigation.OVERVIEW
    found = []
    if me.role in overview.roles and query.matches(overview.title):
        found.append(Result(overview.title, navigation.path_of(overview, me.project.slug)))
    return found + [
        Result(entry.page.title, entry.path, group.title)
        for group, entries in navigation.entries(me.role, me.project.slug)
        for entry in entries
        if query.matches(entry.page.title, group.title, entry.page.words)
    ]


def _actions(query: Query, me: Member) -> list[Result]:
    return [
        Result(action.title, path)
        for action in navigation.ACTIONS
        if me.role in action.roles and query.matches(action.title)
        if (path := navigation.path_of(action, me.project.slug))
    ]


def _project(member: Member) -> Result:
    project: Project = member.project
    name = "work" if member.role == Member.Role.ANNOTATOR else navigation.OVERVIEW.url
    return Result(project.name, reverse(name, args=[project.slug]), member.get_role_display(), written=True)
