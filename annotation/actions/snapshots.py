"""Freezing what people said into a file that never changes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from annotation import audit, events
from annotation.actions import webhook_delivery
from annotation.exports import stream
from annotation.exports.selection import Selection
from annotation.exports.statistics import Census
from annotation.imports.schema import Row
from annotation.models import Project, Snapshot, User

EVERYTHING = Selection(format="raw", gold="include", counted=True)


class FreezeError(Exception):
    """Why nothing was frozen, in a sentence for the lead."""


def file_of(snapshot: Snapshot) -> Path:
    return Path(settings.ARTIFACTS) / snapshot.path


@transaction.atomic
def freeze(*, project: Project, creator: User, note: str = "", licence: str = "") -> Snapshot:
    """Write every counted judgment to a file, one JSON object (`logic.formats.Row`) a line, and keep its SHA-256 with a
    manifest: counts, agreement, habits, guidelines, and how it was collected.

    Raises:
        FreezeError: there is nothing to freeze, or the disk refused the file.
    """
    # numbers are given one after the other; not a lock for which an import would have to be over
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    latest = project.snapshots.first()
    number = latest.number + 1 if latest else 1
    path = Path("snapshots") / project.slug / f"{number:04d}.jsonl"
    census, sha256 = _write(project, Path(settings.ARTIFACTS) / path)
    manifest = _manifest(project, census, number=number, note=note, licence=licence) | {
        "file": path.name,
        "sha256": sha256,
    }
    snapshot = Snapshot.objects.create(
        project=project,
        number=number,
        note=note,
        counts=census.all_counts(),
        manifest=manifest,
        last_judgment=census.last_judgment,
        sha256=sha256,
        path=str(path),
        created_by=creator,
    )
    audit.record("snapshot.frozen", project=project, actor=creator, subject=str(snapshot), sha256=sha256)
    events.announce(events.project_group(project.pk), {"kind": "snapshot"})
    webhook_delivery.notify(project, "snapshot.frozen", number=number, sha256=sha256, counts=snapshot.counts)
    return snapshot


def _write(project: Project, target: Path) -> tuple[Census, str]:
    census, sha256 = Census(), hashlib.sha256()
    partial = target.with_suffix(".partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for chunk in stream.live(project, EVERYTHING):
                file.write(chunk)
                sha256.update(chunk)
                for line in chunk.splitlines():
                    census.add(json.loads(line))
            file.flush()
            os.fsync(file.fileno())
        if not census.last_judgment:
            raise FreezeError("There are no judgments to freeze yet.")
        partial.rename(target)
    except OSError as error:
        raise FreezeError(
            f"The snapshot's file could not be written: {error.strerror} ({partial})."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()
    return census, sha256.hexdigest()


def _manifest(project: Project, census: Census, *, number: int, note: str, licence: str) -> dict[str, Any]:
    report = census.report()
    texts = dict(project.guidelines.values_list("number", "text"))
    return {
        "number": number,
        "note": note,
        "licence": licence,
        "created_at": timezone.now().isoformat(),
        "project": {
            "slug": project.slug,
            "name": project.name,
            "criterion": project.get_criterion_display(),
            "task": project.task,
            "k": project.k,
            "overlap": project.overlap,
            "asks": project.extra_questions,
            "gold_rate": project.gold_rate,
            "control_rate": project.control_rate,
        },
        "guidelines": [
            {"number": int(version), "judgments": n, "text": texts[int(version)]}
            for version, n in report["guidelines"].items()
        ],
        "census": report,
    }


def read(snapshot: Snapshot) -> Iterator[Row]:
    """The rankings that a snapshot holds to learn from, as they were frozen: without gold items, whose answers were known
    before, and demonstrations, which rank nothing."""
    return (row for row in read_all(snapshot) if len(row["ranks"]) > 1 and not row["gold"])


def read_all(snapshot: Snapshot) -> Iterator[Row]:
    """Every judgment of a snapshot."""
    with file_of(snapshot).open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield json.loads(line)
