from __future__ import annotations

from datetime import timedelta
from unittest.mock import patch

from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from annotation.actions import webhooks
from annotation.models import AuditEntry, Delivery, Webhook
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint

HTMX = {"HX-Request": "true"}
NEW = {"url": "https://example.com/hook?key=1", "events": ["snapshot.frozen", "model.promoted"]}


@override_settings(WEBHOOKS_TO_PRIVATE=False)
class WebhooksPageTests(AccessTestCase):
    def hook(self, *events: str, url: str = "https://example.com/hook?key=1") -> Webhook:
        events = events or ("snapshot.frozen",)
        return webhooks.add(project=self.project, url=url, events=events, creator=self.alice)

    def message(self, hook: Webhook, **fields: object) -> Delivery:
        return Delivery.objects.create(webhook=hook, event="snapshot.frozen", body={"a": "é"}, **fields)

    def url(self, name: str = "webhooks", *args: int) -> str:
        return reverse(name, args=[self.project.slug, *args])

    def test_they_are_for_leads(self) -> None:
        pk = self.hook().pk
        message = self.message(Webhook.objects.get()).pk
        self.check(Endpoint("webhooks", get=200, post=422))
        self.check(Endpoint("webhook", (pk,), get=200, post=302, data={"events": ["snapshot.frozen"]}))
        self.check(Endpoint("webhook-log", (pk,), get=200))
        self.check(Endpoint("webhook-switch", (pk,), post=302, data={"active": "yes"}))
        self.check(Endpoint("webhook-test", (pk,), post=302))
        self.check(Endpoint("webhook-redeliver", (pk, message), post=302))
        self.check(Endpoint("webhook-remove", (pk,), post=302))

    def test_the_settings_lead_to_them(self) -> None:
        self.sign_in(self.alice)
        self.assertContains(self.client.get(self.url("project-settings")), f'href="{self.url()}"')

    def test_a_new_one_shows_its_secret_once(self) -> None:
        self.sign_in(self.alice)
        response = self.client.post(self.url(), NEW)
        hook = Webhook.objects.get()
        assert (hook.url, hook.events) == (NEW["url"], sorted(NEW["events"]))
        assert (hook.created_by, hook.project) == (self.alice, self.project)
        self.assertContains(response, hook.secret)
        assert "no-store" in response["Cache-Control"]
        for page in (self.url(), self.url("webhook", hook.pk)):
            self.assertNotContains(self.client.get(page), hook.secret)

    def test_what_is_wrong_stands_at_its_field(self) -> None:
        self.sign_in(self.alice)
        for change, field, sentence in (
            ({"url": ""}, "url", "This field is required."),
            ({"url": "ftp://example.com/"}, "url", "begins with https:// or http://"),
            ({"url": "http://127.0.0.1/"}, "url", "is in a private network"),
            ({"url": "https://example.com/" + "a" * 500}, "url", "at most 500 characters"),
            ({"events": []}, "events", "Choose at least one."),
            ({"events": ["rain"]}, "events", "rain is not one of the available choices"),
        ):
            response = self.client.post(self.url(), NEW | change)
            assert response.status_code == 422, change
            assert sentence in str(response.context["form"].errors[field]), (change, field)
            self.assertContains(response, f"id_{field}_error", status_code=422)
        with patch.object(webhooks, "MAX_WEBHOOKS", 0):
            self.assertContains(self.client.post(self.url(), NEW), "may have 0 webhooks", status_code=422)
        assert not Webhook.objects.exists()

    def test_the_list_says_how_the_last_message_went(self) -> None:
        told, silent = self.hook(), self.hook(url="https://silent.example.com/")
        self.message(told, state="delivered")
        self.message(told, state="failed", problem="It answered 500.")
        webhooks.set_active(webhook=silent, active=False, actor=self.alice)
        self.sign_in(self.alice)
        # user; membership; webhooks, their last messages
        with self.assertNumQueries(4):
            response = self.client.get(self.url())
        self.assertContains(response, "It answered 500.")
        self.assertContains(response, "no message yet")
        self.assertContains(response, '<span class="badge warn">paused</span>')
        assert [(one.pk, last and last.state) for one, last in response.context["webhooks"]] == [
            (told.pk, "failed"),
            (silent.pk, None),
        ]

    def test_its_events_are_changed_and_noted(self) -> None:
        hook = self.hook("snapshot.frozen", "judgment.created")
        self.sign_in(self.alice)
        page = self.url("webhook", hook.pk)
        self.assertContains(self.client.get(page), 'value="judgment.created" id="id_events_0" checked')
        for _ in range(2):
            self.assertRedirects(self.client.post(page, {"events": ["model.promoted"]}), page)
        hook.refresh_from_db()
        assert hook.events == ["model.promoted"]
        entry = AuditEntry.objects.get(verb="webhook.changed")
        assert (entry.actor, entry.subject, entry.data["events"]) == (
            self.alice,
            "example.com",
            ["model.promoted"],
        )
        response = self.client.post(page, {"events": []})
        self.assertContains(response, "Choose at least one.", status_code=422)
        hook.refresh_from_db()
        assert hook.events == ["model.promoted"]

    def test_it_is_paused_and_goes_on(self) -> None:
        hook = self.hook()
        self.sign_in(self.alice)
        for active in ("no", "yes"):
            response = self.client.post(self.url("webhook-switch", hook.pk), {"active": active}, follow=True)
            self.assertRedirects(response, self.url("webhook", hook.pk))
            hook.refresh_from_db()
            assert hook.active == (active == "yes")
            assert (">Resume<" in response.text) == (active == "no")

    def test_it_is_removed_with_its_log(self) -> None:
        self.message(self.hook())
        self.sign_in(self.alice)
        response = self.client.post(self.url("webhook-remove", Webhook.objects.get().pk), follow=True)
        self.assertContains(response, "The webhook for example.com and its log are removed")
        self.assertNotContains(response, "key=1")
        assert not Webhook.objects.exists()
        assert not Delivery.objects.exists()

    def test_the_log_says_what_became_of_each_message(self) -> None:
        hook = self.hook()
        now = timezone.now()
        self.message(hook, state="delivered", status=204, attempts=1, tried_at=now)
        self.message(hook, state="failed", status=500, attempts=9, answer="<b>down</b> for now", tried_at=now)
        self.message(hook, attempts=2, problem="It does not answer.", next_at=now + timedelta(hours=1))
        self.sign_in(self.alice)
        response = self.client.get(self.url("webhook", hook.pk))
        for words in (
            "204",
            "attempt 9 of 9",
            "&lt;b&gt;down&lt;/b&gt; for now",
            "It does not answer.",
            "retry 59\xa0minutes from now",
            "é",
        ):
            self.assertContains(response, words)
        for state, count in (("", 3), ("failed", 1), ("nonsense", 3)):
            lines = self.client.get(self.url("webhook-log", hook.pk), {"state": state}).context["lines"]
            assert len(lines) == count, state

    def test_the_log_has_pages_and_follows_only_what_is_on_its_way(self) -> None:
        hook = self.hook()
        for _ in range(25):
            self.message(hook, state="delivered")
        self.sign_in(self.alice)
        log = self.url("webhook-log", hook.pk)
        # user; membership; webhook; how many messages, which are on the page, those of the page
        with self.assertNumQueries(6):
            response = self.client.get(log)
        self.assertContains(response, "Page 1 of 2")
        assert len(self.client.get(log, {"page": 2}).context["lines"]) == 5
        self.assertNotContains(response, "every 3s")
        self.message(hook)
        self.assertContains(self.client.get(log, {"page": 1}), "log/?page=1")
        self.assertContains(self.client.get(log), "every 3s")
        webhooks.set_active(webhook=hook, active=False, actor=self.alice)
        self.assertNotContains(self.client.get(log), "every 3s")

    def test_a_message_is_sent_again(self) -> None:
        hook = self.hook()
        message = self.message(hook, state="failed", attempts=9, next_at=timezone.now() + timedelta(days=1))
        self.sign_in(self.alice)
        again = self.url("webhook-redeliver", hook.pk, message.pk)
        response = self.client.post(f"{again}?state=failed")
        self.assertRedirects(response, self.url("webhook", hook.pk) + "?state=failed")
        message.refresh_from_db()
        assert (message.state, message.attempts) == ("waiting", 0)
        assert message.next_at <= timezone.now()
        response = self.client.post(again, headers=HTMX)
        self.assertContains(response, "sending soon")
        self.assertNotContains(response, "<html")

    def test_a_test_is_sent(self) -> None:
        hook = self.hook("model.promoted")
        self.sign_in(self.alice)
        response = self.client.post(self.url("webhook-test", hook.pk), headers=HTMX)
        self.assertContains(response, "sending soon")
        message = Delivery.objects.get()
        assert (message.webhook, message.event, message.state) == (hook, "test", "waiting")
        assert (message.body["event"], message.body["project"]) == ("test", "helpfulness")

    def test_those_of_other_projects_are_out_of_reach(self) -> None:
        other = builders.project(self.charlie, "Other")
        theirs = webhooks.add(
            project=other, url="https://example.com/", events=["snapshot.frozen"], creator=self.charlie
        )
        message, mine = self.message(theirs), self.hook()
        self.sign_in(self.alice)
        for pk in (theirs.pk, 2**70):
            assert self.client.get(self.url("webhook", pk)).status_code == 404
            assert self.client.post(self.url("webhook-remove", pk)).status_code == 404
        for pk in (message.pk, 2**70):
            assert self.client.post(self.url("webhook-redeliver", mine.pk, pk)).status_code == 404
        assert Webhook.objects.count() == 2
