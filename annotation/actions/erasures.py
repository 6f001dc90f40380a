"""Deleting what the owner of an erased account wrote: a worker does it, in batches, since it may be in millions of rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.db import connection, transaction
from django.db.models import Model, Q, QuerySet

from annotation.actions import worker_jobs
from annotation.actions.worker_jobs import Cancelled, Heartbeat, WorkerStops
from annotation.logic.erased_text import erase_messages
from annotation.models import AuditEntry, Erasure, Judgment, Message, Placement, Prompt, Skip, User, Verdict

log = logging.getLogger(__name__)

TASK = "annotation.tasks.erase_texts"
BATCH = 1000


def request_erasure(*, user: User, actor: User) -> Erasure:
    """Queue the deletion of what a user wrote, for a worker; called in the transaction that erases the account."""
    erasure = Erasure.objects.create(user=user, created_by=actor)
    transaction.on_commit(lambda: worker_jobs.wake_worker(TASK, erasure.pk))
    return erasure


# --- for workers ----------------------------------------------------------------------------------------------


def claim(erasure_id: int) -> Erasure | None:
    """See `worker_jobs.claim`."""
    return worker_jobs.claim(Erasure.objects.select_related("user"), erasure_id)


def run_job(erasure: Erasure) -> None:
    """Delete the texts of a claimed erasure. The next worker goes on where one was stopped or has died; after an error it is
    queued again, and the sweep wakes a worker for it."""
    try:
        with Heartbeat(erasure) as heartbeat:
            total = sum(rows.count() for rows in _written_by(erasure.user))
            worker_jobs.claimed_row(erasure).update(rows_total=total)
            done = delete_texts(erasure.user, on_progress=heartbeat.advance)
            worker_jobs.finish(erasure, Erasure.State.DONE, rows_done=done, rows_total=done)
    except Cancelled:
        pass  # another worker has claimed it
    except WorkerStops:
        worker_jobs.requeue(erasure, TASK)
    except Exception:
        log.exception("erasure %s failed; it is tried again", erasure.pk)
        worker_jobs.claimed_row(erasure).update(state=Erasure.State.QUEUED, claim=None)


def delete_texts(user: User, *, on_progress: Callable[[int], None] = lambda done: None) -> int:
    """Blank what was written freely, which may name anybody. Snapshots and files that were exported before keep it. Returns how
    many rows were read.

    Each batch is a transaction of its own, and what is blank is not written again.
    """
    done = 0
    for rows in _written_by(user):
        for keys in _batches(rows):
            with transaction.atomic():
                _blank(rows.model, keys)
            done += len(keys)
            on_progress(done)
    with transaction.atomic():
        _blank_reasons(user)
    return done


def sweep() -> None:
    """Wake workers for erasures whose message was lost, that failed, or whose worker died."""
    worker_jobs.wake_lost(Erasure.objects.all(), TASK)


def _written_by(user: User) -> list[QuerySet[Any]]:
    """The rows that may have text of the user, or to them."""
    return [
        Judgment.objects.filter(annotator=user),
        Skip.objects.filter(annotator=user),
        Verdict.objects.filter(reviewer=user),
        Message.objects.filter(Q(author=user) | Q(annotator=user)),
        Prompt.objects.filter(turn__chat__annotator=user),
    ]


def _batches(rows: QuerySet[Any]) -> Iterator[list[int]]:
    """The rows' ids, in order."""
    last = 0
    while keys := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH]):
        yield keys
        last = keys[-1]


def _blank(model: type[Model], keys: list[int]) -> None:
    """Blank the text of rows of a table, within a transaction. The tables are append-only; in it they let these columns be
    blanked, and nothing else."""
    rows = model._default_manager.filter(pk__in=keys)
    if model is Skip:
        for pk, data in rows.exclude(note="", data=None).values_list("pk", "data"):
            Skip.objects.filter(pk=pk).update(note="", data=_without_free_text(data or {}) or None)
        return
    if model is Prompt:
        for pk, messages in rows.values_list("pk", "messages"):
            Prompt.objects.filter(pk=pk).update(messages=erase_messages(messages))
        return
    _let_texts_be_blanked()
    if model is Judgment:
        rows.exclude(rationale="", answers={}).update(rationale="", answers={})
        Placement.objects.filter(judgment__in=keys).exclude(comments=[]).update(comments=[])
    elif model is Verdict:
        rows.exclude(note="").update(note="")
    else:
        rows.exclude(text="").update(text="")


def _blank_reasons(user: User) -> None:
    """Blank the reasons in the audit trail that the user gave, or that others gave for what they did to them."""
    table = AuditEntry._meta.db_table
    _let_texts_be_blanked()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""UPDATE {table} SET data = data || '{{"reason": ""}}'
                WHERE data ? 'reason' AND (data -> 'user' = to_jsonb(%(user)s::bigint) OR actor_id = %(user)s)""",
            {"user": user.pk},
        )


def _let_texts_be_blanked() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL palate.erase = 'on'")


def _without_free_text(data: Mapping[str, Any]) -> dict[str, Any]:
    """What was entered before a skip, without what was written."""
    data = {name: value for name, value in data.items() if name not in ("rationale", "text", "answers")}
    marks = data.get("marks")
    if isinstance(marks, dict):
        data["marks"] = {
            response: {name: value for name, value in mark.items() if name != "comments"}
            for response, mark in marks.items()
            if isinstance(mark, dict)
        }
    return data
