"""The annotators' pages: the next item, submits, skips and drafts.

The response to a submit contains the next item, so there is no second request. With scripts, a page is `Project.items_ahead`
items ahead: it holds the next ones, each under a lease of its own, shows the first of them at once and names it as `showing` in
the submit, and the others as `held`; the response then contains the item after those. `held` are also the items whose submit
the page could not send yet.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import queries
from annotation.access import current_user, member_for, project_for
from annotation.actions import judgments
from annotation.actions import messages as item_messages
from annotation.actions.drafts import save_draft
from annotation.actions.judgments import AlreadyJudged, JudgmentError, UnsafePreferred
from annotation.actions.leases import GuidelinesUnconfirmed, Lease, LeaseState, OtherAnnotator, Paused, claim
from annotation.actions.leases import renew as renew_lease
from annotation.actions.messages import MessageError
from annotation.actions.projects import confirm_guideline
from annotation.actions.queue import QueueError
from annotation.actions.skips import skip as skip_item
from annotation.http.images import allow_images
from annotation.logic import diff, markdown
from annotation.logic.device_times import MAX_LATE_S, read_seconds
from annotation.logic.limits import MAX_ITEMS_AHEAD, MAX_TEXT_CHARS
from annotation.models import Item, Judgment, Member, Project, Skip
from annotation.views import HtmxRequest
from annotation.views.home import my_day
from annotation.views.judging import screen
from annotation.views.judging.form_input import FormInput, device_times, skip_data, skip_note

PASSED_NOTICE_FOR = timedelta(minutes=1)
LATE = gettext_lazy(
    "Your last judgment is stored but does not count: before it arrived, others had finished the item, or it was taken out of "
    "the queue."
)
SENT_TO_REVIEW = gettext_lazy("Sent to a reviewer, with what you entered.")
SKIPPED = gettext_lazy("Skipped. It goes to another annotator.")
ASKED = gettext_lazy("Your question was sent. The reply appears under My work.")
LEASE_LOST = {
    LeaseState.OPEN_TO_OTHERS: gettext_lazy(
        "Your time for this item has run out, and others may open it. You can still submit: the first to submit counts."
    ),
    LeaseState.FINISHED: gettext_lazy(
        "Others have finished this item, or it was taken out of the queue. What you submit is stored, but does not count."
    ),
    LeaseState.JUDGED: gettext_lazy("You have judged this item on another page, and that judgment stays."),
}


@login_required
@require_http_methods(["GET", "POST"])
def work(request: HtmxRequest, slug: str) -> HttpResponse:
    """Shows the item to judge; a POST submits a judgment and returns the next item."""
    me = member_for(current_user(request), slug)
    return _submit(request, me) if request.method == "POST" else _render_next(request, me)


@login_required
@require_POST
def ahead(request: HtmxRequest, slug: str) -> HttpResponse:
    """The item after the one on the screen and those behind it, which the page holds until they are judged."""
    me = member_for(current_user(request), slug)
    try:
        lease = read_lease(request, me.project)
    except QueueError as error:
        return HttpResponse(str(error), status=422, content_type="text/plain")
    return _render_ahead(request, me, lease)


@login_required
@require_POST
def skip(request: HtmxRequest, slug: str) -> HttpResponse:
    me = member_for(current_user(request), slug)
    reason = request.POST.get("reason") or "nothing"
    try:
        lease = read_lease(request, me.project)
        data = skip_data(request.POST, reason, lease.shown_order)
        skip_item(
            lease=lease,
            reason=reason,
            note=skip_note(request.POST),
            data=data,
            times=device_times(request.POST),
        )
    except QueueError as error:
        return _refuse(request, me, error)
    review = reason == Skip.Reason.REVIEW
    return _continue(request, me, str(SENT_TO_REVIEW if review else SKIPPED))


@login_required
@require_POST
def ask(request: HtmxRequest, slug: str) -> HttpResponse:
    """Sends a question about the item on the screen to the reviewers; the item stays on the screen."""
    project = project_for(current_user(request), slug)
    context: dict[str, object] = {"project": project, "ticket": request.POST.get("ticket", "")}
    try:
        item = get_object_or_404(
            Item.objects.select_related("project"), pk=read_lease(request, project, chat=None).item_id
        )
        item_messages.ask(item=item, annotator=current_user(request), text=request.POST.get("text", ""))
    except (QueueError, MessageError) as error:
        context |= {"ask_error": str(error), "ask_text": request.POST.get("text", "")}
    else:
        context["asked"] = True
    if request.htmx:
        status = 422 if "ask_error" in context else 200
        return render(request, "annotation/judge_ask.html", context, status=status)
    messages.add_message(
        request,
        messages.ERROR if "ask_error" in context else messages.SUCCESS,
        str(context.get("ask_error", ASKED)),
    )
    return redirect("work", slug)


@login_required
@require_POST
def draft(request: HtmxRequest, slug: str) -> HttpResponse:
    """Stores what was entered so far; the page sends it while people type. 202: it is not stored, since the lease has ended,
    and the page keeps it on the device."""
    project = project_for(current_user(request), slug)
    try:
        lease = read_lease(request, project, chat=None)
        is_stored = save_draft(lease=lease, data=FormInput.read(request.POST, lease.shown_order).as_data())
    except QueueError as error:
        return HttpResponse(str(error), status=422, content_type="text/plain")
    return HttpResponse(status=204 if is_stored else 202)


@login_required
@require_POST
def renew(request: HtmxRequest, slug: str) -> HttpResponse:
    """Renews the leases of the item on the screen and of the one held behind it. A response with a text says why the item on
    the screen is not held any longer."""
    project = project_for(current_user(request), slug)
    try:
        state = renew_lease(lease=read_lease(request, project))
    except QueueError as error:
        return HttpResponse(str(error), status=422, content_type="text/plain")
    if state is LeaseState.HELD:
        return HttpResponse(status=204)
    return HttpResponse(LEASE_LOST[state], content_type="text/plain")


@login_required
@require_GET
def guidelines(request: HtmxRequest, slug: str) -> HttpResponse:
    """The current guidelines, for the drawer, or as a page where no scripts run."""
    project = project_for(current_user(request), slug)
    part = "#text" if request.htmx else ""
    context = {"project": project, "guideline": project.guideline}
    return allow_images(render(request, f"annotation/judge_guidelines.html{part}", context), project)


@login_required
@require_POST
def confirm(request: HtmxRequest, slug: str) -> HttpResponse:
    """Notes that the user has read the guidelines, and leads to the next item, or to chats; or to a newer version of them."""
    me = member_for(current_user(request), slug)
    number = request.POST.get("version", "")
    if not (number.isdecimal() and len(number) < 10 and confirm_guideline(member=me, number=int(number))):
        messages.warning(request, _("The guidelines have changed meanwhile. This is the current version."))
    return redirect("chats" if request.POST.get("then") == "chats" else "work", slug)


@login_required
@require_POST
def preview(request: HttpRequest, slug: str) -> HttpResponse:
    """The text in the editor, rendered. Its pictures are links: this site fetches only those that stored texts show."""
    project = project_for(current_user(request), slug)
    html = markdown.render(request.POST.get("text", "")[:MAX_TEXT_CHARS])
    return render(request, "annotation/demonstrate.html#preview", {"html": html, "project": project})


@login_required
@require_GET
def back(request: HttpRequest, slug: str) -> HttpResponse:
    """Redirects to one's last judgment in this project."""
    project = project_for(current_user(request), slug)
    own = Judgment.objects.current().filter(annotator=current_user(request), project=project)
    last = own.order_by("-id").values_list("pk", flat=True).first()
    if last is None:
        messages.info(request, _("You have not judged anything in this project yet."))
        return redirect("work", slug)
    response = redirect("my-judgment", last)
    response["Location"] += "?from=work"
    return response


def read_lease(
    request: HttpRequest, project: Project, name: str = "ticket", *, chat: bool | None = False
) -> Lease:
    """The lease of a ticket in the form, of an item of the queue, or as `chat` says (`Lease.read`).

    Raises:
        QueueError: the ticket is damaged, of another project, someone else's, or of the other kind.
    """
    lease = Lease.read(request.POST.get(name, ""), annotator=current_user(request), chat=chat)
    if lease.project_id != project.pk:
        raise QueueError(_("This page belongs to another project. Open the item again."))
    return lease


def _read_held(request: HttpRequest, project: Project) -> list[Lease]:
    """The leases of the `held` tickets. One that cannot be read is left out: that item may be sent again."""
    leases = []
    for ticket in request.POST.getlist("held")[: MAX_ITEMS_AHEAD + 1]:
        with suppress(QueueError):
            leases.append(Lease.read(ticket, annotator=current_user(request), chat=False))
    return [lease for lease in leases if lease.project_id == project.pk][: project.items_ahead]


def _submit(request: HtmxRequest, me: Member) -> HttpResponse:
    try:
        lease = read_lease(request, me.project)
    except QueueError as error:
        return _refuse(request, me, error)
    entry = FormInput.read(request.POST, lease.shown_order)
    try:
        judgment = judgments.submit(
            lease=lease,
            ranks=entry.ranks,
            degree=entry.degree,
            ratings=entry.ratings,
            rationale=entry.rationale,
            answers=entry.answers,
            text=entry.text or "",
            idempotency_key=read_key(request),
            times=device_times(request.POST),
        )
    except AlreadyJudged as error:
        return _continue(request, me, str(error), messages.INFO)
    except JudgmentError as error:
        return _render_item(request, me, lease, entry=entry, error=error)
    if judgment.slot_id is None:
        return _continue(request, me, str(LATE), messages.WARNING)
    return _continue(request, me)


def _refuse(request: HtmxRequest, me: Member, error: QueueError) -> HttpResponse:
    """Another item, with the error. Where somebody else has signed in since the page was opened, its work stays with it, and
    they get no item by it."""
    if request.htmx and isinstance(error, OtherAnnotator):
        return HttpResponse(str(error), status=403, content_type="text/plain")
    return _render_next(request, me, error=str(error))


def read_key(request: HttpRequest) -> uuid.UUID:
    """
    Raises:
        JudgmentError: the form was tampered with.
    """
    try:
        return uuid.UUID(request.POST.get("key", ""))
    except ValueError:
        raise JudgmentError("key", _("This page is invalid. Reload it and submit again.")) from None


def _continue(
    request: HtmxRequest, me: Member, message: str = "", level: int = messages.SUCCESS
) -> HttpResponse:
    """The next item that the page does not have yet: in this response for htmx, by a redirect for a plain form."""
    if message:
        messages.add_message(request, level, message)
    if not request.htmx:
        return redirect("work", me.project.slug)
    if "showing" not in request.POST:
        return _render_next(request, me)
    try:
        showing = read_lease(request, me.project, "showing")
    except QueueError:
        return _render_next(request, me)
    return _render_ahead(request, me, showing)


def _render_next(request: HtmxRequest, me: Member, error: str = "") -> HttpResponse:
    held = _read_held(request, me.project)
    try:
        lease = claim(project=me.project, annotator=current_user(request), held=held, confirmed_only=True)
    except Paused as paused:
        context = {
            "kind": "paused",
            "title": _("Paused"),
            "me": me,
            "project": me.project,
            "reason": str(paused),
        }
        return _render(request, context, status=422 if error else 200)
    except GuidelinesUnconfirmed:
        return render_guidelines(request, me, error)
    if lease is None:
        return _render_finished(request, me, error)
    return _render_item(
        request,
        me,
        lease,
        error=JudgmentError("ticket", error) if error else None,
        after=[before.item_id for before in held],
    )


def _render_ahead(request: HtmxRequest, me: Member, showing: Lease) -> HttpResponse:
    """The item after the one shown and those held, or a response without an item where there is none, or enough are held."""
    held = _read_held(request, me.project)
    lease = None
    if len(held) < me.project.items_ahead:
        with suppress(Paused, GuidelinesUnconfirmed):
            lease = claim(
                project=me.project,
                annotator=current_user(request),
                on_screen=showing,
                shown_s=min(read_seconds(request.POST.get("shown", "")) or 0.0, MAX_LATE_S),
                held=held,
                confirmed_only=True,
            )
    if lease is None:
        return _render(request, {"kind": "nothing", "project": me.project})
    return _render_item(request, me, lease, after=[before.item_id for before in (showing, *held)])


def _render_item(
    request: HtmxRequest,
    me: Member,
    lease: Lease,
    *,
    entry: FormInput | None = None,
    error: JudgmentError | None = None,
    after: Sequence[int] = (),
) -> HttpResponse:
    """The page of one item, filled in from the form or else from the draft; `after`: the ids of the items that are judged before
    it is shown."""
    item = queries.item_to_judge(lease.item_id, current_user(request))
    work_status = queries.work_status(me.project, current_user(request), item, after=after)
    entry = entry or FormInput.from_data(work_status.draft, lease.shown_order)
    context = screen.context(
        project=me.project,
        item=item,
        annotator=current_user(request),
        shown=lease.shown_order,
        extra_questions=lease.extra_questions,
        questions=queries.questions_of(lease.question_set_id),
        form_input=entry,
        error=error,
    )
    context |= {
        "me": me,
        "lease": lease,
        "ticket": lease.ticket(),
        "work_status": work_status,
        "qualification": _qualification(me, ahead=len(after)),
        "offers_review": isinstance(error, UnsafePreferred),
    }
    context["item_html"] = partial(screen.item_html, request, current_user(request), context)
    return _render(request, context, status=422 if error else 200)


def _qualification(me: Member, *, ahead: int) -> dict[str, int] | None:
    """The number of this qualification item; or `passed`, for a minute after passing; otherwise None."""
    total = me.project.qualification_items
    if not total or me.role != Member.Role.ANNOTATOR:
        return None
    if me.qualified_at is None:  # it may have come with the judgment that this page answers
        me.refresh_from_db(fields=["qualified_at"])
    if me.qualified_at is not None:
        is_new = not ahead and timezone.now() - me.qualified_at < PASSED_NOTICE_FOR
        return {"passed": 1} if is_new else None
    gold = {"annotator": me.user_id, "item__project": me.project, "item__gold__isnull": False}
    done = Judgment.objects.current().filter(**gold).count() + Skip.objects.filter(**gold).count()
    return {"number": min(total, done + 1 + ahead), "total": total}


def render_guidelines(request: HtmxRequest, me: Member, error: str, *, then: str = "work") -> HttpResponse:
    """The guidelines, to be confirmed; after a change, with the differences from the version confirmed before. then: the page to
    which the confirmation leads."""
    current, before = me.project.guideline, me.confirmed_guideline
    assert current is not None
    context = {
        "kind": "guidelines",
        "title": _("Guidelines"),
        "project": me.project,
        "guideline": current,
        "before": before,
        "lines": diff.lines(before.text, current.text) if before else [],
        "then": then,
        "error": error,
    }
    return _render(request, context, status=422 if error else 200)


def _render_finished(request: HtmxRequest, me: Member, error: str) -> HttpResponse:
    context = {"kind": "finished", "title": _("Finished"), "me": me, "project": me.project, "error": error}
    context["has_items"] = me.project.items.exists()
    return _render(request, context | my_day(current_user(request)), status=422 if error else 200)


def _render(request: HtmxRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    part = "#work" if request.htmx else ""
    response = render(request, f"annotation/judge.html{part}", context, status=status)
    response["Cache-Control"] = "no-store"  # a cached page would contain a used ticket
    return allow_images(response, context["project"])
