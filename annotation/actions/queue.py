"""Putting items into the queue, each with one slot for every judgment that it needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils.translation import gettext as _

from annotation import events
from annotation.db import bulk_insert
from annotation.logic.limits import MAX_RESPONSES, MIN_RESPONSES
from annotation.models import Candidate, Item, Project, Slot


class QueueError(Exception):
    """What the queue refuses, in a sentence for the user."""


@dataclass(frozen=True)
class ItemSpec:
    """A new item: its prompt's id and its responses' ids.

    Attributes:
        probability: with which the prompt was drawn from its pool.
        extra_slots: how many people judge it beyond the project's overlap.
        gold: the correct ranks by response id, if they are known.
    """

    prompt_id: int
    response_ids: Sequence[int]
    probability: float = 1.0
    extra_slots: int = 0
    gold: Mapping[int, int] | None = None
    gold_explanation: str = ""


@transaction.atomic
def enqueue(
    *, project: Project, specs: Iterable[ItemSpec], priority: int = 0, retired_reason: str = ""
) -> list[int]:
    """Insert items with `project.overlap` slots each, and their extra ones; a gold item has no open slots, and with a
    `retired_reason` no item has any, until it is reopened. Returns their ids.

    An item has two to nine responses; in a project that asks for demonstrations it has none, or one to be improved.

    Raises:
        QueueError: an item has the wrong number of responses for the project, or a gold item lacks ranks.
    """
    specs = list(specs)
    for spec in specs:
        _check_spec(project, spec)
    ids = bulk_insert.insert(
        Item,
        ("project_id", "prompt_id", "probability", "gold", "gold_explanation", "state", "retired_reason"),
        [
            (
                *(project.pk, spec.prompt_id, spec.probability, _gold_json(spec), spec.gold_explanation),
                *((Item.State.RETIRED, retired_reason) if retired_reason else (Item.State.OPEN, "")),
            )
            for spec in specs
        ],
    )
    rows = list(zip(ids, specs, strict=True))
    candidates = [(item, response) for item, spec in rows for response in spec.response_ids]
    if candidates:
        bulk_insert.insert_without_ids(Candidate, ("item_id", "response_id"), candidates)
    slots = [
        (item, project.pk, priority)
        for item, spec in rows
        if not spec.gold and not retired_reason
        for _slot in range(project.overlap + spec.extra_slots)
    ]
    if slots:
        bulk_insert.insert_without_ids(Slot, ("item_id", "project_id", "priority"), slots)
    if ids:
        events.announce(events.project_group(project.pk), {"kind": "queue"})
    return ids


def _gold_json(spec: ItemSpec) -> str | None:
    return json.dumps({str(response): rank for response, rank in spec.gold.items()}) if spec.gold else None


def _check_spec(project: Project, spec: ItemSpec) -> None:
    k, least, most = len(set(spec.response_ids)), MIN_RESPONSES, MAX_RESPONSES
    if project.task == Project.Task.DEMONSTRATIONS:
        least, most = 0, 1
    if k != len(spec.response_ids) or not least <= k <= most:
        values = {"project": project, "number": k}
        raise QueueError(_("An item of %(project)s cannot have %(number)s different responses.") % values)
    if spec.gold is not None and (k < 2 or set(spec.gold) != set(spec.response_ids)):
        raise QueueError(_("A known answer needs a rank for every response of its item."))
