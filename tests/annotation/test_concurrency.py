"""Many people at once, in processes of their own: no judgment is lost, none is kept twice, none is one too many."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import settings
from django.db import IntegrityError, connections
from django.db.models import Count
from django.test import TransactionTestCase

from annotation.actions import queue
from annotation.actions.intake import import_lines
from annotation.actions.judge import AlreadyJudged
from annotation.actions.queue import Lease
from annotation.models import Item, Judgment, Member, Prompt, Slot
from tests import builders
from tests.processes import environment

ANNOTATORS, ITEMS, OVERLAP = 8, 200, 3


class ConcurrencyTests(TransactionTestCase):
    def setUp(self) -> None:
        self.alice = builders.user("alice")
        self.project = builders.project(self.alice, overlap=OVERLAP)
        self.people = [builders.user(f"annotator-{n}") for n in range(ANNOTATORS)]
        for person in self.people:
            builders.join(self.project, person, Member.Role.ANNOTATOR)

    def test_eight_processes_fill_every_slot_exactly_once(self) -> None:
        builders.items(self.project, ITEMS)
        workers = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.annotation.rough_annotator",
                    str(self.project.pk),
                    str(person.pk),
                ],
                cwd=settings.BASE_DIR,
                env=environment() | {"LOG_LEVEL": "ERROR"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for person in self.people
        ]
        for worker in workers:
            self.addCleanup(worker.wait)
            self.addCleanup(worker.kill)
        tallies = []
        for worker in workers:
            said, complaints = worker.communicate(timeout=120)
            assert worker.returncode == 0, complaints
            tallies.append(Counter(dict(part.split("=") for part in said.split())))
        total = {name: sum(int(tally[name]) for tally in tallies) for name in ("kept", "twice", "late")}

        counted = Judgment.objects.filter(slot__isnull=False)
        assert counted.count() == ITEMS * OVERLAP
        assert set(Item.objects.annotate(n=Count("slots__judgments")).values_list("n", flat=True)) == {
            OVERLAP
        }
        assert not Slot.objects.exclude(state="done").exists()
        # every submit that was acknowledged is there, once
        assert Judgment.objects.count() == total["kept"]
        assert Judgment.objects.values("item", "annotator").distinct().count() == total["kept"]
        assert Judgment.objects.annotate(n=Count("placements")).exclude(n=4).count() == 0
        assert len({(slot.item_id, slot.annotator_id) for slot in Slot.objects.all()}) == ITEMS * OVERLAP
        # and the rough handling did happen
        assert total["twice"] > 20, total
        assert total["late"] > 20, total

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
            lease = queue.claim(project=self.project, annotator=bob)
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
            lease, key = queue.claim(project=self.project, annotator=bob), uuid.uuid4()

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
                slot=judgment.slot,
                annotator=self.people[1],
                shown_order=judgment.shown_order,
                seconds=1,
                idempotency_key=uuid.uuid4(),
            )
