from __future__ import annotations

from annotation import audit
from tests import builders
from tests.analytics import AnalyticsTestCase


class AuditTests(AnalyticsTestCase):
    def test_leads_and_reviewers_see_it(self) -> None:
        self.who_may("audit", alice=200, dana=200, bob=403)

    def test_it_is_filtered_by_person_and_deed_newest_first_and_by_pages(self) -> None:
        audit.record("member.paused", project=self.project, actor=None, subject="bob", reason="Too quick.")
        for n in range(60):
            audit.record(
                "verdict.given", project=self.project, actor=self.dana, subject=f"item {n}", note="é"
            )
        self.sign_in(self.alice)

        def subjects(**query: str) -> list[str]:
            return [entry.subject for entry in self.client.get(self.url("audit"), query).context["page"]]

        assert len(subjects()) == 50
        assert subjects()[0] == "item 59"
        assert subjects(page="2", who="dana")[-1] == "item 0"
        assert subjects(who="-") == subjects(verb="member.paused") == ["bob"]
        assert subjects(who="charlie") == []
        assert len(subjects(verb="nothing.known", who="\0")) == 50
        self.assertContains(self.client.get(self.url("audit"), {"who": "-"}), "Too quick.")

    def test_another_project_s_deeds_stay_there(self) -> None:
        other = builders.project(self.charlie, "Other")
        audit.record("rule.changed", project=other, actor=self.charlie, subject="secret")
        self.sign_in(self.alice)
        self.assertNotContains(self.client.get(self.url("audit")), "secret")

    def test_its_queries_do_not_grow_with_the_deeds(self) -> None:
        for n in range(9):
            audit.record("verdict.given", project=self.project, actor=self.dana, subject=f"item {n}")
        self.sign_in(self.alice)
        # user; membership; how many, audit_entries; who there is to filter by
        with self.assertNumQueries(5):
            self.client.get(self.url("audit"))
