"""Many people at once, in processes of their own: no judgment is lost, none is kept twice, none is one too many."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest
from django.conf import settings
from django.db import IntegrityError, connections
from django.db.models import Count
from django.test import Client, TransactionTestCase

from annotation.actions import leases
from annotation.actions.import_rows import import_lines
from annotation.actions.judgments import AlreadyJudged
from annotation.actions.leases import Lease
from annotation.models import Item, Judgment, Member, Prompt, Slot, User
from tests import builders
from tests.patience import HANGS_S
from tests.processes import SiteProcess, environment, free_port, kill, process, until

pytestmark = [pytest.mark.live, pytest.mark.slow(40)]

ANNOTATORS, ITEMS, OVERLAP, TEAMS = 32, 200, 3, 4


class Teams:
    """Processes in which the annotators work, with what was acknowledged to them."""

    def __init__(self, project_id: int) -> None:
        self.project_id = project_id
        self.acknowledged: list[str] = []
        self.tally: Counter[str] = Counter()

    def start(self, port: int, people: list[User]) -> subprocess.Popen[str]:
        arguments = [
            str(port),
            str(self.project_id),
            *(f"{person.pk}={session(person)}" for person in people),
        ]
        return subprocess.Popen(
            [sys.executable, "-m", "tests.annotation.rough_annotator", *arguments],
            cwd=settings.BASE_DIR,
            env=environment() | {"LOG_LEVEL": "CRITICAL"},
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self, team: subprocess.Popen[str]) -> None:
        """Listen to the end, and note every judgment that was acknowledged."""
        assert team.stdout is not None
        for line in team.stdout:
            match line.split():
                case ["kept", key]:
                    self.acknowledged.append(key)
                case ["tally", *counts]:
                    self.tally.update({name: int(n) for name, n in (part.split("=") for part in counts)})
        team.wait()


def session(person: User) -> str:
    """Signed in, without the page."""
    client = Client()
    client.force_login(person, settings.AUTHENTICATION_BACKENDS[-1])
    return client.cookies["sessionid"].value


def web(port: int) -> AbstractContextManager[SiteProcess]:
    return process("web", port=port, LOG_LEVEL="CRITICAL", PGAPPNAME="web")


class ConcurrencyTests(TransactionTestCase):
    def setUp(self) -> None:
        self.alice = builders.user("alice")
        self.project = builders.project(self.alice, overlap=OVERLAP)
        self.people = [builders.user(f"annotator-{n}") for n in range(ANNOTATORS)]
        for person in self.people:
            builders.join(self.project, person, Member.Role.ANNOTATOR)

    def test_every_slot_is_filled_exactly_once_whatever_happens(self) -> None:
        """Over HTTP: leases run out, submits come twice, connections are cut, and one of two web processes is killed."""
        builders.items(self.project, ITEMS)
        teams, ports = Teams(self.project.pk), [free_port(), free_port()]
        doomed = self.enterContext(web(ports[0]))
        self.enterContext(web(ports[1]))
        running = [teams.start(ports[n % 2], self.people[n::TEAMS]) for n in range(TEAMS)]
        for team in running:
            self.addCleanup(team.wait)
            self.addCleanup(team.kill)
        with ThreadPoolExecutor(TEAMS) as listeners:
            heard = [listeners.submit(teams.read, team) for team in running]
            until(lambda: Judgment.objects.count() > ITEMS, "a third of the work")
            kill(doomed)  # -9, with sixteen people in the middle of something
            self.enterContext(web(ports[0]))
            for one in heard:
                one.result(timeout=HANGS_S)
        assert [team.returncode for team in running] == [0] * TEAMS

        counted = Judgment.objects.filter(slot__isnull=False)
        assert counted.count() == ITEMS * OVERLAP
        assert not Slot.objects.exclude(state="done").exists()
        per_item = counted.values("item").annotate(n=Count("id"), people=Count("annotator", distinct=True))
        assert set(per_item.values_list("n", "people")) == {(OVERLAP, OVERLAP)}
        # every submit that was acknowledged is there, once
        there = {str(key) for key in Judgment.objects.values_list("idempotency_key", flat=True)}
        assert set(teams.acknowledged) <= there
        assert Judgment.objects.values("item", "annotator").distinct().count() == Judgment.objects.count()
        assert not Judgment.objects.annotate(n=Count("placements")).exclude(n=4).exists()
        # and the rough handling did happen
        for what, least in {"twice": 40, "late": 20, "dropped": 4, "again": 14, "cut": 2}.items():
            assert teams.tally[what] >= least, (what, teams.tally)

    def test_the_same_file_sent_eight_times_at_once_is_imported_once(self) -> None:
        rows = [{"id": f"q{n}", "prompt": f"{n}?", "responses": ["a", "b"]} for n in range(50)]

        def send(_: int) -> int:
            try:
                return import_lines(project=self.project, lines=builders.lines(*rows)).prompts
            finally:
                connections.close_all()

        with ThreadPoolExecutor(8) as threads:
            assert sorted(threads.map(send, range(8))) == [0] * 7 + [50]
        assert Prompt.objects.count() == Item.objects.count() == 50

    def test_two_tabs_submit_the_same_item_at_once(self) -> None:
        builders.items(self.project, 10)
        bob = self.people[0]
        for _ in range(10):
            lease = leases.claim(project=self.project, annotator=bob)
            assert lease is not None

            def tab(ranks: list[int], lease: Lease = lease) -> str:
                try:
                    return str(builders.submit(lease, ranks).pk)
                except AlreadyJudged:
                    return "already"
                finally:
                    connections.close_all()

            with ThreadPoolExecutor(2) as threads:
                answers = sorted(threads.map(tab, ([1, 2, 3, 4], [4, 3, 2, 1])))
            assert answers[1] == "already"
            assert Judgment.objects.filter(pk=answers[0], slot__isnull=False).exists()
        assert Judgment.objects.count() == Slot.objects.filter(state="done").count() == 10

    def test_a_double_click_is_one_judgment(self) -> None:
        builders.items(self.project, 10)
        bob = self.people[0]
        for _ in range(10):
            lease, key = leases.claim(project=self.project, annotator=bob), uuid.uuid4()

            def click(_: int, lease: Lease | None = lease, key: uuid.UUID = key) -> int:
                assert lease is not None
                try:
                    return builders.submit(lease, key=key).pk
                finally:
                    connections.close_all()

            with ThreadPoolExecutor(4) as threads:
                assert len(set(threads.map(click, range(4)))) == 1
        assert Judgment.objects.count() == Slot.objects.filter(state="done").count() == 10

    def test_the_database_alone_refuses_a_second_judgment_of_a_slot(self) -> None:
        """Were the actions wrong, this would hold."""
        builders.items(self.project, 1)
        judgment = builders.judgment(self.project, self.people[0])
        with pytest.raises(IntegrityError, match="one_judgment_per_slot"):
            Judgment.objects.create(
                item=judgment.item,
                project_id=judgment.item.project_id,
                slot=judgment.slot,
                annotator=self.people[1],
                shown_order=judgment.shown_order,
                seconds=1,
                idempotency_key=uuid.uuid4(),
            )
