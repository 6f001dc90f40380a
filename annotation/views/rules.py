"""Rules that warn or pause annotators whose quality falls below a threshold."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from annotation.access import Role, current_user, member_for
from annotation.actions import rules as actions
from annotation.actions.rules import RuleError
from annotation.models import AuditEntry, Member, Rule


@login_required
@require_http_methods(["GET", "POST"])
def rules(request: HttpRequest, slug: str) -> HttpResponse:
    if request.method == "GET":
        return _page(request, member_for(request.user, slug, Role.LEAD, Role.REVIEWER))
    me = member_for(request.user, slug, Role.LEAD)
    try:
        rule = _save(request, me)
    except RuleError as error:
        return _page(request, me, error=error)
    text = _("%(rule)s: it is checked every minute while people work.")
    messages.success(request, text % {"rule": rule})
    return redirect("rules", slug)


@login_required
@require_POST
def rule_remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    me = member_for(request.user, slug, Role.LEAD)
    rule = get_object_or_404(Rule.objects.select_related("project"), pk=pk, project=me.project)
    actions.remove_rule(rule=rule, actor=current_user(request))
    messages.success(request, _("The rule is removed. Its warnings and pauses stay until you lift them."))
    return redirect("rules", slug)


def _save(request: HttpRequest, me: Member) -> Rule:
    """
    Raises:
        RuleError: the values are not a valid rule.
    """
    measure = request.POST.get("measure", "")
    below = None
    if measure != Rule.Measure.CHECKS:  # which have limits of their own
        below = _parse_number("below", request.POST.get("below", ""))
        below = below if measure == Rule.Measure.SECONDS else below / 100
    return actions.save_rule(
        project=me.project,
        actor=current_user(request),
        measure=measure,
        action=request.POST.get("action", ""),
        below=below,
        after=int(_parse_number("after", request.POST.get("after", ""))),
    )


def _parse_number(field: str, text: str) -> float:
    try:
        number = float(text[:12])
    except ValueError:
        raise RuleError(field, _("That is not a number.")) from None
    if not 0 <= number < 1e6:
        raise RuleError(field, _("That number is out of range."))
    return number


def _page(request: HttpRequest, me: Member, error: RuleError | None = None) -> HttpResponse:
    project = me.project
    context = {
        "me": me,
        "project": project,
        "rules": project.rules.order_by("measure", "action"),
        "measures": Rule.Measure.choices,
        "actions": Rule.Action.choices,
        "stopped": project.members.exclude(paused_at=None, warned_at=None)
        .select_related("user")
        .order_by("user__username"),
        "audit_entries": AuditEntry.objects.filter(
            project=project, actor=None, verb__startswith="member."
        ).order_by("-id")[:20],
        "entered": request.POST,
        "error": error,
    }
    return render(request, "annotation/rules.html", context, status=422 if error else 200)
