"""Checks of what a run is started with: its snapshot and its inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.utils.text import slugify
from django.utils.translation import gettext as _

from annotation.exports.selection import IMPORTED
from annotation.logic.limits import MAX_RESPONSES, MIN_RESPONSES
from annotation.models import Project, Snapshot
from training.configs import Config, GenerateConfig
from training.errors import RunError
from training.models import Run
from training.registry.actions import names_in_use
from training.runs.ai_inputs import check_revisions
from training.runs.kinds import LEARNS_JUDGMENTS, MAKES_POLICY, NEEDS_SNAPSHOT
from training.runs.text_files import reads_text_file, text_file


def check_snapshot(project: Project, kind: str, snapshot: Snapshot | None, projects: Collection[int]) -> None:
    """
    Raises:
        RunError: the kind needs a snapshot and has none, or it is another project's.
    """
    if snapshot is None:
        if kind in NEEDS_SNAPSHOT:
            raise RunError("snapshot", _("Choose a snapshot: freeze one on the Data page first."))
        return
    if snapshot.project_id not in projects:
        raise RunError("snapshot", _("That snapshot belongs to another project."))


def choose_imported(kind: str, snapshot: Snapshot, choice: str | None) -> dict[str, str]:
    """What a run does with the imported judgments of its snapshot, as its input `imported`; nothing if there are none.

    Raises:
        RunError: the choice is unknown, or leaves no pairs to learn from.
    """
    if choice not in (None, *IMPORTED):
        text = _("%(choice)s is none of: %(choices)s.")
        raise RunError("imported", text % {"choice": repr(str(choice)[:40]), "choices": ", ".join(IMPORTED)})
    own, imported = (bool(snapshot.counts.get(name)) for name in ("judgments", "imported"))
    choice = choice or (("include" if own else "only") if imported else "exclude")
    pairs = {
        "exclude": snapshot.counts.get("pairs_train", 0),
        "only": snapshot.counts.get("imported_pairs_train", 0),
    }
    pairs["include"] = sum(pairs.values())
    if kind in (Run.Kind.REWARD, *LEARNS_JUDGMENTS) and not pairs[choice]:
        text = _("%(snapshot)s has no preference pairs to learn from.")
        raise RunError("snapshot", text % {"snapshot": snapshot})
    return {"imported": choice} if imported else {}


def check_inputs(project: Project, config: Config, inputs: Mapping[str, Any]) -> None:
    """
    Raises:
        RunError: an input does not fit the kind or the project.
    """
    if inputs.get("revisions"):
        check_revisions(project, inputs["revisions"])
    if reads_text_file(config.kind, inputs):
        text_file(inputs.get("data", ""))
    if (
        isinstance(config, GenerateConfig)
        and inputs.get("publish")
        and not MIN_RESPONSES <= config.samples <= MAX_RESPONSES
    ):
        raise RunError("samples", _("An item of the queue has 2 to 9 answers."))
    makes_model = config.kind in (*MAKES_POLICY, Run.Kind.REWARD)
    name = slugify(inputs.get("name", "")) if makes_model else ""
    if name and name in names_in_use([project]):
        text = _("There is a model called %(name)s already, or an open run is making one.")
        raise RunError("name", text % {"name": repr(name)})
