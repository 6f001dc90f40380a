"""What a new project needs before its first round, as a list that its lead ticks off by doing it."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from training.rounds.next_step import LoopStatus


@dataclass(frozen=True)
class ChecklistStep:
    """url: the name of the URL of the page where it is done."""

    title: str
    hint: str
    url: str
    done: bool


def checklist(status: LoopStatus, *, has_guidelines: bool, members: int) -> list[ChecklistStep]:
    """The steps to the first round, in order; none once there is a round or a snapshot."""
    if status.round is not None or status.snapshot is not None:
        return []
    return [
        ChecklistStep(
            _("Write guidelines"),
            _("What makes an answer better? Annotators read this before they begin."),
            "guidelines",
            has_guidelines,
        ),
        ChecklistStep(
            _("Import prompts"),
            _(
                "A file of questions, with or without answers: JSON lines, CSV or Parquet, in any of the common formats."
            ),
            "import",
            status.prompts > 0,
        ),
        ChecklistStep(
            _("Add a model"),
            _(
                "The one to improve, from a folder or the Hugging Face hub. It writes the answers that people compare."
            ),
            "models",
            status.policy is not None,
        ),
        ChecklistStep(
            _("Invite people"),
            _("By a link, or with accounts that you create. You can judge too."),
            "members",
            members > 1,
        ),
        ChecklistStep(
            _("Start the first round"),
            _("It collects judgments, trains a reward model on them and improves the model."),
            "round-new",
            False,
        ),
    ]
