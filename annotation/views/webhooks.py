"""Who is told of what happens in a project, and what became of each message."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import queries
from annotation.access import Role, current_user, member_for
from annotation.actions import webhook_delivery
from annotation.actions import webhooks as actions
from annotation.actions.webhooks import WebhookError
from annotation.forms import WebhookEventsForm, WebhookForm
from annotation.models import Delivery, Member, Webhook
from annotation.models.webhooks import EVENTS
from annotation.views import HtmxRequest

PAGE = 20
SOON = timedelta(seconds=15)  # a message that is due within it is worth looking again for


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def webhooks(request: HttpRequest, slug: str) -> HttpResponse:
    """A new webhook is answered with the page itself, not a redirect: its secret stands on it this once."""
    me = member_for(request.user, slug, Role.LEAD)
    form, made = WebhookForm(request.POST if request.method == "POST" else None), None
    if request.method == "POST" and form.is_valid():
        try:
            made = actions.add(project=me.project, creator=current_user(request), **form.cleaned_data)
        except WebhookError as error:
            form.add_error(error.field, str(error))
        else:
            form = WebhookForm()
    context = {
        "me": me,
        "project": me.project,
        "webhooks": queries.webhooks_of(me.project),
        "most": actions.MAX_WEBHOOKS,
        "form": form,
        "made": made,
    }
    return render(request, "annotation/webhooks.html", context, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "POST"])
def webhook(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    me, found = _webhook(request, slug, pk)
    form = WebhookEventsForm(
        request.POST if request.method == "POST" else None, initial={"events": found.events}
    )
    if request.method == "POST" and form.is_valid():
        actions.change_events(webhook=found, events=form.cleaned_data["events"], actor=current_user(request))
        messages.success(request, "Its events are saved: it is told of these from now on.")
        return redirect("webhook", slug, pk)
    context = _log(request, me, found) | {"form": form}
    return render(request, "annotation/webhook.html", context, status=422 if form.errors else 200)


@login_required
@require_GET
def webhook_log(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    me, found = _webhook(request, slug, pk)
    return render(request, "annotation/webhook.html#log", _log(request, me, found))


@login_required
@require_POST
def webhook_switch(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Pause it, or let it go on: `active` is `yes` or `no`."""
    _, found = _webhook(request, slug, pk)
    active = request.POST.get("active") == "yes"
    actions.set_active(webhook=found, active=active, actor=current_user(request))
    messages.success(
        request,
        "It goes on, with what waited for it."
        if active
        else "It is paused: what is written already waits, and of what happens now it is not told.",
    )
    return redirect("webhook", slug, pk)


@login_required
@require_POST
def webhook_remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    _, found = _webhook(request, slug, pk)
    actions.remove(webhook=found, actor=current_user(request))
    messages.success(request, f"{found.host} is told nothing any more, and its log is gone.")
    return redirect("webhooks", slug)


@login_required
@require_POST
def webhook_test(request: HtmxRequest, slug: str, pk: int) -> HttpResponse:
    me, found = _webhook(request, slug, pk)
    webhook_delivery.send_test(found)
    return _sent(request, me, found)


@login_required
@require_POST
def webhook_redeliver(request: HtmxRequest, slug: str, pk: int, delivery: int) -> HttpResponse:
    me, found = _webhook(request, slug, pk)
    webhook_delivery.redeliver(get_object_or_404(found.deliveries, pk=delivery))
    return _sent(request, me, found)


def _webhook(request: HttpRequest, slug: str, pk: int) -> tuple[Member, Webhook]:
    me = member_for(request.user, slug, Role.LEAD)
    return me, get_object_or_404(me.project.webhooks.select_related("project"), pk=pk)


def _sent(request: HtmxRequest, me: Member, webhook: Webhook) -> HttpResponse:
    """The log, which follows the message by itself; without scripts, the page."""
    if request.htmx:
        return render(request, "annotation/webhook.html#log", _log(request, me, webhook))
    messages.success(request, "It is sent within seconds.")
    return redirect(f"{reverse('webhook', args=[me.project.slug, webhook.pk])}?{request.GET.urlencode()}")


def _log(request: HttpRequest, me: Member, webhook: Webhook) -> dict[str, Any]:
    state = request.GET.get("state", "")
    deliveries = webhook.deliveries.all()
    if state in Delivery.State.values:
        deliveries = deliveries.filter(state=state)
    page = Paginator(deliveries, PAGE).get_page(request.GET.get("page"))
    now = timezone.now()
    soon = now + SOON
    return {
        "me": me,
        "project": me.project,
        "webhook": webhook,
        "events": EVENTS,
        "now": now,
        "page": page,
        "lines": [(one, json.dumps(one.body, ensure_ascii=False, indent=1)) for one in page],
        "state": state,
        "states": Delivery.State.choices,
        "attempts": webhook_delivery.MAX_ATTEMPTS,
        "moving": webhook.active and any(one.state == "waiting" and one.next_at < soon for one in page),
    }
