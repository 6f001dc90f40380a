"""Taking one's data away, and erasing an account."""

from __future__ import annotations

import json
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.sessions.models import Session
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from annotation.actions import queue
from annotation.models import ApiToken, Deed, Draft, Judgment, Member, Slot, User
from tests import builders
from tests.base import PalateTestCase

PASSWORD = {"password": "correct horse"}


class ExportTests(PalateTestCase):
    def exported(self, user: User) -> dict[str, Any]:
        self.sign_in(user)
        response = self.client.get("/account/export/")
        assert response["Content-Disposition"] == f'attachment; filename="{user.pseudonym}.json"'
        assert "no-store" in response["Cache-Control"]

        async def gathered() -> bytes:
            return b"".join([part async for part in response])

        return json.loads(async_to_sync(gathered)())

    def test_everything_of_mine_is_in_it_and_nothing_of_others(self) -> None:
        builders.items(self.project, 4)
        judgment = builders.judgment(self.project, self.bob)
        builders.judgment(self.project, self.dana)
        lease = queue.claim(project=self.project, annotator=self.bob)
        assert lease is not None
        queue.skip(lease=lease, reason="cannot_judge")
        lease = queue.claim(project=self.project, annotator=self.bob)
        assert lease is not None
        queue.save_draft(lease=lease, data={"ranks": {}})
        _, key = ApiToken.issue(user=self.bob, name="notebook")
        data = self.exported(self.bob)
        assert data["account"]["username"] == "bob"
        assert data["account"]["pseudonym"] == self.bob.pseudonym
        assert [m["project__slug"] for m in data["memberships"]] == ["helpfulness"]
        assert [j["id"] for j in data["judgments"]] == [judgment.pk]
        ranks = [placed["rank"] for placed in data["judgments"][0]["placements"]]
        assert sorted(ranks) == [1, 2, 3, 4]
        assert [s["reason"] for s in data["skips"]] == ["cannot_judge"]
        assert [d["data"] for d in data["drafts"]] == [{"ranks": {}}]
        assert [t["name"] for t in data["tokens"]] == ["notebook"]
        assert data["demonstrations"] == []
        text = json.dumps(data)
        assert key not in text
        assert "digest" not in text
        assert "password" not in text

    def test_an_account_without_anything_is_well_formed_too(self) -> None:
        assert self.exported(self.charlie)["judgments"] == []

    def test_it_needs_a_session(self) -> None:
        assert self.client.get("/account/export/").status_code == 302
        self.sign_in(self.bob)
        assert self.client.post("/account/export/").status_code == 405


class EraseTests(PalateTestCase):
    def erase(self, who: User, url: str = "/account/erase/", data: dict[str, str] = PASSWORD) -> HttpResponse:
        self.sign_in(who)
        return self.client.post(url, data)

    def test_my_name_goes_and_my_judgments_stay_under_the_pseudonym(self) -> None:
        builders.items(self.project, 3)
        judgment = builders.judgment(self.project, self.bob)
        lease = queue.claim(project=self.project, annotator=self.bob)
        assert lease is not None
        queue.save_draft(lease=lease, data={})
        _, key = ApiToken.issue(user=self.bob, name="notebook")
        User.objects.filter(pk=self.bob.pk).update(email="bob@example.org", first_name="Bob")
        other_window = Client()
        other_window.force_login(self.bob, backend="annotation.backends.AccountBackend")
        pseudonym = self.bob.pseudonym

        self.assertRedirects(self.erase(self.bob), reverse("login"))

        bob = User.objects.get(pk=self.bob.pk)
        assert (bob.username, bob.pseudonym) == (f"erased-{pseudonym}", pseudonym)
        assert (bob.email, bob.first_name, bob.is_active, bob.last_login) == ("", "", False, None)
        assert bob.erased_at is not None
        assert not bob.has_usable_password()
        assert Judgment.objects.get().annotator == bob
        assert Judgment.objects.get() == judgment
        assert not Member.objects.filter(user=bob).exists()
        assert not ApiToken.objects.exists()
        assert not Draft.objects.exists()
        assert Slot.objects.get(pk=lease.slot_id).state == "open"
        assert not any(s.get_decoded().get("_auth_user_id") == str(bob.pk) for s in Session.objects.all())
        assert other_window.get("/account/").status_code == 302
        assert Client(headers={"Authorization": f"Bearer {key}"}).get("/api/v1/projects/").status_code == 401
        deed = Deed.objects.get(verb="account.erased")
        assert (deed.actor, deed.subject) == (bob, pseudonym)
        assert not Deed.objects.filter(subject__contains="bob").exists()

    def test_nobody_can_claim_what_was_erased(self) -> None:
        builders.items(self.project, 1)
        builders.judgment(self.project, self.bob)
        self.erase(self.bob)
        client = Client()
        for name in ("bob", f"erased-{self.bob.pseudonym}"):
            client.post("/sign-in/", {"username": name, **PASSWORD})
            assert "_auth_user_id" not in client.session
        again = builders.user("bob")  # the name is free, for somebody else
        assert again.pseudonym != self.bob.pseudonym
        assert not Judgment.objects.filter(annotator=again).exists()

    def test_the_password_is_asked_for(self) -> None:
        for data, sentence in (({"password": "wrong"}, "not your password"), ({}, "required")):
            self.assertContains(self.erase(self.bob, data=data), sentence, status_code=422)
        self.bob.refresh_from_db()
        assert self.bob.erased_at is None

    def test_a_project_s_last_lead_cannot_vanish(self) -> None:
        response = self.erase(self.alice)
        self.assertContains(response, "alice is the only lead of Helpfulness.", status_code=422)
        self.alice.refresh_from_db()
        assert self.alice.username == "alice"
        assert Member.objects.filter(user=self.alice).exists()
        Member.objects.filter(user=self.dana).update(role="lead")
        self.assertRedirects(self.erase(self.alice), reverse("login"))

    def test_staff_erase_others_with_their_own_password(self) -> None:
        url = reverse("person-erase", args=[self.bob.pk])
        self.sign_in(self.alice)
        self.assertContains(self.client.get(url), "Erase the account bob")
        self.assertContains(self.erase(self.alice, url, {"password": "x"}), "not your", status_code=422)
        self.assertRedirects(self.erase(self.alice, url), "/", fetch_redirect_response=False)
        self.bob.refresh_from_db()
        assert self.bob.erased_at is not None
        assert Deed.objects.get(verb="account.erased").actor == self.alice
        assert self.client.get("/account/").status_code == 200  # alice is who she was
        assert self.client.get(url).status_code == 404  # once is enough

    def test_only_staff_may_erase_others(self) -> None:
        url = reverse("person-erase", args=[self.dana.pk])
        for who in (self.bob, self.charlie):
            assert self.erase(who, url).status_code == 403
            assert self.client.get(url).status_code == 403
        self.client.logout()
        for address in (url, "/account/erase/"):
            assert self.client.post(address, PASSWORD)["Location"].startswith("/sign-in/")
        self.sign_in(self.alice)
        assert self.client.post(reverse("person-erase", args=[10**9]), PASSWORD).status_code == 404
        assert self.client.put("/account/erase/").status_code == 405
        self.dana.refresh_from_db()
        assert self.dana.erased_at is None
