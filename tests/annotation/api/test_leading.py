"""The doors through which a lead or a reviewer does by script what the pages do: guidelines,
members, invitations, rules, the audit trail, review, quality."""

from __future__ import annotations

import json

from annotation import audit
from annotation.models import AuditEntry, Guideline, Item, Judgment, Member, Slot, User
from tests import builders
from tests.annotation.api.base import ApiTestCase


class GuidelinesTests(ApiTestCase):
    def test_a_new_text_is_a_new_version_and_the_same_is_none(self) -> None:
        here = f"projects/{self.project.slug}/guidelines/"
        before = self.get(here, self.bob).json()[0]["number"]
        new = self.post(here, self.alice, {"text": "Be *kind*."})
        assert (new.status_code, new.json()["number"]) == (201, before + 1)
        again = self.post(here, self.alice, {"text": "Be *kind*."})
        assert (again.status_code, again.json()["number"]) == (200, before + 1)
        newest = Guideline.objects.filter(project=self.project).latest("number")
        assert (newest.author, newest.html) == (self.alice, "<p>Be <em>kind</em>.</p>\n")
        self.refused(self.post(here, self.alice, {"text": " "}), 400, "text", "blank")


class MembersTests(ApiTestCase):
    def setUp(self) -> None:
        self.here = f"projects/{self.project.slug}/members/"

    def test_they_are_listed_added_changed_and_removed(self) -> None:
        there = {one["username"]: one for one in self.get(self.here, self.alice).json()}
        assert (there["bob"]["role"], there["bob"]["account"]) == ("annotator", "person")
        assert there["bob"]["pseudonym"] == self.bob.pseudonym
        builders.user("frank")
        added = self.post(self.here, self.alice, {"username": "frank", "role": "annotator"})
        assert added.status_code == 201, added.content
        one = f"{self.here}{added.json()['id']}/"
        assert self.call("PATCH", one, self.alice, {"role": "reviewer"}).json()["role"] == "reviewer"
        assert self.call("DELETE", one, self.alice).status_code == 204
        assert not Member.objects.filter(user__username="frank").exists()
        assert {"member.added", "member.role", "member.removed"} <= set(
            AuditEntry.objects.values_list("verb", flat=True)
        )

    def test_what_cannot_be_is_refused_by_field(self) -> None:
        for body, field, words in (
            ({"username": "nobody", "role": "annotator"}, "username", "Nobody here"),
            ({"username": "bob", "role": "annotator"}, "username", "already"),
            ({"username": "bob", "role": "king"}, "role", "king"),
        ):
            self.refused(self.post(self.here, self.alice, body), 400, field, words)
        me = Member.objects.get(project=self.project, user=self.alice)
        for method, body in (("PATCH", {"role": "annotator"}), ("DELETE", None)):
            answer = self.call(method, f"{self.here}{me.pk}/", self.alice, body)
            self.refused(answer, 400, "role", "lead")
        assert Member.objects.get(pk=me.pk).role == "lead"

    def test_an_account_is_made_and_its_password_told_once(self) -> None:
        here = f"projects/{self.project.slug}/accounts/"
        made = self.post(here, self.alice, {"username": "judge-bot", "account": "machine"})
        said = made.json()
        assert (made.status_code, made["Cache-Control"], said["role"]) == (201, "no-store", "annotator")
        bot = User.objects.get(username="judge-bot")
        assert (bot.account, bot.check_password(said["password"])) == ("machine", True)
        headers = {"Authorization": f"Bearer {said['key']}"}
        assert self.client.get("/api/v1/projects/", headers=headers).json()[0]["role"] == "annotator"
        listed = self.get(self.here, self.alice).json()
        assert not any({"password", "key"} & one.keys() for one in listed)
        assert self.post(here, self.alice, {"username": "grace"}).json()["key"] == ""
        for name, words in (
            ("judge-bot", "taken"),
            ("a b", "valid username"),
            ("ﷺ" * 9, "at most 150 characters"),
            ("ﷺ", "valid username"),
        ):
            self.refused(self.post(here, self.alice, {"username": name}), 400, "username", words)

    def test_somebody_is_paused_and_warned_and_goes_on(self) -> None:
        pk = Member.objects.get(project=self.project, user=self.bob).pk
        here = f"{self.here}{pk}/"
        paused = self.post(f"{here}pause/", self.alice, {"reason": "Please call me."}).json()
        assert (bool(paused["paused_at"]), paused["paused_reason"]) == (True, "Please call me.")
        warned = self.post(f"{here}warn/", self.alice, {"reason": "Slower, please."}).json()
        assert warned["warning"] == "Slower, please."
        free = self.post(f"{here}resume/", self.alice).json()
        assert (free["paused_at"], free["warned_at"], free["warning"]) == (None, None, "")
        self.refused(self.post(f"{here}pause/", self.alice), 400, "reason", "Say why")
        self.refused(self.post(f"{here}hug/", self.alice), 400, "verb", "pause, warn, resume")


class InvitationTests(ApiTestCase):
    def setUp(self) -> None:
        self.here = f"projects/{self.project.slug}/invitations/"

    def test_its_link_lets_people_in_until_it_is_revoked(self) -> None:
        made = self.post(self.here, self.alice, {"places": 2, "note": "Spring course"})
        said = made.json()
        assert (made.status_code, made["Cache-Control"]) == (201, "no-store")
        assert said["link"].startswith("http://testserver/join/")
        self.client.post(said["link"], {"username": "frank", "password": "so-long-a-password"})
        assert Member.objects.get(user__username="frank").role == "annotator"
        (line,) = self.get(self.here, self.alice).json()
        assert (line["used"], line["places"], line["note"], "link" in line) == (1, 2, "Spring course", False)
        assert self.call("DELETE", f"{self.here}{said['id']}/", self.alice).status_code == 204
        assert self.get(self.here, self.alice).json()[0]["revoked_at"]
        self.client.logout()
        assert self.client.get(said["link"]).status_code == 410

    def test_what_is_no_invitation_is_refused_by_field(self) -> None:
        for body, field in (({"places": 0}, "places"), ({"days": 91}, "days"), ({"role": "king"}, "role")):
            self.refused(self.post(self.here, self.alice, body), 400, field)


class RuleTests(ApiTestCase):
    def test_one_is_set_replaced_and_removed(self) -> None:
        here = f"projects/{self.project.slug}/rules/"
        rule = {"measure": "gold", "below": 0.6, "after": 20, "action": "pause"}
        first = self.post(here, self.alice, rule).json()
        assert {name: first[name] for name in rule} == rule
        second = self.post(here, self.alice, rule | {"below": 0.5}).json()
        assert (second["id"], second["below"]) == (first["id"], 0.5)
        assert self.get(here, self.dana).json() == [second]
        for change, field in (
            ({"below": 60}, "below"),
            ({"after": 0}, "after"),
            ({"action": "fire"}, "action"),
        ):
            self.refused(self.post(here, self.alice, rule | change), 400, field)
        assert self.call("DELETE", f"{here}{first['id']}/", self.alice).status_code == 204
        assert self.get(here, self.dana).json() == []


class AuditTests(ApiTestCase):
    def test_it_tells_who_did_what(self) -> None:
        here = f"projects/{self.project.slug}/audit/"
        self.post(f"projects/{self.project.slug}/guidelines/", self.alice, {"text": "Be kind."})
        audit.record("member.warned", project=self.project, actor=None, subject="annotator-1", user=7)
        newest, before, *_ = self.get(here, self.dana).json()["results"]
        assert (newest["actor"], newest["verb"], newest["data"]) == (None, "member.warned", {"user": 7})
        assert (before["actor"], before["verb"]) == ("alice", "guidelines.changed")
        for query, verb in (
            ("who=-", "member.warned"),
            ("verb=guidelines.changed&who=alice", "guidelines.changed"),
        ):
            found = self.get(f"{here}?{query}", self.dana).json()["results"]
            assert {entry["verb"] for entry in found} == {verb}
        self.refused(self.get(f"{here}?verb=burned", self.dana), 400, "verb", "burned")


class ReviewTests(ApiTestCase):
    def setUp(self) -> None:
        self.project.overlap = 2
        self.project.save()
        builders.items(self.project, 1, k=3)
        self.judgment: Judgment = builders.judgment(self.project, self.bob)
        self.item = self.judgment.item
        self.here = f"projects/{self.project.slug}/items/{self.item.pk}/"
        self.responses = sorted(self.item.responses.values_list("pk", flat=True))

    def test_an_item_tells_what_was_said_of_it(self) -> None:
        seen = self.get(self.here, self.dana).json()
        assert (seen["responses"], seen["wanted"], seen["done"]) == (self.responses, 2, 1)
        assert [said["id"] for said in seen["judgments"]] == [self.judgment.pk]
        assert seen["verdict"] is None

    def test_a_verdict_is_given_by_id_or_in_order(self) -> None:
        first, second, third = self.responses
        for ranks in ({str(first): 2, str(second): 1, str(third): 3}, [2, 1, 3]):
            decided = self.post(f"{self.here}verdict/", self.dana, {"ranks": ranks, "note": "So it is."})
            assert decided.status_code == 200, decided.content
            verdict = decided.json()["verdict"]
            assert verdict["ranks"] == {str(first): 2, str(second): 1, str(third): 3}
            assert verdict["note"] == "So it is."
        self.refused(self.post(f"{self.here}verdict/", self.dana, {"ranks": [1, 2]}), 400, "ranks", "Every")
        self.refused(self.post(f"{self.here}verdict/", self.dana, {}), 400, "ranks", "Every answer")

    def test_an_item_leaves_the_queue_and_comes_back(self) -> None:
        self.refused(self.post(f"{self.here}retire/", self.dana, {}), 400, "reason", "Say why")
        gone = self.post(f"{self.here}retire/", self.dana, {"reason": "All the same."}).json()
        assert (gone["state"], gone["retired_reason"], gone["wanted"]) == ("retired", "All the same.", 1)
        back = self.post(f"{self.here}reopen/", self.dana).json()
        assert (back["state"], back["wanted"], back["done"]) == ("open", 2, 1)

    def test_an_answer_is_made_known(self) -> None:
        self.refused(self.post(f"{self.here}gold/", self.dana, {"ranks": [1, 2, 3]}), 400, "explanation")
        known = {"ranks": [1, 2, 2], "explanation": "Only the first is right."}
        assert self.post(f"{self.here}gold/", self.dana, known).json()["gold"] is True
        item = Item.objects.get(pk=self.item.pk)
        assert item.gold == dict(zip(map(str, self.responses), [1, 2, 2], strict=True))
        assert not Slot.objects.filter(item=item, state="open").exists()

    def test_what_is_no_deed_is_refused(self) -> None:
        self.refused(self.post(f"{self.here}burn/", self.dana, {}), 400, "verb", "verdict, gold")
        self.refused(self.get(f"projects/{self.project.slug}/items/{2**63}/", self.dana), 404, "detail")


class QualityTests(ApiTestCase):
    def test_its_figures_are_those_of_the_page(self) -> None:
        self.project.overlap = 2
        self.project.save()
        builders.items(self.project, 3, k=3)
        for person in (self.bob, self.dana):
            for _ in range(3):
                builders.judgment(self.project, person)
        here = f"projects/{self.project.slug}/quality/"
        seen = self.get(here, self.dana).json()
        assert (seen["agreement"]["value"], seen["agreement"]["n"]) == (1.0, 9), json.dumps(seen)
        assert (seen["tau_b"], seen["alpha_ordinal"]["value"], seen["gold"]) == (1.0, 1.0, None)
        by = {one["username"]: one for one in seen["annotators"]}
        assert {name: one["judgments"] for name, one in by.items()} == {"bob": 3, "dana": 3}
        assert (by["bob"]["flags"], by["bob"]["pseudonym"]) == ([], self.bob.pseudonym)
        nobody = self.get(f"{here}?tag=unheard-of", self.dana).json()
        assert (nobody["agreement"], nobody["alpha_ordinal"], nobody["annotators"]) == (None, None, [])
