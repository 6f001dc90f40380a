"""What needs a reviewer, the list of all items, and one item with everything said about it."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from annotation.access import Role, current_user, member_for
from annotation.actions import review as actions
from annotation.actions.review import ReviewError
from annotation.analytics import annotators, item_search
from annotation.analytics import filters as lens
from annotation.analytics import items as reads
from annotation.analytics.filters import Filters
from annotation.models import Item, Judgment, Member, Skip
from annotation.views.judging import compare, rank

PAGE = 50
KINDS = {
    "disagreements": "People differ",
    "sent": "Sent by annotators",
    "gold": "Known answers missed",
    "flagged": "Found odd by reward models",
}


@login_required
@require_GET
def review(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    project = me.project
    filters = Filters.read(request.GET, project)
    kind = request.GET.get("kind") if request.GET.get("kind") in KINDS else "disagreements"
    page = _number(request.GET.get("page", "1"))
    start = (page - 1) * PAGE
    worst, differ = reads.disagreements(
        project, filters, limit=PAGE, offset=start if kind == "disagreements" else 0
    )
    sent = reads.sent(project)
    misses = annotators.gold_misses(project, filters, limit=PAGE + 1, offset=start if kind == "gold" else 0)
    flagged_items = reads.flagged_items(project)
    counts = {"disagreements": differ, "sent": sent.count(), "gold": None, "flagged": flagged_items.count()}
    context = {
        "me": me,
        "project": project,
        "filters": filters,
        "choices": lens.choices(project),
        "kind": kind,
        "kinds": [(value, label, counts[value]) for value, label in KINDS.items()],
        "worst": worst,
        "sent": sent[start : start + PAGE],
        "misses": misses[:PAGE],
        "flagged": flagged_items[start : start + PAGE],
        "page": page,
        "more": {
            "disagreements": differ > start + PAGE,
            "sent": (counts["sent"] or 0) > start + PAGE,
            "gold": len(misses) > PAGE,
            "flagged": (counts["flagged"] or 0) > start + PAGE,
        }[kind or "disagreements"],
    }
    return render(request, "annotation/review.html", context)


@login_required
@require_GET
def items(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    wanted = item_search.Search.read(request.GET)
    page = Paginator(item_search.found(me.project, wanted), PAGE).get_page(request.GET.get("page"))
    context = {
        "me": me,
        "project": me.project,
        "search": wanted,
        "states": item_search.STATES,
        "choices": lens.choices(me.project),
        "reasons": Skip.Reason.choices,
        "degrees": Judgment.Degree.choices,
        "page": page,
    }
    return render(request, "annotation/items.html", context)


@login_required
@require_GET
def item(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return _page(request, me, _item(me, pk))


@login_required
@require_POST
def item_decide(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The button that was pressed says what is done: `do` is one of `DEEDS`."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    item = _item(me, pk)
    do = DEEDS.get(request.POST.get("do", ""))
    if do is None:
        return _page(request, me, item, error="Press one of the buttons.")
    try:
        said = do(request, item)
    except ReviewError as error:
        return _page(request, me, item, error=str(error))
    messages.success(request, said)
    following = reads.next_to_review(me.project, item) if "next" in request.POST else None
    return redirect("item", slug, following or item.pk)


# --- what a button does ---------------------------------------------------------------------------------------


def _verdict(request: HttpRequest, item: Item) -> str:
    ranks, degree = _said(request, item)
    actions.give_verdict(
        item=item,
        reviewer=current_user(request),
        ranks=ranks,
        degree=degree,
        note=request.POST.get("note", ""),
    )
    return f"Item {item.pk} is decided."


def _gold(request: HttpRequest, item: Item) -> str:
    ranks, _ = _said(request, item)
    actions.make_gold(
        item=item, actor=current_user(request), ranks=ranks, explanation=request.POST.get("note", "")
    )
    return f"Item {item.pk} has a known answer now, and is given to people at the project's gold rate."


def _retire(request: HttpRequest, item: Item) -> str:
    actions.retire(item=item, actor=current_user(request), reason=request.POST.get("reason", ""))
    return f"Item {item.pk} is out of the queue. What people said of it stays."


def _reopen(request: HttpRequest, item: Item) -> str:
    actions.reopen(item=item, actor=current_user(request))
    return f"Item {item.pk} is back in the queue."


def _dismiss(request: HttpRequest, item: Item) -> str:
    actions.dismiss(item=item)
    return f"Nothing about item {item.pk} waits for a reviewer any more."


DEEDS: dict[str, Callable[[HttpRequest, Item], str]] = {
    "verdict": _verdict,
    "gold": _gold,
    "retire": _retire,
    "reopen": _reopen,
    "dismiss": _dismiss,
}


def _said(request: HttpRequest, item: Item) -> tuple[dict[int, int], str | None]:
    """Response id -> rank, of those that were given one, and of an item of two the degree: `choice` is `0-better` where
    the first of them is better."""
    responses = sorted(item.responses.values_list("pk", flat=True))
    if len(responses) == 2:
        return compare.read(request.POST, responses)
    return rank.read(request.POST, responses), None


# --- the page -------------------------------------------------------------------------------------------------


def _item(me: Member, pk: int) -> Item:
    items = Item.objects.select_related("prompt", "project").prefetch_related("responses")
    return get_object_or_404(items, pk=pk, project=me.project)


def _page(request: HttpRequest, me: Member, item: Item, error: str = "") -> HttpResponse:
    seen = reads.everything(item)
    verdict = seen.verdicts[0] if seen.verdicts else None
    if request.method == "POST":
        ranks, degree = _said(request, item)
        given = {str(pk): rank for pk, rank in ranks.items()}
    elif request.GET.get("fill") == "consensus" and seen.consensus:
        given, degree = {str(c.response.pk): c.rank or 1 for c in seen.candidates}, None
    else:
        given, degree = (verdict.ranks, verdict.degree) if verdict else ({}, None)
    entered = reads.in_letters(given, seen.candidates)
    context = {
        "me": me,
        "project": me.project,
        "item": item,
        "seen": seen,
        "compares": len(seen.candidates) == 2,
        "cards": list(zip(seen.candidates, entered, strict=True)),
        "ranks": range(1, len(seen.candidates) + 1),
        "choices": _choices(entered, degree),
        "verdict_ranks": reads.in_letters(verdict.ranks, seen.candidates) if verdict else None,
        "gold_ranks": reads.in_letters(item.gold, seen.candidates) if item.gold else None,
        "note": request.POST.get("note", ""),
        "next": reads.next_to_review(me.project, item),
        "unanswered": [s for s in seen.skips if s.reason == Skip.Reason.REVIEW and s.resolved_at is None],
        "error": error,
    }
    return render(request, "annotation/item.html", context, status=422 if error else 200)


def _choices(entered: list[int | None], degree: str | None) -> list[dict[str, object]]:
    """The eight of a comparison, from "A is significantly better" to "B is significantly better"."""
    side = entered.index(1) if 1 in entered else None
    return [
        {
            "value": choice.value,
            "letter": choice.letter,
            "words": choice.degree.label,
            "checked": (choice.side, choice.degree.value) == (side, degree),
        }
        for choice in compare.CHOICES
    ]


def _number(text: str) -> int:
    return max(1, int(text)) if text.isdecimal() and len(text) < 6 else 1
