"""Snapshots: all judgments of a project in a file that never changes, with its SHA-256 and a manifest."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotation import audit, events
from annotation.actions import webhook_delivery
from annotation.exports import stream
from annotation.exports.judgment_row import JudgmentRow
from annotation.exports.selection import Selection
from annotation.exports.statistics import SnapshotStatistics
from annotation.logic.erased_text import is_erased
from annotation.models import ImportedJudgment, Project, Snapshot, User
from annotation.store import scratch_file, store

EVERYTHING = Selection(format="raw", gold="include", counted=True)
"""Of the project's annotators."""


class SnapshotError(Exception):
    """Why a snapshot could not be made, in a sentence for the lead."""


class SnapshotFile(NamedTuple):
    """A file in the store with judgments, and what is in it."""

    uri: str
    statistics: SnapshotStatistics


def snapshot_path(snapshot: Snapshot) -> Path:
    """
    Raises:
        MissingObject: the store has not the file.
        StoreError: the store is not available.
    """
    return store().path(snapshot.path)


def file_name(project: Project, number: int) -> str:
    """The name of a snapshot's file for those who download it."""
    return f"{project.slug}-{number}-raw.jsonl"


@transaction.atomic
def create_snapshot(
    *, project: Project, creator: User, note: str = "", licence: str = "", imported: bool = False
) -> Snapshot:
    """Write every counted judgment to a file, one `JudgmentRow` per line, and store its SHA-256 and a manifest: statistics,
    guidelines, and the settings of the project.

    imported: with the imported judgments, too.

    Raises:
        SnapshotError: there are no judgments, or the file could not be written.
    """
    number = next_number(project)
    file = write_file(
        project,
        imported=imported,
        scope=f"snapshots/{project.slug}/{number}",
        name=file_name(project, number),
    )
    return add_snapshot(file, project=project, number=number, creator=creator, note=note, licence=licence)


def next_number(project: Project) -> int:
    """The number of the project's next snapshot. Locks the project until the end of the transaction."""
    # numbers are consecutive; NO KEY UPDATE does not wait for an import's foreign keys
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    latest = project.snapshots.first()
    return latest.number + 1 if latest else 1


def add_snapshot(
    file: SnapshotFile, *, project: Project, number: int, creator: User, note: str, licence: str
) -> Snapshot:
    """Add a snapshot whose file is written; within the transaction of its number."""
    sha256 = file.uri.rpartition("/")[2]
    manifest = _manifest(project, file.statistics, number=number, note=note, licence=licence) | {
        "file": f"{number:04d}.jsonl",
        "sha256": sha256,
    }
    snapshot = Snapshot.objects.create(
        project=project,
        number=number,
        note=note,
        counts=file.statistics.all_counts(),
        manifest=manifest,
        last_judgment=file.statistics.last_judgment,
        sha256=sha256,
        path=file.uri,
        created_by=creator,
    )
    audit.record(
        "snapshot.frozen", project=project, actor=creator, subject=f"Snapshot {number}", sha256=sha256
    )
    events.announce(events.project_group(project.pk), {"kind": "snapshot"})
    webhook_delivery.notify(project, "snapshot.frozen", number=number, sha256=sha256, counts=snapshot.counts)
    return snapshot


def write_file(
    project: Project,
    *,
    imported: bool,
    scope: str,
    name: str,
    reading: AbstractContextManager[None] | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> SnapshotFile:
    """Write the judgments to a file of the store.

    Args:
        scope, name: the object's, see `store().put`.
        reading: a context in which the database is read.
        on_progress: called with the number of judgments written so far; an error that it raises ends the writing.

    Raises:
        SnapshotError: there are no judgments, or the file could not be written.
    """
    selection = replace(EVERYTHING, imported="include" if imported else "exclude")
    statistics, judgments = SnapshotStatistics(), 0
    try:
        with scratch_file() as target:
            with target.open("wb") as file:
                with reading or nullcontext():
                    for chunk in stream.export_project(project, selection):
                        file.write(chunk)
                        for line in chunk.splitlines():
                            statistics.add(json.loads(line))
                            judgments += 1
                        on_progress(judgments)
                file.flush()
                os.fsync(file.fileno())
            if not statistics.last_judgment:
                has_imported = ImportedJudgment.objects.filter(item__project=project).exists()
                if has_imported:
                    raise SnapshotError(_("There are no judgments yet. All are imported: include these."))
                raise SnapshotError(_("There are no judgments yet."))
            return SnapshotFile(store().put(target, scope, transfer="move", name=name), statistics)
    except OSError as error:
        text = _("The snapshot's file could not be written: %(reason)s.")
        raise SnapshotError(text % {"reason": error.strerror}) from error


def _manifest(
    project: Project, statistics: SnapshotStatistics, *, number: int, note: str, licence: str
) -> dict[str, Any]:
    report = statistics.report()
    texts = dict(project.guidelines.values_list("number", "text"))
    questions = dict(project.question_sets.values_list("number", "questions"))
    return {
        "number": number,
        "note": note,
        "licence": licence,
        "created_at": timezone.now().isoformat(),
        "project": {
            "slug": project.slug,
            "name": project.name,
            "criterion": project.criterion_in_english,
            "task": project.task,
            "k": project.k,
            "overlap": project.overlap,
            "asks": project.extra_questions,
            "gold_rate": project.gold_rate,
            "control_rate": project.control_rate,
        },
        "excluded": excluded_annotators(project),
        "guidelines": [
            {"number": int(version), "judgments": n, "text": texts[int(version)]}
            for version, n in report["guidelines"].items()
        ],
        "questions": [
            {"number": int(version), "judgments": n, "questions": questions[int(version)]}
            for version, n in report["questions"].items()
        ],
        "census": report,
    }


def excluded_annotators(project: Project) -> list[str]:
    """The pseudonyms of those whose judgments are excluded, in order."""
    return sorted(project.exclusions.values_list("user__pseudonym", flat=True))


def read_rankings(snapshot: Snapshot, *, with_imported: bool = False) -> Iterator[JudgmentRow]:
    """The rankings in a snapshot for training: without gold items, whose answers were known, demonstrations, and messages of
    chats that were erased."""
    return (
        row
        for row in read_judgments(snapshot)
        if len(row["ranks"]) > 1
        and not row["gold"]
        and (with_imported or not row.get("imported"))
        and not is_erased(row["messages"])
    )


def read_judgments(snapshot: Snapshot) -> Iterator[JudgmentRow]:
    """Every judgment of a snapshot."""
    with snapshot_path(snapshot).open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield json.loads(line)
