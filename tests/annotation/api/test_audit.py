"""The audit trail in the API."""

from __future__ import annotations

from annotation import audit
from tests.annotation.api.base import ApiTestCase


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
