"""Saved views of lists: saving one, changing it, and deleting it."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from annotation.access import Role
from annotation.logic.storable_text import storage_problem
from annotation.models import Member, SavedView

MAX_NAME_CHARS = SavedView._meta.get_field("name").max_length or 0
MAX_QUERY_CHARS = SavedView._meta.get_field("query").max_length or 0
MAX_VIEWS = 50
"""Of one person and one list."""
NOT_SAVED = ("before", "after", "page", "format")


class SavedViewError(Exception):
    """Why a view is refused, in a sentence; `field` names what to correct."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def save_view(*, member: Member, list_name: str, name: str, query: str, shared: bool = False) -> SavedView:
    """Save a list's filters and order, a query string, under a name.

    Raises:
        SavedViewError: there is no such list, the name is missing, too long or taken, the query is too long, there are too many,
            or somebody shares a view who is no lead.
    """
    if list_name not in SavedView.List.values:
        raise SavedViewError("list", _("There is no such list."))
    name, query = _checked_name(name), _checked_query(query)
    _check_sharing(member, shared)
    own = SavedView.objects.filter(project=member.project, owner=member.user, list=list_name)
    if own.count() >= MAX_VIEWS:
        raise SavedViewError(
            "name", _("You have %(n)s views of this list: delete one first.") % {"n": MAX_VIEWS}
        )
    try:
        with transaction.atomic():
            return SavedView.objects.create(
                project=member.project,
                owner=member.user,
                list=list_name,
                name=name,
                query=query,
                shared=shared,
            )
    except IntegrityError:
        raise _is_taken(name) from None


def change_view(
    *, view: SavedView, member: Member, name: str | None = None, shared: bool | None = None
) -> SavedView:
    """Rename a view, or share it with the project or no longer.

    Raises:
        SavedViewError: as `save_view`.
    """
    if name is not None:
        view.name = _checked_name(name)
    if shared is not None:
        _check_sharing(member, shared)
        view.shared = shared
    try:
        with transaction.atomic():
            view.save(update_fields=["name", "shared"])
    except IntegrityError:
        raise _is_taken(view.name) from None
    return view


def may_change(view: SavedView, member: Member) -> bool:
    """Whether it is the member's own, or a shared one and they are a lead."""
    return view.owner_id == member.user_id or (view.shared and member.role == Role.LEAD)


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > MAX_NAME_CHARS or storage_problem(name):
        raise SavedViewError(
            "name", _("A view has a name of at most %(n)s characters.") % {"n": MAX_NAME_CHARS}
        )
    return name


def _checked_query(query: str) -> str:
    pairs = parse_qsl(query.removeprefix("?"))
    kept = urlencode([(name, value) for name, value in pairs if value and name not in NOT_SAVED])
    if len(kept) > MAX_QUERY_CHARS or storage_problem(kept):
        raise SavedViewError("query", _("These filters are too long to be saved."))
    return kept


def _check_sharing(member: Member, shared: bool) -> None:
    if shared and member.role != Role.LEAD:
        raise SavedViewError("shared", _("Only leads share views with the project."))


def _is_taken(name: str) -> SavedViewError:
    return SavedViewError("name", _("You have a view called %(name)s already.") % {"name": repr(name)})
