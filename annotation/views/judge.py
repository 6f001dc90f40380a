"""Where people judge: the next item, what they say of it, skips and drafts.

An item of two answers is compared, any other is ranked; both share this flow. The answer to a submit holds the next
item, so a person never waits for a second page.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import queries
from annotation.access import person, project_for
from annotation.actions import judge
from annotation.actions.judge import AlreadyJudged, JudgmentError
from annotation.actions.queue import Lease, QueueError, claim, save_draft
from annotation.actions.queue import skip as skip_item
from annotation.models import Project, Response, Skip
from annotation.views import HtmxRequest, compare, rank
from annotation.views.home import my_day

LETTERS = "ABCDEFGHI"


@dataclass(frozen=True)
class Card:
    """One answer on the screen; `rank` is what was entered for it so far."""

    letter: str
    response: Response
    rank: int | None


@login_required
@require_http_methods(["GET", "POST"])
def work(request: HtmxRequest, slug: str) -> HttpResponse:
    """The item to judge now; a POST says what was judged, and is answered with the next one."""
    project = project_for(person(request), slug)
    if request.method == "POST":
        return _submit(request, project)
    return _show_next(request, project)


@login_required
@require_POST
def skip(request: HtmxRequest, slug: str) -> HttpResponse:
    project = project_for(person(request), slug)
    try:
        lease = _lease(request, project)
        skip_item(lease=lease, reason=request.POST.get("reason") or "nothing")
    except QueueError as error:
        return _show_next(request, project, error=str(error))
    return _go_on(request, project, "Skipped. Somebody else will look at it.")


@login_required
@require_POST
def draft(request: HtmxRequest, slug: str) -> HttpResponse:
    """Keeps the ranks given so far; the page sends them as they are given."""
    project = project_for(person(request), slug)
    try:
        lease = _lease(request, project)
    except QueueError as error:
        return HttpResponse(str(error), status=422, content_type="text/plain")
    ranks = {str(response): given for response, given in rank.read(request.POST, lease).items()}
    save_draft(lease=lease, data={"ranks": ranks})
    return HttpResponse(status=204)


@login_required
@require_GET
def guidelines(request: HtmxRequest, slug: str) -> HttpResponse:
    """The guidelines in force, for the drawer, and as a page of their own where no scripts run."""
    project = project_for(person(request), slug)
    part = "#text" if request.htmx else ""
    context = {"project": project, "guideline": project.guideline}
    return render(request, f"annotation/judge_guidelines.html{part}", context)


def _lease(request: HtmxRequest, project: Project) -> Lease:
    """
    Raises:
        QueueError: the ticket is damaged, of another project, or someone else's.
    """
    lease = Lease.read(request.POST.get("ticket", ""), annotator=person(request))
    if lease.project_id != project.pk:
        raise QueueError("This page's ticket belongs to another project. Open the item again.")
    return lease


def _submit(request: HtmxRequest, project: Project) -> HttpResponse:
    try:
        lease = _lease(request, project)
    except QueueError as error:
        return _show_next(request, project, error=str(error))
    if len(lease.shown_order) == 2:
        ranks, degree = compare.read(request.POST, lease)
    else:
        ranks, degree = rank.read(request.POST, lease), None
    try:
        key = _key(request)
        judgment = judge.submit(lease=lease, ranks=ranks, degree=degree, idempotency_key=key)
    except AlreadyJudged as error:
        return _go_on(request, project, str(error), messages.INFO)
    except JudgmentError as error:
        return _show(request, project, lease, ranks=ranks, error=str(error))
    if judgment.slot_id is None:
        said = "Your last judgment came late and others had finished that item. It is kept, but it does not count."
        return _go_on(request, project, said, messages.WARNING)
    return _go_on(request, project)


def _key(request: HtmxRequest) -> uuid.UUID:
    """
    Raises:
        JudgmentError: the form was tampered with.
    """
    try:
        return uuid.UUID(request.POST.get("key", ""))
    except ValueError:
        raise JudgmentError("key", "This page is damaged. Submit it once more.") from None


def _go_on(
    request: HtmxRequest, project: Project, said: str = "", level: int = messages.SUCCESS
) -> HttpResponse:
    """The next item: in this answer for a script, by a redirect for a plain form."""
    if said:
        messages.add_message(request, level, said)
    return _show_next(request, project) if request.htmx else redirect("work", project.slug)


def _show_next(request: HtmxRequest, project: Project, error: str = "") -> HttpResponse:
    lease = claim(project=project, annotator=person(request))
    if lease is None:
        return _show_finished(request, project, error)
    return _show(request, project, lease, error=error)


def _show(
    request: HtmxRequest,
    project: Project,
    lease: Lease,
    *,
    ranks: Mapping[int, int] | None = None,
    error: str = "",
) -> HttpResponse:
    """The page of one item, with the ranks given so far: the form's, or else the draft's."""
    item = queries.item_to_judge(lease.item_id, person(request))
    desk = queries.desk(project, person(request), item)
    given = ranks if ranks is not None else rank.read_draft(desk.draft, lease)
    responses = {response.pk: response for response in item.responses.all()}
    cards = [
        Card(letter, responses[pk], given.get(pk))
        for letter, pk in zip(LETTERS, lease.shown_order, strict=False)
    ]
    context = {
        "project": project,
        "lease": lease,
        "ticket": lease.ticket(),
        "key": uuid.uuid4(),
        "prompt": item.prompt,
        "cards": cards,
        "ranks": range(1, len(cards) + 1),
        "choices": compare.CHOICES,
        "compares": len(cards) == 2,
        "reasons": Skip.Reason.choices,
        "desk": desk,
        "error": error,
    }
    return _render(request, context, status=422 if error else 200)


def _show_finished(request: HtmxRequest, project: Project, error: str) -> HttpResponse:
    context = {"project": project, "error": error} | my_day(person(request))
    return _render(request, context, status=422 if error else 200)


def _render(request: HtmxRequest, context: dict[str, object], status: int) -> HttpResponse:
    part = "#work" if request.htmx else ""
    response = render(request, f"annotation/judge.html{part}", context, status=status)
    response["Cache-Control"] = "no-store"  # a page from the browser's cache would hold a spent ticket
    return response
