"""What the form of a round says of the judgments that are left in the queue, and that the round does so."""

from __future__ import annotations

from django.urls import reverse

from annotation.actions import queue
from annotation.logic.splits import digest
from annotation.models import Response
from tests.training.round_case import RoundTestCase
from tests.training.round_helpers import judge_items
from training.models import ModelVersion
from training.rounds import transitions
from training.rounds.plan import draft_round
from training.rounds.queue_preview import describe_queue
from training.rounds.settings import settings_of
from training.rounds.steps.new_items import FirstAnswers


class QueuePreviewTests(RoundTestCase):
    """30 items, of which some are judged; the round waits for 10 judgments."""

    def texts(self, **options: int) -> tuple[str, list[str], bool]:
        """What the form says, and whether the round would generate answers first."""
        draft = draft_round(self.make_loop(name=f"loop {options}", options=options))
        first, *rest = describe_queue([self.policy_project], settings_of(draft), self.first)
        return first, rest, any(step["name"] == FirstAnswers.name for step in draft.plan)

    def test_enough_in_the_queue_is_used_first(self) -> None:
        judge_items(self.policy_project, self.alice, 4)
        found, (uses, use_all, adds), generates = self.texts(judgments=10, budget=6)
        assert found == (
            "The queue has 26 judgments left (on answers of first, the current policy: 0), beside 4 since the last snapshot."
        )
        assert uses == "The round waits for 10: it uses these first, and generates no answers before."
        assert use_all == "To use them all, have it wait for 30."
        assert adds.startswith("At its end it adds items for 6 judgments")
        assert not generates
        _, rest, generates = self.texts(judgments=30, budget=0)
        assert rest == ["The round waits for 30: it uses these first, and generates no answers before."]
        assert not generates

    def test_too_little_in_the_queue_is_added_to_first(self) -> None:
        _, (waits, *_), generates = self.texts(judgments=31, budget=6)
        assert waits == (
            "The round waits for 31: before, it sends annotators new answers of first, for 6 judgments."
        )
        assert generates
        _, rest, generates = self.texts(judgments=31, budget=0)
        assert rest == ["The round waits for 31, or until these are judged: with a budget of 0 it adds none."]
        assert not generates

    def test_those_on_answers_of_the_current_policy_are_counted(self) -> None:
        own = ModelVersion.objects.get(pk=self.first.pk).author
        for prompt in self.policy_project.prompts.order_by("pk")[:3]:
            texts = [f"Answer {n}." for n in range(3)]
            answers = [
                Response.objects.create(prompt=prompt, author=own, text=text, digest=digest(text))
                for text in texts
            ]
            spec = queue.ItemSpec(prompt.pk, [answer.pk for answer in answers])
            queue.enqueue(project=self.policy_project, specs=[spec])
        found, *_ = self.texts(judgments=10)
        assert "on answers of first, the current policy: 3)" in found

    def test_the_form_shows_it_for_a_first_round_too(self) -> None:
        self.sign_in(self.alice)
        page = self.client.get(reverse("round-new", args=[self.policy_project.slug]))
        self.assertContains(page, "The queue has 30 judgments left")
        self.assertContains(page, "before, it sends annotators new answers of first")
        transitions.start_round(loop=self.make_loop(options={"judgments": 10}), creator=self.alice)
        page = self.client.get(reverse("round-new", args=[self.policy_project.slug]))
        self.assertContains(page, "The round waits for 10: it uses these first")
