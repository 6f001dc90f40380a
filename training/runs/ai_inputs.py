"""What runs with AI feedback need before they start: a constitution, and a judge that people agree with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from annotation.analytics.ai_feedback import trust_report
from annotation.models import Constitution, OpinionSet, Project
from training.errors import RunError
from training.models import Run

AI_CHOICES = ("with", "only")
LEARNS_FROM_OPINIONS = (Run.Kind.REWARD, Run.Kind.DPO, Run.Kind.KTO)


def required_constitution(project: Project, constitution: Constitution | None) -> Constitution:
    """The given one, or the project's latest.

    Raises:
        RunError: it has none, or belongs to another project.
    """
    constitution = constitution or project.constitutions.first()
    if constitution is None:
        raise RunError("constitution", _("This project has no constitution yet: write its principles first."))
    if constitution.project_id != project.pk:
        raise RunError("constitution", _("That constitution belongs to another project."))
    return constitution


def check_revisions(project: Project, run_id: int) -> None:
    """Check that fine-tuning can learn from what a run revised.

    Raises:
        RunError: there is no such run here, or it is not done.
    """
    run = Run.objects.filter(pk=run_id, project=project, kind=Run.Kind.REVISE).first()
    if run is None:
        text = _("%(number)s is the id of no revision run of this project.")
        raise RunError("revisions", text % {"number": run_id})
    if run.state != Run.State.DONE:
        raise RunError("revisions", _("%(run)s is not done.") % {"run": run})


def opinion_inputs(
    project: Project, kind: str, opinion_set: OpinionSet, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """The inputs of a run that learns from opinions: `ai`, whether beside people's judgments or from opinions only, and the
    scale and the weight of the opinions. By default they are what the judge's agreement with people allows.

    Raises:
        RunError: this kind does not learn from opinions, or the judge agrees with people no more than by chance.
    """
    if kind not in LEARNS_FROM_OPINIONS:
        text = _("A %(kind)s run does not learn from opinions.")
        raise RunError("opinion_set", text % {"kind": kind})
    if opinion_set.project_id != project.pk:
        raise RunError("opinion_set", _("Those opinions belong to another project."))
    choice = inputs.get("ai", "with")
    if choice not in AI_CHOICES:
        text = _("%(choice)s is none of: %(choices)s.")
        raise RunError("ai", text % {"choice": repr(str(choice)[:40]), "choices": ", ".join(AI_CHOICES)})
    found = {"ai": choice}
    if "ai_scale" not in inputs or "ai_weight" not in inputs:
        report = trust_report(opinion_set)
        found |= {"ai_scale": report.scale, "ai_weight": report.weight}
    found |= {name: inputs[name] for name in ("ai_scale", "ai_weight") if name in inputs}
    if not found["ai_weight"]:
        text = _(
            "%(judge)s agrees with people no more often than by chance, or nobody has judged the same answers: its opinions"
            " have no weight."
        )
        raise RunError("opinion_set", text % {"judge": opinion_set.judge})
    return found
