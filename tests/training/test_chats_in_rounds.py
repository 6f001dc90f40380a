"""Live chats in the loop: their judgments count, their prompts are drawn, and held-out chats train nothing."""

from __future__ import annotations

import uuid

from annotation import analytics
from annotation.actions import chats
from annotation.models import Prompt, Turn
from annotation.queries import progress
from tests import live_chats
from tests.training.round_case import RoundTestCase
from tests.training.round_helpers import judge_items, reload
from training.rounds import transitions
from training.rounds.steps.base import ADVANCE, WAIT
from training.rounds.steps.collect import Collect, count_new_judgments
from training.rounds.steps.comparison import evaluation_prompts
from training.runs.queries import prompts_of, select_prompts


class ChatsInRoundsTests(RoundTestCase):
    def setUp(self) -> None:
        super().setUp()
        live_chats.enable(self.policy_project)

    def chat(self, *messages: str) -> list[Turn]:
        return live_chats.chat_of(self.policy_project, self.alice, *messages)

    def chat_of_split(self, split: str) -> list[Turn]:
        """A chat of two messages of the split that its first message gives."""
        while True:
            first = live_chats.send(self.policy_project, self.alice, f"Question {uuid.uuid4()}?")
            if first.prompt.split == split:
                break
            chats.end(chat=first.chat)
        live_chats.answer(first)
        live_chats.judge(first)
        first = live_chats.reloaded(first)
        return [first, live_chats.judged(self.policy_project, self.alice, "And?", first)]

    # --- judgments that a round waits for ---

    def test_choices_count_towards_the_judgments_of_a_round_and_better_answers_do_not(self) -> None:
        round = self.start_round(judgments=5)
        before = count_new_judgments(round)
        turns = self.chat("One?", "Two?")
        assert count_new_judgments(round) == before + 2
        live_chats.improve(turns[1], "Better.")
        assert count_new_judgments(round) == before + 2
        assert analytics.new_judgment_count(self.policy_project, None) == before + 3

    def test_a_round_continues_on_choices_alone(self) -> None:
        round = self.start_round(judgments=9)
        transitions.advance(round.pk)
        assert reload(round).step == "collect"
        self.chat("One?")
        transitions.advance(round.pk)
        assert reload(round).step == "rewards"

    def test_an_open_chat_is_nothing_to_wait_for(self) -> None:
        round = self.start_round(judgments=1000)
        judge_items(self.policy_project, self.alice)
        assert progress(self.policy_project).left == 0
        turn = live_chats.answer(live_chats.send(self.policy_project, self.alice, "In hand?"))
        counts = progress(self.policy_project)
        assert (counts.left, counts.leased) == (0, 0)
        assert Collect().check(round) == ADVANCE
        total = counts.total
        live_chats.judge(turn)
        counts = progress(self.policy_project)
        assert (counts.left, counts.total) == (0, total + 1)

    def test_a_round_waits_for_items_of_the_queue_as_ever(self) -> None:
        round = self.start_round(judgments=5)
        assert progress(self.policy_project).left > 0
        assert Collect().check(round) == WAIT

    # --- prompts that are drawn ---

    def test_judged_messages_are_drawn_and_others_are_not(self) -> None:
        judged = self.chat_of_split("train")
        same = live_chats.answer(live_chats.send(self.policy_project, self.alice, "Same?"), "Yes.", "Yes.")
        waiting = live_chats.send(self.policy_project, self.alice, "Waiting?")
        dropped = live_chats.answer(live_chats.send(self.policy_project, self.alice, "Dropped?"))
        chats.drop(turn=dropped)
        ids = set(prompts_of(self.policy_project).values_list("pk", flat=True))
        assert {turn.prompt_id for turn in (*judged, same)} <= ids
        assert not ids & {waiting.prompt_id, dropped.prompt_id}
        drawn = {prompt.pk for prompt in select_prompts(self.policy_project)}
        assert drawn == ids
        without = Prompt.objects.filter(project=self.policy_project, turn=None)
        assert set(without.values_list("pk", flat=True)) < ids

    def test_a_held_out_chat_trains_nothing(self) -> None:
        held_out = self.chat_of_split("held_out")
        train = self.chat_of_split("train")
        trained = {prompt.pk for prompt in select_prompts(self.policy_project, split="train")}
        assert {turn.prompt_id for turn in train} <= trained
        assert not trained & {turn.prompt_id for turn in held_out}

    def test_erased_messages_are_not_drawn(self) -> None:
        turns = self.chat_of_split("train")
        Prompt.objects.filter(pk=turns[0].prompt_id).update(
            messages=[{"role": "user", "content": "[erased]"}]
        )
        ids = set(prompts_of(self.policy_project).values_list("pk", flat=True))
        assert turns[0].prompt_id not in ids
        assert turns[1].prompt_id in ids

    # --- comparisons ---

    def test_policies_are_compared_on_the_same_prompts_however_many_chats_there_are(self) -> None:
        round = self.start_round(evaluation_prompts=1000)
        before = evaluation_prompts(round)
        assert before
        self.chat_of_split("held_out")
        assert evaluation_prompts(round) == before

    def test_where_there_are_chats_alone_they_are_compared_on_those_from_before_the_round(self) -> None:
        turns = self.chat_of_split("held_out")
        Prompt.objects.filter(project=self.policy_project, turn=None).update(split="train")
        round = self.start_round(evaluation_prompts=1000)
        before = evaluation_prompts(round)
        assert set(before) >= {turn.prompt_id for turn in turns}
        self.chat_of_split("held_out")
        assert evaluation_prompts(round) == before
