"""Freezing what people said into a file that never changes."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from django.conf import settings
from django.db import transaction

from annotation import events
from annotation.logic import ranking
from annotation.logic.formats import Row
from annotation.models import Project, Snapshot, User
from annotation.queries import judgment_rows


class FreezeError(Exception):
    """Why nothing was frozen, in a sentence for the lead."""


def file_of(snapshot: Snapshot) -> Path:
    return Path(settings.ARTIFACTS) / snapshot.path


@transaction.atomic
def freeze(*, project: Project, creator: User, note: str = "") -> Snapshot:
    """Write every counted judgment to a file, one JSON object (`logic.formats.Row`) a line, and keep its SHA-256.

    Raises:
        FreezeError: there is nothing to freeze, or the disk refused the file.
    """
    Project.objects.select_for_update().get(pk=project.pk)  # numbers are given one after the other
    latest = project.snapshots.first()
    number = latest.number + 1 if latest else 1
    path = Path("snapshots") / project.slug / f"{number:04d}.jsonl"
    target = Path(settings.ARTIFACTS) / path
    partial = target.with_suffix(".partial")
    counts: Counter[str] = Counter()
    prompts: set[str] = set()
    annotators: set[str] = set()
    sha = hashlib.sha256()
    last = 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for row in judgment_rows(project):
                if not row["counted"]:
                    continue
                line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
                file.write(line)
                sha.update(line)
                pairs = len(ranking.pairs(row["ranks"]))
                counts.update(
                    {
                        "judgments": 1,
                        "pairs": pairs,
                        f"judgments_{row['split']}": 1,
                        f"pairs_{row['split']}": pairs,
                    }
                )
                prompts.add(row["prompt_id"])
                annotators.add(row["annotator"])
                last = row["judgment"]
            file.flush()
            os.fsync(file.fileno())
        if not counts:
            raise FreezeError("There are no judgments to freeze yet.")
        partial.rename(target)
    except OSError as error:
        raise FreezeError(
            f"The snapshot's file could not be written: {error.strerror} ({partial})."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()
    snapshot = Snapshot.objects.create(
        project=project,
        number=number,
        note=note,
        counts={**counts, "prompts": len(prompts), "annotators": len(annotators)},
        last_judgment=last,
        sha256=sha.hexdigest(),
        path=str(path),
        created_by=creator,
    )
    events.announce(events.project_group(project.pk), {"kind": "snapshot"})
    return snapshot


def read(snapshot: Snapshot) -> Iterator[Row]:
    """The judgments of a snapshot, as they were frozen."""
    with file_of(snapshot).open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
