"""Warnings and pauses: by a lead, or by the rules that a lead set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from annotation import audit
from annotation.actions import qualification
from annotation.analytics.annotators import AnnotatorStats, annotator_stats
from annotation.analytics.filters import NO_FILTERS, Filters
from annotation.logic.limits import MAX_REASON_CHARS
from annotation.models import AuditEntry, Judgment, Member, Project, Rule, User


class RuleError(Exception):
    """What cannot be done, in a sentence for the lead; `field` names what to mend."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


# --- by a lead ------------------------------------------------------------------------------------------------


@transaction.atomic
def pause(*, member: Member, reason: str, actor: User | None) -> bool:
    """Give somebody no more work until a lead lifts it. False where they are paused already.

    Raises:
        RuleError: there is no reason, or it is too long.
    """
    reason = _reason(reason)
    locked = Member.objects.select_for_update().get(pk=member.pk)
    if locked.paused_at:
        return False
    locked.paused_at, locked.paused_reason = timezone.now(), reason
    locked.save(update_fields=["paused_at", "paused_reason"])
    _record("member.paused", member, actor, reason)
    return True


@transaction.atomic
def resume(*, member: Member, actor: User) -> None:
    """Lift a pause and a warning. The rules look only at what comes from here on; who has done the qualification and did
    not pass it has it behind them."""
    locked = Member.objects.select_for_update(of=("self",)).select_related("project").get(pk=member.pk)
    if not locked.paused_at and not locked.warned_at:
        return
    waived = bool(locked.paused_at and not locked.qualified_at and qualification.is_finished(locked))
    if waived:
        locked.qualified_at = timezone.now()
    locked.paused_at, locked.paused_reason, locked.warned_at, locked.warning = None, "", None, ""
    locked.save(update_fields=["qualified_at", "paused_at", "paused_reason", "warned_at", "warning"])
    _record("member.resumed", member, actor, "", qualified=waived)


@transaction.atomic
def warn(*, member: Member, reason: str, actor: User | None) -> None:
    """Tell somebody something above their work, until it is lifted.

    Raises:
        RuleError: there is nothing to tell, or it is too long.
    """
    reason = _reason(reason)
    Member.objects.filter(pk=member.pk).update(warned_at=timezone.now(), warning=reason)
    _record("member.warned", member, actor, reason)


def _reason(reason: str) -> str:
    reason = reason.strip()
    if not reason or "\0" in reason:
        raise RuleError("reason", "Say why: they read it above their work.")
    if len(reason) > MAX_REASON_CHARS:
        raise RuleError("reason", f"The reason may have at most {MAX_REASON_CHARS} characters.")
    return reason


def _record(verb: str, member: Member, actor: User | None, reason: str, **data: object) -> AuditEntry:
    return audit.record(
        verb,
        project=member.project,
        actor=actor,
        subject=member.user.pseudonym,
        user=member.user_id,
        reason=reason,
        **data,
    )


# --- the rules themselves -------------------------------------------------------------------------------------


@transaction.atomic
def save_rule(*, project: Project, actor: User, measure: str, action: str, below: float, after: int) -> Rule:
    """One rule for each measure and action: a second one takes the first one's place.

    Raises:
        RuleError: the measure or the action is unknown, or a number makes no sense.
    """
    if measure not in Rule.Measure.values:
        raise RuleError("measure", f"{measure!r} is no measure: {', '.join(Rule.Measure.values)}.")
    if action not in Rule.Action.values:
        raise RuleError("action", f"{action!r} is no action: {', '.join(Rule.Action.values)}.")
    if measure == Rule.Measure.SECONDS and not 0 < below <= 3600:
        raise RuleError("below", "The mark is a number of seconds, from 1 to 3,600.")
    if measure != Rule.Measure.SECONDS and not 0 < below <= 1:
        raise RuleError(
            "below", f"The mark is a percentage, from 1 to 100: this would be {100 * below:,.4g}."
        )
    if not 1 <= after <= 10_000:
        raise RuleError("after", "The number of judgments is from 1 to 10,000.")
    rule, _ = Rule.objects.update_or_create(
        project=project, measure=measure, action=action, defaults={"below": below, "after": after}
    )
    audit.record("rule.changed", project=project, actor=actor, subject=str(rule), below=below, after=after)
    return rule


@transaction.atomic
def remove_rule(*, rule: Rule, actor: User) -> None:
    audit.record(
        "rule.changed", project=rule.project, actor=actor, subject=f"no longer: {rule}"[:200], removed=True
    )
    rule.delete()


# --- what they do ---------------------------------------------------------------------------------------------

LOOK_BACK = timedelta(minutes=10)
"""A project is looked at while somebody works in it; a clock that stood still for a while misses nothing."""


@dataclass(frozen=True)
class Measured:
    """What a rule looks at: the value, and on how many judgments it rests."""

    value: float
    judgments: int


def measured(one: AnnotatorStats, measure: str) -> Measured | None:
    """None where there is nothing to measure."""
    if measure == Rule.Measure.SECONDS:
        return Measured(one.median_seconds, one.judgments) if one.median_seconds is not None else None
    if measure == Rule.Measure.GOLD:
        return Measured(one.gold.share.value, one.gold.judgments) if one.gold.share else None
    return Measured(one.agreement.value, one.tally.clusters) if one.agreement else None


def apply_rules() -> int:
    """Look at every project with rules in which somebody judged lately; returns how many were warned or paused."""
    since = timezone.now() - LOOK_BACK
    busy = Judgment.objects.filter(created_at__gte=since).values("item__project")
    return sum(
        apply_to(project) for project in Project.objects.filter(rules__isnull=False, pk__in=busy).distinct()
    )


def apply_to(project: Project) -> int:
    """Warn and pause the project's annotators by its rules; returns how many it was. Whom a lead let go on is measured by
    what they did since."""
    rules = list(project.rules.order_by("action", "measure"))
    lifted = _lifted(project)
    touched = 0
    for one in annotator_stats(project, NO_FILTERS):
        if one.member is None or one.member.role != Member.Role.ANNOTATOR or one.member.paused_at:
            continue
        if since := lifted.get(one.user.pk):
            again = annotator_stats(project, Filters(annotator=one.user, since=since))
            one = next((s for s in again if s.user.pk == one.user.pk), None) or AnnotatorStats(
                one.user, one.member
            )
        touched += any(_apply(rule, one) for rule in rules)
    return touched


def _apply(rule: Rule, one: AnnotatorStats) -> bool:
    found, member = measured(one, rule.measure), one.member
    if member is None or found is None or found.judgments < rule.after or found.value >= rule.below:
        return False
    sentence = _sentence(rule, found)
    if rule.action == Rule.Action.PAUSE:
        return pause(member=member, reason=sentence, actor=None)
    if member.warned_at:
        return False
    warn(member=member, reason=sentence, actor=None)
    return True


def _sentence(rule: Rule, found: Measured) -> str:
    """What they are told."""
    if rule.measure == Rule.Measure.SECONDS:
        return (
            f"Your median time is {found.value:.0f} seconds a judgment, over {found.judgments}; "
            f"at least {rule.below:.0f} are expected. Please take your time."
        )
    what = (
        "accuracy on items with a known answer"
        if rule.measure == Rule.Measure.GOLD
        else "agreement with others"
    )
    return (
        f"Your {what} is {100 * found.value:.0f}%, over {found.judgments} items; at least {100 * rule.below:.0f}% is "
        "expected. Please read the guidelines once more."
    )


def _lifted(project: Project) -> Mapping[int, datetime]:
    """When a lead last let each person go on."""
    audit_entries = AuditEntry.objects.filter(project=project, verb="member.resumed").order_by("id")
    return {entry.data["user"]: entry.at for entry in audit_entries if "user" in entry.data}
