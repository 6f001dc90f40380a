"""One's own judgments: a list, and a page for each on which it can be changed by a new revision."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from annotation import queries, threads
from annotation.access import current_user, member_for
from annotation.actions import judgments
from annotation.actions.judgments import JudgmentError
from annotation.http.images import allow_images
from annotation.logic.ranking import in_words
from annotation.models import Judgment, Project, User
from annotation.views.judging import compare, screen
from annotation.views.judging.form_input import FormInput
from annotation.views.judging.pages import read_key
from annotation.views.long_lists import LongList

PER_PAGE = 25


@dataclass(frozen=True)
class JudgmentRow:
    """One row of the list; `summary` is the judgment in a few words."""

    judgment: Judgment
    kind: str
    summary: str


@login_required
@never_cache
@require_GET
def my_judgments(request: HttpRequest) -> HttpResponse:
    """In the projects one is a member of, newest first; `?project=` selects one of them."""
    projects = list(Project.objects.filter(members__user=current_user(request)))
    slug = request.GET.get("project", "")
    selected = [project for project in projects if slug in ("", project.slug)]
    page = LongList(_judgments_of(current_user(request), selected), PER_PAGE).get_page(
        request.GET.get("page")
    )
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
    """One judgment on its screen; a POST stores a new revision."""
    old = get_object_or_404(
        Judgment.objects.select_related("item__project"), pk=pk, annotator=current_user(request)
    )
    me = member_for(current_user(request), old.item.project.slug)
    if request.method == "GET":
        newest = _history(old)[0]
        return (
            _page(request, newest, FormInput.of(newest))
            if newest == old
            else redirect("my-judgment", newest.pk)
        )
    entry = FormInput.read(request.POST, old.shown_order)
    try:
        judgments.revise(
            judgment=old,
            annotator=current_user(request),
            ranks=entry.ranks,
            degree=entry.degree,
            ratings=entry.ratings,
            rationale=entry.rationale,
            answers=entry.answers,
            text=entry.text or "",
            idempotency_key=read_key(request),
        )
    except JudgmentError as error:
        return _page(request, old, entry, error)
    messages.success(request, _("Saved as a new revision."))
    return redirect("work", me.project.slug) if _from_work(request) else redirect("my-judgments")


def _page(
    request: HttpRequest, judgment: Judgment, entry: FormInput, error: JudgmentError | None = None
) -> HttpResponse:
    project = judgment.item.project
    item = queries.item_to_judge(judgment.item_id, current_user(request))
    context = screen.context(
        project=project,
        item=item,
        annotator=current_user(request),
        shown=judgment.shown_order,
        extra_questions=project.extra_questions,
        questions=queries.questions_of(project.question_set_id),
        form_input=entry,
        error=error,
    )
    context |= {
        "judgment": judgment,
        "history": _history(judgment),
        "from_work": _from_work(request),
        "thread": threads.thread_of(item, current_user(request)),
    }
    response = render(request, "annotation/my_judgment.html", context, status=422 if error else 200)
    return allow_images(response, project)


def _from_work(request: HttpRequest) -> bool:
    return "work" in (request.GET.get("from"), request.POST.get("from"))


def _judgments_of(user: User, projects: list[Project]) -> QuerySet[Judgment]:
    return (
        Judgment.objects.current()
        .filter(annotator=user, project__in=projects)
        .select_related("item__prompt", "item__project", "demonstration")
        .prefetch_related("placements")
        .order_by("-id")
    )


def _history(judgment: Judgment) -> list[Judgment]:
    """All revisions of the judgment, newest first."""
    return list(
        Judgment.objects.filter(item_id=judgment.item_id, annotator_id=judgment.annotator_id)
        .select_related("item__project", "demonstration", "guideline")
        .prefetch_related("placements")
        .order_by("-id")
    )


def _row(judgment: Judgment) -> JudgmentRow:
    entry = FormInput.of(judgment)
    kind = screen.kind_of(len(judgment.shown_order))
    choice = compare.chosen(entry.ranks, entry.degree, judgment.shown_order)
    if kind in ("write", "improve"):
        summary = (entry.text or "")[:120]
    elif kind == "compare" and choice:
        summary = choice.sentence
    else:
        summary = in_words(entry.ranks, judgment.shown_order)
    return JudgmentRow(judgment, str(screen.TITLES[kind]), summary)
