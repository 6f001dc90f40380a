"""Rounds that start automatically: after enough new judgments, or on days of the week."""

from __future__ import annotations

import logging
from datetime import datetime

from django.utils import timezone

from annotation import analytics
from training.configs import ConfigError
from training.errors import RunError
from training.models import Loop, Round
from training.rounds.transitions import start_round

log = logging.getLogger(__name__)


def start_due_rounds(now: datetime | None = None) -> list[Round]:
    """Start a round of every active loop that is due and has none open."""
    now = now or timezone.now()
    started = []
    for loop in Loop.objects.filter(active=True).select_related("project", "safety_project"):
        if (
            not (loop.after_judgments or loop.weekdays)
            or loop.rounds.filter(state__in=Round.OPEN_STATES).exists()
        ):
            continue
        if _is_due(loop, now):
            try:
                started.append(start_round(loop=loop, creator=None))
            except (RunError, ConfigError) as error:
                log.warning("no round of loop %s: %s", loop.pk, error)
    return started


def new_judgments(loop: Loop) -> int:
    """Judgments since the last snapshot, at most as many as start a round; 0 where no number of them does."""
    if not loop.after_judgments:
        return 0
    snapshot = loop.project.snapshots.first()
    return analytics.new_judgment_count(loop.project, snapshot, at_most=loop.after_judgments)


def _is_due(loop: Loop, now: datetime) -> bool:
    if loop.after_judgments and new_judgments(loop) >= loop.after_judgments:
        return True
    started_today = loop.rounds.filter(created_at__date=now.date()).exists()
    return now.weekday() in loop.weekdays and now.hour >= loop.hour and not started_today
