"""Texts as they were written, beside their rendered form."""

from __future__ import annotations

from django.urls import reverse

from annotation.models import Judgment
from tests import builders
from tests.annotation.judging import JudgingTestCase

TEXT = "I am GPT-4.  **a** \\(x\\) <b> \u202e"
MASKED = 'I am [model].  **a** \\(x\\) &lt;b&gt; <span class="invisible" title="right-to-left override, U+202E">⟨RLO⟩</span>'
WHOLE = MASKED.replace("[model]", "GPT-4")


class SourceTests(JudgingTestCase):
    def setUp(self) -> None:
        super().setUp()
        messages = [
            {"role": "user", "content": "First"},
            {"role": "assistant", "content": "So"},
            {"role": "user", "content": "*Q*"},
        ]
        builders.imported(self.project, {"prompt": messages, "responses": [TEXT, "two", "three", "four"]})

    def source(self, **form: object):
        return self.client.post(self.url("work-source"), form)

    def test_it_is_every_character_but_masked_as_what_is_rendered(self) -> None:
        context = self.open()
        texts = {card.letter: card.response.text for card in context["cards"]}
        for letter, text in texts.items():
            response = self.source(ticket=context["ticket"], of=letter)
            assert response.content.decode() == (MASKED if text == TEXT else text)
        assert self.source(ticket=context["ticket"], of="prompt").content == b"*Q*"
        assert response["Cache-Control"].startswith("max-age=0, no-cache, no-store")

    def test_what_is_not_there_is_not_found(self) -> None:
        ticket = self.open()["ticket"]
        for of in ("", "E", "a", "x"):
            assert self.source(ticket=ticket, of=of).status_code == 404

    def test_it_needs_the_ticket_of_the_item(self) -> None:
        ticket = self.open()["ticket"]
        assert self.source(of="A").status_code == 422
        assert self.source(ticket="x", of="A").status_code == 422
        assert self.client.get(self.url("work-source")).status_code == 405
        self.sign_in(self.dana)
        assert self.source(ticket=ticket, of="A").status_code == 422  # another's
        self.sign_in(self.charlie)
        assert self.source(ticket=ticket, of="A").status_code == 404
        self.client.logout()
        assert self.source(ticket=ticket, of="A").url.startswith(reverse("account_login"))

    def test_that_of_ones_own_judgment(self) -> None:
        judgment = builders.judgment(self.project, self.bob)
        url = reverse("my-judgment-source", args=[judgment.pk])
        letters = "ABCD"
        sources = [self.client.get(url, {"of": letter}).content.decode() for letter in letters]
        assert sorted(sources) == sorted([MASKED, "two", "three", "four"])
        assert self.client.get(url, {"of": "prompt"}).content == b"*Q*"
        assert self.client.get(url, {"of": "E"}).status_code == 404
        assert self.client.post(url).status_code == 405
        for user in (self.alice, self.dana, self.charlie):
            self.sign_in(user)
            assert self.client.get(url, {"of": "A"}).status_code == 404
        self.client.logout()
        assert self.client.get(url).url.startswith(reverse("account_login"))
        self.project.members.filter(user=self.bob).delete()
        self.sign_in(self.bob)
        assert self.client.get(url, {"of": "A"}).status_code == 404

    def test_reviewers_see_what_is_stored(self) -> None:
        judgment: Judgment = builders.judgment(self.project, self.bob)
        url = reverse("item-source", args=[self.project.slug, judgment.item_id])
        for user, status in ((self.alice, 200), (self.dana, 200), (self.bob, 403), (self.charlie, 404)):
            self.sign_in(user)
            assert self.client.get(url, {"of": "A"}).status_code == status
        self.sign_in(self.dana)
        assert self.client.get(url, {"of": "A"}).content.decode() == WHOLE
        assert self.client.post(url).status_code == 405
        other = builders.project(self.dana, "Other")
        assert self.client.get(reverse("item-source", args=[other.slug, judgment.item_id])).status_code == 404
        self.client.logout()
        assert self.client.get(url).url.startswith(reverse("account_login"))
