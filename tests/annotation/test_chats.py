from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from annotation.actions import chat_answers, chats, items
from annotation.actions.chat_answers import Answer
from annotation.actions.chats import ChatError
from annotation.actions.judgments import JudgmentError
from annotation.actions.leases import claim
from annotation.logic.limits import MAX_CHAT_MESSAGE_CHARS, MAX_OPEN_CHATS
from annotation.models import Author, Chat, ChatSettings, Item, Judgment, Prompt, Slot, Turn
from tests.base import PalateTestCase

State = Turn.State


@contextmanager
def refusal(field: str, words: str | None = None) -> Iterator[None]:
    with pytest.raises(ChatError, match=words) as refused:
        yield
    assert refused.value.field == field


class ChatTests(PalateTestCase):
    def setUp(self) -> None:
        super().setUp()
        ChatSettings.objects.create(project=self.project, enabled=True, max_turns=3)
        self.me = self.project.members.select_related("project", "user").get(user=self.bob)
        self.policy = Author.objects.create(project=self.project, kind=Author.Kind.POLICY, name="policy")

    def start(self, text: str = "How do tides work?", key: uuid.UUID | None = None) -> Turn:
        return chats.start_chat(member=self.me, text=text, key=key or uuid.uuid4())

    def send(self, after: Turn | None, text: str = "And why?", **more: Any) -> Turn:
        chat = more.pop("chat", None) or (after and after.chat)
        return chats.send(
            chat=chat, member=self.me, text=text, key=more.pop("key", uuid.uuid4()), after=after
        )

    def answered(self, turn: Turn, first: str = "The moon.", second: str = "Whales.") -> Turn:
        claimed = chat_answers.claim(turn.pk)
        assert claimed is not None
        answers = [Answer(self.policy.pk, text, {"temperature": 1.0}) for text in (first, second)]
        assert chat_answers.store(turn=claimed, answers=answers, sides=[])
        turn.refresh_from_db()
        return turn

    def judged(self, turn: Turn, better: int = 0, key: uuid.UUID | None = None) -> Judgment:
        turn = Turn.objects.select_related("chat__project").get(pk=turn.pk)
        lease = chats.lease_of(turn)
        assert lease is not None
        ranks = {response: 1 + (place != better) for place, response in enumerate(lease.shown_order)}
        return chats.judge(
            turn=turn, lease=lease, ranks=ranks, degree="better", idempotency_key=key or uuid.uuid4()
        )

    def whole(self, after: Turn | None = None, **more: Any) -> Turn:
        """A turn that was judged."""
        turn = self.answered(self.send(after, **more) if after else self.start(**more))
        self.judged(turn)
        turn.refresh_from_db()
        return turn

    # --- sending ---

    def test_a_message_is_stored_before_it_is_answered(self) -> None:
        turn = self.start(" How do tides work?\r\n")
        assert (turn.state, turn.number, turn.text) == (State.WAITING, 1, "How do tides work?")
        assert turn.prompt.tags == ["chat"]
        assert turn.prompt.metadata == {"chat": turn.chat_id, "turn": 1}
        assert turn.prompt.split == turn.chat.split

    def test_a_second_send_of_the_same_key_is_the_first(self) -> None:
        key = uuid.uuid4()
        turn = self.start(key=key)
        assert self.start(key=key) == turn
        with refusal("key"):
            self.start("Another text", key=key)
        self.answered(turn)
        self.judged(turn)
        key = uuid.uuid4()
        turn.refresh_from_db()
        following = self.send(turn, key=key)
        assert self.send(turn, key=key) == following
        assert (Chat.objects.count(), Turn.objects.count(), Prompt.objects.filter(tags=["chat"]).count()) == (
            1,
            2,
            2,
        )

    def test_what_cannot_be_sent(self) -> None:
        with refusal("text"):
            self.start(" \n")
        with refusal("text", "16,001"):
            self.start("x" * (MAX_CHAT_MESSAGE_CHARS + 1))
        with refusal("text"):
            self.start("nul \0 in it")
        with refusal("text"):
            self.start("half \ud800 of a character")
        assert not Turn.objects.exists()

    def test_a_message_waits_for_the_choice(self) -> None:
        turn = self.start()
        with refusal("after"):
            self.send(turn)
        self.answered(turn)
        with refusal("after"):
            self.send(turn)

    def test_a_chat_ends_with_its_last_message(self) -> None:
        turn = self.whole(self.whole(self.whole()))
        assert turn.number == 3
        with refusal("text"):
            self.send(turn)

    def test_who_may_not_chat(self) -> None:
        turn = self.whole()
        self.me.paused_at, self.me.paused_reason = timezone.now(), "Too fast."
        with refusal("chat", "Too fast."):
            self.send(turn)
        self.me.paused_at = None
        self.me.project.qualification_items = 2
        with refusal("chat"):
            self.send(turn)
        self.me.project.qualification_items = 0
        ChatSettings.objects.update(enabled=False)
        with refusal("chat"):
            self.send(turn)
        with refusal("chat"):
            self.start()

    def test_open_chats_are_limited(self) -> None:
        for number in range(MAX_OPEN_CHATS):
            self.start(f"Question {number}")
        with refusal("chat"):
            self.start()
        chats.end(chat=Chat.objects.all()[0])
        self.start()

    # --- judging ---

    def test_the_choice_is_an_ordinary_judgment_and_goes_on(self) -> None:
        turn = self.answered(self.start())
        judgment = self.judged(turn, better=1)
        turn.refresh_from_db()
        assert turn.state == State.JUDGED
        assert turn.answer is not None
        assert turn.answer.text == "Whales."
        assert judgment.slot is not None
        assert judgment.slot.state == Slot.State.DONE
        following = self.send(turn)
        assert [message["content"] for message in following.prompt.messages] == [
            "How do tides work?",
            "Whales.",
            "And why?",
        ]

    def test_a_judgment_that_is_sent_twice_counts_once(self) -> None:
        turn, key = self.answered(self.start()), uuid.uuid4()
        lease = chats.lease_of(Turn.objects.select_related("chat__project").get(pk=turn.pk))
        assert lease is not None
        ranks = dict(zip(lease.shown_order, (1, 2), strict=True))
        sent = [
            chats.judge(turn=turn, lease=lease, ranks=ranks, degree="slightly", idempotency_key=key)
            for _ in range(2)
        ]
        assert sent[0] == sent[1]
        with pytest.raises(JudgmentError):
            chats.judge(turn=turn, lease=lease, ranks=ranks, degree="slightly", idempotency_key=uuid.uuid4())

    def test_the_item_is_for_its_own_annotator_and_in_their_chat_alone(self) -> None:
        self.answered(self.start())
        for person in (self.bob, self.dana):
            assert claim(project=self.project, annotator=person) is None

    def test_equal_answers_leave_nothing_to_choose(self) -> None:
        turn = self.answered(self.start(), "The same.", "The same.")
        assert (turn.state, turn.item) == (State.SAME, None)
        assert self.send(turn).prompt.messages[1]["content"] == "The same."

    def test_a_better_answer_is_a_demonstration_and_goes_on(self) -> None:
        turn, key = self.whole(), uuid.uuid4()
        judgment = chats.write_answer(turn=turn, text="The moon and the sun.", key=key)
        assert chats.write_answer(turn=turn, text="The moon and the sun.", key=key) == judgment
        turn.refresh_from_db()
        assert judgment.demonstration == turn.answer
        assert judgment.placements.count() == 0
        assert self.send(turn).prompt.messages[1]["content"] == "The moon and the sun."
        with refusal("turn"):
            chats.write_answer(turn=turn, text="Too late.", key=uuid.uuid4())

    # --- branches ---

    def test_an_edited_message_is_a_branch(self) -> None:
        first = self.whole()
        second = self.whole(first)
        other = self.send(first, "And when?")
        assert (other.parent, other.number) == (first, 2)
        assert second.state == State.JUDGED
        again = self.send(None, "What are tides?", chat=first.chat)
        assert (again.parent, again.number) == (None, 1)
        other.refresh_from_db()
        assert other.state == State.DROPPED

    def test_the_split_is_that_of_the_first_message(self) -> None:
        numbers = iter(range(1000))
        by_split: dict[str, Turn] = {}
        while len(by_split) < 2:
            turn = self.start(f"Question {next(numbers)}")
            chats.end(chat=turn.chat)
            by_split.setdefault(turn.chat.split, turn)
        Chat.objects.update(ended_at=None)
        held_out, train = by_split["held_out"], by_split["train"]
        assert self.send(None, train.text, chat=held_out.chat).prompt.split == "held_out"
        assert self.send(None, held_out.text, chat=train.chat).prompt.split == "held_out"
        assert self.send(None, "Question in training", chat=train.chat).prompt.split in ("train", "held_out")

    # --- taking back ---

    def test_a_turn_that_was_taken_back_counts_nowhere(self) -> None:
        turn = self.answered(self.start())
        chats.drop(turn=turn)
        turn.refresh_from_db()
        assert turn.state == State.DROPPED
        assert turn.item is not None
        assert turn.item.state == Item.State.RETIRED
        assert not Slot.objects.filter(item=turn.item).exists()
        assert Prompt.objects.filter(pk=turn.prompt_id).exists()
        self.send(None, "Again.", chat=turn.chat)

    def test_answers_to_a_turn_that_was_taken_back_are_not_stored(self) -> None:
        turn = self.start()
        claimed = chat_answers.claim(turn.pk)
        assert claimed is not None
        chats.drop(turn=turn)
        assert not chat_answers.beat(claimed)
        assert not chat_answers.store(turn=claimed, answers=[], sides=[])

    def test_a_turn_that_was_left_is_dropped(self) -> None:
        turn = self.answered(self.start())
        chats.drop_left_turns()
        turn.refresh_from_db()
        assert turn.state == State.JUDGING
        long_ago = timezone.now() - items.CHAT_LEASE - timedelta(minutes=1)
        Turn.objects.update(created_at=long_ago)
        Slot.objects.filter(item=turn.item).update(opened_at=long_ago)
        chats.drop_left_turns()
        turn.refresh_from_db()
        assert turn.state == State.DROPPED

    def test_a_person_who_is_sent_away_loses_the_item(self) -> None:
        turn = self.answered(self.start())
        Slot.objects.filter(annotator=self.bob).release()
        assert chats.lease_of(Turn.objects.select_related("chat__project").get(pk=turn.pk)) is None
        assert claim(project=self.project, annotator=self.dana) is None

    # --- workers ---

    def test_one_worker_answers_a_turn(self) -> None:
        turn = self.start()
        first = chat_answers.claim(turn.pk)
        assert first is not None
        assert chat_answers.claim(turn.pk) is None
        Turn.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))
        second = chat_answers.claim(turn.pk)
        assert second is not None
        assert (chat_answers.beat(first), chat_answers.beat(second)) == (False, True)
        assert not chat_answers.store(turn=first, answers=[], sides=[])

    def test_a_turn_whose_workers_die_fails(self) -> None:
        turn = self.start()
        for _ in range(chat_answers.MAX_ATTEMPTS):
            assert chat_answers.claim(turn.pk) is not None
            Turn.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))
        assert chat_answers.claim(turn.pk) is None
        turn.refresh_from_db()
        assert turn.state == State.FAILED
        assert turn.error
        chats.retry(turn=turn, member=self.me)
        turn.refresh_from_db()
        assert (turn.state, turn.error, turn.attempts) == (State.WAITING, "", 0)
