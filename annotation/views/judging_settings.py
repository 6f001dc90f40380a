"""An annotator's own settings of the judging screens: layout, text size, keys."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotation.access import current_user
from annotation.forms.account import JudgingKeysForm, JudgingViewForm
from annotation.logic import judging_keys
from annotation.models import User
from annotation.views import HtmxRequest


@login_required
@never_cache
@require_GET
def settings(request: HttpRequest) -> HttpResponse:
    return _page(request, current_user(request))


@login_required
@require_POST
def view(request: HtmxRequest) -> HttpResponse:
    """Stores layout and text size: of the menu on the judging screens, for which there is nothing to show, and of the page."""
    me = current_user(request)
    form = JudgingViewForm(request.POST, instance=me)
    if not form.is_valid():
        return _page(request, me, view_form=form)
    form.save(commit=False).save(update_fields=form.Meta.fields)
    return HttpResponse(status=204) if request.htmx else _saved(request, _("Layout and text size are saved."))


@login_required
@require_POST
def keys(request: HttpRequest) -> HttpResponse:
    """Stores the keys, or with `reset` goes back to the defaults."""
    me = current_user(request)
    if "reset" in request.POST:
        me.judging_keys = {}
        me.save(update_fields=["judging_keys"])
        return _saved(request, _("All keys are the defaults again."))
    form = JudgingKeysForm(request.POST)
    if not form.is_valid():
        return _page(request, me, keys_form=form)
    me.judging_shortcuts = form.cleaned_data.pop("shortcuts")
    me.judging_keys = judging_keys.changed(form.cleaned_data)
    me.save(update_fields=["judging_keys", "judging_shortcuts"])
    return _saved(request, _("Your keys are saved."))


def _saved(request: HttpRequest, sentence: str) -> HttpResponse:
    messages.success(request, sentence)
    return redirect("judging-settings")


def _page(
    request: HttpRequest,
    me: User,
    *,
    view_form: forms.ModelForm | None = None,
    keys_form: forms.Form | None = None,
) -> HttpResponse:
    current = judging_keys.keys_of(me.judging_keys)
    context = {
        "view_form": view_form or JudgingViewForm(instance=me),
        "keys_form": keys_form or JudgingKeysForm(initial=current | {"shortcuts": me.judging_shortcuts}),
        "is_changed": bool(judging_keys.changed(current)),
    }
    return render(
        request, "annotation/judging_settings.html", context, status=422 if view_form or keys_form else 200
    )
