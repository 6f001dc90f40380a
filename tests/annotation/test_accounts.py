"""Taking one's data away, and erasing an account."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.cached_db import SessionStore
from django.contrib.sessions.models import Session
from django.db import IntegrityError, connection, transaction
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import reverse

from annotation.actions import (
    drafts,
    invitations,
    items,
    judgments,
    leases,
    members,
    messages,
    qualification,
    review,
    rules,
    skips,
    snapshots,
    uploads,
    webhooks,
)
from annotation.models import (
    ApiToken,
    AuditEntry,
    Draft,
    Guideline,
    Item,
    Judgment,
    Member,
    Message,
    Placement,
    Skip,
    Slot,
    User,
)
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
        lease = leases.claim(project=self.project, annotator=self.bob)
        assert lease is not None
        skips.skip(lease=lease, reason="cannot_judge")
        lease = leases.claim(project=self.project, annotator=self.bob)
        assert lease is not None
        drafts.save_draft(lease=lease, data={"ranks": {}})
        _, key = ApiToken.issue(user=self.bob, name="notebook")
        item = Item.objects.select_related("project").get(pk=judgment.item_id)
        messages.ask(item=item, annotator=self.bob, text="Why?")
        messages.reply(item=item, annotator=self.bob, author=self.dana, text="Because.")
        data = self.exported(self.bob)
        assert [(m["text"], m["mine"]) for m in data["messages"]] == [("Why?", True), ("Because.", False)]
        assert "dana" not in str(data["messages"])
        assert [n["kind"] for n in data["notifications"]] == ["reply"]
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

    def test_what_i_made_and_what_was_done_to_me_is_in_it(self) -> None:
        self.enterContext(override_settings(ARTIFACTS=Path(self.enterContext(tempfile.TemporaryDirectory()))))
        builders.items(self.project, 1)
        item = Item.objects.get()
        builders.judgment(self.project, self.bob)
        ranks = {pk: n for n, pk in enumerate(item.responses.values_list("pk", flat=True), start=1)}
        review.give_verdict(item=item, reviewer=self.alice, ranks=ranks, note="So it is.")
        invitations.invite(project=self.project, creator=self.alice, role="annotator", note="The students")
        uploads.save_upload(
            project=self.project, name="mine.jsonl", file=BytesIO(b'{"prompt": "Why?"}'), creator=self.alice
        )
        snapshots.create_snapshot(project=self.project, creator=self.alice, note="First")
        webhooks.add(
            project=self.project,
            url="https://example.com/hook",
            events=["snapshot.frozen"],
            creator=self.alice,
        )
        member = Member.objects.get(project=self.project, user=self.bob)
        rules.warn(member=member, reason="Too quick.", actor=self.alice)
        data = self.exported(self.alice)
        for name, field, said in (
            ("verdicts", "note", "So it is."),
            ("guidelines", "text", "Prefer the **better** answer."),
            ("invitations", "note", "The students"),
            ("imports", "name", "mine.jsonl"),
            ("snapshots", "note", "First"),
            ("webhooks", "url", "https://example.com/hook"),
        ):
            assert [one[field] for one in data[name]] == [said], name
        assert "whsec_" not in json.dumps(data)
        assert "Too quick." in [entry["data"].get("reason") for entry in data["deeds"]]
        (about,) = self.exported(self.bob)["deeds_about"]
        assert (about["verb"], about["data__reason"]) == ("member.warned", "Too quick.")
        assert "alice" not in json.dumps(about)

    def test_an_account_without_anything_is_well_formed_too(self) -> None:
        assert self.exported(self.charlie)["judgments"] == []

    def test_it_needs_a_session(self) -> None:
        assert self.client.get("/account/export/").status_code == 302
        self.sign_in(self.bob)
        assert self.client.post("/account/export/").status_code == 405


class EraseTests(PalateTestCase):
    def erase(self, who: User, url: str = "/account/erase/", data: dict[str, str] = PASSWORD) -> HttpResponse:
        self.client.logout()
        self.client.post(reverse("account_login"), {"login": who.username, **PASSWORD})
        return self.client.post(url, data)

    def test_my_name_goes_and_my_judgments_stay_under_the_pseudonym(self) -> None:
        builders.items(self.project, 3)
        judgment = builders.judgment(self.project, self.bob)
        lease = leases.claim(project=self.project, annotator=self.bob)
        assert lease is not None
        drafts.save_draft(lease=lease, data={})
        _, key = ApiToken.issue(user=self.bob, name="notebook")
        User.objects.filter(pk=self.bob.pk).update(email="bob@example.org", first_name="Bob")
        other_window = Client()
        other_window.post(reverse("account_login"), {"login": "bob", **PASSWORD})
        pseudonym = self.bob.pseudonym

        self.assertRedirects(self.erase(self.bob), reverse("account_login"))

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
        entry = AuditEntry.objects.get(verb="account.erased")
        assert (entry.actor, entry.subject) == (bob, pseudonym)

    def test_no_right_and_no_session_stays_and_no_word_of_the_admin_site(self) -> None:
        User.objects.filter(pk__in=[self.alice.pk, self.bob.pk]).update(is_staff=True, is_superuser=True)
        self.bob.groups.create(name="Helpers")
        self.bob.user_permissions.add(Permission.objects.all()[0])
        kind = ContentType.objects.get_for_model(User)
        LogEntry.objects.create(
            user=self.alice, content_type=kind, object_id=self.bob.pk, object_repr="bob", action_flag=CHANGE
        )
        other_window = Client()
        other_window.post(reverse("account_login"), {"login": "bob", **PASSWORD})
        self.assertRedirects(self.erase(self.bob), reverse("account_login"))
        bob = User.objects.get(pk=self.bob.pk)
        assert (bob.is_active, bob.is_staff, bob.is_superuser) == (False, False, False)
        assert not bob.groups.exists()
        assert not bob.user_permissions.exists()
        assert not LogEntry.objects.filter(object_repr="bob").exists()
        assert SessionStore(other_window.cookies["sessionid"].value).load() == {}

    def test_no_deed_keeps_the_name(self) -> None:
        """Whatever has been done to somebody: the trail is never changed, so the name may not be in it."""
        erin = "erin-of-the-trail"
        invitation, key = invitations.invite(
            project=self.project, creator=self.alice, role="annotator", note=erin
        )
        found = invitations.find(key)
        assert found is not None
        member = invitations.sign_up(invitation=found, username=erin, password="a long enough one")
        invitations.revoke(invitation=invitation, actor=self.alice)
        rules.warn(member=member, reason="Too quick.", actor=self.alice)
        rules.pause(member=member, reason="Too quick.", actor=self.alice)
        rules.resume(member=member, actor=self.alice)
        Member.objects.filter(pk=member.pk).update(qualified_at=None)
        self.qualify(member.user)
        members.change_role(member=member, role="reviewer", actor=self.alice)
        verbs = {"invitation.made", "member.joined", "invitation.revoked", "member.warned", "member.paused"}
        verbs |= {"member.resumed", "member.qualified", "member.role", "account.erased"}
        builders.erase(member.user)
        assert verbs <= set(AuditEntry.objects.values_list("verb", flat=True))
        assert not [entry for entry in AuditEntry.objects.all() if erin in f"{entry.subject} {entry.data}"]
        about = AuditEntry.objects.filter(data__user=member.user.pk)
        assert set(about.values_list("verb", flat=True)) == {
            verb for verb in verbs if "invitation" not in verb
        }
        assert set(about.values_list("subject", flat=True)) == {member.user.pseudonym}
        invitation.refresh_from_db()
        assert invitation.note == ""

    def qualify(self, user: User) -> None:
        """Have somebody pass the qualification, of one item."""
        builders.items(self.project, 1)
        self.project.qualification_items, self.project.qualification_accuracy = 1, 0.5
        self.project.save()
        item = Item.objects.get()
        ids = sorted(item.responses.values_list("pk", flat=True))
        ranks = {response: rank for rank, response in enumerate(ids, start=1)}
        items.make_gold(item=item, ranks=ranks, explanation="It is known.", actor=self.alice)
        builders.judgment(self.project, user)
        qualification.decide(project_id=self.project.pk, user_id=user.pk)

    def test_reasons_and_notes_go_and_everything_else_of_the_rows_stays(self) -> None:
        builders.items(self.project, 4)
        mine, dana = builders.judgment(self.project, self.bob), builders.judgment(self.project, self.dana)
        lease = leases.claim(project=self.project, annotator=self.bob)
        assert lease is not None
        judged = judgments.submit(
            lease=lease,
            ranks=dict.fromkeys(lease.shown_order, 1),
            idempotency_key=uuid.uuid4(),
            rationale="Carol told me so.",
        )
        lease = leases.claim(project=self.project, annotator=self.bob)
        assert lease is not None
        entered = {"ranks": {"1": 1}, "rationale": "As Carol says.", "text": "Carol!"}
        skips.skip(lease=lease, reason="review", note="Ask Carol.", data=entered)
        item = Item.objects.select_related("project").get(pk=mine.item_id)
        messages.ask(item=item, annotator=self.bob, text="Carol says no.")
        messages.reply(item=item, annotator=self.bob, author=self.dana, text="Bob, do not listen to Carol.")
        member = self.project.members.get(user=self.bob)
        rules.warn(member=member, reason="Bob, listen to Carol.", actor=self.alice)
        before = {row["id"]: row for row in Judgment.objects.values()}
        placements = list(Placement.objects.order_by("pk").values())
        builders.erase(self.bob)
        after = {row["id"]: row for row in Judgment.objects.values()}
        assert after == before | {judged.pk: before[judged.pk] | {"rationale": ""}}
        assert {mine.pk, dana.pk} < set(after)
        assert list(Placement.objects.order_by("pk").values()) == placements
        skip = Skip.objects.get()
        assert (skip.note, skip.data, skip.reason) == ("", {"ranks": {"1": 1}}, "review")
        assert "Carol" not in str(list(AuditEntry.objects.values()))
        assert list(Message.objects.values_list("text", flat=True)) == ["", ""]
        assert not self.bob.notifications.exists()
        assert AuditEntry.objects.get(verb="member.warned").data["reason"] == ""

    def test_the_same_transaction_can_change_nothing_else(self) -> None:
        builders.items(self.project, 1)
        judgment = Judgment.objects.filter(pk=builders.judgment(self.project, self.bob).pk)
        Message.objects.create(item=Item.objects.get(), annotator=self.bob, author=self.bob, text="Why?")

        def erasing(change: Callable[[], object]) -> Callable[[], object]:
            def changed() -> None:
                with connection.cursor() as cursor:
                    cursor.execute("SET LOCAL palate.erase = 'on'")
                change()

            return changed

        def truncate() -> None:
            with connection.cursor() as cursor:
                cursor.execute("TRUNCATE annotation_judgment CASCADE")

        for change in (
            erasing(lambda: judgment.update(rationale="x")),
            erasing(lambda: judgment.update(rationale="", seconds=1)),
            erasing(lambda: judgment.update(degree="better")),
            erasing(lambda: judgment.get().placements.all().delete()),
            erasing(truncate),
            erasing(lambda: Message.objects.update(text="x")),
            erasing(lambda: Message.objects.update(author=self.dana)),
            erasing(lambda: Guideline.objects.update(text="")),
            lambda: Message.objects.update(text=""),
            lambda: judgment.update(rationale=""),
            truncate,
        ):
            with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
                change()

    def test_nobody_can_claim_what_was_erased(self) -> None:
        builders.items(self.project, 1)
        builders.judgment(self.project, self.bob)
        self.erase(self.bob)
        client = Client()
        for name in ("bob", f"erased-{self.bob.pseudonym}"):
            client.post("/sign-in/", {"login": name, **PASSWORD})
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
        self.assertRedirects(self.erase(self.alice), reverse("account_login"))

    def test_staff_erase_others_with_their_own_password(self) -> None:
        url = reverse("person-erase", args=[self.bob.pk])
        self.sign_in(self.alice)
        self.assertContains(self.client.get(url), "Erase the account bob")
        self.assertContains(self.erase(self.alice, url, {"password": "x"}), "not your", status_code=422)
        self.assertRedirects(self.erase(self.alice, url), url)
        self.bob.refresh_from_db()
        assert self.bob.erased_at is not None
        assert AuditEntry.objects.get(verb="account.erased").actor == self.alice
        assert self.client.get("/account/").status_code == 200  # alice is who she was
        assert self.client.post(url, PASSWORD).status_code == 404  # once is enough

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

    def test_it_takes_an_administrator_to_erase_one_and_the_last_one_stays(self) -> None:
        User.objects.filter(pk=self.charlie.pk).update(is_superuser=True, is_staff=True)
        url = reverse("person-erase", args=[self.charlie.pk])
        self.assertContains(self.erase(self.alice, url), "Only another administrator", status_code=422)
        self.assertContains(self.erase(self.charlie), "charlie is the only administrator", status_code=422)
        User.objects.filter(pk=self.dana.pk).update(is_superuser=True, is_active=False)
        self.assertContains(self.erase(self.charlie), "charlie is the only administrator", status_code=422)
        self.charlie.refresh_from_db()
        assert self.charlie.erased_at is None
        User.objects.filter(pk=self.alice.pk).update(is_superuser=True)
        self.assertRedirects(self.erase(self.alice, url), url)
        self.charlie.refresh_from_db()
        assert self.charlie.erased_at is not None
