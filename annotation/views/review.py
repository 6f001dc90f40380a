"""Review pages: the lists of items that need a reviewer, and one item with its judgments."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_GET, require_POST

from annotation import threads
from annotation.access import Role, current_user, member_for
from annotation.actions import bulk_items
from annotation.actions import review as actions
from annotation.actions.review import ReviewError
from annotation.analytics import items as item_reads
from annotation.analytics.filters import NO_FILTERS
from annotation.analytics.overview import MANY
from annotation.http.images import allow_images
from annotation.lists.listing import Listing
from annotation.lists.review import KINDS, REVIEW
from annotation.logic.translation import format_number
from annotation.models import Item, Member, Skip
from annotation.views import HtmxRequest, bulk
from annotation.views.bulk import BulkAct
from annotation.views.items import ACTS as ITEM_ACTS
from annotation.views.judging import compare, rank
from annotation.views.lists import render_list


def _resolved(n: int) -> str:
    text = ngettext(
        "The review requests of %(n)s item are resolved.",
        "The review requests of %(n)s items are resolved.",
        n,
    )
    return text % {"n": format_number(n)}


RESOLVE = BulkAct(gettext_lazy("Resolve"), bulk_items.resolve, bulk_items.undo_resolve, _resolved)
ACTS: dict[str, bulk.Acts] = {
    "disagreements": {name: ITEM_ACTS[name] for name in ("restrict", "retire")},
    "sent": {"resolve": RESOLVE} | {name: ITEM_ACTS[name] for name in ("reopen", "retire")},
    "flagged": {"resolve": RESOLVE, "retire": ITEM_ACTS["retire"]},
}
"""What can be done to several rows of a kind; failed gold items stay, and a question waits for a reply."""


@login_required
@require_GET
def review(request: HtmxRequest, slug: str) -> HttpResponseBase:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    kind = _kind(request.GET)
    listing = Listing(REVIEW[kind], me.project, request.GET)
    if request.GET.get("format") == "csv":
        return render_list(request, me, listing, "annotation/review.html")
    counts = {
        "disagreements": item_reads.disagreements(me.project, NO_FILTERS).count_up_to(MANY),
        "sent": item_reads.review_requests(me.project)[:MANY].count(),
        "flagged": item_reads.flagged_items(me.project)[:MANY].count(),
        "questions": threads.open_questions(me.project)[:MANY].count(),
    }
    context = {
        "kind": kind,
        "kinds": [(value, label, counts.get(value)) for value, label in KINDS.items()],
        "acts": ACTS.get(kind),
    }
    return render_list(request, me, listing, "annotation/review.html", context)


@login_required
@require_POST
def review_bulk(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    kind = _kind(QueryDict(request.POST.get("query", "")))
    return bulk.act_on_rows(request, me, REVIEW[kind], ACTS.get(kind, {}), ReviewError)


@login_required
@require_POST
def review_undo(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    kind = _kind(request.GET)
    return bulk.undo(request, me, REVIEW[kind], ACTS.get(kind, {}))


def _kind(query: Mapping[str, str]) -> str:
    kind = query.get("kind", "")
    return kind if kind in REVIEW else "disagreements"


@login_required
@require_GET
def item(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return _page(request, me, _item(me, pk))


@login_required
@require_POST
def item_decide(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Applies the decision whose button was pressed: `do` is a key of `DECISIONS`."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    item = _item(me, pk)
    decide = DECISIONS.get(request.POST.get("do", ""))
    if decide is None:
        return _page(request, me, item, error=_("Press one of the buttons."))
    try:
        message = decide(request, item)
    except ReviewError as error:
        return _page(request, me, item, error=str(error))
    messages.success(request, message)
    next_item = item_reads.next_to_review(me.project, item) if "next" in request.POST else None
    return redirect("item", slug, next_item or item.pk)


# --- what a button does ---------------------------------------------------------------------------------------


def _verdict(request: HttpRequest, item: Item) -> str:
    ranks, degree = _read_ranking(request, item)
    actions.give_verdict(
        item=item,
        reviewer=current_user(request),
        ranks=ranks,
        degree=degree,
        note=request.POST.get("note", ""),
    )
    return _("Item %(item)s is decided.") % {"item": item.pk}


def _gold(request: HttpRequest, item: Item) -> str:
    ranks = _read_ranking(request, item)[0]
    actions.make_gold(
        item=item, actor=current_user(request), ranks=ranks, explanation=request.POST.get("note", "")
    )
    return _("Item %(item)s is a gold item now and is shown at the project's gold rate.") % {"item": item.pk}


def _retire(request: HttpRequest, item: Item) -> str:
    actions.retire(item=item, actor=current_user(request), reason=request.POST.get("reason", ""))
    return _("Item %(item)s is retired. Its judgments are kept.") % {"item": item.pk}


def _reopen(request: HttpRequest, item: Item) -> str:
    actions.reopen(item=item, actor=current_user(request))
    return _("Item %(item)s is back in the queue.") % {"item": item.pk}


def _dismiss(request: HttpRequest, item: Item) -> str:
    actions.dismiss(item=item)
    return _("The review requests of item %(item)s are resolved.") % {"item": item.pk}


DECISIONS: dict[str, Callable[[HttpRequest, Item], str]] = {
    "verdict": _verdict,
    "gold": _gold,
    "retire": _retire,
    "reopen": _reopen,
    "dismiss": _dismiss,
}


def _read_ranking(request: HttpRequest, item: Item) -> tuple[dict[int, int], str | None]:
    """Ranks by response id, and for two answers the degree: `choice` is `0-better` where the first answer is better."""
    responses = sorted(item.responses.values_list("pk", flat=True))
    if len(responses) == 2:
        return compare.read(request.POST, responses)
    return rank.read(request.POST, responses), None


# --- the page -------------------------------------------------------------------------------------------------


def _item(me: Member, pk: int) -> Item:
    items = Item.objects.select_related("prompt__turn", "project").prefetch_related("responses")
    return get_object_or_404(items, pk=pk, project=me.project)


def _page(request: HttpRequest, me: Member, item: Item, error: str = "") -> HttpResponse:
    review = item_reads.item_review(item)
    verdict = review.verdicts[0] if review.verdicts else None
    if request.method == "POST":
        ranks, degree = _read_ranking(request, item)
        entered = {str(pk): rank for pk, rank in ranks.items()}
    elif request.GET.get("fill") == "consensus" and review.consensus:
        entered, degree = {str(c.response.pk): c.rank or 1 for c in review.candidates}, None
    else:
        entered, degree = (verdict.ranks, verdict.degree) if verdict else ({}, None)
    ranks_entered = item_reads.ranks_by_letter(entered, review.candidates)
    context = {
        "me": me,
        "project": me.project,
        "item": item,
        "review": review,
        "is_comparison": len(review.candidates) == 2,
        "is_of_chat": hasattr(item.prompt, "turn"),
        "cards": list(zip(review.candidates, ranks_entered, strict=True)),
        "ranks": range(1, len(review.candidates) + 1),
        "choices": _choices(ranks_entered, degree),
        "verdict_ranks": item_reads.ranks_by_letter(verdict.ranks, review.candidates) if verdict else None,
        "gold_ranks": item_reads.ranks_by_letter(item.gold, review.candidates) if item.gold else None,
        "note": request.POST.get("note", ""),
        "threads": threads.threads_of_item(item),
        "next": item_reads.next_to_review(me.project, item),
        "open_requests": [
            s for s in review.skips if s.reason == Skip.Reason.REVIEW and s.resolved_at is None
        ],
        "error": error,
    }
    response = render(request, "annotation/item.html", context, status=422 if error else 200)
    return allow_images(response, me.project)


def _choices(entered: list[int | None], degree: str | None) -> list[dict[str, object]]:
    """The eight choices of a comparison, from "A is significantly better" to "B is significantly better"."""
    side = entered.index(1) if 1 in entered else None
    return [
        {
            "value": choice.value,
            "letter": choice.letter,
            "label": choice.degree.label,
            "checked": (choice.side, choice.degree.value) == (side, degree),
        }
        for choice in compare.CHOICES
    ]
