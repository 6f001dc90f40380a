"""One annotator: speed, agreement, biases, failed gold items; and messages to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from annotation.access import Role, current_user, member_for
from annotation.actions import exclusions, rules
from annotation.actions.exclusions import ExclusionError
from annotation.actions.rules import RuleError
from annotation.analytics import annotators, time_steps
from annotation.analytics.agreement import tallies
from annotation.analytics.annotators import AnnotatorStats
from annotation.analytics.figures import gather
from annotation.analytics.filters import NO_FILTERS, Filters
from annotation.models import AuditEntry, Exclusion, Judgment, Member, Project, User
from annotation.views import HtmxRequest, charts, people_quality
from annotation.views.deferred import render_with_figures


@login_required
@require_GET
def annotator(request: HtmxRequest, slug: str, username: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    return _page(request, me, _find_user(me.project, username))


@login_required
@require_POST
def annotator_pause(request: HtmxRequest, slug: str, username: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    member = _member(me.project, username)
    text = _("%(name)s gets no more work until you lift the pause.")
    return _act_with_reason(request, me, member.user, partial(rules.pause, member=member), text)


@login_required
@require_POST
def annotator_warn(request: HtmxRequest, slug: str, username: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    member = _member(me.project, username)
    text = _("%(name)s will see your message above their work.")
    return _act_with_reason(request, me, member.user, partial(rules.warn, member=member), text)


@login_required
@require_POST
def annotator_exclude(request: HtmxRequest, slug: str, username: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    user = _find_user(me.project, username)
    text = _("Judgments of %(name)s do not count in snapshots and rounds any more.")
    return _act_with_reason(
        request, me, user, partial(exclusions.exclude, project=me.project, user=user), text
    )


def _act_with_reason(
    request: HtmxRequest, me: Member, user: User, act: Callable[..., object], success: str
) -> HttpResponse:
    """Call `act` with the reason of the form, and say that it was done, or what is wrong with the reason."""
    try:
        act(reason=request.POST.get("reason", ""), actor=current_user(request))
    except (RuleError, ExclusionError) as error:
        return _page(request, me, user, error=str(error))
    messages.success(request, success % {"name": user})
    return redirect("annotator", me.project.slug, user.username)


@login_required
@require_POST
def annotator_resume(request: HttpRequest, slug: str, username: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    member = _member(me.project, username)
    rules.resume(member=member, actor=current_user(request))
    messages.success(
        request, _("%(name)s can continue. The rules apply to new judgments only.") % {"name": member.user}
    )
    return redirect("annotator", slug, username)


@login_required
@require_POST
def annotator_include(request: HttpRequest, slug: str, username: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    user = _find_user(me.project, username)
    exclusions.include(project=me.project, user=user, actor=current_user(request))
    messages.success(
        request, _("Judgments of %(name)s count again from the next snapshot on.") % {"name": user}
    )
    return redirect("annotator", slug, username)


def _member(project: Project, username: str) -> Member:
    _check_username(username)
    return get_object_or_404(project.members.select_related("user", "project"), user__username=username)


def _find_user(project: Project, username: str) -> User:
    """A member of the project, or somebody who has judged in it.

    Raises:
        Http404: there is nobody of that name.
    """
    _check_username(username)
    user = User.objects.filter(username=username).first()
    if user is None or not (
        Member.objects.filter(project=project, user=user).exists()
        or Judgment.objects.filter(project=project, annotator=user).exists()
    ):
        raise Http404("There is no annotator of that name in this project.")
    return user


def _check_username(username: str) -> None:
    """
    Raises:
        Http404: it contains NUL, which PostgreSQL refuses in a query.
    """
    if "\0" in username:
        raise Http404("There is no annotator of that name in this project.")


def _page(request: HtmxRequest, me: Member, user: User, error: str = "") -> HttpResponse:
    project = me.project
    member = Member.objects.filter(project=project, user=user).first()
    page: dict[str, Any] = {"me": me, "project": project, "annotator": user, "member": member, "error": error}
    page["exclusion"] = Exclusion.objects.filter(project=project, user=user).first()
    if not request.htmx:
        page |= _lists(project, user)
    figures = partial(_figures, project, user, member)
    return render_with_figures(
        request, project, "annotation/annotator.html", page, figures, status=422 if error else 200
    )


def _lists(project: Project, user: User) -> dict[str, Any]:
    return {
        "judgments": annotators.last_judgments(project, user),
        "audit_entries": AuditEntry.objects.filter(
            Q(verb__startswith="member.") | Q(verb__startswith="judgments."),
            project=project,
            data__user=user.pk,
        )
        .select_related("actor")
        .order_by("-id")[:10],
    }


def _figures(project: Project, user: User, member: Member | None) -> dict[str, Any]:
    own = Filters(annotator=user)
    span = time_steps.judgment_span(project, own)
    step = span.step(time_steps.MAX_AGREEMENT_STEPS) if span else time_steps.WEEK
    all_stats, by, days, parts = gather(
        lambda: annotators.annotator_stats(project, NO_FILTERS),
        lambda: tallies(project, own, "at", step=step),
        lambda: annotators.seconds_by_day(project, own),
        lambda: annotators.session_parts(project, user, NO_FILTERS),
    )
    stats = next((row for row in all_stats if row.user.pk == user.pk), AnnotatorStats(user, member))
    return {
        "stats": stats,
        "person": people_quality.person_of(project, stats),
        "step": step,
        "agreement": charts.agreement_over_time(project, by["at"], step),
        "speed": charts.seconds_over_time(days[-14:]),
        "session_parts": parts,
        "misses": annotators.gold_misses(project, own).read(("judgment_id",), limit=10, descending=True),
    }
