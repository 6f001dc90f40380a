from __future__ import annotations

from annotation.models import AuditEntry, Member
from tests.analytics import AnalyticsTestCase


class AnnotatorTests(AnalyticsTestCase):
    def member(self, user: object) -> Member:
        return Member.objects.get(project=self.project, user=user)

    def test_leads_and_reviewers_see_it(self) -> None:
        self.who_may("annotator", "bob", alice=200, dana=200, bob=403)

    def test_only_leads_have_a_word_with_people(self) -> None:
        for name in ("annotator-warn", "annotator-pause", "annotator-resume"):
            self.who_may(
                name, "bob", method="post", data={"reason": "Slow down."}, alice=302, dana=403, bob=403
            )
            self.sign_in(self.alice)
            assert self.client.get(self.url(name, "bob")).status_code == 405

    def test_who_does_not_work_here_is_not_found(self) -> None:
        self.sign_in(self.alice)
        assert self.client.get(self.url("annotator", "charlie")).status_code == 404
        assert self.client.get(self.url("annotator", "nobody")).status_code == 404
        assert self.client.get(self.url("annotator", "a\0b")).status_code == 404
        for name in ("annotator-pause", "annotator-warn", "annotator-resume"):
            assert self.client.post(self.url(name, "a\0b"), {"reason": "x"}).status_code == 404
        assert self.client.post(self.url("annotator-pause", "charlie"), {"reason": "x"}).status_code == 404

    def test_it_shows_the_work_and_the_known_answers_missed(self) -> None:
        (missed,) = self.gold_missed_by(self.bob)
        self.judged([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [3, 2, 1]])
        self.sign_in(self.dana)
        response = self.client.get(self.url("annotator", "bob"))
        self.assertContains(response, "0 of 3 right")
        self.assertContains(response, self.url("item", missed.pk))
        assert [part.judgments for part in response.context["session_parts"]] == [3]
        assert response.context["stats"].agreement.percent == 50
        self.assertNotContains(response, "Message to bob")

    def test_a_new_member_has_nothing_to_show_yet(self) -> None:
        self.sign_in(self.alice)
        self.assertContains(self.client.get(self.url("annotator", "erin")), "Nothing judged yet")

    def test_a_pause_needs_a_reason_and_is_audited(self) -> None:
        self.sign_in(self.alice)
        page = self.client.post(self.url("annotator-pause", "bob"), {"reason": "  "})
        self.assertContains(page, "Give a reason", status_code=422)
        assert self.member(self.bob).paused_at is None
        assert self.client.post(self.url("annotator-pause", "bob"), {"reason": "x" * 301}).status_code == 422
        self.client.post(self.url("annotator-pause", "bob"), {"reason": "Too quick."})
        member = self.member(self.bob)
        assert member.paused_at is not None
        assert member.paused_reason == "Too quick."
        entry = AuditEntry.objects.get(verb="member.paused")
        assert (entry.actor, entry.data["reason"]) == (self.alice, "Too quick.")
        assert (entry.subject, entry.data["user"]) == (self.bob.pseudonym, self.bob.pk)
        assert list(self.client.get(self.url("annotator", "bob")).context["audit_entries"]) == [entry]
        assert not self.client.get(self.url("annotator", "erin")).context["audit_entries"]
        self.client.post(self.url("annotator-resume", "bob"))
        member = self.member(self.bob)
        assert (member.paused_at, member.paused_reason) == (None, "")
        assert AuditEntry.objects.filter(verb="member.resumed", actor=self.alice).count() == 1

    def test_a_warning_is_kept_until_it_is_lifted(self) -> None:
        self.sign_in(self.alice)
        self.client.post(self.url("annotator-warn", "bob"), {"reason": "Read section 2."})
        assert self.member(self.bob).warning == "Read section 2."
        self.assertContains(self.client.get(self.url("annotator", "bob")), "Lift the warning")
        self.client.post(self.url("annotator-resume", "bob"))
        assert self.member(self.bob).warned_at is None

    def test_its_queries_do_not_grow_with_the_work(self) -> None:
        self.judged(*[[[1, 2, 3], [1, 3, 2]]] * 6)
        self.sign_in(self.alice)
        # user; membership; whether it is large; who, member there; member again; exclusion; people: agreement, gold, work, users,
        # members;
        # from when to when; agreement; speed; judgments and their agreement by session; misses; last judgments; audit_entries
        with self.assertNumQueries(20):
            self.client.get(self.url("annotator", "bob"))
