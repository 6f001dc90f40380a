"""The list of a project's items, and acts on several of them."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from annotation.access import Role, member_for
from annotation.actions import bulk_batches, bulk_items, tags
from annotation.actions.batches import BatchError
from annotation.actions.review import ReviewError
from annotation.actions.tags import TagError
from annotation.lists.items import ITEMS
from annotation.lists.listing import Listing
from annotation.logic.translation import format_number
from annotation.views import HtmxRequest, bulk
from annotation.views.bulk import BulkAct, acts_of
from annotation.views.lists import render_list

MAX_BATCHES = 50
"""The newest open batches, of which one is chosen."""


def _retired(n: int) -> str:
    return ngettext("%(n)s item is retired.", "%(n)s items are retired.", n) % {"n": format_number(n)}


def _restricted(n: int) -> str:
    text = ngettext("%(n)s item is for reviewers only.", "%(n)s items are for reviewers only.", n)
    return text % {"n": format_number(n)}


def _reopened(n: int) -> str:
    return ngettext("%(n)s item is back in the queue.", "%(n)s items are back in the queue.", n) % {
        "n": format_number(n)
    }


def _tagged(n: int) -> str:
    text = ngettext(
        "The tag is added to the prompt of %(n)s item.", "The tag is added to the prompts of %(n)s items.", n
    )
    return text % {"n": format_number(n)}


def _untagged(n: int) -> str:
    text = ngettext(
        "The tag is removed from the prompt of %(n)s item.",
        "The tag is removed from the prompts of %(n)s items.",
        n,
    )
    return text % {"n": format_number(n)}


def _assigned(n: int) -> str:
    text = ngettext("%(n)s item is in the batch now.", "%(n)s items are in the batch now.", n)
    return text % {"n": format_number(n)}


ACTS = {
    "retire": BulkAct(_("Retire"), bulk_items.retire, bulk_items.undo, _retired, is_dangerous=True),
    "restrict": BulkAct(_("Only for reviewers"), bulk_items.restrict, bulk_items.undo, _restricted),
    "reopen": BulkAct(_("Put back into the queue"), bulk_items.reopen, bulk_items.undo, _reopened),
    "tag": BulkAct(
        _("Add the tag"), tags.add_tag, tags.undo, _tagged, fields=("tag",), in_menu=True, leads_only=True
    ),
    "untag": BulkAct(
        _("Remove the tag"),
        tags.remove_tag,
        tags.undo,
        _untagged,
        fields=("tag",),
        in_menu=True,
        leads_only=True,
    ),
    "assign": BulkAct(
        _("Put into the batch"),
        bulk_batches.assign,
        bulk_batches.undo,
        _assigned,
        fields=("batch",),
        in_menu=True,
        leads_only=True,
    ),
}


@login_required
@require_GET
def items(request: HtmxRequest, slug: str) -> HttpResponseBase:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    listing = Listing(ITEMS, me.project, request.GET)
    context = {
        "acts": acts_of(me, ACTS),
        "batches": bulk_batches.open_batches(me.project)[:MAX_BATCHES],
        "max_tag_chars": tags.MAX_TAG_CHARS,
    }
    return render_list(request, me, listing, "annotation/items.html", context)


@login_required
@require_POST
def items_bulk(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return bulk.act_on_rows(request, me, ITEMS, ACTS, (ReviewError, TagError, BatchError))


@login_required
@require_POST
def items_undo(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return bulk.undo(request, me, ITEMS, ACTS)
