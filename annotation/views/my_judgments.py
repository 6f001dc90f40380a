"""What one said oneself: a list to look through, and each judgment open to a change, which is a new revision."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from annotation import queries
from annotation.access import current_user, member_for
from annotation.actions import judgments
from annotation.actions.judgments import JudgmentError
from annotation.models import Judgment, Project, User
from annotation.views.judging import compare, rank, screen
from annotation.views.judging.form_input import Entry
from annotation.views.judging.pages import read_key

PER_PAGE = 25


@dataclass(frozen=True)
class Row:
    """One line of the list; `said` is what was said, in a few words."""

    judgment: Judgment
    kind: str
    said: str


@login_required
@never_cache
@require_GET
def my_judgments(request: HttpRequest) -> HttpResponse:
    """Of the projects that one is a member of, newest first; `?project=` names one of them."""
    projects = list(Project.objects.filter(members__user=current_user(request)))
    slug = request.GET.get("project", "")
    wanted = [project for project in projects if slug in ("", project.slug)]
    page = Paginator(_mine(current_user(request), wanted), PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "projects": projects,
        "chosen": slug,
        "page": page,
        "rows": [_row(judgment) for judgment in page],
    }
    return render(request, "annotation/my_judgments.html", context)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def my_judgment(request: HttpRequest, pk: int) -> HttpResponse:
    """One of them on its screen, as it was said; a POST says something else instead."""
    old = get_object_or_404(
        Judgment.objects.select_related("item__project"), pk=pk, annotator=current_user(request)
    )
    me = member_for(current_user(request), old.item.project.slug)
    if request.method == "GET":
        newest = _history(old)[0]
        return (
            _show(request, newest, Entry.of(newest)) if newest == old else redirect("my-judgment", newest.pk)
        )
    entry = Entry.read(request.POST, old.shown_order)
    try:
        judgments.revise(
            judgment=old,
            annotator=current_user(request),
            ranks=entry.ranks,
            degree=entry.degree,
            ratings=entry.marks,
            rationale=entry.rationale,
            text=entry.text or "",
            idempotency_key=read_key(request),
        )
    except JudgmentError as error:
        return _show(request, old, entry, error)
    messages.success(request, "Changed. What you said before is kept too.")
    return redirect("work", me.project.slug) if _from_work(request) else redirect("my-judgments")


def _show(
    request: HttpRequest, judgment: Judgment, entry: Entry, error: JudgmentError | None = None
) -> HttpResponse:
    project = judgment.item.project
    item = queries.item_to_judge(judgment.item_id, current_user(request))
    context = screen.context(
        project=project,
        item=item,
        shown=judgment.shown_order,
        extra_questions=project.extra_questions,
        entry=entry,
        error=error,
    )
    context |= {
        "judgment": judgment,
        "history": _history(judgment),
        "from_work": _from_work(request),
    }
    return render(request, "annotation/my_judgment.html", context, status=422 if error else 200)


def _from_work(request: HttpRequest) -> bool:
    return "work" in (request.GET.get("from"), request.POST.get("from"))


def _mine(user: User, projects: list[Project]) -> QuerySet[Judgment]:
    return (
        Judgment.objects.current()
        .filter(annotator=user, item__project__in=projects)
        .select_related("item__prompt", "item__project", "demonstration")
        .prefetch_related("placements")
        .order_by("-id")
    )


def _history(judgment: Judgment) -> list[Judgment]:
    """Every revision of what was said of this item, the newest first."""
    return list(
        Judgment.objects.filter(item_id=judgment.item_id, annotator_id=judgment.annotator_id)
        .select_related("item__project", "demonstration", "guideline")
        .prefetch_related("placements")
        .order_by("-id")
    )


def _row(judgment: Judgment) -> Row:
    entry = Entry.of(judgment)
    kind = screen.kind_of(len(judgment.shown_order))
    choice = compare.chosen(entry.ranks, entry.degree, judgment.shown_order)
    if kind in ("write", "improve"):
        said = (entry.text or "")[:120]
    elif kind == "compare" and choice:
        said = choice.sentence
    else:
        said = rank.in_words(entry.ranks, judgment.shown_order)
    return Row(judgment, screen.TITLES[kind], said)
