"""Webhook pages: events, state, and a log of messages."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import queries
from annotation.access import Role, current_user, member_for
from annotation.actions import webhook_delivery
from annotation.actions import webhooks as actions
from annotation.actions.webhooks import WebhookError
from annotation.forms.data import WebhookEventsForm, WebhookForm
from annotation.models import Delivery, Member, Webhook
from annotation.models.webhooks import EVENTS
from annotation.views import HtmxRequest
from annotation.views.long_lists import LongList

PAGE = 20
SOON = timedelta(seconds=15)  # the page polls while a message is due within this time


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def webhooks(request: HttpRequest, slug: str) -> HttpResponse:
    """A new webhook is returned on the page itself, without a redirect: its secret is shown only once."""
    me = member_for(request.user, slug, Role.LEAD)
    form, created = WebhookForm(request.POST if request.method == "POST" else None), None
    if request.method == "POST" and form.is_valid():
        try:
            created = actions.add(project=me.project, creator=current_user(request), **form.cleaned_data)
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
        "created": created,
    }
    return render(request, "annotation/webhooks.html", context, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "POST"])
def webhook(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    me, webhook = _webhook(request, slug, pk)
    form = WebhookEventsForm(
        request.POST if request.method == "POST" else None, initial={"events": webhook.events}
    )
    if request.method == "POST" and form.is_valid():
        actions.change_events(
            webhook=webhook, events=form.cleaned_data["events"], actor=current_user(request)
        )
        messages.success(request, _("The events are saved."))
        return redirect("webhook", slug, pk)
    context = _log(request, me, webhook) | {"form": form}
    return render(request, "annotation/webhook.html", context, status=422 if form.errors else 200)


@login_required
@require_GET
def webhook_log(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    me, webhook = _webhook(request, slug, pk)
    return render(request, "annotation/webhook.html#log", _log(request, me, webhook))


@login_required
@require_POST
def webhook_switch(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Pauses or resumes a webhook: `active` is `yes` or `no`."""
    _me, webhook = _webhook(request, slug, pk)
    active = request.POST.get("active") == "yes"
    actions.set_active(webhook=webhook, active=active, actor=current_user(request))
    messages.success(
        request,
        _("Resumed. Queued messages are being sent.")
        if active
        else _("Paused. Queued messages wait, and new events are not sent."),
    )
    return redirect("webhook", slug, pk)


@login_required
@require_POST
def webhook_remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    _me, webhook = _webhook(request, slug, pk)
    actions.remove(webhook=webhook, actor=current_user(request))
    text = _("The webhook for %(host)s and its log are removed.")
    messages.success(request, text % {"host": webhook.host})
    return redirect("webhooks", slug)


@login_required
@require_POST
def webhook_test(request: HtmxRequest, slug: str, pk: int) -> HttpResponse:
    me, webhook = _webhook(request, slug, pk)
    webhook_delivery.send_test(webhook)
    return _sent(request, me, webhook)


@login_required
@require_POST
def webhook_redeliver(request: HtmxRequest, slug: str, pk: int, delivery: int) -> HttpResponse:
    me, webhook = _webhook(request, slug, pk)
    webhook_delivery.redeliver(get_object_or_404(webhook.deliveries, pk=delivery))
    return _sent(request, me, webhook)


def _webhook(request: HttpRequest, slug: str, pk: int) -> tuple[Member, Webhook]:
    me = member_for(request.user, slug, Role.LEAD)
    return me, get_object_or_404(me.project.webhooks.select_related("project"), pk=pk)


def _sent(request: HtmxRequest, me: Member, webhook: Webhook) -> HttpResponse:
    """The log, which reloads itself; without scripts, the page."""
    if request.htmx:
        return render(request, "annotation/webhook.html#log", _log(request, me, webhook))
    messages.success(request, _("It will be sent within seconds."))
    return redirect(f"{reverse('webhook', args=[me.project.slug, webhook.pk])}?{request.GET.urlencode()}")


def _log(request: HttpRequest, me: Member, webhook: Webhook) -> dict[str, Any]:
    state = request.GET.get("state", "")
    deliveries = webhook.deliveries.all()
    if state in Delivery.State.values:
        deliveries = deliveries.filter(state=state)
    page = LongList(deliveries, PAGE).get_page(request.GET.get("page"))
    now = timezone.now()
    soon = now + SOON
    return {
        "me": me,
        "project": me.project,
        "webhook": webhook,
        "events": EVENTS,
        "now": now,
        "page": page,
        "lines": [(delivery, json.dumps(delivery.body, ensure_ascii=False, indent=1)) for delivery in page],
        "state": state,
        "states": Delivery.State.choices,
        "attempts": webhook_delivery.MAX_ATTEMPTS,
        "moving": webhook.active
        and any(delivery.state == "waiting" and delivery.next_at < soon for delivery in page),
    }
