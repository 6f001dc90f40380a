"""What the bar of acts on several rows of a list does, and its undo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotation.access import Role, current_user
from annotation.actions import bulk
from annotation.actions.bulk import MAX_ROWS, Change
from annotation.lists.definition import ListDefinition, Text
from annotation.lists.listing import Listing
from annotation.logic.translation import format_number
from annotation.models import Member


@dataclass(frozen=True)
class BulkAct:
    """An act on several rows, which takes `project`, `ids`, `actor` and the `fields` of its form. `done`: to how many it was
    done, in words. `in_menu`: its button stands in a menu of the list's own, with its fields."""

    label: Text
    act: Callable[..., list[Change]]
    undo: Callable[..., int]
    done: Callable[[int], str]
    is_dangerous: bool = False
    fields: tuple[str, ...] = ("reason",)
    in_menu: bool = False
    leads_only: bool = False


Acts = Mapping[str, BulkAct]


def acts_of(me: Member, acts: Acts) -> Acts:
    """Those that somebody may do."""
    return {name: act for name, act in acts.items() if me.role == Role.LEAD or not act.leads_only}


def act_on_rows(
    request: HttpRequest,
    me: Member,
    definition: ListDefinition,
    acts: Acts,
    refused: type[Exception] | tuple[type[Exception], ...],
) -> HttpResponse:
    """Does the act whose button was pressed, `do`, to the rows `id`, or with `all` to the first `MAX_ROWS` that match `query`.
    Back to the list, with a message that has an undo. refused: the errors of acts that cannot be done."""
    acts = acts_of(me, acts)
    query = QueryDict(request.POST.get("query", ""))
    back = _address(definition.name, me, query.urlencode())
    name = request.POST.get("do", "")
    ids = _ids(request, me, definition, query)
    if name not in acts or not ids:
        messages.error(request, _("Select some rows, and press one of the buttons."))
        return redirect(back)
    try:
        fields = {field: request.POST.get(field, "") for field in acts[name].fields}
        changes = acts[name].act(project=me.project, ids=ids, actor=current_user(request), **fields)
    except refused as error:
        messages.error(request, str(error))
        return redirect(back)
    _report(request, me, definition, name, acts[name], changes, len(ids))
    return redirect(back)


def undo(request: HttpRequest, me: Member, definition: ListDefinition, acts: Acts) -> HttpResponse:
    """Takes an act back, by the token in its message."""
    user = current_user(request)
    found = bulk.recall(
        token=request.POST.get("token", ""), user=user, project=me.project, list_name=definition.name
    )
    back = redirect(_address(definition.name, me, urlencode(definition.parameters)))
    if found is None or found.act not in acts:
        messages.error(request, _("This can no longer be undone."))
        return back
    count = acts[found.act].undo(project=me.project, changes=found.changes, actor=user)
    left = len(found.changes) - count
    if count:
        text = ngettext("%(n)s row is as it was before.", "%(n)s rows are as they were before.", count)
        messages.success(request, text % {"n": format_number(count)})
    if left:
        text = ngettext(
            "%(n)s row was not put back: somebody has changed it since.",
            "%(n)s rows were not put back: somebody has changed them since.",
            left,
        )
        messages.warning(request, text % {"n": format_number(left)})
    return back


def _address(name: str, me: Member, query: str) -> str:
    return reverse(name, args=[me.project.slug]) + (f"?{query}" if query else "")


def _ids(request: HttpRequest, me: Member, definition: ListDefinition, query: QueryDict) -> list[int]:
    if "all" in request.POST:
        return Listing(definition, me.project, query).first_ids(MAX_ROWS)
    found = [int(pk) for pk in request.POST.getlist("id") if pk.isdecimal() and len(pk) < 19]
    return found[:MAX_ROWS]


def _report(
    request: HttpRequest,
    me: Member,
    definition: ListDefinition,
    name: str,
    act: BulkAct,
    changes: list[Change],
    asked: int,
) -> None:
    left = asked - len(changes)
    words = []
    if changes:
        words.append(act.done(len(changes)))
    if left:
        text = ngettext("%(n)s row stays as it was.", "%(n)s rows stay as they were.", left)
        words.append(text % {"n": format_number(left)})
    token = changes and bulk.remember(
        user=current_user(request), project=me.project, list_name=definition.name, act=name, changes=changes
    )
    address = _address(f"{definition.name}-undo", me, urlencode(definition.parameters))
    # the template of messages makes a button of these tags
    tags = f"undo {address} {token}" if token else ""
    level = messages.SUCCESS if changes else messages.WARNING
    messages.add_message(request, level, " ".join(words), extra_tags=tags)
