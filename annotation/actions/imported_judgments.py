"""Storing the judgments that an import brings, beside the queue."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from annotation.db import bulk_insert
from annotation.imports.preferences import NoPreference, Preference
from annotation.logic.splits import digest
from annotation.models import Import, ImportedJudgment, Judgment, Project

COLUMNS = (
    *("item_id", "digest", "source_id", "annotator", "account", "responses", "ranks", "quality", "safe"),
    *("degree", "rationale", "shown_order", "judged_at", "details"),
)


@dataclass(frozen=True)
class JudgedItem:
    """An item with judgments of its row. response_ids: of the row's answers, of which the item may have fewer."""

    item_id: int
    members: frozenset[int]
    response_ids: list[int]
    judgments: list[Preference]


def store_judgments(
    project: Project, items: Iterable[JudgedItem], source: Import | None
) -> tuple[int, Counter[str]]:
    """Insert the judgments that are not there yet. Returns how many are new, and how many were left out, by reason; what an
    earlier import brought is in neither."""
    rows: dict[tuple[int, str], tuple[Any, ...]] = {}
    own_ids: dict[int, tuple[int, str]] = {}
    left_out: Counter[str] = Counter()
    for item in items:
        ids = item.response_ids
        # in the order of the responses, so that rows with the same answers in another order say the same
        positions = sorted((ids.index(member) for member in item.members), key=lambda n: ids[n])
        in_row: Counter[str] = Counter()
        for given in item.judgments:
            try:
                judgment = given.restricted_to(positions)
            except NoPreference as reason:
                left_out[str(reason)] += 1
                continue
            content = _content(judgment)
            in_row[content] += 1  # several people who are not named may say the same
            key = item.item_id, digest(f"{content}{in_row[content]}")
            if key in rows:
                left_out["judgments that the file has twice"] += 1
            rows[key] = _values(judgment, [ids[n] for n in positions], source)
            if (
                judgment.details.get("project") == project.slug
                and type(judgment.details.get("judgment")) is int
            ):
                own_ids[judgment.details["judgment"]] = key
    for id in _existing_ids(project, own_ids):
        if rows.pop(own_ids[id], None):
            left_out["judgments of this project, which it has already"] += 1
    known = set(
        ImportedJudgment.objects.filter(item__in={item for item, _ in rows}).values_list("item", "digest")
        if rows
        else ()
    )
    new = [(*key, *values) for key, values in rows.items() if key not in known]
    bulk_insert.insert(ImportedJudgment, COLUMNS, new, ids_of=Judgment)
    return len(new), left_out


def _content(judgment: Preference) -> str:
    """What makes a judgment another one: not whether a person or a model is said to have made it, nor the details."""
    values = asdict(judgment)
    del values["account"], values["details"]
    values = {name: value for name, value in values.items() if value is not None}
    return json.dumps(values, sort_keys=True, ensure_ascii=False)


def _existing_ids(project: Project, ids: Iterable[int]) -> set[int]:
    """Of these ids, those of the project's judgments, imported or not."""
    ids = list(ids)
    if not ids:
        return set()
    found = (
        table.objects.filter(pk__in=ids, item__project=project).values_list("pk", flat=True)
        for table in (Judgment, ImportedJudgment)
    )
    return set(chain.from_iterable(found))


def _values(judgment: Preference, responses: list[int], source: Import | None) -> tuple[Any, ...]:
    details = dict(judgment.details)
    for name in ("flags", "ratings", "comments"):
        values = zip(responses, getattr(judgment, name) or (), strict=False)
        if by_response := {str(id): value for id, value in values if value}:
            details[name] = by_response
    return (
        source and source.pk,
        judgment.annotator,
        judgment.account,
        responses,
        judgment.ranks,
        judgment.quality,
        judgment.safe,
        judgment.degree,
        judgment.rationale,
        judgment.shown_order and [responses[n] for n in judgment.shown_order],
        judgment.judged_at,
        json.dumps(details, ensure_ascii=False),
    )
