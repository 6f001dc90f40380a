"""Saved views of lists: what the forms of a list's menu of views do."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from annotation.access import Role, member_for
from annotation.actions import saved_views as actions
from annotation.actions.saved_views import SavedViewError
from annotation.models import Member, SavedView

ROLES = dict.fromkeys(SavedView.List.values, (Role.LEAD, Role.REVIEWER)) | {
    SavedView.List.MEMBERS: (Role.LEAD,)
}
"""Who may see which list."""


@login_required
@require_POST
def view_save(request: HttpRequest, slug: str, list_name: str) -> HttpResponse:
    """Saves the filters and the order that the list has now, and shows it with them."""
    me = member_for(request.user, slug, *_roles(list_name))
    query = request.POST.get("query", "").removeprefix("?")
    try:
        view = actions.save_view(
            member=me,
            list_name=list_name,
            name=request.POST.get("name", ""),
            query=query,
            shared="shared" in request.POST,
        )
    except SavedViewError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("The view “%(name)s” is saved.") % {"name": view})
        query = view.query
    return redirect(_address(slug, list_name, query))


@login_required
@require_POST
def view_change(request: HttpRequest, slug: str, list_name: str, pk: int) -> HttpResponse:
    """Renames, shares, stops sharing, or deletes a view: `do` is `rename`, `share`, `unshare` or `delete`."""
    me = member_for(request.user, slug, *_roles(list_name))
    view = _view(me, list_name, pk)
    do, name = request.POST.get("do", ""), view.name
    try:
        if do == "rename":
            actions.change_view(view=view, member=me, name=request.POST.get("name", ""))
            messages.success(request, _("The view is called “%(name)s” now.") % {"name": view})
        elif do in ("share", "unshare"):
            actions.change_view(view=view, member=me, shared=do == "share")
            text = (
                _("“%(name)s” is shared with all who see this list.")
                if view.shared
                else _("“%(name)s” is no longer shared.")
            )
            messages.success(request, text % {"name": view})
        elif do == "delete":
            view.delete()
            messages.success(request, _("The view “%(name)s” is deleted.") % {"name": name})
        else:
            messages.error(request, _("Press one of the buttons."))
    except SavedViewError as error:
        messages.error(request, str(error))
    return redirect(_address(slug, list_name, "" if do == "delete" else view.query))


def _roles(list_name: str) -> tuple[Role, ...]:
    if list_name not in ROLES:
        raise Http404("There is no such list.")
    return ROLES[list_name]


def _view(me: Member, list_name: str, pk: int) -> SavedView:
    """
    Raises:
        Http404: there is no such view, or the member may not change it: nobody learns of others' own views.
    """
    view = SavedView.objects.filter(project=me.project, list=list_name, pk=pk).first()
    if view is None or not actions.may_change(view, me):
        raise Http404("No such view.")
    return view


def _address(slug: str, list_name: str, query: str) -> str:
    return reverse(list_name, args=[slug]) + (f"?{query}" if query else "")
