"""Where people judge: the next item, what they say of it, skips and drafts.

The answer to a submit holds the next item, so a person never waits for a second page. A page with scripts is one item
ahead of that: it holds the next one under a lease of its own, shows it at once, and names it as `showing` with what it
submits; the answer then holds the one after it.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import queries
from annotation.access import current_user, member_for, project_for
from annotation.actions import judgments
from annotation.actions.drafts import save_draft
from annotation.actions.judgments import AlreadyJudged, JudgmentError, UnsafePreferred
from annotation.actions.leases import Lease, Paused, claim
from annotation.actions.leases import renew as renew_lease
from annotation.actions.queue import QueueError
from annotation.actions.skips import skip as skip_item
from annotation.logic import markdown
from annotation.logic.limits import MAX_TEXT_CHARS
from annotation.models import Judgment, Member, Project, Skip
from annotation.views import HtmxRequest
from annotation.views.home import my_day
from annotation.views.judging import screen
from annotation.views.judging.form_input import Entry, skip_data, skip_note

PASSED_IS_NEW = timedelta(minutes=1)
LATE = "Your last judgment came late and others had finished that item. It is kept, but it does not count."
SENT_TO_REVIEW = "Sent to a reviewer, with what you had said."
RAN_OUT = (
    "Somebody else may have this item by now. What you say is still kept; it counts if nobody was faster."
)


@login_required
@require_http_methods(["GET", "POST"])
def work(request: HtmxRequest, slug: str) -> HttpResponse:
    """The item to judge now; a POST says what was judged, and is answered with the next one."""
    me = member_for(current_user(request), slug)
    return _submit(request, me) if request.method == "POST" else _show_next(request, me)


@login_required
@require_POST
def ahead(request: HtmxRequest, slug: str) -> HttpResponse:
    """The item after the one on the screen, for a page to hold until that one is judged."""
    me = member_for(current_user(request), slug)
    try:
        lease = _lease(request, me.project)
    except QueueError as error:
        return HttpResponse(str(error), status=422, content_type="text/plain")
    return _show_ahead(request, me, lease)


@login_required
@require_POST
def skip(request: HtmxRequest, slug: str) -> HttpResponse:
    me = member_for(current_user(request), slug)
    reason = request.POST.get("reason") or "nothing"
    try:
        lease = _lease(request, me.project)
        data = skip_data(request.POST, reason, lease.shown_order)
        skip_item(lease=lease, reason=reason, note=skip_note(request.POST), data=data)
    except QueueError as error:
        return _show_next(request, me, error=str(error))
    review = reason == Skip.Reason.REVIEW
    return _go_on(request, me, SENT_TO_REVIEW if review else "Skipped. Somebody else will look at it.")


@login_required
@require_POST
def draft(request: HtmxRequest, slug: str) -> HttpResponse:
    """Keeps all that was entered so far; the page sends it as it is entered."""
    project = project_for(current_user(request), slug)
    try:
        lease = _lease(request, project)
        save_draft(lease=lease, data=Entry.read(request.POST, lease.shown_order).as_data())
    except QueueError as error:
        return HttpResponse(str(error), status=422, content_type="text/plain")
    return HttpResponse(status=204)


@login_required
@require_POST
def renew(request: HtmxRequest, slug: str) -> HttpResponse:
    """Another whole lease for the item on the screen, and for the one held behind it. An answer with a text says that
    the item on the screen may be somebody else's by now."""
    project = project_for(current_user(request), slug)
    try:
        held = renew_lease(lease=_lease(request, project))
    except QueueError as error:
        return HttpResponse(str(error), status=422, content_type="text/plain")
    return HttpResponse(status=204) if held else HttpResponse(RAN_OUT, content_type="text/plain")


@login_required
@require_GET
def guidelines(request: HtmxRequest, slug: str) -> HttpResponse:
    """The guidelines in force, for the drawer, and as a page of their own where no scripts run."""
    project = project_for(current_user(request), slug)
    part = "#text" if request.htmx else ""
    context = {"project": project, "guideline": project.guideline}
    return render(request, f"annotation/judge_guidelines.html{part}", context)


@login_required
@require_POST
def preview(request: HttpRequest, slug: str) -> HttpResponse:
    """The answer being written, as others will see it."""
    project_for(current_user(request), slug)
    html = markdown.render(request.POST.get("text", "")[:MAX_TEXT_CHARS])
    return render(request, "annotation/demonstrate.html#preview", {"html": html})


@login_required
@require_GET
def back(request: HttpRequest, slug: str) -> HttpResponse:
    """To what one judged last in this project, to look at it again."""
    project = project_for(current_user(request), slug)
    mine = Judgment.objects.current().filter(annotator=current_user(request), item__project=project)
    last = mine.order_by("-id").values_list("pk", flat=True).first()
    if last is None:
        messages.info(request, "There is nothing to go back to yet: you have not judged anything here.")
        return redirect("work", slug)
    response = redirect("my-judgment", last)
    response["Location"] += "?from=work"
    return response


def _lease(request: HttpRequest, project: Project, name: str = "ticket") -> Lease:
    """
    Raises:
        QueueError: the ticket is damaged, of another project, or someone else's.
    """
    lease = Lease.read(request.POST.get(name, ""), annotator=current_user(request))
    if lease.project_id != project.pk:
        raise QueueError("This page's ticket belongs to another project. Open the item again.")
    return lease


def _submit(request: HtmxRequest, me: Member) -> HttpResponse:
    try:
        lease = _lease(request, me.project)
    except QueueError as error:
        return _show_next(request, me, error=str(error))
    entry = Entry.read(request.POST, lease.shown_order)
    try:
        judgment = judgments.submit(
            lease=lease,
            ranks=entry.ranks,
            degree=entry.degree,
            ratings=entry.marks,
            rationale=entry.rationale,
            text=entry.text or "",
            idempotency_key=read_key(request),
        )
    except AlreadyJudged as error:
        return _go_on(request, me, str(error), messages.INFO)
    except JudgmentError as error:
        return _show(request, me, lease, entry=entry, error=error)
    if judgment.slot_id is None:
        return _go_on(request, me, LATE, messages.WARNING)
    return _go_on(request, me)


def read_key(request: HttpRequest) -> uuid.UUID:
    """
    Raises:
        JudgmentError: the form was tampered with.
    """
    try:
        return uuid.UUID(request.POST.get("key", ""))
    except ValueError:
        raise JudgmentError("key", "This page is damaged. Submit it once more.") from None


def _go_on(request: HtmxRequest, me: Member, said: str = "", level: int = messages.SUCCESS) -> HttpResponse:
    """The next item that the page does not have: in this answer for a script, by a redirect for a plain form."""
    if said:
        messages.add_message(request, level, said)
    if not request.htmx:
        return redirect("work", me.project.slug)
    if "showing" not in request.POST:
        return _show_next(request, me)
    try:
        showing = _lease(request, me.project, "showing")
    except QueueError:
        return _show_next(request, me)
    return _show_ahead(request, me, showing)


def _show_next(request: HtmxRequest, me: Member, error: str = "") -> HttpResponse:
    try:
        lease = claim(project=me.project, annotator=current_user(request))
    except Paused as paused:
        context = {"kind": "paused", "title": "Paused", "project": me.project, "reason": str(paused)}
        return _render(request, context)
    if lease is None:
        return _show_finished(request, me, error)
    return _show(request, me, lease, error=JudgmentError("ticket", error) if error else None)


def _show_ahead(request: HtmxRequest, me: Member, showing: Lease) -> HttpResponse:
    """The item after the one shown; where there is none, an answer without an item."""
    try:
        lease = claim(project=me.project, annotator=current_user(request), on_screen=showing)
    except Paused:
        lease = None
    if lease is None:
        return _render(request, {"kind": "nothing", "project": me.project})
    return _show(request, me, lease, is_ahead=True)


def _show(
    request: HtmxRequest,
    me: Member,
    lease: Lease,
    *,
    entry: Entry | None = None,
    error: JudgmentError | None = None,
    is_ahead: bool = False,
) -> HttpResponse:
    """The page of one item, with what was said so far: the form's, or else the draft's."""
    item = queries.item_to_judge(lease.item_id, current_user(request))
    work_status = queries.work_status(me.project, current_user(request), item)
    if is_ahead:  # by the time it is seen, the one before it is judged
        work_status = replace(work_status, left=max(1, work_status.left - 1), today=work_status.today + 1)
    said = entry or Entry.from_data(work_status.draft, lease.shown_order)
    context = screen.context(
        project=me.project,
        item=item,
        shown=lease.shown_order,
        extra_questions=lease.extra_questions,
        entry=said,
        error=error,
    )
    context |= {
        "me": me,
        "lease": lease,
        "ticket": lease.ticket(),
        "work_status": work_status,
        "qualification": _qualification(me, is_ahead),
        "offers_review": isinstance(error, UnsafePreferred),
    }
    return _render(request, context, status=422 if error else 200)


def _qualification(me: Member, is_ahead: bool) -> dict[str, int] | None:
    """Which of the items before the real work this is, or for a minute that they have `passed`; None where it is neither."""
    wanted = me.project.qualification_items
    if not wanted or me.role != Member.Role.ANNOTATOR:
        return None
    if me.qualified_at is None:  # it may have come with the judgment that this page answers
        me.refresh_from_db(fields=["qualified_at"])
    if me.qualified_at is not None:
        is_new = not is_ahead and timezone.now() - me.qualified_at < PASSED_IS_NEW
        return {"passed": 1} if is_new else None
    theirs = {"annotator": me.user_id, "item__project": me.project, "item__gold__isnull": False}
    done = Judgment.objects.current().filter(**theirs).count() + Skip.objects.filter(**theirs).count()
    return {"number": min(wanted, done + 1 + is_ahead), "wanted": wanted}


def _show_finished(request: HtmxRequest, me: Member, error: str) -> HttpResponse:
    context = {"kind": "finished", "title": "Finished", "project": me.project, "error": error}
    context["has_items"] = me.project.items.exists()
    return _render(request, context | my_day(current_user(request)), status=422 if error else 200)


def _render(request: HtmxRequest, context: dict[str, object], status: int = 200) -> HttpResponse:
    part = "#work" if request.htmx else ""
    response = render(request, f"annotation/judge.html{part}", context, status=status)
    response["Cache-Control"] = "no-store"  # a page from the browser's cache would hold a spent ticket
    return response
