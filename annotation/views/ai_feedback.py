"""AI feedback pages: the opinion sets of a project's judges, and how far the judge of one may be trusted."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from annotation.access import Role, member_for
from annotation.analytics.ai_feedback import cached_trust_report, summaries
from annotation.logic import judge_trust
from annotation.models import OpinionSet, Project
from annotation.views import HtmxRequest
from annotation.views.calibration_chart import calibration_chart
from annotation.views.deferred import render_with_figures

PAGE = 20


@login_required
@require_GET
def ai_feedback(request: HtmxRequest, slug: str) -> HttpResponse:
    """The page; for htmx only its table, where it was deferred."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    page = {"me": me, "project": me.project}
    figures = partial(_sets, me.project, request.GET.get("page"))
    return render_with_figures(request, me.project, "annotation/ai_feedback.html", page, figures, part="sets")


def _sets(project: Project, number: str | None) -> dict[str, Any]:
    page = Paginator(project.opinion_sets.select_related("constitution"), PAGE).get_page(number)
    return {"page": page, "summaries": summaries(project, list(page))}


@login_required
@require_GET
def opinion_set(request: HtmxRequest, slug: str, number: int) -> HttpResponse:
    """The page; for htmx only its figures, where they were deferred."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    opinion_sets = me.project.opinion_sets.select_related("constitution", "project", "author")
    shown = get_object_or_404(opinion_sets, number=number)
    page = {"me": me, "project": me.project, "opinion_set": shown}
    figures = partial(_report, shown)
    return render_with_figures(request, me.project, "annotation/opinion_set.html", page, figures)


def _report(opinion_set: OpinionSet) -> dict[str, Any]:
    report = cached_trust_report(opinion_set)
    bins = [asdict(line) for line in report.reliability]
    return {
        "report": report,
        "comparison": report.trust.comparison,
        "calibration_chart": calibration_chart(bins),
        "min_ratio": judge_trust.MIN_RATIO,
        "min_swap_consistency": judge_trust.MIN_SWAP_CONSISTENCY,
        "max_excess_length_points": round(100 * judge_trust.MAX_EXCESS_LENGTH_PREFERENCE),
    }
