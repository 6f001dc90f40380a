"""Live chats by the API: the same actions as on pages, for their own annotator alone, and blind."""

from __future__ import annotations

import json
import uuid
from typing import Any

from asgiref.sync import async_to_sync
from django.utils import timezone

from annotation import chat_stream
from annotation.actions import chat_answers
from annotation.logic.limits import MAX_CHAT_MESSAGE_CHARS
from annotation.models import Chat, ChatSettings, Item, Judgment, Member, Turn
from tests import builders, live_chats
from tests.annotation.api.base import ApiTestCase

CHATS = "projects/helpfulness/chats/"


def body(text: str = "How do tides work?", **more: Any) -> dict[str, Any]:
    return {"text": text, "idempotency_key": str(uuid.uuid4()), **more}


class ChatApiTests(ApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        live_chats.enable(self.project, max_turns=3)

    def start(self, **given: Any) -> dict[str, Any]:
        answer = self.post(CHATS, self.bob, body(**given), scope="annotate")
        assert answer.status_code == 201, answer.content
        return dict(answer.json())

    def place(self, turn: dict[str, Any], verb: str = "") -> str:
        return f"{CHATS}{turn['chat']}/turns/{turn['id']}/{verb}"

    def answered(self, turn: dict[str, Any], *texts: str) -> dict[str, Any]:
        live_chats.answer(Turn.objects.get(pk=turn["id"]), *texts)
        return dict(self.get(self.place(turn), self.bob).json())

    def choice(self, turn: dict[str, Any], ranks: Any = (2, 1), **more: Any) -> dict[str, Any]:
        key = str(uuid.uuid4())
        return {
            "ticket": turn["ticket"],
            "ranks": list(ranks),
            "degree": "better",
            "idempotency_key": key,
            **more,
        }

    def judged(self, turn: dict[str, Any]) -> dict[str, Any]:
        turn = self.answered(turn)
        answer = self.post(self.place(turn, "judgment/"), self.bob, self.choice(turn), scope="annotate")
        assert answer.status_code == 201, answer.content
        return dict(self.get(self.place(turn), self.bob).json())

    def send(self, after: dict[str, Any] | None, chat: int, text: str = "And why?") -> Any:
        given = body(text, after=after and after["id"])
        return self.post(f"{CHATS}{chat}/turns/", self.bob, given, scope="annotate")

    # --- one chat from its beginning to its end ---

    def test_a_whole_chat(self) -> None:
        turn = self.start()
        assert (turn["state"], turn["number"], turn["after"], turn["answers"]) == ("waiting", 1, None, [])
        assert (turn["ticket"], turn["degrees"], turn["goes_on"]) == (None, [], None)
        turn = self.answered(turn)
        assert turn["answers"] == [{"label": "A", "text": "The moon."}, {"label": "B", "text": "Whales."}]
        assert "better" in turn["degrees"]
        answer = self.post(self.place(turn, "judgment/"), self.bob, self.choice(turn))
        assert [placement["rank"] for placement in answer.json()["placements"]] == [2, 1]
        turn = self.get(self.place(turn), self.bob).json()
        assert (turn["state"], turn["goes_on"], turn["is_own"]) == ("judged", "Whales.", False)
        assert (turn["ticket"], turn["degrees"], len(turn["answers"])) == (None, [], 2)
        following = self.send(turn, turn["chat"])
        assert following.status_code == 201
        assert (following.json()["after"], following.json()["number"]) == (turn["id"], 2)
        ended = self.post(f"{CHATS}{turn['chat']}/end/", self.bob).json()
        assert ended["ended_at"]
        assert [row["state"] for row in ended["turns"]] == ["judged", "dropped"]
        assert self.post(f"{CHATS}{turn['chat']}/end/", self.bob).json() == ended

    def test_nothing_tells_which_model_answered(self) -> None:
        turn = self.answered(self.start(), "I am GPT-4, made by OpenAI. The moon.", "Whales.")
        texts = [answer["text"] for answer in turn["answers"]]
        assert texts == ["I am [model], made by [maker]. The moon.", "Whales."]
        self.post(self.place(turn, "judgment/"), self.bob, self.choice(turn, (1, 2)))
        for path in (self.place(turn), f"{CHATS}{turn['chat']}/", CHATS):
            shown = self.get(path, self.bob).content.decode()
            for name in (live_chats.FIRST, live_chats.SECOND, "GPT-4", "author", "temperature", "seed"):
                assert name not in shown, (path, name)
        assert "[model]" in self.get(self.place(turn), self.bob).json()["goes_on"]

    def test_the_same_key_sends_judges_and_writes_once(self) -> None:
        given = body()
        first, second = (self.post(CHATS, self.bob, given).json() for _ in range(2))
        assert first["id"] == second["id"]
        turn = self.answered(first)
        choice = self.choice(turn)
        judgments = [self.post(self.place(turn, "judgment/"), self.bob, choice).json() for _ in range(2)]
        assert judgments[0]["id"] == judgments[1]["id"]
        other = self.post(self.place(turn, "judgment/"), self.bob, self.choice(turn))
        self.refused(other, 409, "detail", "judged this item before")
        written = body("The moon and the sun.")
        answers = [self.post(self.place(turn, "answer/"), self.bob, written).json() for _ in range(2)]
        assert answers[0]["id"] == answers[1]["id"]
        following = body("And?", after=turn["id"])
        sent = [
            self.post(f"{CHATS}{turn['chat']}/turns/", self.bob, following).json()["id"] for _ in range(2)
        ]
        assert sent[0] == sent[1]
        assert (Chat.objects.count(), Turn.objects.count(), Judgment.objects.count()) == (1, 2, 2)

    def test_a_better_answer_goes_on(self) -> None:
        turn = self.judged(self.start())
        answer = self.post(self.place(turn, "answer/"), self.bob, body("The moon and the sun."))
        assert answer.json()["text"] == "The moon and the sun."
        turn = self.get(self.place(turn), self.bob).json()
        assert (turn["goes_on"], turn["is_own"]) == ("The moon and the sun.", True)

    def test_a_message_is_taken_back_and_retried(self) -> None:
        turn = self.start()
        claimed = chat_answers.claim(turn["id"])
        assert claimed is not None
        chat_answers.fail(turn=claimed, reason="The server is gone.")
        failed = self.get(self.place(turn), self.bob).json()
        assert failed["state"] == "failed"
        assert failed["error"].startswith("The models could not answer this message.")
        assert self.post(self.place(turn, "retry/"), self.bob).json()["state"] == "waiting"
        assert self.post(self.place(turn, "drop/"), self.bob).json()["state"] == "dropped"
        assert self.post(self.place(turn, "retry/"), self.bob).json()["state"] == "dropped"

    # --- what is refused ---

    def test_what_is_wrong_with_a_message_is_named(self) -> None:
        self.refused(self.post(CHATS, self.bob, body(" ")), 400, "text", "Write a message")
        long = body("x" * (MAX_CHAT_MESSAGE_CHARS + 1))
        self.refused(self.post(CHATS, self.bob, long), 400, "text", "16,001")
        self.refused(self.post(CHATS, self.bob, body("half \ud800")), 400, "text")
        self.refused(self.post(CHATS, self.bob, body("nul \0")), 400, "text")
        self.refused(self.post(CHATS, self.bob, {"text": "Hello"}), 400, "idempotency_key", "required")
        self.refused(self.post(CHATS, self.bob, body(model="x")), 400, "model", "no such field")
        assert not Turn.objects.exists()

    def test_the_order_of_messages_and_choices(self) -> None:
        turn = self.start()
        self.refused(self.send(turn, turn["chat"]), 400, "after", "Choose one")
        elsewhere = live_chats.judged(self.project, self.bob, "Elsewhere?")
        self.refused(self.send({"id": elsewhere.pk}, turn["chat"]), 400, "after", "no such message")
        self.refused(self.post(self.place(turn, "answer/"), self.bob, body("Mine.")), 400, "turn")
        turn = self.judged(turn)
        self.refused(self.post(self.place(turn, "answer/"), self.bob, body(" ")), 400, "text")
        self.post(f"{CHATS}{turn['chat']}/end/", self.bob)
        self.refused(self.send(turn, turn["chat"]), 400, "chat", "has ended")

    def test_who_gets_no_chats_is_told_why(self) -> None:
        Member.objects.filter(user=self.bob).update(paused_at=timezone.now(), paused_reason="Too fast.")
        self.refused(self.post(CHATS, self.bob, body()), 400, "chat", "Too fast.")
        ChatSettings.objects.update(enabled=False)
        self.refused(self.post(CHATS, self.alice, body()), 400, "chat", "takes no chats")

    def test_what_is_wrong_with_a_choice_is_named(self) -> None:
        turn = self.answered(self.start())
        path = self.place(turn, "judgment/")
        self.refused(self.post(path, self.bob, self.choice(turn, degree=None)), 400, "degree")
        self.refused(self.post(path, self.bob, self.choice(turn, [1])), 400, "ranks")
        self.refused(self.post(path, self.bob, self.choice(turn, ticket="x")), 400, "ticket", "damaged")
        assert not Judgment.objects.exists()

    def test_tickets_of_chats_and_of_the_queue_are_two_things(self) -> None:
        turn = self.answered(self.start())
        for operation in ("judgments", "skip", "renew", "draft"):
            more = {"judgments": self.choice(turn), "skip": {"reason": "broken"}, "draft": {"data": {}}}
            given = {"ticket": turn["ticket"], **more.get(operation, {})}
            answer = self.post(f"projects/helpfulness/{operation}/", self.bob, given)
            self.refused(answer, 400, "ticket", "live chat")
        builders.items(self.project, 1, k=2)
        ticket = self.post("projects/helpfulness/next/", self.bob).json()["ticket"]
        answer = self.post(self.place(turn, "judgment/"), self.bob, self.choice(turn, ticket=ticket))
        self.refused(answer, 400, "ticket", "no message of a live chat")
        assert not Judgment.objects.exists()

    def test_a_ticket_of_another_message_is_refused(self) -> None:
        first, second = self.answered(self.start()), self.answered(self.start(text="Another?"))
        answer = self.post(self.place(first, "judgment/"), self.bob, self.choice(second))
        self.refused(answer, 400, "turn")

    # --- who may ---

    def test_a_chat_is_its_own_annotator_s(self) -> None:
        turn = self.answered(self.start())
        chat = f"{CHATS}{turn['chat']}/"
        calls: list[tuple[str, str, Any]] = [
            ("GET", chat, None),
            ("POST", f"{chat}end/", None),
            ("POST", f"{chat}turns/", body()),
            ("GET", self.place(turn), None),
            ("GET", self.place(turn, "stream/"), None),
            ("POST", self.place(turn, "judgment/"), self.choice(turn)),
            ("POST", self.place(turn, "answer/"), body()),
            ("POST", self.place(turn, "drop/"), None),
            ("POST", self.place(turn, "retry/"), None),
        ]
        for method, path, data in calls:
            for person in (self.alice, self.dana, self.charlie):
                assert self.call(method, path, person, data).status_code == 404, path
            assert self.call(method, path, None, data).status_code == 401, path
            if method == "POST":
                answer = self.call(method, path, self.bob, data, scope="read")
                self.refused(answer, 403, "detail", "may only read")
        other = builders.project(self.alice, "Other")
        builders.join(other, self.bob, Member.Role.ANNOTATOR)
        assert self.get(chat.replace("helpfulness", other.slug), self.bob).status_code == 404
        wrong = live_chats.send(self.project, self.bob, "Elsewhere?")
        assert self.get(f"{chat}turns/{wrong.pk}/", self.bob).status_code == 404
        assert Turn.objects.get(pk=turn["id"]).state == "judging"

    # --- lists ---

    def test_one_sees_one_s_own_chats_newest_first(self) -> None:
        live_chats.chat_of(self.project, self.bob, "One?", "Two?")
        live_chats.send(self.project, self.bob, "Three?")
        live_chats.send(self.project, self.dana, "Of somebody else?")
        rows = self.get(CHATS, self.bob).json()["results"]
        assert [(row["messages"], row["judged"]) for row in rows] == [(1, 0), (2, 2)]

    def test_leads_see_all_chats_with_their_counts(self) -> None:
        _first, second = live_chats.chat_of(self.project, self.bob, "One?", "Two?")
        live_chats.improve(second, "Better.")
        third = live_chats.answer(
            live_chats.send(self.project, self.bob, "Three?", live_chats.reloaded(second))
        )
        live_chats.send(self.project, self.bob, "Instead?", live_chats.reloaded(second))
        live_chats.answer(live_chats.send(self.project, self.dana, "Same?"), "Yes.", "Yes.")
        rows = self.get(f"{CHATS}all/", self.alice).json()["results"]
        assert [row["annotator"] for row in rows] == ["dana", "bob"]
        names = ("messages", "judged", "same", "failed", "dropped", "written")
        assert [rows[1][name] for name in names] == [3, 2, 0, 0, 1, 1]
        assert [rows[0][name] for name in names] == [1, 0, 1, 0, 0, 0]
        assert rows[1]["split"] == second.chat.split
        assert third.item is not None
        assert Item.objects.get(pk=third.item.pk).state == "retired"

    def test_lists_take_the_same_queries_for_many_chats(self) -> None:
        key = {"Authorization": f"Bearer {self.key_of(self.alice, 'lead')}"}
        self.client.get("/api/v1/projects/", headers=key)  # records that the token was used
        for number in range(2):
            for person in (self.bob, self.dana, self.alice):
                live_chats.chat_of(self.project, person, f"Message {number}?")
            for path in (CHATS, f"{CHATS}all/"):
                with self.assertNumQueries(3):  # the token, the membership, the rows
                    assert self.client.get(f"/api/v1/{path}", headers=key).status_code == 200

    # --- the stream ---

    def events(self, turn: dict[str, Any], **headers: str) -> list[tuple[str, dict[str, Any]]]:
        answer = self.get(self.place(turn, "stream/"), self.bob, **headers)
        assert answer.status_code == 200, answer.content
        assert answer["Content-Type"] == "text/event-stream"
        blocks = self.body_of(answer).decode().split("\n\n")
        found = []
        for block in blocks:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            if "event" in fields:
                found.append((fields["event"], json.loads(fields["data"]) | {"id": fields.get("id")}))
        return found

    def written(self, turn: dict[str, Any], *events: tuple[str, dict[str, Any]]) -> None:
        async def write() -> None:
            async with chat_stream.connect() as client:
                for name, data in events:
                    await chat_stream.write(
                        client, Turn(pk=turn["id"]).stream, [chat_stream.NewEvent(name, data)]
                    )

        async_to_sync(write)()

    def test_the_answers_come_as_they_are_written(self) -> None:
        turn = self.start()
        pieces = [
            ("piece", {"side": "a", "offset": 0, "text": "The "}),
            ("piece", {"side": "a", "offset": 4, "text": "moön."}),
            ("end", {}),
        ]
        self.written(turn, *pieces)
        self.answered(turn)
        events = self.events(turn, Accept="text/event-stream")
        assert [name for name, _ in events] == ["piece", "piece", "end"]
        assert events[1][1]["text"] == "moön."
        again = self.events(turn, **{"Last-Event-ID": events[0][1]["id"]})
        assert [name for name, _ in again] == ["piece", "end"]

    def test_a_stream_of_a_message_that_was_answered_ends_at_once(self) -> None:
        turn = self.answered(self.start())
        assert [name for name, _ in self.events(turn)] == ["end"]

    def test_a_refusal_of_a_stream_is_a_problem(self) -> None:
        answer = self.get(f"{CHATS}999999/turns/1/stream/", self.bob, Accept="text/event-stream")
        self.refused(answer, 404, "detail", "No such chat")
