"""A lost password: a lead makes a link with which a new one is set."""

from __future__ import annotations

from django.urls import reverse

from annotation.models import AuditEntry, Member, User
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint


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
        fields = {"new_password1": password, "new_password2": password}
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
        self.client.post(reverse("login"), {"username": "bob", "password": "correct horse"})
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
