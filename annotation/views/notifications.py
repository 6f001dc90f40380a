"""Notifications: the list, opening one, and marking them read."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotation.access import current_user
from annotation.actions import notifications as actions
from annotation.views.long_lists import LongList

PER_PAGE = 50


@login_required
@never_cache
@require_GET
def notifications(request: HttpRequest) -> HttpResponse:
    """One's own, newest first."""
    rows = current_user(request).notifications.select_related("project").order_by("-created_at", "-pk")
    page = LongList(rows, PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "annotation/notifications.html", {"page": page})


@login_required
@require_POST
def notification_open(request: HttpRequest, pk: int) -> HttpResponse:
    """Marks one as read and leads to its page, or back to the list with `stay`."""
    me = current_user(request)
    notification = get_object_or_404(me.notifications, pk=pk)
    actions.mark_read(user=me, pk=pk)
    return redirect("notifications" if "stay" in request.POST else notification.url)


@login_required
@require_POST
def notifications_read(request: HttpRequest) -> HttpResponse:
    """Marks all as read."""
    actions.mark_read(user=current_user(request))
    return redirect("notifications")
