"""The list of a project's items, and acts on several of them."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from annotation.access import Role, member_for
from annotation.actions import bulk_items
from annotation.actions.review import ReviewError
from annotation.lists.items import ITEMS
from annotation.lists.listing import Listing
from annotation.logic.translation import format_number
from annotation.views import HtmxRequest, bulk
from annotation.views.bulk import BulkAct
from annotation.views.lists import render_list


def _retired(n: int) -> str:
    return ngettext("%(n)s item is retired.", "%(n)s items are retired.", n) % {"n": format_number(n)}


def _restricted(n: int) -> str:
    text = ngettext("%(n)s item is for reviewers only.", "%(n)s items are for reviewers only.", n)
    return text % {"n": format_number(n)}


def _reopened(n: int) -> str:
    return ngettext("%(n)s item is back in the queue.", "%(n)s items are back in the queue.", n) % {
        "n": format_number(n)
    }


ACTS = {
    "retire": BulkAct(_("Retire"), bulk_items.retire, bulk_items.undo, _retired, is_dangerous=True),
    "restrict": BulkAct(_("Only for reviewers"), bulk_items.restrict, bulk_items.undo, _restricted),
    "reopen": BulkAct(_("Put back into the queue"), bulk_items.reopen, bulk_items.undo, _reopened),
}


@login_required
@require_GET
def items(request: HtmxRequest, slug: str) -> HttpResponseBase:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    listing = Listing(ITEMS, me.project, request.GET)
    return render_list(request, me, listing, "annotation/items.html", {"acts": ACTS})


@login_required
@require_POST
def items_bulk(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return bulk.act_on_rows(request, me, ITEMS, ACTS, ReviewError)


@login_required
@require_POST
def items_undo(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return bulk.undo(request, me, ITEMS, ACTS)
