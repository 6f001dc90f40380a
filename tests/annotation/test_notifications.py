"""Notifications: what is told to whom, the bell, the list, and digests by e-mail."""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import patch

from allauth.account.models import EmailAddress
from django.core import mail
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone, translation

from annotation import tasks
from annotation.actions import notifications, projects, rules
from annotation.models import Member, Notification, User
from tests.annotation.judging import JudgingTestCase

Kind = Notification.Kind
URL = "/my-work/"
MAIL = {
    "EMAIL_ENABLED": True,
    "EMAIL_BACKEND": "django.core.mail.backends.locmem.EmailBackend",
    "CELERY_TASK_ALWAYS_EAGER": True,
    "SITE_URL": "https://palate.example.org/",
}


class NotificationTestCase(JudgingTestCase):
    def notify(
        self, user: User | None = None, kind: Kind = Kind.REPLY, url: str = URL, subject: str = ""
    ) -> None:
        user = user or self.bob
        notifications.notify(users=[user.pk], kind=kind, project=self.project, url=url, subject=subject)

    def kinds(self, user: User) -> list[str]:
        return list(user.notifications.order_by("pk").values_list("kind", flat=True))


class EventTests(NotificationTestCase):
    def test_pauses_warnings_and_their_end(self) -> None:
        member = Member.objects.select_related("project", "user").get(project=self.project, user=self.bob)
        rules.warn(member=member, reason="Slow down.", actor=self.alice)
        rules.pause(member=member, reason="Read the guidelines.", actor=self.alice)
        rules.resume(member=member, actor=self.alice)
        assert self.kinds(self.bob) == ["warned", "paused", "resumed"]
        assert not self.kinds(self.dana)

    def test_new_guidelines_notify_annotators(self) -> None:
        assert not Notification.objects.exists(), "the first version is no change"
        projects.write_guideline(project=self.project, text="Be brief.", author=self.alice)
        projects.write_guideline(project=self.project, text="Be brief.", author=self.alice)
        assert self.kinds(self.bob) == ["guidelines"]
        assert self.bob.notifications.get().subject == "Version 2"
        assert not self.kinds(self.alice)
        assert not self.kinds(self.dana)

    def test_the_same_again_is_counted_until_it_is_read(self) -> None:
        self.notify()
        self.notify()
        assert self.bob.notifications.get().count == 2
        notifications.mark_read(user=self.bob)
        self.notify()
        assert [n.count for n in self.bob.notifications.order_by("pk")] == [2, 1]

    def test_who_cannot_sign_in_is_told_nothing(self) -> None:
        User.objects.filter(pk=self.bob.pk).update(is_active=False)
        self.notify()
        assert not Notification.objects.exists()

    def test_old_ones_that_were_read_are_deleted(self) -> None:
        self.notify()
        self.notify(url="/other/")
        Notification.objects.filter(url=URL).update(read_at=timezone.now() - timedelta(days=91))
        tasks.delete_old_notifications()
        assert [n.url for n in Notification.objects.all()] == ["/other/"]


class PageTests(NotificationTestCase):
    def test_the_bell_counts_what_is_unread(self) -> None:
        self.notify()
        self.notify(url="/other/")
        self.notify(user=self.dana)
        page = self.client.get(reverse("home"))
        self.assertContains(page, "<span data-unread-count>2</span>")
        self.assertNotContains(page, 'bell-count" hidden')

    def test_it_costs_no_query(self) -> None:
        self.client.get(reverse("my-judgments"))
        # the user with the number of unread notifications, their projects, the number of judgments
        with self.assertNumQueries(3):
            self.client.get(reverse("my-judgments"))

    def test_the_list_has_ones_own(self) -> None:
        self.notify(subject="Version 2", kind=Kind.GUIDELINES)
        self.notify(user=self.dana, subject="of Dana")
        page = self.client.get(reverse("notifications"))
        self.assertContains(page, "The guidelines have changed: <bdi>Version 2</bdi>")
        self.assertNotContains(page, "of Dana")

    def test_opening_one_marks_it_read_and_leads_to_its_page(self) -> None:
        self.notify()
        url = reverse("notification-open", args=[self.bob.notifications.get().pk])
        self.assertRedirects(self.client.post(url), URL)
        assert self.bob.notifications.get().read_at
        self.assertContains(self.client.get(reverse("notifications")), "Nothing unread")

    def test_marking_one_or_all(self) -> None:
        for n in range(3):
            self.notify(url=f"/{n}/")
        first = self.bob.notifications.order_by("pk")[0]
        url = reverse("notification-open", args=[first.pk])
        self.assertRedirects(self.client.post(url, {"stay": "1"}), reverse("notifications"))
        assert self.bob.notifications.filter(read_at=None).count() == 2
        self.notify(user=self.dana)
        self.assertRedirects(self.client.post(reverse("notifications-read")), reverse("notifications"))
        assert not self.bob.notifications.filter(read_at=None).exists()
        assert self.dana.notifications.filter(read_at=None).exists()

    def test_another_s_is_not_there(self) -> None:
        self.notify(user=self.dana)
        url = reverse("notification-open", args=[self.dana.notifications.get().pk])
        assert self.client.post(url).status_code == 404
        assert self.dana.notifications.get().read_at is None

    def test_it_is_for_whoever_is_signed_in(self) -> None:
        open_one = reverse("notification-open", args=[1])
        assert self.client.post(reverse("notifications")).status_code == 405
        for url in (open_one, reverse("notifications-read")):
            assert self.client.get(url).status_code == 405
        self.client.logout()
        for url in (open_one, reverse("notifications-read"), reverse("notifications")):
            assert self.client.post(url).status_code in (302, 405)
            assert self.client.get(url).status_code in (302, 405)
        self.assertRedirects(
            self.client.get(reverse("notifications")), f"{reverse('account_login')}?next=/notifications/"
        )


@override_settings(**MAIL)
class DigestTests(NotificationTestCase):
    def setUp(self) -> None:
        super().setUp()
        User.objects.filter(pk=self.bob.pk).update(email="bob@example.org")
        self.address = EmailAddress.objects.create(
            user=self.bob, email="bob@example.org", verified=True, primary=True
        )

    def sent(self, after: timedelta = timedelta()) -> list[mail.EmailMessage]:
        """The e-mails that the task sends, so much later."""
        mail.outbox.clear()
        with (
            patch("django.utils.timezone.now", return_value=timezone.now() + after),
            patch.object(tasks.send_email, "delay", tasks.send_email),
        ):
            tasks.send_digests()
        return list(mail.outbox)

    def test_it_reports_what_is_unread_once(self) -> None:
        self.notify()
        self.notify(kind=Kind.BATCH, url="/#batch-1", subject="Week 48")
        [message] = self.sent()
        assert message.to == ["bob@example.org"]
        assert message.subject == "Palate: 2 notifications"
        assert "A reviewer replied to your question (Helpfulness)" in message.body
        assert "A batch was assigned to you: Week 48 (Helpfulness)" in message.body
        assert "https://palate.example.org/notifications/" in message.body
        assert not self.sent(timedelta(hours=2))

    def test_at_most_one_an_hour(self) -> None:
        self.notify()
        assert len(self.sent()) == 1
        self.notify(url="/other/")
        assert not self.sent(timedelta(minutes=59))
        assert len(self.sent(timedelta(minutes=61))) == 1

    def test_only_replies_and_batches(self) -> None:
        self.notify(kind=Kind.GUIDELINES)
        assert not self.sent()

    def test_not_what_was_read(self) -> None:
        self.notify()
        notifications.mark_read(user=self.bob)
        assert not self.sent()

    def test_only_to_a_confirmed_address_that_is_the_account_s(self) -> None:
        self.notify()
        EmailAddress.objects.update(verified=False)
        assert not self.sent()
        EmailAddress.objects.update(verified=True, email="bob@old.example.org")
        assert not self.sent()

    def test_not_to_who_turned_them_off(self) -> None:
        self.notify()
        self.client.post(reverse("account-display"), {"time_zone": ""})
        assert not self.sent()
        self.client.post(reverse("account-display"), {"time_zone": "", "email_notifications": "on"})
        assert len(self.sent()) == 1

    def test_nothing_where_the_site_sends_no_e_mails(self) -> None:
        self.notify()
        with override_settings(EMAIL_ENABLED=False):
            assert not self.sent()
        assert len(self.sent()) == 1

    def test_without_an_address_of_the_site_it_has_no_link(self) -> None:
        self.notify()
        with override_settings(SITE_URL=""):
            [message] = self.sent()
        assert "Sign in to read them" in message.body
        assert "http" not in message.body

    def test_it_is_in_the_language_of_its_reader(self) -> None:
        self.notify()
        User.objects.filter(pk=self.bob.pk).update(language="de")
        translation.gettext("")  # fills in `_trans`
        tagged = patch.object(
            translation._trans, "gettext", lambda text: f"{translation.get_language()}: {text}"
        )
        with tagged:
            [message] = self.sent()
        assert "de: A reviewer replied to your question (Helpfulness)" in message.body
        assert "de: Hello bob," in message.body
