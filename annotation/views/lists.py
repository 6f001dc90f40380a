"""The response of a page with a list: the page, or the list's rows as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import render
from django_htmx.http import push_url

from annotation.http.streaming import stream_response
from annotation.lists.listing import Listing
from annotation.models import Member
from annotation.views import HtmxRequest


def render_list(
    request: HtmxRequest,
    me: Member,
    listing: Listing,
    template: str,
    context: Mapping[str, Any] | None = None,
    *,
    status: int = 200,
) -> HttpResponseBase:
    """The page, which finds the list as `listing`; with `format=csv` in the query, all rows that match as a file. htmx takes what
    it needs of the page, and is told the address without empty filters."""
    if request.GET.get("format") == "csv":
        return stream_response(
            listing.csv_lines(),
            content_type="text/csv; charset=utf-8",
            name=f"{listing.definition.name}-{me.project.slug}.csv",
        )
    page: dict[str, Any] = {"me": me, "project": me.project, "listing": listing, **(context or {})}
    response: HttpResponse = render(request, template, page, status=status)
    return push_url(response, listing.path + listing.query) if request.htmx else response
