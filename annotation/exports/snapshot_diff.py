"""The difference between two snapshots: both files have the same order, so they are merged in flat memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXAMPLES = 50
Rows = dict[int, dict[str, Any]]


@dataclass
class SnapshotDifference:
    """Counts of judgments. `replaced`: the newer snapshot has a revision of it; `changed`: the same judgment with other
    columns, such as a verdict or the agreement."""

    added: int = 0
    removed: int = 0
    replaced: int = 0
    changed: int = 0
    same: int = 0
    new_prompts: int = 0
    new_pairs: int = 0
    annotators: list[str] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)


def compare_snapshots(old: Path, new: Path) -> SnapshotDifference:
    """From the older file to the newer one; `annotators` are those in the newer one only."""
    result = SnapshotDifference()
    people: tuple[set[str], set[str]] = (set(), set())
    before, after = _groups(old), _groups(new)
    left, right = next(before, None), next(after, None)
    while left or right:
        if left and (right is None or left[0] < right[0]):
            _compare_group(result, left[1], {}, people)
            left = next(before, None)
        elif right and (left is None or right[0] < left[0]):
            result.new_prompts += 1
            _compare_group(result, {}, right[1], people)
            right = next(after, None)
        elif left and right:
            _compare_group(result, left[1], right[1], people)
            left, right = next(before, None), next(after, None)
    result.annotators = sorted(people[1] - people[0])
    return result


def _groups(path: Path) -> Iterator[tuple[int, Rows]]:
    """The judgments of each prompt, in the file's order."""
    group, rows = 0, Rows()
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            row = json.loads(line)
            if row["group"] != group:
                if rows:
                    yield group, rows
                group, rows = row["group"], Rows()
            rows[row["judgment"]] = row
    if rows:
        yield group, rows


def _compare_group(
    result: SnapshotDifference, old: Rows, new: Rows, people: tuple[set[str], set[str]]
) -> None:
    for side, rows in zip(people, (old, new), strict=True):
        side.update(row["annotator"] for row in rows.values())
    # a revision may replace several earlier ones, of which the older snapshot has one
    judged_before = {(row["item"], row["annotator"]) for row in old.values()}
    judged_now = {(row["item"], row["annotator"]) for row in new.values()}
    for id, row in new.items():
        if id in old:
            kind = "same" if row == old[id] else "changed"
        elif (row["item"], row["annotator"]) in judged_before:
            kind = "replaced"
        else:
            kind = "added"
            result.new_pairs += sum(a < b for a in row["ranks"] for b in row["ranks"])
        setattr(result, kind, getattr(result, kind) + 1)
        if kind != "same" and len(result.examples) < EXAMPLES:
            result.examples.append(_example(kind, row, old.get(id)))
    for id, row in old.items():
        if id not in new and (row["item"], row["annotator"]) not in judged_now:
            result.removed += 1


def _example(kind: str, row: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "kind": kind,
        "judgment": row["judgment"],
        "item": row["item"],
        "annotator": row["annotator"],
        "prompt": row["messages"][-1]["content"][:200],
        "ranks": row["ranks"],
        "fields": sorted(name for name in row if before is not None and row[name] != before.get(name)),
    }
