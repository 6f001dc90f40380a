"""What leads are told of rounds among their notifications: what happens by itself, not what one of them does."""

from __future__ import annotations

from django.utils.translation import gettext as _

from annotation.actions import notifications
from annotation.models import Notification
from training.models import Round

Kind = Notification.Kind

KINDS = {
    Round.State.HELD: Kind.ROUND_HELD,
    Round.State.AWAITING: Kind.ROUND_HELD,
    Round.State.FAILED: Kind.ROUND_FAILED,
    Round.State.DONE: Kind.ROUND_DONE,
}


def notify_leads_of_round(round: Round) -> None:
    """Tell the leads of the state that a round has come to, in the current transaction; of work in progress, nothing."""
    if kind := KINDS.get(Round.State(round.state)):
        _notify(round, kind)


def settle_notices_of_round(round: Round) -> None:
    """Mark as read, for all leads, what they were told before the round went on: one of them has decided."""
    kinds = {Kind.QUEUE_EMPTY, *KINDS.values()}
    notifications.settle(kinds=kinds, project=round.loop.project, url=round.get_absolute_url())


def notify_of_empty_queue(round: Round) -> None:
    """Tell the leads that a round waits for judgments, of which the queue has none."""
    _notify(round, Kind.QUEUE_EMPTY)


def _notify(round: Round, kind: Notification.Kind) -> None:
    subject = _("%(loop)s, round %(number)s") % {"loop": round.loop, "number": round.number}
    notifications.notify_leads(
        kind=kind, project=round.loop.project, url=round.get_absolute_url(), subject=subject
    )
