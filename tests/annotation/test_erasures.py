"""What the owner of an erased account wrote: a worker deletes it, until all of it is gone."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client

from annotation.actions import accounts, erasures, judgments, leases, worker_jobs
from annotation.models import Erasure, Judgment, Project, User
from tests import builders
from tests.processes import process, until

JUDGMENTS = 7


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> None:
    cache.clear()
    monkeypatch.setattr(settings, "RUN_HEARTBEAT_S", 0.02)
    monkeypatch.setattr(erasures, "BATCH", 2)


@pytest.fixture
def alice() -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def bob(alice: User) -> User:
    """An annotator, who gave a reason for each of their judgments."""
    project, bob = builders.project(alice), builders.user("bob")
    project.members.create(user=bob, role="annotator")
    builders.items(project, JUDGMENTS)
    for _ in range(JUDGMENTS):
        judge(project, bob)
    return bob


def judge(project: Project, user: User) -> None:
    lease = leases.claim(project=project, annotator=user)
    assert lease is not None
    ranks = {response: rank for rank, response in enumerate(lease.shown_order, start=1)}
    judgments.submit(lease=lease, ranks=ranks, idempotency_key=uuid.uuid4(), rationale="As Carol says.")


def erased(user: User, actor: User) -> Erasure:
    accounts.erase(user=user, actor=actor)
    return Erasure.objects.get(user=user)


def written() -> int:
    return Judgment.objects.exclude(rationale="").count()


def test_the_request_erases_the_account_and_leaves_the_texts_to_a_worker(bob: User, alice: User) -> None:
    erasure = erased(bob, alice)
    bob.refresh_from_db()
    assert (bob.username, bob.is_active) == (f"erased-{bob.pseudonym}", False)
    assert (erasure.state, erasure.rows_total, written()) == ("queued", None, JUDGMENTS)
    claimed = erasures.claim(erasure.pk)
    assert claimed is not None
    assert erasures.claim(erasure.pk) is None, "another worker has it"
    erasures.run_job(claimed)
    erasure.refresh_from_db()
    assert (erasure.state, erasure.rows_done, erasure.rows_total, erasure.percent) == ("done", 7, 7, 100)
    assert written() == 0


def test_a_failure_keeps_what_was_done_and_is_tried_again(
    bob: User, alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    erasure, blank = erased(bob, alice), erasures._blank

    def fail_at_the_second(model: Any, keys: list[int]) -> None:
        if written() < JUDGMENTS:
            raise OSError("The disk is full.")
        blank(model, keys)

    monkeypatch.setattr(erasures, "_blank", fail_at_the_second)
    claimed = erasures.claim(erasure.pk)
    assert claimed is not None
    with caplog.at_level(logging.ERROR):
        erasures.run_job(claimed)
    assert "is tried again" in caplog.text
    erasure.refresh_from_db()
    assert (erasure.state, written()) == ("queued", JUDGMENTS - 2)
    monkeypatch.setattr(erasures, "_blank", blank)
    again = erasures.claim(erasure.pk)
    assert again is not None
    erasures.run_job(again)
    assert written() == 0


def test_a_worker_that_stops_puts_it_back(bob: User, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    erasure = erased(bob, alice)
    claimed = erasures.claim(erasure.pk)
    assert claimed is not None
    monkeypatch.setattr(worker_jobs, "is_stopping", lambda: True)
    erasures.run_job(claimed)
    erasure.refresh_from_db()
    assert (erasure.state, erasure.attempt, written()) == ("queued", 0, JUDGMENTS - 2)


def test_staff_see_how_far_it_is(bob: User, alice: User) -> None:
    erasure = erased(bob, alice)
    url = f"/people/{bob.pk}/erase/"
    client = Client()
    assert client.get(url)["Location"].startswith("/sign-in/")
    client.force_login(builders.user("charlie"), backend="annotation.backends.AccountBackend")
    assert client.get(url).status_code == 403
    client.force_login(alice, backend="annotation.backends.AccountBackend")
    page = client.get(url).content.decode()
    assert "Waiting for a worker" in page
    assert f'hx-get="{url}"' in page
    Erasure.objects.update(state="running", rows_total=200, rows_done=50)
    page = client.get(url).content.decode()
    assert 'max="200" value="50"' in page
    assert "25%" in page
    Erasure.objects.filter(pk=erasure.pk).update(state="done")
    page = client.get(url).content.decode()
    assert "are deleted." in page
    assert "hx-get" not in page.partition('id="state"')[2].partition(">")[0]


@pytest.mark.live
def test_a_worker_does_it_and_a_lost_message_is_sent_again(bob: User, alice: User) -> None:
    erased(bob, alice)
    cache.clear()
    with process("worker"), process("archiver"):  # the first has the clock, which wakes the second
        until(lambda: Erasure.objects.get().state == "done", "the worker has deleted the texts")
    assert written() == 0
