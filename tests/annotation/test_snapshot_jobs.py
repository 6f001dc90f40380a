"""Snapshots that a worker creates: whole, once, and of one moment, whatever happens on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

from annotation import analytics
from annotation.actions import review, snapshot_jobs, worker_jobs
from annotation.actions.snapshots import SnapshotError, read_judgments
from annotation.actions.worker_jobs import Heartbeat
from annotation.analytics import figures
from annotation.models import AuditEntry, Judgment, Member, Project, Snapshot, SnapshotJob, User
from tests import builders
from tests.annotation.exports.base import revise
from tests.processes import kill, process, until

JUDGMENTS = 30
"""More than the prompts of the first batch of an export."""


@pytest.fixture(autouse=True)
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> Path:
    cache.clear()
    monkeypatch.setattr(settings, "ARTIFACTS", tmp_path)
    monkeypatch.setattr(settings, "RUN_HEARTBEAT_S", 0.02)
    monkeypatch.setattr(figures, "LARGE", 1)
    return tmp_path


@pytest.fixture
def alice() -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def project(alice: User) -> Project:
    project = builders.project(alice)
    builders.items(project, JUDGMENTS + 1)
    for _ in range(JUDGMENTS):
        builders.judgment(project, alice, [1, 2, 3, 4])
    return project


@pytest.fixture
def lead(client: Client, alice: User) -> Client:
    client.force_login(alice, backend="annotation.backends.AccountBackend")
    return client


def queued(project: Project, alice: User, note: str = "") -> SnapshotJob:
    job = snapshot_jobs.request_snapshot(project=project, creator=alice, note=note)
    assert isinstance(job, SnapshotJob)
    return job


def run(job: SnapshotJob) -> None:
    """What a worker does."""
    claimed = snapshot_jobs.claim(job.pk)
    assert claimed is not None
    snapshot_jobs.run_job(claimed)
    job.refresh_from_db()


def in_another_session(act: Callable[[], object]) -> object:
    def work() -> object:
        try:
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def stored_files(artifacts: Path) -> list[Path]:
    return [path for path in artifacts.rglob("*") if path.is_file()]


def test_a_large_project_s_page_follows_the_worker(project: Project, lead: Client) -> None:
    page = reverse("snapshots", args=[project.slug])
    freeze = reverse("freeze", args=[project.slug])
    assert lead.post(freeze, {"note": "pilot", "licence": "cc0"}).status_code == 302
    assert not Snapshot.objects.exists()
    html = lead.get(page).content.decode()
    assert "Waiting for a worker" in html
    assert "0 of about 30 judgments" in html
    assert 'hx-trigger="every 2s"' in html
    assert "being created already" in lead.post(freeze, follow=True).content.decode()
    job = SnapshotJob.objects.get()
    run(job)
    part = lead.get(page, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part
    assert "every 2s" not in part
    assert "Snapshot 1" in part
    snapshot = Snapshot.objects.get()
    assert (job.state, job.percent, job.snapshot, job.claim) == ("done", 100, snapshot, None)
    assert (snapshot.number, snapshot.note, snapshot.manifest["licence"]) == (1, "pilot", "cc0")
    assert snapshot.counts["judgments"] == len(list(read_judgments(snapshot))) == JUDGMENTS
    assert AuditEntry.objects.get(verb="snapshot.frozen").actor == job.created_by


def test_a_reviewer_sees_it_and_cannot_cancel_it(project: Project, alice: User, client: Client) -> None:
    dana = builders.user("dana")
    builders.join(project, dana, Member.Role.REVIEWER)
    job = queued(project, alice)
    client.force_login(dana, backend="annotation.backends.AccountBackend")
    cancel = reverse("snapshot-job-cancel", args=[project.slug, job.pk])
    html = client.get(reverse("snapshots", args=[project.slug])).content.decode()
    assert "Waiting for a worker" in html
    assert cancel not in html
    assert client.post(cancel).status_code == 403
    client.force_login(builders.user("charlie"), backend="annotation.backends.AccountBackend")
    assert client.post(cancel).status_code == 404
    client.logout()
    assert client.post(cancel).status_code == 302
    job.refresh_from_db()
    assert job.state == "queued"


def test_what_happens_meanwhile_is_left_out(
    project: Project, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = Judgment.objects.order_by("item_id").last()
    assert last is not None
    advance, happened = Heartbeat.advance, []

    def others_work() -> None:
        builders.judgment(project, alice)
        revise(last, [4, 3, 2, 1])
        ranks = {pk: n for n, pk in enumerate(last.item.responses.values_list("pk", flat=True), start=1)}
        review.give_verdict(item=last.item, reviewer=alice, ranks=ranks)
        Project.objects.select_for_update(nowait=True).get(pk=project.pk)

    def advance_meanwhile(heartbeat: Heartbeat, done: int) -> None:
        if not happened:
            assert done < JUDGMENTS
            happened.append(in_another_session(transaction.atomic(others_work)))
        advance(heartbeat, done)

    monkeypatch.setattr(Heartbeat, "advance", advance_meanwhile)
    run(queued(project, alice))
    assert happened
    snapshot = Snapshot.objects.get()
    rows = {row["judgment"]: row for row in read_judgments(snapshot)}
    assert (len(rows), snapshot.last_judgment) == (JUDGMENTS, max(rows))
    assert (rows[last.pk]["ranks"], rows[last.pk]["verdict"]) == ([1, 2, 3, 4], None)
    assert analytics.new_judgment_count(project, snapshot) == 2


def test_of_two_requests_at_once_one_is_refused(project: Project, alice: User) -> None:
    together = Barrier(2)

    def request() -> str:
        try:
            together.wait()
            queued(project, alice)
        except SnapshotError as error:
            return str(error)
        finally:
            connection.close()
        return ""

    with ThreadPoolExecutor(2) as pool:
        answers = sorted(future.result() for future in [pool.submit(request) for _ in range(2)])
    assert answers[0] == ""
    assert "being created already" in answers[1]
    assert SnapshotJob.objects.count() == 1


def test_it_is_cancelled_while_it_waits(project: Project, alice: User, lead: Client) -> None:
    job = queued(project, alice)
    cancel = reverse("snapshot-job-cancel", args=[project.slug, job.pk])
    assert lead.post(cancel).status_code == 302
    job.refresh_from_db()
    assert (job.state, snapshot_jobs.claim(job.pk)) == ("cancelled", None)
    assert "ended already: cancelled" in lead.post(cancel, follow=True).content.decode()
    run(queued(project, alice))
    assert Snapshot.objects.get().number == 1


def test_it_is_cancelled_while_it_is_written(
    project: Project, alice: User, artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queued(project, alice)
    monkeypatch.setattr(
        Heartbeat,
        "advance",
        lambda *_: in_another_session(lambda: SnapshotJob.objects.update(cancel_requested=True)),
    )
    run(job)
    assert job.state == "cancelled"
    assert not Snapshot.objects.exists()
    assert not AuditEntry.objects.filter(verb="snapshot.frozen").exists()
    assert stored_files(artifacts) == []


def test_a_worker_that_is_told_to_stop_queues_it_again(
    project: Project, alice: User, artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queued(project, alice)
    with monkeypatch.context() as stopping:
        stopping.setattr(worker_jobs, "is_stopping", lambda: True)
        run(job)
    assert (job.state, job.attempt, job.claim) == ("queued", 0, None)
    assert stored_files(artifacts) == []
    run(job)
    assert job.state == "done"


def test_a_failed_one_says_why_and_can_be_tried_again(
    project: Project, alice: User, artifacts: Path, lead: Client
) -> None:
    job = queued(project, alice, note="pilot")
    (artifacts / "store").write_text("a file stands in the way")
    run(job)
    assert (job.state, "could not be written" in job.error) == ("failed", True)
    page = lead.get(reverse("snapshots", args=[project.slug]))
    assert "could not be written" in page.content.decode()
    assert "Try again" in page.content.decode()
    assert page.context["form"]["note"].value() == "pilot"
    (artifacts / "store").unlink()
    run(queued(project, alice))
    assert "Try again" not in lead.get(reverse("snapshots", args=[project.slug])).content.decode()


def test_it_fails_when_its_workers_died_too_often(project: Project, alice: User) -> None:
    job = queued(project, alice)
    SnapshotJob.objects.update(attempt=worker_jobs.MAX_ATTEMPTS)
    run(job)
    assert (job.state, job.error) == ("failed", "Its worker died 3 times.")


def test_a_worker_that_is_killed_leaves_nothing_and_the_next_one_does_it_all(
    project: Project, alice: User
) -> None:
    job = queued(project, alice)
    with process("archiver") as archiver, transaction.atomic():
        # the file is written, and the worker waits for the snapshot's number
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        until(lambda: SnapshotJob.objects.get().judgments_done == JUDGMENTS, "the judgments are written")
        kill(archiver)
    job.refresh_from_db()
    assert (job.state, Snapshot.objects.count()) == ("running", 0)
    with process("worker"), process("archiver"):  # the first has the clock, which wakes the second
        until(lambda: SnapshotJob.objects.get().state == "done", "another worker has done it")
    snapshot = Snapshot.objects.get()
    job.refresh_from_db()
    assert (job.attempt, job.snapshot) == (2, snapshot)
    judged = {row["judgment"] for row in read_judgments(snapshot)}
    assert judged == set(Judgment.objects.values_list("pk", flat=True))
    assert AuditEntry.objects.filter(verb="snapshot.frozen").count() == 1


def test_the_api_answers_with_a_job(project: Project, lead: Client) -> None:
    place = f"/api/v1/projects/{project.slug}/snapshots/"
    posted = lead.post(place, {"note": "pilot"}, content_type="application/json")
    job = posted.json()
    assert (posted.status_code, job["state"], job["judgments_total"]) == (202, "queued", JUDGMENTS)
    assert (job["snapshot"], posted["Location"]) == (None, f"{place}jobs/{job['id']}/")
    second = lead.post(place, {}, content_type="application/json")
    assert (second.status_code, "being created already" in json.loads(second.content)["detail"]) == (
        409,
        True,
    )
    run(SnapshotJob.objects.get())
    done = lead.get(posted["Location"]).json()
    assert (done["state"], done["percent"], done["snapshot"]) == ("done", 100, 1)
    assert lead.post(f"{posted['Location']}cancel/").status_code == 409
    another = lead.post(place, {}, content_type="application/json")
    cancelled = lead.post(f"{another['Location']}cancel/")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert Snapshot.objects.count() == 1
