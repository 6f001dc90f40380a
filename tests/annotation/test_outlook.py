"""Who judges now, and when what is left will be judged."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from annotation.actions import leases
from annotation.analytics.outlook import Outlook, at_work, joint_outlook, outlook
from annotation.logic.pace import Worker
from annotation.models import Project, Slot
from tests import builders
from tests.base import PalateTestCase


class OutlookTests(PalateTestCase):
    def setUp(self) -> None:
        self.project.overlap = 2
        self.project.save()
        builders.items(self.project, 30)

    def judge(self, times: int) -> None:
        for _ in range(times):
            builders.judgment(self.project, self.bob)

    def test_who_judged_or_opened_something_lately_is_at_work(self) -> None:
        assert at_work(self.project) == []
        self.judge(2)
        (bob,) = at_work(self.project)
        assert (bob.name, bob.judgments, bob.recent) == ("bob", 2, 2)
        builders.age_judgments(self.project, minutes=16)
        assert at_work(self.project) == []
        leases.claim(project=self.project, annotator=self.dana)
        assert [worker.name for worker in at_work(self.project)] == ["dana"]
        Slot.objects.filter(state="leased").update(opened_at=None)
        assert at_work(self.project) == [], "claimed ahead, and not on anybody's screen"

    def test_a_lease_that_nobody_renews_is_no_work(self) -> None:
        lease = leases.claim(project=self.project, annotator=self.dana)
        assert lease is not None
        almost_over = timezone.now() + timedelta(minutes=self.project.lease_minutes - 16)
        Slot.objects.filter(pk=lease.slot_id).update(leased_until=almost_over)
        assert at_work(self.project) == []

    def test_the_pace_is_that_of_those_at_work_since_they_began(self) -> None:
        self.judge(6)
        builders.age_judgments(self.project, minutes=12)
        ahead = outlook(self.project)
        assert ahead.time_left
        assert 24 / 6 * 12 * 60 * 0.9 < ahead.time_left.seconds < 24 / 6 * 12 * 60 * 1.1
        assert "1 person is judging, about" in ahead.sentence
        assert "24 more judgments take" in ahead.sentence, "of each of the 30 items one"
        assert "30 more judgments need people other than bob." in ahead.sentence

    def test_who_only_chats_takes_nothing_from_the_queue(self) -> None:
        self.judge(6)
        Slot.objects.filter(state="done").update(chat=True)
        (bob,) = at_work(self.project)
        assert (bob.judgments, bob.recent, bob.only_chats) == (0, 6, True)
        assert outlook(self.project).is_idle
        leases.claim(project=self.project, annotator=self.bob)
        assert [worker.only_chats for worker in at_work(self.project)] == [False]
        Slot.objects.filter(state="leased").update(chat=True)
        assert [worker.only_chats for worker in at_work(self.project)] == [True], "it is an answer of a chat"

    def test_another_project_s_work_does_not_count(self) -> None:
        other = builders.project(self.charlie, "Other")
        self.judge(1)
        assert at_work(other) == []
        assert outlook(other).sentence == "Everything in the queue is judged."

    def test_each_situation_has_its_sentence(self) -> None:
        now = timezone.now()
        workers = (Worker("bob", 30, 60), Worker("erin", 30, 60))
        for ahead, text in (
            (Outlook(0, (), now), "Everything in the queue is judged."),
            (Outlook(3, (), None), "Nobody has judged yet: 3 judgments are left."),
            (
                Outlook(1, (), now - timedelta(hours=3)),
                "Nobody is judging: the last judgment was made 3 hours ago, and 1 is left.",
            ),
            (
                Outlook(9, (Worker("bob", 2, 4),), now),
                "1 person is judging, and 9 judgments are left. How long they take can be told after 5 judgments.",
            ),
            (
                Outlook(3, (Worker("bob", 0, 4, 2, only_chats=True),), now),
                "1 person chats with the models, and nobody judges what is in the queue: judgments left: 3.",
            ),
            (
                Outlook(600, workers, now),
                "2 people are judging, about 60 an hour together: 600 more judgments take 7 to 14 hours, if they go on.",
            ),
            (
                Outlook(9, (Worker("bob", 2, 4), Worker("erin", 0, 0)), now, within_reach=6),
                (
                    "2 people are judging, and 6 judgments are left. How long they take can be told after 5 judgments. "
                    "3 more judgments need people other than bob and erin."
                ),
            ),
            (
                Outlook(1, tuple(Worker(name, 9, 9, items_left=0) for name in "abcde"), now, within_reach=0),
                (
                    "The queue has no more for those at work: "
                    "1 judgment is left that needs a person other than a, b, c and 2 more at work."
                ),
            ),
            (
                Outlook(2, (Worker("bob", 9, 9, able=False),), now),
                "Nobody judges what is in the queue, as those at work are paused or not qualified: 2 judgments are left.",
            ),
        ):
            with self.subTest(text):
                assert ahead.sentence == text
        assert [Outlook(n, who, None).is_idle for n in (0, 3) for who in ((), workers)] == [
            False,
            False,
            True,
            False,
        ]

    def test_of_two_projects_the_awaited_judgments_are_no_more_than_needed(self) -> None:
        other: Project = builders.project(self.alice, "Safety")
        builders.items(other, 5)
        self.judge(1)
        both = joint_outlook([self.project, other], at_most=7)
        assert (both.left, len(both.workers)) == (7, 1)
        assert joint_outlook([self.project, other]).left == 59 + 5
