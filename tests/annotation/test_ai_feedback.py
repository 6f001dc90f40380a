"""How far a judge may be trusted: its opinions beside people's judgments, in the report and on the pages."""

from __future__ import annotations

from annotation import analytics
from annotation.analytics.ai_feedback import trust_report
from annotation.models import Judgment, Response
from tests import builders
from tests.base import PalateTestCase
from tests.opinions import Judge, opinion_set


def agreeing(first: Response, second: Response) -> float:
    """As `builders.judgment` ranks: the response with the lower id is better."""
    return 0.8 if first.pk < second.pk else 0.2


class AIFeedbackTestCase(PalateTestCase):
    def setUp(self) -> None:
        self.judged = builders.project(self.alice, "Judged twice", k=3, overlap=2)
        builders.join(self.judged, self.bob, "annotator")
        builders.items(self.judged, 20)
        self.judged.prompts.update(split="held_out")
        for person in (self.alice, self.bob):
            for _ in range(20):
                builders.judgment(self.judged, person)

    def report(self, judge: Judge) -> analytics.ai_feedback.TrustReport:
        return trust_report(opinion_set(self.judged, self.alice, judge))


class TestTheReport(AIFeedbackTestCase):
    def test_a_judge_that_agrees_with_people_counts(self) -> None:
        report = self.report(agreeing)
        assert report.pairs == 60
        assert report.votes == 120
        assert report.agreement is not None
        assert report.agreement.value == 1.0
        assert report.counts
        assert 0 < report.weight <= 1
        assert report.scale > 1  # people are surer than 80%

    def test_a_judge_that_is_against_people_has_no_weight(self) -> None:
        report = self.report(lambda first, second: 1 - agreeing(first, second))
        assert not report.counts
        assert report.weight == 0
        assert report.scale == 0
        assert len(report.disagreements) == 20

    def test_a_judge_that_guesses_has_no_weight(self) -> None:
        report = self.report(lambda first, second: 0.7 if first.prompt_id % 2 else 0.3)
        assert not report.counts
        assert report.weight == 0

    def test_what_nobody_judged_says_nothing(self) -> None:
        self.judged.prompts.update(split="train")
        report = self.report(agreeing)
        assert report.pairs == 0
        assert not report.counts
        assert "not judged any held-out answers" in report.trust.sentence


class TestThePages(AIFeedbackTestCase):
    def test_leads_see_sets_and_their_agreement(self) -> None:
        opinion_set(self.judged, self.alice, agreeing)
        self.client.force_login(self.alice)
        page = self.client.get(f"/p/{self.judged.slug}/ai-feedback/").content.decode()
        assert "judge-1" in page
        assert "100%" in page
        page = self.client.get(f"/p/{self.judged.slug}/ai-feedback/1/").content.decode()
        assert "It counts, with weight" in page

    def test_without_opinions_the_page_says_what_to_do(self) -> None:
        self.client.force_login(self.alice)
        assert "No opinions yet" in self.client.get(f"/p/{self.judged.slug}/ai-feedback/").content.decode()
        assert self.client.get(f"/p/{self.judged.slug}/ai-feedback/1/").status_code == 404

    def test_an_annotator_does_not_see_them(self) -> None:
        opinion_set(self.judged, self.alice, agreeing)
        self.client.force_login(self.bob)
        for path in ("ai-feedback/", "ai-feedback/1/"):
            assert self.client.get(f"/p/{self.judged.slug}/{path}").status_code in (403, 404)

    def test_an_item_shows_them_apart_and_counts_none(self) -> None:
        item = self.judged.items.first()
        assert item is not None
        self.client.force_login(self.alice)
        path = f"/p/{self.judged.slug}/items/{item.pk}/"
        before = Judgment.objects.count()
        opinion_set(self.judged, self.alice, agreeing)
        assert Judgment.objects.count() == before
        assert "judge-1" in self.client.get(path).content.decode()
