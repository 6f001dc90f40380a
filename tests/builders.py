"""Rows for tests, made through the same actions that the product uses."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache

from django.contrib.auth.hashers import make_password
from django.db import connection

from annotation.actions import accounts, erasures, import_rows, judgments, leases, projects
from annotation.actions.leases import Lease
from annotation.logic.device_times import NO_TIMES, DeviceTimes
from annotation.models import Judgment, Member, Project, User


@cache
def _hashed(password: str) -> str:
    """Hashing is slow on purpose: once is enough."""
    return make_password(password)


def user(name: str, **fields: object) -> User:
    return User.objects.create(username=name, password=_hashed("correct horse"), **fields)


def project(lead: User, name: str = "Helpfulness", **fields: object) -> Project:
    return projects.create_project(
        project=Project(name=name, **fields), guideline="Prefer the **better** answer.", creator=lead
    )


def join(project: Project, user: User, role: str) -> Member:
    """A member who has read the guidelines."""
    return Member.objects.create(project=project, user=user, role=role, confirmed_guideline=project.guideline)


def lines(*rows: Mapping[str, object]) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


def imported(project: Project, *rows: Mapping[str, object]) -> None:
    """The rows, as a file that was imported without a complaint."""
    report = import_rows.import_lines(project=project, lines=lines(*rows))
    assert not report.errors, report.errors


def items(project: Project, count: int = 1, k: int | None = None, prefix: str = "p") -> None:
    """`count` prompts with k responses each, imported and in the queue; their ids are the prefix and a number."""
    k = k or project.k
    report = import_rows.import_lines(
        project=project,
        lines=lines(
            *(
                {
                    "id": f"{prefix}{n}",
                    "prompt": f"Question {prefix.removeprefix('p')}{n}?",
                    "responses": [f"Answer {letter} to {n}." for letter in "ABCDEFGHI"[:k]],
                }
                for n in range(count)
            )
        ),
    )
    assert not report.errors, report.errors


def judgment(
    project: Project, annotator: User, ranks: Sequence[int] | None = None, degree: str | None = None
) -> Judgment:
    """The annotator's next item, judged: `ranks` in the order of the responses' ids (1, 2, 3, … if left out)."""
    lease = leases.claim(project=project, annotator=annotator)
    assert lease is not None, "nothing left in the queue"
    responses = sorted(lease.shown_order)
    ranks = ranks or range(1, len(responses) + 1)
    if len(responses) == 2:
        degree = degree or "better"
    return judgments.submit(
        lease=lease,
        ranks=dict(zip(responses, ranks, strict=True)),
        degree=degree,
        idempotency_key=uuid.uuid4(),
    )


def submit(
    lease: Lease,
    ranks: Sequence[int] | None = None,
    *,
    degree: str | None = None,
    key: uuid.UUID | None = None,
    times: DeviceTimes = NO_TIMES,
) -> Judgment:
    """The lease's item, judged: `ranks` in the order shown (1, 2, 3, … if left out)."""
    if len(lease.shown_order) == 2:
        degree = degree or "better"
    return judgments.submit(
        lease=lease,
        ranks=dict(zip(lease.shown_order, ranks or range(1, 10), strict=False)),
        degree=degree,
        idempotency_key=key or uuid.uuid4(),
        times=times,
    )


def erase(user: User) -> None:
    """The account erased by its owner, and what they wrote deleted, as by the worker."""
    accounts.erase(user=user, actor=user)
    erasures.delete_texts(user)


def age_judgments(project: Project, **by: float) -> None:
    """As if all of a project's judgments had been made earlier by a timedelta (`minutes=16`): what the database refuses to
    everybody else."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            "UPDATE annotation_judgment SET created_at = created_at - %s WHERE project_id = %s",
            [timedelta(**by), project.pk],
        )
        cursor.execute("SET LOCAL session_replication_role = origin")
