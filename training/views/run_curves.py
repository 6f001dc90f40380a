"""The curves of several runs over one another, and as CSV. The address names the runs, so that it can be shared."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_GET

from annotation.access import Role, member_for
from annotation.models import Member
from training.models import Run
from training.runs.curves import MOST_RUNS, chart_data, csv_lines, metrics_of, overlay, run_label
from training.runs.queries import runs_of

OFFERED = 30
"""The newest runs that can be chosen, beside those that are shown."""


@login_required
@require_GET
def run_curves(request: HttpRequest, slug: str) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    chosen = _chosen(me, request.GET)
    drawn = overlay(chosen)
    newest = runs_of(me.project).select_related("round").filter(metrics__isnull=False).distinct()[:OFFERED]
    offered = list(newest)
    offered += [run for run in chosen if run not in offered]
    metrics = metrics_of(drawn)
    context = {
        "me": me,
        "project": me.project,
        "offered": [(run, run_label(run), run in chosen) for run in offered],
        "drawn": drawn,
        "most": MOST_RUNS,
        "is_cut": len(set(request.GET.getlist("run"))) > MOST_RUNS,
        "data": {
            "known": chart_data(),
            "metrics": metrics,
            "runs": [{"name": one.name, "curves": one.curves} for one in drawn],
        },
        "newest": [
            (name, [one.curves[name][-1][1] if name in one.curves else None for one in drawn])
            for name in metrics
        ],
        "query": urlencode([("run", one.run.pk) for one in drawn]),
    }
    return render(request, "training/run_curves.html", context)


@login_required
@require_GET
def run_curves_csv(request: HttpRequest, slug: str) -> HttpResponse:
    """The points of the runs `run`, of the metrics `metric` alone where there are any."""
    me = member_for(request.user, slug, Role.LEAD, Role.REVIEWER)
    lines = csv_lines(overlay(_chosen(me, request.GET)), request.GET.getlist("metric"))
    headers = {"Content-Disposition": 'attachment; filename="curves.csv"'}
    return HttpResponse(b"".join(lines), content_type="text/csv; charset=utf-8", headers=headers)


def _chosen(me: Member, params: QueryDict) -> list[Run]:
    """The project's runs that the address names, at most six, in that order."""
    ids = list(dict.fromkeys(int(pk) for pk in params.getlist("run") if pk.isdecimal() and len(pk) < 19))
    runs = {run.pk: run for run in runs_of(me.project).select_related("round").filter(pk__in=ids[:MOST_RUNS])}
    return [runs[pk] for pk in ids if pk in runs]
