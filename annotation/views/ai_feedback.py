"""AI feedback pages: the opinion sets of a project's judges, and how far the judge of one may be trusted."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from annotation.access import Role, member_for
from annotation.analytics.ai_feedback import cached_summaries, cached_trust_report
from annotation.logic import judge_trust
from annotation.views import HtmxRequest
from annotation.views.calibration_chart import calibration_chart
from annotation.views.deferred import is_deferred

PAGE = 20


@login_required
@require_GET
def ai_feedback(request: HtmxRequest, slug: str) -> HttpResponse:
    """The page; for htmx only its table, where it was deferred."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    context: dict[str, Any] = {"me": me, "project": me.project}
    if is_deferred(request, me.project):
        return render(request, "annotation/ai_feedback.html", context | {"deferred": True})
    opinion_sets = me.project.opinion_sets.select_related("constitution")
    page = Paginator(opinion_sets, PAGE).get_page(request.GET.get("page"))
    context |= {"page": page, "summaries": cached_summaries(me.project, list(page))}
    template = "annotation/ai_feedback.html#sets" if request.htmx else "annotation/ai_feedback.html"
    return render(request, template, context)


@login_required
@require_GET
def opinion_set(request: HtmxRequest, slug: str, number: int) -> HttpResponse:
    """The page; for htmx only its figures, where they were deferred."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    opinion_sets = me.project.opinion_sets.select_related("constitution", "project", "author")
    shown = get_object_or_404(opinion_sets, number=number)
    context: dict[str, Any] = {"me": me, "project": me.project, "opinion_set": shown}
    if is_deferred(request, me.project):
        return render(request, "annotation/opinion_set.html", context | {"deferred": True})
    report = cached_trust_report(shown)
    bins = [asdict(line) for line in report.reliability]
    context |= {
        "report": report,
        "comparison": report.trust.comparison,
        "calibration": bins,
        "calibration_chart": calibration_chart(bins),
        "min_ratio": judge_trust.MIN_RATIO,
        "min_swap_consistency": judge_trust.MIN_SWAP_CONSISTENCY,
        "max_excess_length_points": round(100 * judge_trust.MAX_EXCESS_LENGTH_PREFERENCE),
    }
    template = "annotation/opinion_set.html#figures" if request.htmx else "annotation/opinion_set.html"
    return render(request, template, context)
