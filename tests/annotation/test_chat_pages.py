from __future__ import annotations

import asyncio
import uuid
from typing import Any

from asgiref.sync import sync_to_async
from django.urls import reverse

from annotation.actions import chat_answers, chats, items, projects
from annotation.actions.chat_answers import Answer
from annotation.actions.leases import claim
from annotation.logic.limits import MAX_ANSWER_STREAMS
from annotation.models import Author, Chat, ChatSettings, Judgment, Slot, Turn
from tests import builders
from tests.base import PalateTestCase
from tests.patience import HANGS_S

State = Turn.State


class ChatPageTests(PalateTestCase):
    def setUp(self) -> None:
        super().setUp()
        ChatSettings.objects.create(project=self.project, enabled=True)
        self.policy = Author.objects.create(project=self.project, kind=Author.Kind.POLICY, name="gpt-secret")
        self.sign_in(self.bob)

    def url(self, name: str, *args: Any) -> str:
        return reverse(name, args=[self.project.slug, *args])

    def page(self, url: str, **more: Any) -> str:
        response = self.client.get(url, **more)
        assert response.status_code == 200, response
        return response.content.decode()

    def start(self, text: str = "How do <b>tides</b> work?") -> Turn:
        response = self.client.post(self.url("chats"), {"text": text, "key": uuid.uuid4()})
        assert response.status_code == 302, response.content
        return Turn.objects.select_related("chat__project", "prompt").latest("pk")

    def answered(
        self, turn: Turn, first: str = "I am Claude: the **moon**.", second: str = "Whales."
    ) -> Turn:
        claimed = chat_answers.claim(turn.pk)
        assert claimed is not None
        answers = [Answer(self.policy.pk, text, {}) for text in (first, second)]
        assert chat_answers.store(turn=claimed, answers=answers, sides=[])
        return Turn.objects.select_related("chat__project", "prompt").get(pk=turn.pk)

    def judge(self, turn: Turn, **more: Any) -> Any:
        lease = chats.lease_of(turn)
        assert lease is not None
        data = {"ticket": lease.ticket(), "key": uuid.uuid4(), "choice": "0-better"} | more
        return self.client.post(self.url("turn-judge", turn.chat_id, turn.pk), data, HTTP_HX_REQUEST="true")

    def test_a_chat_of_two_messages(self) -> None:
        assert "Your first message" in self.page(self.url("chats"))
        turn = self.start()
        page = self.page(self.url("chat", turn.chat_id))
        assert 'data-state="waiting"' in page
        assert "How do &lt;b&gt;tides" in page
        self.answered(turn)
        page = self.page(self.url("chat", turn.chat_id))
        assert "I am [model]: the <strong>moon</strong>" in page
        assert "gpt-secret" not in page
        assert page.count('name="choice"') == 8
        response = self.judge(Turn.objects.select_related("chat__project").get(pk=turn.pk))
        page = response.content.decode()
        assert response.status_code == 200
        assert f'name="after" value="{turn.pk}"' in page
        assert "The other answer" in page
        data = {"text": "And why?", "key": uuid.uuid4(), "after": turn.pk}
        assert self.client.post(self.url("chat", turn.chat_id), data).status_code == 302
        assert Turn.objects.latest("pk").parent == turn
        assert Judgment.objects.get().degree == "better"

    def test_a_message_is_judged_in_its_chat_alone(self) -> None:
        turn = self.answered(self.start())
        lease = chats.lease_of(turn)
        assert lease is not None
        data = {"ticket": lease.ticket(), "key": uuid.uuid4(), "choice": "0-better", "reason": "identical"}
        for name in ("work", "work-skip", "work-ahead", "work-renew"):
            response = self.client.post(self.url(name), data)
            assert "This is a message of a live chat. It is judged there." in response.content.decode(), name
        assert not Judgment.objects.exists()
        turn.refresh_from_db()
        assert turn.state == State.JUDGING

    def test_a_page_of_the_queue_is_not_ahead_of_a_message(self) -> None:
        builders.items(self.project, 2)
        chat = chats.lease_of(self.answered(self.start()))
        queued = claim(project=self.project, annotator=self.bob)
        assert chat is not None
        assert queued is not None
        data = {"ticket": queued.ticket(), "reason": "identical"}
        more = {"showing": chat.ticket(), "held": chat.ticket()}
        self.client.post(self.url("work-skip"), data | more, HTTP_HX_REQUEST="true")
        following = Slot.objects.get(annotator=self.bob, state=Slot.State.LEASED, chat=False)
        assert following.opened_at is not None  # it is on the screen

    def test_a_double_send_is_one_message(self) -> None:
        data = {"text": "Hello", "key": uuid.uuid4()}
        first, second = (self.client.post(self.url("chats"), data) for _ in range(2))
        assert first["Location"] == second["Location"]
        assert Turn.objects.count() == 1

    def test_what_is_refused_stays_on_the_page(self) -> None:
        response = self.client.post(self.url("chats"), {"text": "x" * 20_000, "key": uuid.uuid4()})
        assert response.status_code == 422
        assert "x" * 20_000 in response.content.decode()
        turn = self.answered(self.start())
        self.judge(turn)
        data = {"text": "y" * 20_000, "key": uuid.uuid4(), "after": turn.pk}
        response = self.client.post(self.url("chat", turn.chat_id), data, HTTP_HX_REQUEST="true")
        assert response.status_code == 422
        assert "y" * 20_000 in response.content.decode()

    def test_a_project_that_takes_no_chats_any_more(self) -> None:
        turn = self.answered(self.start())
        self.judge(turn)
        ChatSettings.objects.update(enabled=False)
        assert "takes no chats" in self.page(self.url("chat", turn.chat_id))
        assert "takes no chats" in self.page(self.url("chats"))
        data = {"text": "And?", "key": uuid.uuid4(), "after": turn.pk}
        response = self.client.post(self.url("chat", turn.chat_id), data, HTTP_HX_REQUEST="true")
        assert response.status_code == 422

    def test_new_guidelines_are_read_first(self) -> None:
        turn = self.answered(self.start())
        self.judge(turn)
        projects.write_guideline(project=self.project, text="Be **brief**.", author=self.alice)
        data = {"text": "And?", "key": uuid.uuid4(), "after": turn.pk}
        response = self.client.post(self.url("chat", turn.chat_id), data, HTTP_HX_REQUEST="true")
        self.assertContains(response, "The guidelines have changed", status_code=422)
        self.assertContains(response, ">And?</textarea>", status_code=422)
        for url in (self.url("chats"), self.url("chat", turn.chat_id)):
            assert "I have read them" in self.page(url)
        number = self.project.guideline.number  # type: ignore[union-attr]
        confirmed = self.client.post(self.url("work-confirm"), {"version": number, "then": "chats"})
        assert confirmed["Location"] == self.url("chats")
        assert self.client.post(self.url("chat", turn.chat_id), data).status_code == 302

    def test_without_a_choice_the_form_comes_back(self) -> None:
        turn = self.answered(self.start())
        response = self.judge(turn, choice="", rationale="Because of the moon.")
        assert response.status_code == 422
        assert not Judgment.objects.exists()

    def test_a_failed_message_is_retried_or_changed(self) -> None:
        turn = self.start()
        claimed = chat_answers.claim(turn.pk)
        assert claimed is not None
        chat_answers.fail(turn=claimed, reason="The model is gone.")
        page = self.page(self.url("chat", turn.chat_id))
        assert "The models could not answer this message." in page
        assert "The model is gone." not in page
        self.client.post(self.url("turn-retry", turn.chat_id, turn.pk))
        assert 'data-state="waiting"' in self.page(self.url("chat", turn.chat_id))
        self.client.post(self.url("turn-drop", turn.chat_id, turn.pk))
        page = self.page(self.url("chat", turn.chat_id))
        assert ">How do &lt;b&gt;tides&lt;/b&gt; work?</textarea>" in page

    def test_versions_of_a_message(self) -> None:
        first = self.answered(self.start())
        self.judge(first)
        data = {"text": "What are tides?", "key": uuid.uuid4(), "after": ""}
        self.client.post(self.url("chat", first.chat_id), data)
        second = self.answered(Turn.objects.latest("pk"))
        self.judge(second)
        page = self.page(self.url("chat", first.chat_id))
        assert "2 / 2" in page
        assert "1 / 2" in self.page(self.url("chat", first.chat_id) + f"?turn={first.pk}")

    def test_a_better_answer(self) -> None:
        turn = self.answered(self.start())
        self.judge(turn)
        data = {"text": "The moon and the sun.", "key": uuid.uuid4()}
        self.client.post(self.url("turn-write", turn.chat_id, turn.pk), data)
        page = self.page(self.url("chat", turn.chat_id))
        assert "Your answer" in page
        assert "The moon and the sun." in page

    def test_an_end(self) -> None:
        turn = self.answered(self.start())
        self.client.post(self.url("chat-end", turn.chat_id))
        assert "This chat has ended" in self.page(self.url("chat", turn.chat_id))
        turn.refresh_from_db()
        assert turn.state == State.DROPPED

    def test_a_chat_is_its_own_annotator_s(self) -> None:
        turn = self.answered(self.start())
        paths = [self.url("chat", turn.chat_id)] + [
            self.url(name, turn.chat_id, turn.pk) for name in ("turn-stream", "turn-events")
        ]
        posts = [self.url("chat", turn.chat_id), self.url("chat-end", turn.chat_id)] + [
            self.url(name, turn.chat_id, turn.pk)
            for name in ("turn-judge", "turn-write", "turn-drop", "turn-retry")
        ]
        for person in (self.alice, self.dana, self.charlie):
            self.sign_in(person)
            assert [self.client.get(path).status_code for path in paths] == [404] * len(paths)
            assert [self.client.post(path).status_code for path in posts] == [404] * len(posts)
        self.client.logout()
        assert [self.client.get(path).status_code for path in paths] == [302, 403, 302]
        assert [self.client.post(path).status_code for path in posts] == [302] * len(posts)
        assert Chat.objects.get().ended_at is None

    def test_no_more_queries_for_a_longer_chat(self) -> None:
        turn = self.answered(self.start())
        self.judge(turn)
        with self.assertNumQueries(8):
            self.page(self.url("chat", turn.chat_id))
        for _ in range(3):
            self.client.post(
                self.url("chat", turn.chat_id), {"text": "More", "key": uuid.uuid4(), "after": turn.pk}
            )
            turn = self.answered(Turn.objects.latest("pk"))
            self.judge(turn)
        with self.assertNumQueries(8):
            self.page(self.url("chat", turn.chat_id))

    def test_a_branch_is_shown_to_its_end(self) -> None:
        first = self.answered(self.start())
        self.judge(first)
        data = {"text": "And why?", "key": uuid.uuid4(), "after": first.pk}
        self.client.post(self.url("chat", first.chat_id), data)
        self.judge(self.answered(Turn.objects.latest("pk")))
        edited = {"text": "What are tides?", "key": uuid.uuid4(), "after": "", "form": f"edit-{first.pk}"}
        self.client.post(self.url("chat", first.chat_id), edited)
        assert "And why?" in self.page(self.url("chat", first.chat_id) + f"?turn={first.pk}")
        chats.drop(turn=Turn.objects.latest("pk"))
        page = self.page(
            self.url("chat", first.chat_id)
        )  # what was judged is there, and the text to be changed
        assert "And why?" in page
        assert ">What are tides?</textarea>" in page

    def test_a_refused_edit_stays_in_its_form(self) -> None:
        first = self.answered(self.start())
        self.judge(first)
        data = {"text": "z" * 17_000, "key": uuid.uuid4(), "after": "", "form": f"edit-{first.pk}"}
        page = self.client.post(
            self.url("chat", first.chat_id), data, HTTP_HX_REQUEST="true"
        ).content.decode()
        assert '<details class="edit" open>' in page
        assert page.count("z" * 17_000) == 1
        assert "17,000 characters" in page

    def test_an_item_that_was_taken_away(self) -> None:
        first = self.answered(self.start())
        self.judge(first)
        data = {"text": "And why?", "key": uuid.uuid4(), "after": first.pk}
        self.client.post(self.url("chat", first.chat_id), data)
        turn = self.answered(Turn.objects.latest("pk"))
        assert turn.item is not None
        items.retire(item=turn.item, actor=self.alice, reason="no")
        page = self.page(self.url("chat", first.chat_id))
        assert f'name="after" value="{first.pk}"' in page
        assert ">And why?</textarea>" in page

    def test_a_key_is_of_one_text(self) -> None:
        key = uuid.uuid4()
        self.client.post(self.url("chats"), {"text": "One", "key": key})
        response = self.client.post(self.url("chats"), {"text": "One, and more", "key": key})
        self.assertContains(response, "An earlier version of this message was sent already", status_code=422)
        self.assertContains(response, ">One, and more</textarea>", status_code=422)

    async def test_a_person_reads_along_in_some_places_at_once_and_asks_in_more(self) -> None:
        turn = await sync_to_async(self.start)()
        place = (turn.chat_id, turn.pk)
        await self.async_client.aforce_login(self.bob, backend="annotation.backends.AccountBackend")

        async def opened() -> Any:
            """An open stream of the message, of which the first part was read."""
            response = await self.async_client.get(self.url("turn-stream", *place))
            parts = aiter(response)
            assert b"retry" in await anext(parts)
            return parts

        streams = [await opened() for _ in range(MAX_ANSWER_STREAMS)]
        try:
            refused = await self.async_client.get(self.url("turn-stream", *place))
            assert refused.status_code == 429
            assert "Close one of them first" in refused.content.decode()
            asked = await self.async_client.get(self.url("turn-events", *place))
            assert asked.json()["over"] is False
            await streams.pop().aclose()
            async with asyncio.timeout(HANGS_S):  # what it was wrapped in ends a moment later
                while (await self.async_client.get(self.url("turn-stream", *place))).status_code == 429:
                    await asyncio.sleep(0.01)
        finally:
            for stream in streams:
                await stream.aclose()
