"""The decision on the new policy: by a lead, or automatically where every gate was passed."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotation.labels import within_sentence
from annotation.models import User
from training.models import Round
from training.registry.actions import promote
from training.rounds.settings import settings_of
from training.rounds.steps.base import ADVANCE, Step, StepResult


def record_decision(round: Round, decision: str, *, actor: User | None, note: str) -> None:
    """Save the decision; a promoted policy becomes the project's current one."""
    if decision == Round.Decision.PROMOTED:
        assert round.policy_after is not None
        promote(round.policy_after, actor)
    round.decision, round.decided_by, round.decision_note = decision, actor, note
    round.save(update_fields=["decision", "decided_by", "decision_note"])


class Promotion(Step):
    name = "promotion"
    title = gettext_noop("Promotion decision")
    help = gettext_noop("The current policy answers the next prompts.")
    does = "decide"
    can_retry = False

    def check(self, round: Round) -> StepResult:
        if round.decision:
            return ADVANCE
        if not (settings_of(round).promote_alone and not round.failed_gates):
            return StepResult(advance=False, state=Round.State.AWAITING)
        record_decision(round, Round.Decision.PROMOTED, actor=None, note=_("Every gate was passed."))
        return ADVANCE

    def result(self, round: Round) -> str:
        return within_sentence(Round.Decision(round.decision).label) if round.decision else ""
