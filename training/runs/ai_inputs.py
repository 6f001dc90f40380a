"""What runs with AI feedback need before they start: a constitution, and a judge that people agree with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from annotation.analytics.ai_feedback import trust_report
from annotation.models import Candidate, Constitution, OpinionSet, Project
from training.configs import Config
from training.configs.judging import JUDGE_NEEDS, REVISE_NEEDS
from training.errors import RunError
from training.models import ModelVersion, Run

AI_CHOICES = ("with", "only")
LEARNS_FROM_OPINIONS = (Run.Kind.REWARD, Run.Kind.DPO, Run.Kind.KTO)


def used_constitution(
    project: Project, constitution: Constitution | None, config: Config, judge: ModelVersion | None
) -> Constitution | None:
    """The constitution that a run goes by: the given one, or the project's latest; None if its kind goes by none.

    Raises:
        RunError: there is none, it belongs to another project, none of its principles has what the mode needs, or a judge or a
            constitution is given for a kind that uses none.
    """
    kind, settings = config.kind, config.to_dict()
    if judge is not None and kind != Run.Kind.REVISE and "judge_mode" not in settings:
        raise RunError("judge", _("A %(kind)s run takes no judge beside its model.") % {"kind": kind})
    if judge is None and kind not in (Run.Kind.JUDGE, Run.Kind.REVISE):
        if constitution is not None:
            raise RunError("constitution", _("A %(kind)s run goes by no constitution.") % {"kind": kind})
        return None
    constitution = constitution or project.constitutions.first()
    if constitution is None:
        raise RunError("constitution", _("This project has no constitution yet: write its principles first."))
    if constitution.project_id != project.pk:
        raise RunError("constitution", _("That constitution belongs to another project."))
    mode = str(settings.get("judge_mode") or settings["mode"])
    needs = (REVISE_NEEDS if kind == Run.Kind.REVISE else JUDGE_NEEDS)[mode]
    if not any(all(principle.get(name) for name in needs) for principle in constitution.principles):
        text = _("No principle of %(constitution)s has what the mode %(mode)s needs: %(needs)s.")
        values = {"constitution": constitution, "mode": mode, "needs": ", ".join(needs)}
        raise RunError("constitution", text % values)
    return constitution


def check_answers(project: Project, kind: str, inputs: Mapping[str, Any]) -> None:
    """Check that a judge run has something to compare.

    Raises:
        RunError: no item has answers to prompts of this split and tag.
    """
    if kind != Run.Kind.JUDGE or inputs.get("answers"):
        return
    candidates = Candidate.objects.filter(item__prompt__project=project)
    if inputs.get("split"):
        candidates = candidates.filter(item__prompt__split=inputs["split"])
    if not candidates.exists():
        raise RunError("prompts", _("There are no answers to compare yet: import or generate some."))
    if (tag := inputs.get("tag")) and not candidates.filter(item__prompt__tags__contains=[tag]).exists():
        text = _("There are no answers to compare to prompts with the tag %(tag)s.")
        raise RunError("tag", text % {"tag": tag})


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
