"""What one snapshot has that another has not, read side by side in flat memory: both are in the same order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXAMPLES = 50
Rows = dict[int, dict[str, Any]]


@dataclass
class Difference:
    """Counts of judgments. `replaced`: a newer revision of the same person stands in the second; `changed`: the same
    judgment, with something else known around it."""

    added: int = 0
    removed: int = 0
    replaced: int = 0
    changed: int = 0
    same: int = 0
    new_prompts: int = 0
    new_pairs: int = 0
    annotators: list[str] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)


def difference(old: Path, new: Path) -> Difference:
    """From the older file to the newer one; `annotators` are those who appear in the newer one only."""
    found = Difference()
    people: tuple[set[str], set[str]] = (set(), set())
    before, after = _groups(old), _groups(new)
    left, right = next(before, None), next(after, None)
    while left or right:
        if left and (right is None or left[0] < right[0]):
            _compare(found, left[1], {}, people)
            left = next(before, None)
        elif right and (left is None or right[0] < left[0]):
            found.new_prompts += 1
            _compare(found, {}, right[1], people)
            right = next(after, None)
        elif left and right:
            _compare(found, left[1], right[1], people)
            left, right = next(before, None), next(after, None)
    found.annotators = sorted(people[1] - people[0])
    return found


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


def _compare(found: Difference, old: Rows, new: Rows, people: tuple[set[str], set[str]]) -> None:
    for side, rows in zip(people, (old, new), strict=True):
        side.update(row["annotator"] for row in rows.values())
    # the newest revision of a judgment may replace several before it, of which the older snapshot has one
    mine = {(row["item"], row["annotator"]) for row in old.values()}
    theirs = {(row["item"], row["annotator"]) for row in new.values()}
    for id, row in new.items():
        if id in old:
            kind = "same" if row == old[id] else "changed"
        elif (row["item"], row["annotator"]) in mine:
            kind = "replaced"
        else:
            kind = "added"
            found.new_pairs += sum(a < b for a in row["ranks"] for b in row["ranks"])
        setattr(found, kind, getattr(found, kind) + 1)
        if kind != "same" and len(found.examples) < EXAMPLES:
            found.examples.append(_example(kind, row, old.get(id)))
    for id, row in old.items():
        if id not in new and (row["item"], row["annotator"]) not in theirs:
            found.removed += 1


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
