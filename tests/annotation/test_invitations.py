from __future__ import annotations

from datetime import timedelta

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotation.actions import invitations
from annotation.actions.invitations import InvitationError
from annotation.models import ApiToken, AuditEntry, Invitation, Member, User
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint

GOOD = {"role": "annotator", "places": 2, "days": "7", "note": "The students"}
ERIN = {"username": "erin", "password": "a long enough one"}


class InvitationTestCase(AccessTestCase):
    def url(self, name: str, *args: int) -> str:
        return reverse(name, args=[self.project.slug, *args])

    def invited(self, **fields: object) -> tuple[Invitation, str]:
        """An invitation, and the address that its link has."""
        invitation, key = invitations.invite(
            project=self.project, creator=self.alice, **({"role": "annotator"} | fields)
        )
        return invitation, reverse("join", args=[key])

    def used(self, invitation: Invitation) -> int:
        invitation.refresh_from_db()
        return invitation.used


class MakingTests(InvitationTestCase):
    def make(self, **changes: object) -> HttpResponse:
        self.sign_in(self.alice)
        return self.client.post(self.url("invitation-make"), GOOD | changes)

    def test_it_is_for_leads(self) -> None:
        self.check(Endpoint("invitation-make", post=200, data=GOOD))
        self.check(Endpoint("invitation-revoke", (self.invited()[0].pk,), post=302))

    def test_the_link_is_shown_once_and_only_its_hash_is_kept(self) -> None:
        response = self.make()
        link = response.context["invited"]["link"]
        self.assertContains(response, link)
        assert "no-store" in response["Cache-Control"]
        invitation = Invitation.objects.get()
        key = link.rstrip("/").rpartition("/")[2]
        assert invitation.digest == ApiToken.digest_of(key)
        assert (invitation.places, invitation.note, invitation.created_by) == (2, "The students", self.alice)
        assert timedelta(days=6) < invitation.expires_at - timezone.now() <= timedelta(days=7)
        page = self.client.get(self.url("members"))
        self.assertNotContains(page, key)
        self.assertContains(page, "The students")
        self.assertContains(page, "0 of 2")
        entry = AuditEntry.objects.get(verb="invitation.made")
        assert (entry.actor, entry.subject) == (self.alice, "As annotator, 2 places")

    def test_bad_input_is_said_and_makes_nothing(self) -> None:
        for changes, sentence in (
            ({"role": "king"}, "king is not one of the available choices"),
            ({"places": "0"}, "greater than or equal to 1"),
            ({"places": "1001"}, "less than or equal to 1000"),
            ({"places": "x"}, "Enter a whole number"),
            ({"days": "100000"}, "100000 is not one of the available choices"),
            ({"note": "x" * 121}, "at most 120"),
        ):
            self.assertContains(self.make(**changes), sentence, status_code=422)
        assert not Invitation.objects.exists()

    def test_a_revoked_one_is_shown_as_such_and_noted_once(self) -> None:
        invitation, _ = self.invited()
        self.sign_in(self.alice)
        for _ in range(2):
            self.client.post(self.url("invitation-revoke", invitation.pk))
        self.assertContains(self.client.get(self.url("members")), "revoked")
        assert AuditEntry.objects.filter(verb="invitation.revoked").count() == 1

    def test_those_of_other_projects_are_out_of_reach(self) -> None:
        other = builders.project(self.charlie, "Other")
        theirs, _ = invitations.invite(project=other, creator=self.charlie, role="annotator")
        self.sign_in(self.alice)
        assert self.client.post(self.url("invitation-revoke", theirs.pk)).status_code == 404
        theirs.refresh_from_db()
        assert theirs.revoked_at is None


class JoiningTests(InvitationTestCase):
    def test_somebody_new_signs_up_and_is_in(self) -> None:
        invitation, url = self.invited(role="reviewer")
        self.assertContains(self.client.get(url), "alice invites you")
        page = self.client.post(url, ERIN, follow=True)
        self.assertContains(page, "You joined Helpfulness as reviewer.")
        erin = User.objects.get(username="erin")
        assert erin.check_password(ERIN["password"])
        assert (erin.is_staff, erin.account) == (False, "person")
        assert Member.objects.get(user=erin).role == "reviewer"
        assert self.used(invitation) == 1
        entry = AuditEntry.objects.get(verb="member.joined")
        assert (entry.actor, entry.subject, entry.data["invitation"]) == (erin, erin.pseudonym, invitation.pk)

    def test_who_has_an_account_joins_with_it(self) -> None:
        _, url = self.invited()
        page = self.client.get(url)
        self.assertContains(page, f"{reverse('account_login')}?next={url}")
        self.sign_in(self.charlie)
        self.assertContains(self.client.get(url), "Join as charlie")
        assert not Member.objects.filter(user=self.charlie).exists()  # looking is not joining
        self.assertRedirects(self.client.post(url), "/", fetch_redirect_response=False)
        assert Member.objects.get(user=self.charlie).role == "annotator"
        assert User.objects.count() == 4

    def test_one_person_never_takes_two_places_nor_changes_their_role(self) -> None:
        invitation, url = self.invited(role="lead", places=2)
        for user in (self.charlie, self.charlie, self.bob):
            self.sign_in(user)
            self.client.post(url)
            self.assertRedirects(self.client.get(url), "/", fetch_redirect_response=False)
        assert self.used(invitation) == 1
        assert Member.objects.get(project=self.project, user=self.bob).role == "annotator"

    def test_who_took_the_last_place_is_welcome_when_they_come_again(self) -> None:
        invitation, url = self.invited()
        self.sign_in(self.charlie)
        for _ in range(2):
            self.assertRedirects(self.client.post(url), "/", fetch_redirect_response=False)
        assert self.used(invitation) == 1

    def test_a_used_up_expired_or_revoked_one_says_so_kindly(self) -> None:
        past = timezone.now() - timedelta(seconds=1)
        for changes, sentence in (
            ({"used": 1}, "All places of this invitation are taken."),
            ({"expires_at": past}, "This invitation has expired."),
            ({"revoked_at": past}, "This invitation was revoked."),
        ):
            invitation, url = self.invited()
            Invitation.objects.filter(pk=invitation.pk).update(**changes)
            for client in (Client(), self.client):
                self.sign_in(self.charlie)
                self.assertContains(client.get(url), sentence, status_code=410)
                self.assertContains(client.post(url, ERIN), sentence, status_code=410)
                self.assertContains(client.get(url), "alice, who made it", status_code=410)
        assert not User.objects.filter(username="erin").exists()
        assert not Member.objects.filter(user=self.charlie).exists()

    def test_an_unknown_link_is_not_found(self) -> None:
        for method in (self.client.get, self.client.post):
            self.assertContains(method("/join/nothing/"), "This invitation does not exist", status_code=404)
        assert self.client.put(self.invited()[1]).status_code == 405

    def test_a_bad_name_or_password_makes_nothing(self) -> None:
        invitation, url = self.invited()
        for changes, sentence in (
            ({"username": "bob"}, "is taken. Choose another."),
            ({"username": "Bob"}, "is taken. Choose another."),
            ({"username": "two words"}, "Enter a valid username"),
            ({"username": "ﷺ" * 9}, "at most 150 characters"),
            ({"username": ""}, "required"),
            ({"password": "short"}, "too short"),
            ({"password": "password1"}, "too common"),
            ({"username": "erinerinerin", "password": "erinerinerin1"}, "too similar to the username"),
            ({"password": ""}, "required"),
        ):
            response = self.client.post(url, ERIN | changes)
            self.assertContains(response, sentence, status_code=422)
            self.assertNotContains(response, ERIN["password"], status_code=422)
        assert (User.objects.count(), self.used(invitation)) == (4, 0)

    def test_the_last_place_taken_meanwhile_leaves_no_account_behind(self) -> None:
        invitation, _ = self.invited()
        Invitation.objects.update(used=1)  # the row that is held here still says 0
        with pytest.raises(InvitationError, match="All places"):
            invitations.sign_up(invitation=invitation, **ERIN)
        assert not User.objects.filter(username="erin").exists()
