"""The questions beside the ranks, and answers that people write."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from annotation.actions import judgments, queue
from annotation.actions.judgments import JudgmentError, ResponseRatings, UnsafePreferred
from annotation.actions.leases import Lease
from annotation.actions.queue import ItemSpec
from annotation.models import Author, Judgment, Project, Response, Slot
from tests.annotation.test_judgments import JudgeTestCase


class RatingsTestCase(JudgeTestCase):
    def asking(self, k: int = 3, **asked: object) -> Lease:
        Project.objects.filter(pk=self.project.pk).update(**asked)
        self.project.refresh_from_db()
        self.items(k=k)
        return self.claim(self.bob)

    def say(self, lease: Lease, ratings: dict[str, ResponseRatings] | None = None, **said: Any) -> Judgment:
        """Ranks 1, 2, 3, … in the order shown; ratings by letter."""
        by_id = {lease.shown_order["ABC".index(letter)]: rating for letter, rating in (ratings or {}).items()}
        values: dict[str, Any] = {
            "ranks": dict(zip(lease.shown_order, range(1, 10), strict=False)),
            "idempotency_key": uuid.uuid4(),
        }
        return judgments.submit(lease=lease, ratings=by_id, **values | said)

    def refused(
        self, field: str, match: str, lease: Lease, *ratings: dict[str, ResponseRatings], **said: Any
    ) -> None:
        with pytest.raises(JudgmentError, match=match) as caught:
            self.say(lease, *ratings, **said)
        assert caught.value.field == field
        assert not Judgment.objects.exists()


class QuestionTests(RatingsTestCase):
    def test_it_keeps_what_is_noted_of_each_answer(self) -> None:
        lease = self.asking(asks_quality=True, asks_flags=True, asks_safety=True)
        judgment = self.say(
            lease,
            {
                "A": ResponseRatings(7, True),
                "B": ResponseRatings(4, True, ("opinion", "moral")),
                "C": ResponseRatings(1, False, ("violent",)),
            },
        )
        kept = {p.response_id: (p.quality, p.safe, p.flags) for p in judgment.placements.all()}
        assert [kept[response] for response in lease.shown_order] == [
            (7, True, []),
            (4, True, ["opinion", "moral"]),
            (1, False, ["violent"]),
        ]

    def test_quality_is_needed_where_it_is_asked_for(self) -> None:
        lease = self.asking(asks_quality=True)
        self.refused("quality", "missing: B, C", lease, {"A": ResponseRatings(3)})
        self.refused("quality", "from 1 to 7", lease, dict.fromkeys("ABC", ResponseRatings(8)))

    def test_flags_must_be_known(self) -> None:
        lease = self.asking(asks_flags=True)
        self.refused("flags", "'boring' is not a flag", lease, {"A": ResponseRatings(flags=("boring",))})

    def test_what_is_not_asked_for_is_not_taken(self) -> None:
        lease = self.asking()
        self.refused("quality", "does not ask", lease, {"A": ResponseRatings(3)})
        self.refused("safety", "does not ask", lease, {"A": ResponseRatings(safe=True)})
        self.refused("flags", "does not ask", lease, {"A": ResponseRatings(flags=("opinion",))})

    def test_a_rationale_is_needed_where_it_is_required(self) -> None:
        lease = self.asking(rationale="required")
        self.refused("rationale", "why", lease, rationale="  ")
        assert self.say(lease, rationale="It is right.").rationale == "It is right."

    def test_what_was_asked_is_what_the_page_asked(self) -> None:
        """A lead who asks for more meanwhile does not make a finished page wrong."""
        lease = self.asking()
        Project.objects.filter(pk=self.project.pk).update(asks_quality=True)
        self.say(lease)
        assert Judgment.objects.count() == 1


class SafetyTests(RatingsTestCase):
    SAFE, UNSAFE = ResponseRatings(safe=True), ResponseRatings(safe=False)

    def test_every_answer_needs_a_word(self) -> None:
        lease = self.asking(asks_safety=True)
        self.refused("safety", "missing: C", lease, {"A": self.SAFE, "B": self.SAFE})

    def test_an_unsafe_answer_cannot_stand_above_a_safe_one(self) -> None:
        lease = self.asking(asks_safety=True)
        ratings = {"A": self.SAFE, "B": self.UNSAFE, "C": self.SAFE}
        with pytest.raises(
            UnsafePreferred, match="B is marked unsafe and cannot be ranked above C"
        ) as caught:
            self.say(lease, ratings)
        assert caught.value.field == "safety"
        assert not Judgment.objects.exists()
        tied = dict(zip(lease.shown_order, (1, 2, 2), strict=True))
        assert self.say(lease, ratings, ranks=tied).placements.filter(safe=False).count() == 1

    def test_of_two_unsafe_answers_one_may_be_better(self) -> None:
        lease = self.asking(k=2, asks_safety=True)
        self.say(lease, {"A": self.UNSAFE, "B": self.UNSAFE}, degree="better")
        assert Judgment.objects.count() == 1


class DemonstrationTests(RatingsTestCase):
    def ask_for_an_answer(self, responses: int = 0) -> Lease:
        self.items(k=4)
        Slot.objects.all().delete()
        Project.objects.filter(pk=self.project.pk).update(task="demonstrations")
        self.project.refresh_from_db()
        prompt = self.project.prompts.get()
        ids = list(prompt.responses.values_list("pk", flat=True)[:responses])
        queue.enqueue(project=self.project, specs=[ItemSpec(prompt.pk, ids)])
        return self.claim(self.bob)

    def test_what_is_written_becomes_a_response_of_its_writer(self) -> None:
        lease = self.ask_for_an_answer()
        judgment = judgments.submit(lease=lease, ranks={}, text="**Paris.**", idempotency_key=uuid.uuid4())
        written = judgment.demonstration
        assert written.text == "**Paris.**"
        assert (written.author.kind, written.author.user, written.author.name) == (
            "person",
            self.bob,
            self.bob.pseudonym,
        )
        assert not judgment.placements.exists()
        assert Slot.objects.get().state == "done"

    def test_the_same_submit_again_writes_nothing_more(self) -> None:
        lease, key = self.ask_for_an_answer(1), uuid.uuid4()
        first = judgments.submit(lease=lease, ranks={}, text="Paris.", idempotency_key=key)
        assert judgments.submit(lease=lease, ranks={}, text="Lyon.", idempotency_key=key) == first
        assert Response.objects.filter(author__kind="person").count() == 1
        assert Author.objects.filter(kind="person").count() == 1

    def test_it_needs_a_text_and_nothing_else(self) -> None:
        lease = self.ask_for_an_answer()
        for field, match, said in (
            ("text", "Write the answer", {"ranks": {}, "text": " \n"}),
            ("text", "null byte", {"ranks": {}, "text": "a\0b"}),
            ("text", "at most 100,000", {"ranks": {}, "text": "a" * 100_001}),
            ("ranks", "Nothing is ranked", {"ranks": {1: 1}, "text": "Paris."}),
        ):
            self.refused(field, match, lease, **said)

    def test_a_ranking_takes_no_text(self) -> None:
        self.refused("text", "No answer is written here", self.asking(), text="Paris.")
