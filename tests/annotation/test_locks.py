"""Who waits for whom: nobody who works on a project waits for what others add to it, and no two wait for each other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction

from annotation.actions import import_rows, invitations, leases, members, projects, review, snapshots
from annotation.models import Invitation, Item, Judgment, Member, Project, User
from tests import builders
from tests.annotation.queue_case import expire

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def alice() -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def project(alice: User) -> Project:
    return builders.project(alice)


@contextmanager
def meanwhile(work: object) -> Iterator[None]:
    """`work` has been done in another connection's transaction, which stays open while the context lasts."""
    done, leave, failed = threading.Event(), threading.Event(), []

    def run() -> None:
        try:
            with transaction.atomic():
                work()  # type: ignore[operator]
                done.set()
                leave.wait(30)
        except DatabaseError as error:
            failed.append(error)
        finally:
            done.set()
            connection.close()

    other = threading.Thread(target=run)
    other.start()
    assert done.wait(30)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '1s'")
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")
        leave.set()
        other.join()
    assert not failed, failed


def test_a_judgment_comes_in_while_a_reviewer_decides_the_item(project: Project, alice: User) -> None:
    bob = builders.user("bob")
    builders.join(project, bob, Member.Role.ANNOTATOR)
    builders.items(project, 1)
    lease = leases.claim(project=project, annotator=bob)
    assert lease is not None
    item = Item.objects.get()
    ranks = {pk: n for n, pk in enumerate(item.responses.values_list("pk", flat=True), start=1)}
    with meanwhile(lambda: review.give_verdict(item=item, reviewer=alice, ranks=ranks)):
        builders.submit(lease)
    assert Judgment.objects.get().annotator == bob


def test_a_late_judgment_waits_while_somebody_else_renews_their_lease_on_the_item(project: Project, alice: User) -> None:
    bob = builders.user("bob")
    builders.join(project, bob, Member.Role.ANNOTATOR)
    builders.items(project, 1)
    late = leases.claim(project=project, annotator=bob)
    assert late is not None
    expire(late)
    alices = leases.claim(project=project, annotator=alice)
    assert alices is not None
    with (
        pytest.raises(OperationalError, match="lock timeout"),
        meanwhile(lambda: leases.renew(lease=alices)),
    ):
        builders.submit(late)
    assert builders.submit(late).slot_id == late.slot_id


def test_a_project_is_worked_on_while_a_file_comes_in(project: Project, alice: User) -> None:
    bob = builders.user("bob")
    invitation, _ = invitations.invite(project=project, creator=alice, role="annotator")
    rows = builders.lines({"prompt": "Why?", "responses": ["Because.", "Ask her."]})
    builders.items(project, 1)
    builders.judgment(project, alice)
    with meanwhile(lambda: import_rows.import_lines(project=project, lines=rows)):
        member = invitations.accept(invitation=Invitation.objects.get(pk=invitation.pk), user=bob)
        members.change_role(member=member, role="lead", actor=alice)
        projects.write_guideline(project=project, text="Prefer the shorter one.", author=alice)
        snapshots.create_snapshot(project=project, creator=alice, note="")
    assert project.guideline is not None
    assert project.guideline.number == 2
