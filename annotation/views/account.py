"""One's own account: the tokens that scripts sign in with."""

from __future__ import annotations

from datetime import timedelta

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotation.access import person
from annotation.forms import TokenForm
from annotation.models import ApiToken


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """A new token is answered with the page itself, not a redirect: its key stands on it this once."""
    form = TokenForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        days = form.cleaned_data["days"]
        _, key = ApiToken.issue(
            user=person(request),
            name=form.cleaned_data["name"],
            scope=form.cleaned_data["scope"],
            expires_at=timezone.now() + timedelta(days=days) if days else None,
        )
        return _page(request, TokenForm(), key=key)
    return _page(request, form)


@login_required
@require_POST
def token_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    token = get_object_or_404(person(request).api_tokens, pk=pk)
    token.delete()
    messages.success(request, f"The token “{token.name}” is revoked: nothing can use it any more.")
    return redirect("account")


def _page(request: HttpRequest, form: forms.Form, *, key: str = "") -> HttpResponse:
    me = person(request)
    context = {
        "form": form,
        "key": key,
        "tokens": me.api_tokens.order_by("-id"),
        "memberships": me.memberships.select_related("project").order_by("project__name"),
        "address": request.build_absolute_uri("/api/v1/projects/"),
    }
    return render(request, "annotation/account.html", context, status=422 if form.errors else 200)
