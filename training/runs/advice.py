"""What to do about a run that failed, in sentences."""

from __future__ import annotations

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from annotation.logic.translation import format_number
from training.configs import KINDS
from training.models import Run


def advise(run: Run) -> list[str]:
    """What a lead can do about a failed run, the likeliest first; nothing of other runs."""
    if run.state != Run.State.FAILED:
        return []
    advice = []
    settings = KINDS[run.kind].__dataclass_fields__
    setting = run.failed_limit or run.result.get("setting", "")
    if setting in settings and "label" in settings[setting].metadata:
        values = {
            "label": capfirst(_(settings[setting].metadata["label"])),
            "value": run.config.get(setting, "–"),
        }
        advice.append(
            _("Start a similar run with another value of “%(label)s”, which was %(value)s.") % values
        )
    if run.is_resumable and run.step:
        values = {"step": format_number(run.step)}
        advice.append(_("Resume, which goes on from the last checkpoint before step %(step)s.") % values)
    elif run.is_resumable:
        advice.append(_("Resume, which tries the same again, where the cause may be gone by now."))
    advice.append(_("Read the end of the log below; whoever runs the machine may know what it means."))
    return advice
