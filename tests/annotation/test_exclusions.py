"""Somebody's judgments can be excluded: they stay, but nothing is trained on them."""

from __future__ import annotations

import json
from typing import Any

from annotation.actions import exclusions, members, snapshots
from annotation.analytics import new_judgment_count
from annotation.exports import stream
from annotation.exports.selection import Selection
from annotation.models import AuditEntry, Exclusion, Judgment, Member
from annotation.personal_data_export import export
from tests.analytics import AnalyticsTestCase
from training.rounds.steps.collect import Freeze


class ExclusionTests(AnalyticsTestCase):
    def setUp(self) -> None:
        self.judged([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [3, 2, 1]])  # Bob and Erin, two items each
        self.sign_in(self.alice)

    def exclude_bob(self) -> None:
        exclusions.exclude(project=self.project, user=self.bob, reason="Careless.", actor=self.alice)

    def rows(self, **given: str) -> list[dict[str, Any]]:
        exported = b"".join(stream.export_project(self.project, Selection.from_parameters(given)))
        return [json.loads(line) for line in exported.splitlines()]

    def test_only_a_lead_excludes_and_includes(self) -> None:
        for name in ("annotator-exclude", "annotator-include"):
            self.who_may(
                name, "bob", method="post", data={"reason": "Careless."}, alice=302, dana=403, bob=403
            )
            assert self.client.get(self.url(name, "bob")).status_code == 405
            assert self.client.post(self.url(name, "charlie"), {"reason": "x"}).status_code == 404

    def test_a_reason_is_needed_and_all_is_audited(self) -> None:
        url = self.url("annotator-exclude", "bob")
        for reason in (" ", "x" * 301, "a\0b"):
            assert self.client.post(url, {"reason": reason}).status_code == 422
        assert not Exclusion.objects.exists()
        for reason in ("Careless.", "Again."):
            self.client.post(url, {"reason": reason})
        assert Exclusion.objects.get().reason == "Careless."
        self.assertContains(self.client.get(self.url("annotator", "bob")), "Include them again")
        self.client.post(self.url("annotator-include", "bob"))
        verbs = AuditEntry.objects.filter(verb__startswith="judgments.").order_by("pk")
        assert [(entry.verb, entry.data["reason"]) for entry in verbs] == [
            ("judgments.excluded", "Careless."),
            ("judgments.included", "Careless."),
        ]
        page = self.client.get(self.url("annotator", "bob"))
        assert len(page.context["audit_entries"]) == 2

    def test_they_stay_but_do_not_count(self) -> None:
        before = len(self.rows(format="trl"))
        self.exclude_bob()
        assert Judgment.objects.filter(annotator=self.bob).count() == 2
        raw = self.rows(format="raw")
        assert {(row["annotator"], row["counted"]) for row in raw} == {
            (self.bob.pseudonym, False),
            (self.erin.pseudonym, True),
        }
        assert {row["agreement"] for row in raw} == {None}, "one person is left of each item"
        assert len(self.rows(format="trl")) == before // 2
        assert new_judgment_count(self.project, None) == 2

    def test_the_next_snapshot_leaves_them_out_and_says_so(self) -> None:
        first = snapshots.create_snapshot(project=self.project, creator=self.alice)
        assert not Freeze._is_outdated(self.project, first, imported=False)
        self.exclude_bob()
        assert Freeze._is_outdated(self.project, first, imported=False), "a round creates another"
        second = snapshots.create_snapshot(project=self.project, creator=self.alice)
        assert (first.counts["judgments"], second.counts["judgments"]) == (4, 2)
        assert (first.manifest["excluded"], second.manifest["excluded"]) == ([], [self.bob.pseudonym])
        assert len(list(snapshots.read_judgments(first))) == 4, "what is frozen stays"
        exclusions.include(project=self.project, user=self.bob, actor=self.alice)
        assert Freeze._is_outdated(self.project, second, imported=False)
        third = snapshots.create_snapshot(project=self.project, creator=self.alice)
        assert third.counts["judgments"] == 4

    def test_it_outlives_the_membership_and_is_in_their_data(self) -> None:
        self.exclude_bob()
        members.remove_member(
            member=Member.objects.get(project=self.project, user=self.bob), actor=self.alice
        )
        assert new_judgment_count(self.project, None) == 2
        data = json.loads(b"".join(export(self.bob)))
        assert [row["reason"] for row in data["exclusions"]] == ["Careless."]
