from __future__ import annotations

from typing import Any

from django.urls import reverse

from annotation.models import Item, Prompt, Response
from tests import builders
from tests.base import PalateTestCase
from training.chats import playground
from training.models import ModelVersion, Run
from training.registry.actions import add_model


class PlaygroundTests(PalateTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.first = self.model("first")
        self.second = self.model("second")
        self.sign_in(self.alice)

    def model(self, name: str) -> ModelVersion:
        return add_model(project=self.project, kind="policy", name=name, location=f"hub:x/{name}@main")

    def url(self, name: str = "playground", *args: Any) -> str:
        return reverse(name, args=[self.project.slug, *args])

    def ask(self, text: str = "Who are you?", **more: Any) -> Any:
        data = {
            "a": self.first.pk,
            "b": self.second.pk,
            "text": text,
            "temperature": "0.5",
            "max_new_tokens": "64",
        }
        return self.client.post(self.url(), data | more)

    def asked(self, **more: Any) -> playground.Question:
        question = playground.find(self.ask(**more)["Location"].rpartition("=")[2])
        assert question is not None
        return question

    def answered(self, question: playground.Question) -> playground.Question:
        answered = question._replace(texts=("I am **one**.", "Two."))
        playground.keep(answered)
        return answered

    def test_a_conversation_goes_on_with_the_answer_that_was_chosen(self) -> None:
        question = self.asked()
        page = self.client.get(f"{self.url()}?question={question.key}").content.decode()
        assert self.url("playground-stream", question.key) in page
        assert 'name="text"' not in page
        self.answered(question)
        page = self.client.get(f"{self.url()}?question={question.key}").content.decode()
        assert "I am <strong>one</strong>" in page
        following = self.asked(after=question.key, choice="b", text="And now?")
        assert [message["content"] for message in following.messages] == ["Who are you?", "Two.", "And now?"]
        assert (following.temperature, following.max_new_tokens) == (0.5, 64)
        assert not Prompt.objects.exists()
        assert not Run.objects.exists()

    def test_what_is_sent_to_the_queue_is_an_item_once(self) -> None:
        question = self.answered(self.asked())
        for _ in range(2):
            assert self.client.post(self.url("playground-queue", question.key)).status_code == 302
        item = Item.objects.get()
        assert item.prompt.messages == question.messages
        assert [response.author for response in Response.objects.order_by("pk")] == [
            self.first.author,
            self.second.author,
        ]

    def test_what_cannot_be_asked(self) -> None:
        for more, words in (
            ({"text": " "}, "Write a message"),
            ({"text": "x" * 16_001}, "16,001 characters"),
            ({"temperature": "3"}, "from 0 to 2"),
            ({"temperature": "warm"}, "no number"),
            ({"max_new_tokens": "0"}, "1 to 16,384"),
            ({"after": "0" * 32}, "too old"),
            ({"after": self.asked().key}, "Wait until both"),
        ):
            response = self.ask(**more)
            assert response.status_code == 422, more
            self.assertContains(response, words, status_code=422)

    def test_a_failure_is_shown(self) -> None:
        question = self.asked()
        playground.keep(question._replace(error="The model first cannot be reached."))
        self.assertContains(self.client.get(f"{self.url()}?question={question.key}"), "cannot be reached")
        assert self.client.post(self.url("playground-queue", question.key)).status_code == 302
        assert not Item.objects.exists()

    def test_a_question_is_its_own_lead_s(self) -> None:
        question = self.answered(self.asked())
        events = self.url("playground-events", question.key)
        queue = self.url("playground-queue", question.key)
        assert self.client.get(events).json() == {"events": [], "over": True}
        other = builders.user("erin")
        builders.join(self.project, other, "lead")
        for person, code in ((other, 404), (self.charlie, 404), (self.dana, 403), (self.bob, 403)):
            self.sign_in(person)
            assert self.client.get(events).status_code == code
            assert self.client.post(queue).status_code == code
            assert self.client.get(self.url("playground-stream", question.key)).status_code == code
        self.client.logout()
        assert self.client.get(self.url("playground-stream", question.key)).status_code == 403
        assert self.client.get(events).status_code == 302
        assert not Item.objects.exists()


class ChatSettingsTests(PalateTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.first = add_model(project=self.project, kind="policy", name="first", location="hub:x/first@main")
        self.sign_in(self.alice)
        self.url = reverse("chat-settings", args=[self.project.slug])

    def save(self, **more: Any) -> Any:
        data = {
            "enabled": "on",
            "first_model": "",
            "first_temperature": "1",
            "second_model": str(self.first.pk),
            "second_temperature": "0.5",
            "max_new_tokens": "100",
            "max_turns": "5",
        }
        return self.client.post(self.url, data | more)

    def test_settings_are_saved(self) -> None:
        assert self.save().status_code == 302
        saved = self.project.chat_settings
        assert (saved.enabled, saved.first_author, saved.second_author) == (True, None, self.first.author)
        self.assertContains(self.client.get(self.url), f'value="{self.first.pk}" selected')

    def test_the_same_model_twice_is_refused(self) -> None:
        response = self.save(second_model="", second_temperature="1")
        self.assertContains(response, "Both sides are the same model", status_code=422)
        response = self.save(first_temperature="0", second_temperature="0", second_model="")
        assert response.status_code == 422
        assert self.save(second_model="").status_code == 302

    def test_a_server_must_be_one_of_the_administrator_s(self) -> None:
        response = self.save(first_model="server:http://elsewhere/v1")
        assert response.status_code == 422
        with self.settings(MODEL_SERVERS=["http://models/v1"]):
            response = self.save(first_model="server:http://models/v1")
            self.assertContains(response, "Name the model", status_code=422)
            saved = self.save(first_model="server:http://models/v1", first_server_model="big")
            assert saved.status_code == 302
            self.assertContains(self.client.get(self.url), 'value="big"')
        chosen = self.project.chat_settings
        assert chosen.first_author is not None
        assert (chosen.first_server, chosen.first_author.name) == ("http://models/v1", "big")

    def test_only_leads_may(self) -> None:
        for person, code in ((self.bob, 403), (self.dana, 403), (self.charlie, 404)):
            self.sign_in(person)
            assert self.client.get(self.url).status_code == code
            assert self.save().status_code == code
