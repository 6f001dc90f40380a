"""Messages between an annotator and the reviewers about an item."""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import patch

import pytest
from django.urls import reverse

from annotation import threads
from annotation.actions import leases, messages, skips
from annotation.actions.messages import MessageError
from annotation.logic.limits import MAX_MESSAGE_CHARS, MAX_MESSAGES_PER_HOUR
from annotation.models import Item, Member, Message, Notification
from tests import builders
from tests.annotation.judging import HTMX, JudgingTestCase


class ThreadTestCase(JudgingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.project.overlap = 2
        self.project.save()
        builders.items(self.project, 2)
        self.eve = builders.user("eve")
        builders.join(self.project, self.eve, Member.Role.ANNOTATOR)

    def item(self, pk: int) -> Item:
        return Item.objects.select_related("project").get(pk=pk)

    def asked(self, text: str = "Does a list count as short?") -> Message:
        """Bob's question about an item that he has judged."""
        judgment = builders.judgment(self.project, self.bob)
        return messages.ask(item=self.item(judgment.item_id), annotator=self.bob, text=text)

    def replied(self, message: Message, text: str = "Yes, see section 2.") -> Message:
        return messages.reply(item=message.item, annotator=self.bob, author=self.dana, text=text)


class AskTests(ThreadTestCase):
    def test_from_the_judging_page_the_item_stays_on_the_screen(self) -> None:
        context = self.open()
        response = self.send({"ticket": context["ticket"], "text": " Is this on topic? "}, "work-ask")
        self.assertContains(response, "Your question was sent.")
        message = Message.objects.get()
        assert (message.item_id, message.annotator, message.author) == (
            context["lease"].item_id,
            self.bob,
            self.bob,
        )
        assert message.text == "Is this on topic?"
        assert self.open()["lease"].item_id == context["lease"].item_id

    def test_without_scripts_it_leads_back_to_the_item(self) -> None:
        form = {"ticket": self.open()["ticket"], "text": "Why?"}
        self.assertRedirects(self.client.post(self.url("work-ask"), form), self.url())
        assert Message.objects.count() == 1

    def test_about_an_item_that_was_skipped(self) -> None:
        lease = leases.claim(project=self.project, annotator=self.bob)
        skips.skip(lease=lease, reason="broken")
        messages.ask(item=self.item(lease.item_id), annotator=self.bob, text="What is this?")
        assert Message.objects.count() == 1

    def test_not_about_an_item_that_one_has_nothing_to_do_with(self) -> None:
        for item in Item.objects.select_related("project"):
            with pytest.raises(MessageError, match="judged, skipped or opened"):
                messages.ask(item=item, annotator=self.bob, text="What is in it?")

    def test_texts_have_bounds(self) -> None:
        context = self.open()
        for text, sentence in (
            (" ", "Write a message first."),
            ("x" * (MAX_MESSAGE_CHARS + 1), "at most 2,000 characters"),
            ("a\0b", "null byte"),
        ):
            response = self.send({"ticket": context["ticket"], "text": text}, "work-ask")
            self.assertContains(response, sentence, status_code=422)
        assert not Message.objects.exists()

    def test_messages_have_a_rate(self) -> None:
        message = self.asked()
        Message.objects.bulk_create(
            Message(item=message.item, annotator=self.bob, author=self.bob, text="x")
            for _ in range(MAX_MESSAGES_PER_HOUR - 1)
        )
        with pytest.raises(MessageError, match="60 messages an hour"):
            messages.ask(item=message.item, annotator=self.bob, text="One more")
        later = message.created_at + timedelta(hours=1, minutes=1)
        with patch("django.utils.timezone.now", return_value=later):
            messages.ask(item=message.item, annotator=self.bob, text="One more")

    def test_from_the_page_of_ones_judgment(self) -> None:
        judgment = builders.judgment(self.project, self.bob)
        url = reverse("my-judgment-ask", args=[judgment.pk])
        response = self.client.post(url, {"text": "Was I <b>right</b>?"})
        assert response.url == f"{reverse('my-judgment', args=[judgment.pk])}#questions"
        page = self.client.get(response.url)
        self.assertContains(page, "Was I &lt;b&gt;right&lt;/b&gt;?")
        self.assertNotContains(page, "Reviewer")

    def test_a_follow_up_on_my_work(self) -> None:
        message = self.asked()
        self.replied(message)
        url = reverse("thread-ask", args=[message.pk])
        self.client.post(url, {"text": "Thank you."})
        [thread] = self.client.get(reverse("my-work")).context["threads"]
        assert [m.text for m in thread.messages] == [message.text, "Yes, see section 2.", "Thank you."]
        assert thread.judgment.item_id == message.item_id

    def test_nobody_writes_in_another_s_thread_or_about_another_s_judgment(self) -> None:
        message = self.asked()
        judgment = self.bob.judgments.get()
        for who, status in ((self.eve, 404), (self.dana, 404), (self.charlie, 404)):
            self.sign_in(who)
            for url in (
                reverse("thread-ask", args=[message.pk]),
                reverse("my-judgment-ask", args=[judgment.pk]),
            ):
                assert self.client.post(url, {"text": "x"}).status_code == status
        assert Message.objects.count() == 1

    def test_who_has_left_the_project_writes_and_sees_nothing(self) -> None:
        message = self.asked()
        Member.objects.filter(user=self.bob).delete()
        assert self.client.post(reverse("thread-ask", args=[message.pk]), {"text": "x"}).status_code == 404
        assert self.client.get(reverse("my-work")).context["threads"] == []

    def test_it_is_for_members_and_by_post_only(self) -> None:
        message = self.asked()
        urls = (self.url("work-ask"), reverse("thread-ask", args=[message.pk]))
        for url in urls:
            assert self.client.get(url).status_code == 405
        self.sign_in(self.charlie)
        assert self.client.post(urls[0]).status_code == 404
        self.client.logout()
        for url in urls:
            assert self.client.post(url).status_code == 302


class PrivacyTests(ThreadTestCase):
    def test_two_annotators_of_one_item_never_see_each_other_s_messages(self) -> None:
        message = self.asked("Bob asks about the list.")
        self.replied(message, "Dana answers Bob.")
        mine = next(
            judgment
            for judgment in (builders.judgment(self.project, self.eve) for _ in range(2))
            if judgment.item_id == message.item_id
        )
        messages.ask(item=self.item(message.item_id), annotator=self.eve, text="Eve asks.")
        self.sign_in(self.eve)
        for url in (reverse("my-judgment", args=[mine.pk]), reverse("my-work"), reverse("notifications")):
            page = self.client.get(url)
            self.assertNotContains(page, "Bob asks")
            self.assertNotContains(page, "Dana answers")
        self.assertContains(self.client.get(reverse("my-judgment", args=[mine.pk])), "Eve asks.")
        self.sign_in(self.bob)
        self.assertNotContains(self.client.get(reverse("my-work")), "Eve asks.")

    def test_the_annotator_sees_no_name_of_a_reviewer_and_no_id_of_the_item(self) -> None:
        message = self.asked()
        self.replied(message)
        page = self.client.get(reverse("my-work"))
        self.assertContains(page, "Reviewer")
        self.assertNotContains(page, "dana")
        self.assertNotContains(page, reverse("item", args=[self.project.slug, message.item_id]))


class ReplyTests(ThreadTestCase):
    def reply_url(self, item: int) -> str:
        return reverse("item-reply", args=[self.project.slug, item])

    def test_a_reviewer_sees_the_question_and_replies(self) -> None:
        message = self.asked()
        self.sign_in(self.dana)
        item = reverse("item", args=[self.project.slug, message.item_id])
        page = self.client.get(item)
        self.assertContains(page, message.text)
        self.assertContains(page, "Others may still judge this item")
        review = self.client.get(reverse("review", args=[self.project.slug]), {"kind": "questions"})
        self.assertContains(review, message.text)
        data = {"annotator": self.bob.pk, "text": "Yes."}
        response = self.client.post(self.reply_url(message.item_id), data)
        assert response.url == f"{item}#questions"
        self.assertContains(self.client.get(item), "Yes.")
        assert not threads.open_questions(self.project).exists()
        review = self.client.get(reverse("review", args=[self.project.slug]), {"kind": "questions"})
        self.assertContains(review, "No open questions")

    def test_everybody_who_reviews_is_told_and_nobody_any_more_once_one_has_replied(self) -> None:
        message = self.asked()
        told = Notification.objects.filter(kind="message", read_at=None)
        assert {row.user for row in told} == {self.alice, self.dana}
        messages.ask(item=message.item, annotator=self.bob, text="And tables?")
        assert {row.count for row in told.all()} == {2}
        self.replied(message)
        assert not told.all().exists()
        [reply] = Notification.objects.filter(kind="reply")
        assert (reply.user, reply.url) == (self.bob, f"/my-work/#thread-{message.pk}")
        messages.ask(item=message.item, annotator=self.bob, text="And now?")
        assert told.all().count() == 2

    def test_there_must_be_a_thread(self) -> None:
        message = self.asked()
        self.sign_in(self.dana)
        for annotator in ("", "x", str(self.eve.pk), "9" * 30):
            data = {"annotator": annotator, "text": "Hello"}
            assert self.client.post(self.reply_url(message.item_id), data).status_code == 404
        with pytest.raises(MessageError, match="has not asked"):
            messages.reply(item=message.item, annotator=self.eve, author=self.dana, text="Hello")

    def test_it_is_for_reviewers_and_leads(self) -> None:
        message = self.asked()
        url = self.reply_url(message.item_id)
        for who, status in ((self.bob, 403), (self.eve, 403), (self.charlie, 404)):
            self.sign_in(who)
            assert self.client.post(url, {"annotator": self.bob.pk, "text": "x"}).status_code == status
        self.client.logout()
        assert self.client.post(url).status_code == 302
        assert Message.objects.count() == 1

    def test_an_item_of_another_project_is_not_there(self) -> None:
        message = self.asked()
        other = builders.project(self.alice, "Other")
        self.sign_in(self.alice)
        url = reverse("item-reply", args=[other.slug, message.item_id])
        assert self.client.post(url, {"annotator": self.bob.pk, "text": "x"}).status_code == 404

    def test_an_empty_reply_is_refused(self) -> None:
        message = self.asked()
        self.sign_in(self.dana)
        response = self.client.post(
            self.reply_url(message.item_id), {"annotator": self.bob.pk, "text": " "}, follow=True
        )
        self.assertContains(response, "Write a message first.")


class SwapTests(ThreadTestCase):
    def test_a_judging_page_brings_the_number_of_unread_notifications(self) -> None:
        message = self.asked()
        self.replied(message)
        response = self.client.get(self.url(), headers=HTMX)
        self.assertContains(response, 'data-unread="1"')
