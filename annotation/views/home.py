"""The first page after signing in: what there is to do, how my day went, and what I lead."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from annotation import queries
from annotation.access import may_create_projects, person


@login_required
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    user = person(request)
    mine = queries.assignments_of(user)
    context = {
        "work": [one for one in mine if not one.leads],
        "led": [one for one in mine if one.leads],
        "day": queries.day_of(user),
        "may_create": may_create_projects(user),
    }
    return render(request, "annotation/home.html", context)
