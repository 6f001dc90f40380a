"""Members in the API: roles, accounts, pauses and warnings."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotation.actions import exclusions
from annotation.models import AuditEntry, Member, User
from tests import builders
from tests.annotation.api.base import ApiTestCase


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
            ({"username": "nobody", "role": "annotator"}, "username", "There is no user"),
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
        self.refused(self.post(f"{here}pause/", self.alice), 400, "reason", "Give a reason")
        self.refused(self.post(f"{here}hug/", self.alice), 400, "verb", "pause, warn, resume")

    def test_it_says_whose_judgments_do_not_count(self) -> None:
        pk = Member.objects.get(project=self.project, user=self.bob).pk
        elsewhere = builders.project(self.alice, slug="elsewhere")
        exclusions.exclude(project=elsewhere, user=self.bob, reason="Not here.", actor=self.alice)

        def exclusion_of(one: dict[str, Any]) -> tuple[bool, str]:
            return bool(one["excluded_at"]), one["excluded_reason"]

        for ordering in ("", "?ordering=person"):
            assert {exclusion_of(one) for one in self.get(self.here + ordering, self.alice).json()} == {
                (False, "")
            }
        excluded = self.post(f"{self.here}{pk}/exclude/", self.alice, {"reason": "Always the first."}).json()
        assert exclusion_of(excluded) == (True, "Always the first.")
        for ordering in ("", "?ordering=person"):
            with CaptureQueriesContext(connection) as queries:
                there = {one["username"]: one for one in self.get(self.here + ordering, self.alice).json()}
            assert exclusion_of(there["bob"]) == (True, "Always the first.")
            assert exclusion_of(there["dana"]) == (False, "")
            assert sum("annotation_exclusion" in query["sql"] for query in queries) == 1
        included = self.post(f"{self.here}{pk}/include/", self.alice, {"reason": ""}).json()
        assert exclusion_of(included) == (False, "")
