"""A lost password: a lead makes a link with which a new one is set, or it comes by e-mail."""

from __future__ import annotations

import re
from unittest.mock import patch

from allauth.account.models import EmailAddress
from django.core import mail
from django.test import override_settings
from django.urls import reverse

from annotation import tasks
from annotation.models import AuditEntry, Member, User
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint
from tests.base import PalateTestCase


class ResetTests(AccessTestCase):
    def make(self, user: User, by: User | None = None):
        self.sign_in(by or self.alice)
        member = Member.objects.get(project=self.project, user=user)
        return self.client.post(reverse("member-password", args=[self.project.slug, member.pk]))

    def link(self, user: User) -> str:
        response = self.make(user)
        assert response.status_code == 200
        assert "no-store" in response["Cache-Control"]
        link = response.context["reset"]["link"]
        self.client.logout()
        return link

    def use(self, link: str, password: str = "battery staple 7"):
        page = self.client.get(link, follow=True)
        fields = {"password1": password, "password2": password}
        return self.client.post(
            page.redirect_chain[-1][0] if page.redirect_chain else link, fields, follow=True
        )

    def test_it_is_for_leads(self) -> None:
        bob = Member.objects.get(project=self.project, user=self.bob).pk
        self.check(Endpoint("member-password", (bob,), post=200))

    def test_a_new_password_is_set_once_and_ends_every_session(self) -> None:
        builders.join(builders.project(self.alice, "Another"), self.bob, Member.Role.ANNOTATOR)
        other_device = self.client_class()
        other_device.force_login(self.bob, backend="annotation.backends.AccountBackend")
        link = self.link(self.bob)
        self.assertContains(self.use(link), "Your new password is set")
        assert other_device.get("/").status_code == 302
        self.bob.refresh_from_db()
        assert self.bob.check_password("battery staple 7")
        self.assertContains(self.client.get(link, follow=True), "no longer valid")
        entry = AuditEntry.objects.get(verb="member.password")
        assert (entry.actor, entry.subject, entry.data["user"]) == (
            self.alice,
            self.bob.pseudonym,
            self.bob.pk,
        )

    def test_a_weak_one_is_refused(self) -> None:
        self.assertContains(self.use(self.link(self.bob), "12345"), "too short")
        self.bob.refresh_from_db()
        assert self.bob.check_password("correct horse")

    def test_a_sign_in_ends_it(self) -> None:
        link = self.link(self.bob)
        self.client.post(reverse("account_login"), {"login": "bob", "password": "correct horse"})
        self.client.logout()
        self.assertContains(self.client.get(link, follow=True), "no longer valid")

    def test_a_lead_gets_into_no_account_that_can_do_more(self) -> None:
        dora = builders.user("dora", is_staff=True)
        builders.join(self.project, dora, Member.Role.LEAD)
        self.assertContains(self.follow(self.make(self.alice, by=dora)), "a lead or staff")
        self.assertContains(self.follow(self.make(dora)), "a lead or staff")
        self.assertContains(self.follow(self.make(self.alice)), "Change your own password")
        builders.join(builders.project(self.charlie, "Elsewhere"), self.bob, Member.Role.ANNOTATOR)
        self.assertContains(self.follow(self.make(self.bob)), "projects that you do not lead")
        Member.objects.filter(user=self.bob).exclude(project=self.project).delete()
        builders.items(self.project, 1)
        judgment = builders.judgment(self.project, self.bob)
        assert self.make(self.bob).status_code == 200
        other = builders.project(self.charlie, "Judged once")
        builders.items(other, 1)
        builders.join(other, self.bob, Member.Role.ANNOTATOR)
        assert builders.judgment(other, self.bob).annotator == judgment.annotator
        Member.objects.filter(user=self.bob, project=other).delete()
        self.assertContains(self.follow(self.make(self.bob)), "projects that you do not lead")

    def test_a_link_ends_when_the_account_can_do_more(self) -> None:
        link = self.link(self.bob)
        builders.join(builders.project(self.charlie, "Elsewhere"), self.bob, Member.Role.ANNOTATOR)
        self.assertContains(self.client.get(link, follow=True), "no longer valid")
        User.objects.filter(pk=self.dana.pk).update(is_staff=False)
        link = self.link(self.dana)
        User.objects.filter(pk=self.dana.pk).update(is_staff=True)
        self.assertContains(self.client.get(link, follow=True), "no longer valid")

    def follow(self, response):
        assert response.status_code == 302
        return self.client.get(response.url)


class ForgottenTests(PalateTestCase):
    """A link by e-mail, where the site sends any."""

    def setUp(self) -> None:
        self.bob.email = "Bob@example.org"
        self.bob.save()

    def ask(self, address: str):
        with (
            self.captureOnCommitCallbacks(execute=True),
            patch.object(tasks.send_email, "delay", tasks.send_email),
        ):
            return self.client.post(reverse("account_reset_password"), {"email": address}, follow=True)

    def test_the_link_sets_a_new_password(self) -> None:
        self.assertContains(self.ask("bob@EXAMPLE.org"), "Check your e-mail")
        (message,) = mail.outbox
        assert "bob on testserver." in message.body
        assert (message.to, message.subject) == (["bob@example.org"], "A new password for Palate")
        found = re.search(r"http://testserver(/password/reset/\S+)", message.body)
        assert found
        page = self.client.get(found[1], follow=True)
        fields = {"password1": "battery staple 7", "password2": "battery staple 7"}
        answer = self.client.post(page.redirect_chain[-1][0], fields, follow=True)
        self.assertContains(answer, "Your new password is set")
        self.bob.refresh_from_db()
        assert self.bob.check_password("battery staple 7")
        self.assertContains(self.client.get(found[1], follow=True), "no longer valid")

    def test_nobody_learns_which_addresses_have_an_account(self) -> None:
        known, unknown = self.ask("bob@example.org"), self.ask("nobody@example.org")
        assert len(mail.outbox) == 1
        token = re.compile(r'name="csrfmiddlewaretoken" value="\w+"|"X-CSRFToken": "\w+"')
        assert token.sub("", known.content.decode()) == token.sub("", unknown.content.decode())

    def test_only_the_account_s_own_address_gets_one(self) -> None:
        for verified in (True, False):  # one of before, and one that is to be confirmed
            EmailAddress.objects.all().delete()
            EmailAddress.objects.create(user=self.bob, email="other@example.org", verified=verified)
            self.ask("other@example.org")
        assert not mail.outbox

    def test_closed_accounts_get_none(self) -> None:
        User.objects.filter(pk=self.bob.pk).update(is_active=False)
        self.ask("bob@example.org")
        assert not mail.outbox

    def test_it_is_limited(self) -> None:
        for _ in range(5):
            self.ask("bob@example.org")
        assert (
            self.client.post(reverse("account_reset_password"), {"email": "bob@example.org"}).status_code
            == 429
        )

    @override_settings(EMAIL_ENABLED=False)
    def test_without_e_mail_there_is_none(self) -> None:
        self.assertNotContains(self.client.get(reverse("account_login")), "Forgot")
        assert self.client.get(reverse("account_reset_password")).status_code == 404


class EmailAddressTests(PalateTestCase):
    def setUp(self) -> None:
        self.client.post(reverse("account_login"), {"login": "bob", "password": "correct horse"})

    def enter(self, address: str):
        url = reverse("account_email")
        with patch.object(tasks.send_email, "delay", tasks.send_email):
            response = self.client.post(url, {"action_add": "", "email": address})
            if response.status_code == 302 and reverse("account_reauthenticate") in response["Location"]:
                response = self.client.post(response["Location"], {"password": "correct horse"}, follow=True)
            return response

    def test_it_is_the_account_s_once_it_is_confirmed(self) -> None:
        self.enter("bob@example.org")
        self.bob.refresh_from_db()
        assert self.bob.email == ""
        found = re.search(r"http://testserver(/account/email/\S+)", mail.outbox[0].body)
        assert found
        self.assertContains(self.client.get(found[1]), "bob@example.org")
        self.client.post(found[1])
        self.bob.refresh_from_db()
        assert self.bob.email == "bob@example.org"
        self.assertContains(self.client.get(reverse("account")), "bob@example.org")

    def test_that_of_another_is_not_taken(self) -> None:
        self.dana.email = "Dana@example.org"
        self.dana.save()
        self.enter("dana@example.org")
        for message in mail.outbox:
            found = re.search(r"http://testserver(/account/email/\S+)", message.body)
            if found:
                self.client.post(found[1])
        self.bob.refresh_from_db()
        assert self.bob.email == ""
