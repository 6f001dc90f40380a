"""Warnings and pauses of annotators: by a lead, or by the rules that a lead set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, override

from annotation import audit
from annotation.actions import notifications, qualification
from annotation.analytics.annotators import AnnotatorStats, annotator_stats
from annotation.analytics.figures import worker_memory
from annotation.analytics.filters import NO_FILTERS, Filters
from annotation.logic.limits import MAX_REASON_CHARS
from annotation.logic.outliers import Outlier, Reason, words_per_minute
from annotation.logic.storable_text import storage_problem
from annotation.logic.translation import format_number
from annotation.models import AuditEntry, Judgment, Member, Notification, Project, Rule, User


class RuleError(Exception):
    """Why a pause, a warning or a rule is refused, in a sentence; `field` names what to correct."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


# --- by a lead ------------------------------------------------------------------------------------------------


@transaction.atomic
def pause(*, member: Member, reason: str, actor: User | None) -> bool:
    """Give a member no more items until a lead lifts the pause. False if they are paused already.

    Raises:
        RuleError: there is no reason, or it is too long.
    """
    reason = _checked_reason(reason)
    locked = Member.objects.select_for_update().get(pk=member.pk)
    if locked.paused_at:
        return False
    locked.paused_at, locked.paused_reason = timezone.now(), reason
    locked.save(update_fields=["paused_at", "paused_reason"])
    _record("member.paused", member, actor, reason)
    notifications.notify_member(member=member, kind=Notification.Kind.PAUSED)
    return True


@transaction.atomic
def resume(*, member: Member, actor: User) -> None:
    """Lift a pause and a warning; the rules measure only what comes after. A member who failed the qualification counts as
    qualified from now on."""
    locked = Member.objects.select_for_update(of=("self",)).select_related("project").get(pk=member.pk)
    if not locked.paused_at and not locked.warned_at:
        return
    waived = bool(locked.paused_at and not locked.qualified_at and qualification.is_finished(locked))
    if waived:
        locked.qualified_at = timezone.now()
    locked.paused_at, locked.paused_reason, locked.warned_at, locked.warning = None, "", None, ""
    locked.marked_for = []
    locked.save(
        update_fields=["qualified_at", "paused_at", "paused_reason", "warned_at", "warning", "marked_for"]
    )
    _record("member.resumed", member, actor, "", qualified=waived)
    notifications.notify_member(member=member, kind=Notification.Kind.RESUMED)


@transaction.atomic
def warn(*, member: Member, reason: str, actor: User | None) -> None:
    """Show a member a warning above their work until a lead lifts it.

    Raises:
        RuleError: there is no reason, or it is too long.
    """
    reason = _checked_reason(reason)
    Member.objects.filter(pk=member.pk).update(warned_at=timezone.now(), warning=reason)
    _record("member.warned", member, actor, reason)
    notifications.notify_member(member=member, kind=Notification.Kind.WARNED)


def _checked_reason(reason: str) -> str:
    reason = reason.strip()
    if not reason or storage_problem(reason):
        raise RuleError("reason", _("Give a reason: they read it above their work."))
    if len(reason) > MAX_REASON_CHARS:
        raise RuleError(
            "reason", _("The reason may have at most %(n)s characters.") % {"n": MAX_REASON_CHARS}
        )
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


def add_default_rule(project: Project) -> None:
    """A new project's rule, which a lead may remove: whoever the checks of the Quality page mark is warned."""
    Rule.objects.create(project=project, measure=Rule.Measure.CHECKS, action=Rule.Action.WARN, below=0.0)


# --- the rules themselves -------------------------------------------------------------------------------------


@transaction.atomic
def save_rule(
    *, project: Project, actor: User, measure: str, action: str, after: int, below: float | None = None
) -> Rule:
    """Create or replace the rule for a measure and an action.

    below: the threshold; None for the checks, which have limits of their own.

    Raises:
        RuleError: the measure or the action is unknown, or a number is missing or out of range.
    """
    if measure not in Rule.Measure.values:
        raise RuleError(
            "measure",
            _("%(measure)s is not a measure: %(measures)s.")
            % {"measure": repr(measure), "measures": ", ".join(Rule.Measure.values)},
        )
    if action not in Rule.Action.values:
        raise RuleError(
            "action",
            _("%(action)s is not an action: %(actions)s.")
            % {"action": repr(action), "actions": ", ".join(Rule.Action.values)},
        )
    below = _checked_threshold(measure, below)
    if not 1 <= after <= 10_000:
        raise RuleError("after", _("The number of judgments is from 1 to 10,000."))
    rule, _created = Rule.objects.update_or_create(
        project=project, measure=measure, action=action, defaults={"below": below, "after": after}
    )
    audit.record(
        "rule.changed", project=project, actor=actor, subject=_in_english(rule), below=below, after=after
    )
    return rule


def _checked_threshold(measure: str, below: float | None) -> float:
    if measure == Rule.Measure.CHECKS:
        if below is not None:
            raise RuleError("below", _("The checks have limits of their own: leave the threshold out."))
        return 0.0
    if measure == Rule.Measure.SECONDS and (below is None or not 0 < below <= 3600):
        raise RuleError("below", _("The threshold is a number of seconds, from 1 to 3,600."))
    if below is None:
        raise RuleError("below", _("The threshold is a percentage, from 1 to 100."))
    if measure != Rule.Measure.SECONDS and not 0 < below <= 1:
        raise RuleError(
            "below",
            _("The threshold is a percentage, from 1 to 100, not %(entered)s.")
            % {"entered": f"{100 * below:,.4g}"},
        )
    return below


@transaction.atomic
def remove_rule(*, rule: Rule, actor: User) -> None:
    audit.record(
        "rule.changed",
        project=rule.project,
        actor=actor,
        subject=f"removed: {_in_english(rule)}"[:200],
        removed=True,
    )
    rule.delete()


def _in_english(rule: Rule) -> str:
    """A rule in words, for the audit trail."""
    with override("en"):
        return str(rule)


# --- applying them --------------------------------------------------------------------------------------------

# without figures, which would tell how many such items there were
BELOW_ON_GOLD = gettext_noop(
    "Your accuracy on items with a known answer is below what is expected. Please read the guidelines once more."
)
LOOK_BACK = timedelta(minutes=10)
"""Projects are checked while somebody works in them. The sweep runs far more often, so a missed run costs nothing."""


@dataclass(frozen=True)
class Measurement:
    """The value that a rule is compared with, and the number of judgments that it is based on."""

    value: float
    judgments: int


def measurement(stats: AnnotatorStats, measure: str) -> Measurement | None:
    """An annotator's value of a measure; None if there is no data."""
    if measure == Rule.Measure.SECONDS:
        if stats.median_seconds is None:
            return None
        return Measurement(stats.median_seconds, stats.judgments)
    if measure == Rule.Measure.GOLD:
        return Measurement(stats.gold.share.value, stats.gold.judgments) if stats.gold.share else None
    return Measurement(stats.agreement.value, stats.tally.clusters) if stats.agreement else None


def apply_rules() -> int:
    """Apply the rules of every project in which somebody judged lately, and tell leads who stands out. Returns how many
    annotators were warned or paused."""
    since = timezone.now() - LOOK_BACK
    active = Judgment.objects.filter(created_at__gte=since).values("project")
    return sum(apply_to_project(project) for project in Project.objects.filter(pk__in=active))


def apply_to_project(project: Project) -> int:
    """Warn and pause the project's annotators by its rules. Returns how many. An annotator whose pause or warning a lead
    lifted is measured by their judgments since then. The leads are told, and also of those who stand out for a new reason."""
    rules = list(project.rules.order_by("action", "measure"))
    with worker_memory():
        measured = _stats_to_judge_by(project)
    affected = 0
    for stats in measured:
        with transaction.atomic():
            told = any(_apply(rule, stats) for rule in rules)
            _mark(stats, told=told)
        affected += told
    return affected


def _stats_to_judge_by(project: Project) -> list[AnnotatorStats]:
    """Of the annotators who are not paused: since a lead has lifted their pause or warning, if one has."""
    lifted = _lifted_at(project)
    return [
        _stats_since(project, stats, lifted[stats.user.pk]) if stats.user.pk in lifted else stats
        for stats in annotator_stats(project, NO_FILTERS)
        if stats.member and stats.member.role == Member.Role.ANNOTATOR and not stats.member.paused_at
    ]


def _mark(stats: AnnotatorStats, *, told: bool) -> None:
    """Store for which reasons a member stands out, and tell the leads of new ones, unless they are `told` of the member
    anyway."""
    member = stats.member
    if member is None:
        return
    reasons = sorted({*member.marked_for, *(outlier.reason.value for outlier in stats.outliers)})
    if reasons == sorted(member.marked_for):
        return
    unchanged = Member.objects.filter(pk=member.pk, marked_for=member.marked_for)
    if unchanged.update(marked_for=reasons) and not told:
        notifications.notify_leads_of_member(member=member, kind=Notification.Kind.STANDS_OUT)


def _stats_since(project: Project, stats: AnnotatorStats, since: datetime) -> AnnotatorStats:
    later = annotator_stats(project, Filters(annotator=stats.user, since=since))
    mine = (entry for entry in later if entry.user.pk == stats.user.pk)
    return next(mine, AnnotatorStats(stats.user, stats.member))


def _apply(rule: Rule, stats: AnnotatorStats) -> bool:
    member, sentence = stats.member, _reason(rule, stats)
    if member is None or sentence is None:
        return False
    if rule.action == Rule.Action.PAUSE:
        if not pause(member=member, reason=sentence, actor=None):
            return False
        notifications.notify_leads_of_member(member=member, kind=Notification.Kind.MEMBER_PAUSED)
        return True
    if member.warned_at:
        return False
    warn(member=member, reason=sentence, actor=None)
    notifications.notify_leads_of_member(member=member, kind=Notification.Kind.MEMBER_WARNED)
    return True


def _reason(rule: Rule, stats: AnnotatorStats) -> str | None:
    """Why the rule applies, as the annotator reads it, in the language of the site; None if it does not."""
    if rule.measure == Rule.Measure.CHECKS:
        return next((_outlier_sentence(each) for each in stats.outliers if each.n >= rule.after), None)
    measured = measurement(stats, rule.measure)
    if measured is None or measured.judgments < rule.after or measured.value >= rule.below:
        return None
    return _sentence(rule, measured)


def _outlier_sentence(outlier: Outlier) -> str:
    values = {
        "share": f"{100 * outlier.value:.0f}",
        "compared": f"{100 * outlier.compared:.0f}",
        "n": format_number(outlier.n),
        "words": words_per_minute(outlier.value),
    }
    match outlier.reason:
        case Reason.GOLD:
            text = _(BELOW_ON_GOLD)
        case Reason.AGREEMENT:
            text = _(
                "You agree with others on %(share)s%% of pairs, over %(n)s items; the others agree on %(compared)s%%. Please read"
                " the guidelines once more."
            )
        case Reason.SPEED:
            text = _(
                "You work through %(words)s words of answers a minute, which is faster than they can be read with care. Please"
                " take your time."
            )
        case Reason.SAME:
            text = _(
                "You give the same judgment in %(share)s%% of %(n)s items; others differentiate more. Please read the guidelines"
                " once more."
            )
        case Reason.POSITION:
            text = _(
                "You prefer the answer shown first in %(share)s%% of %(n)s items; the order is random, so %(compared)s%% would"
                " be usual. Please compare the answers themselves."
            )
    return text % values


def _sentence(rule: Rule, measured: Measurement) -> str:
    if rule.measure == Rule.Measure.SECONDS:
        return _(
            "Your median time is %(seconds)s seconds per item, over %(judgments)s judgments; at least %(below)s are expected."
            " Please take your time."
        ) % {
            "seconds": f"{measured.value:.0f}",
            "judgments": measured.judgments,
            "below": f"{rule.below:.0f}",
        }
    if rule.measure == Rule.Measure.GOLD:
        return _(BELOW_ON_GOLD)
    return _(
        "Your agreement with others is %(percent)s%%, over %(judgments)s items; at least %(below)s%% is expected. Please read"
        " the guidelines once more."
    ) % {
        "percent": f"{100 * measured.value:.0f}",
        "judgments": measured.judgments,
        "below": f"{100 * rule.below:.0f}",
    }


def _lifted_at(project: Project) -> Mapping[int, datetime]:
    """By user, when a lead last lifted their pause or warning."""
    audit_entries = AuditEntry.objects.filter(project=project, verb="member.resumed").order_by("id")
    return {entry.data["user"]: entry.at for entry in audit_entries if "user" in entry.data}
