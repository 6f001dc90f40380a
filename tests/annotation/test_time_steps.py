"""Charts over time: as many bars as one can look at, whatever time the work took."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.utils import timezone

from annotation import analytics
from annotation.analytics import time_steps
from annotation.analytics.filters import NO_FILTERS, Filters
from annotation.analytics.time_steps import MAX_STEPS, MIN_STEPS, TIME_STEPS, TimeSpan
from annotation.models import Guideline, Judgment
from annotation.views import charts
from tests.analytics import AnalyticsTestCase

NOON = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("took", "name", "bars"),
    [
        (timedelta(), "minute", 8),
        (timedelta(minutes=20), "minute", 21),
        (timedelta(minutes=59), "minute", 60),
        (timedelta(minutes=60), "5 minutes", 13),
        (timedelta(hours=6), "15 minutes", 25),
        (timedelta(hours=20), "hour", 21),
        (timedelta(days=7), "6 hours", 29),
        (timedelta(days=30), "day", 31),
        (timedelta(days=365), "week", 53),
        (timedelta(days=1000), "4 weeks", 37),
    ],
)
def test_the_step_follows_from_how_long_there_was_work(took: timedelta, name: str, bars: int) -> None:
    span = TimeSpan(NOON - took, NOON)
    step = span.step()
    starts = span.starts(step)
    assert (step.name, len(starts)) == (name, bars)
    assert starts[-1] <= NOON < starts[-1] + step.width


def test_no_span_of_up_to_four_years_has_too_few_or_too_many_bars() -> None:
    took = timedelta(seconds=1)
    while took < timedelta(days=4 * 365):
        span = TimeSpan(NOON - took, NOON)
        starts = span.starts(span.step())
        assert MIN_STEPS <= len(starts) <= MAX_STEPS, took
        took *= 1.1


def test_steps_are_whole_hours_days_and_weeks() -> None:
    for step in TIME_STEPS:
        assert step.start(NOON) <= NOON < step.start(NOON) + step.width
    by_name = {step.name: step.start(NOON) for step in TIME_STEPS}
    assert by_name["hour"] == NOON.replace(second=0)
    assert by_name["day"] == NOON.replace(hour=0, second=0)
    assert by_name["week"] == datetime(2026, 11, 16, tzinfo=UTC), "a Monday"
    assert all(wider.width % finer.width == timedelta() for finer, wider in pairwise(TIME_STEPS))


class ChartTests(AnalyticsTestCase):
    """Items that Bob and Erin judged, at times that the test says."""

    def judged_at(self, *at: datetime) -> None:
        """An item at each time: on the first they agree wholly, on the second not at all, and so on."""
        items = self.judged(*[[[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [3, 2, 1]]] * (len(at) // 2))
        for item, moment in zip(items, at, strict=True):
            for judgment in Judgment.objects.filter(item=item):
                self.moved(judgment, moment)

    def test_work_of_an_hour_is_drawn_by_its_minutes(self) -> None:
        self.judged_at(NOON, NOON + timedelta(minutes=3, seconds=29), NOON + timedelta(minutes=30), NOON)
        step, counts = analytics.judgment_rate(
            self.project, NO_FILTERS, time_steps.judgment_span(self.project, NO_FILTERS)
        )
        assert (step.name, len(counts), sum(n for _, n in counts)) == ("minute", 31, 8)
        assert [n for _, n in counts[:4]] == [4, 0, 0, 2]
        self.sign_in(self.alice)
        page = self.client.get(self.url("progress"))
        self.assertContains(page, "Judgments per minute")
        self.assertContains(page, "20 November 2026, 12:03 to 12:04 UTC: 2 judgments")

    def test_a_bar_leads_to_the_items_that_were_judged_then(self) -> None:
        self.judged_at(NOON, NOON + timedelta(minutes=3))
        step, counts = analytics.judgment_rate(
            self.project, NO_FILTERS, time_steps.judgment_span(self.project, NO_FILTERS)
        )
        plot = charts.judgments_over_time(self.project, counts, step)
        assert plot is not None
        self.sign_in(self.alice)
        for place, n in ((-1, 1), (-4, 1)):
            page = self.client.get(plot.points[place].point.href)
            assert page.context["listing"].count == n, plot.points[place].point.href
        self.assertContains(page, "Judged from 20 November 2026, 12:00 UTC to 20 November 2026, 12:01 UTC")
        assert plot.points[-2].point.href == "", "nothing was judged then"

    def test_a_day_leads_to_the_whole_day(self) -> None:
        self.judged_at(NOON - timedelta(days=30), NOON)
        step, counts = analytics.judgment_rate(
            self.project, NO_FILTERS, time_steps.judgment_span(self.project, NO_FILTERS)
        )
        plot = charts.judgments_over_time(self.project, counts, step)
        assert plot is not None
        assert (step.name, plot.points[-1].point.label) == ("day", "20 Nov")
        self.sign_in(self.alice)
        page = self.client.get(plot.points[-1].point.href)
        assert page.context["listing"].count == 1
        self.assertContains(page, "Judged on 20 November 2026<")

    def test_what_filters_leave_out_does_not_stretch_the_chart(self) -> None:
        now = timezone.now()
        self.judged_at(now - timedelta(days=300), now)
        week = Filters.read({"days": "7"}, self.project)
        assert (
            analytics.judgment_rate(self.project, week, time_steps.judgment_span(self.project, week))[0].name
            == "minute"
        )
        everything = time_steps.judgment_span(self.project, NO_FILTERS)
        assert analytics.judgment_rate(self.project, NO_FILTERS, everything)[0].name == "week"
        assert time_steps.judgment_span(self.project, Filters(annotator=self.dana)) is None

    def test_agreement_over_time_shows_where_a_version_of_the_guidelines_came(self) -> None:
        self.judged_at(NOON - timedelta(days=9, hours=12), NOON)
        new = Guideline.objects.create(project=self.project, number=2, text="x", html="x", author=self.alice)
        self.moved(new, NOON - timedelta(days=5))
        self.sign_in(self.alice)
        plot = self.client.get(self.url("quality")).context["over_time"]
        assert [(placed.x, placed.point.value) for placed in plot.points] == [(5.0, 1.0), (95.0, 0.0)], (
            "of ten days"
        )
        (event,) = plot.events
        assert event.label == "v2"
        assert event.x == pytest.approx(45, abs=0.05)
        self.assertContains(self.client.get(self.url("quality")), self.url("guideline-diff", 1, 2))

    def test_a_version_says_how_far_people_agreed_before_and_under_it(self) -> None:
        self.judged([[1, 2, 3], [3, 2, 1]])
        Guideline.objects.create(project=self.project, number=2, text="x", html="x", author=self.alice)
        self.judged([[1, 2, 3], [1, 2, 3]])
        for judgment in Judgment.objects.filter(guideline__number=1):
            self.moved(judgment, timezone.now() - timedelta(minutes=10))
        self.sign_in(self.alice)
        (event,) = self.client.get(self.url("quality")).context["over_time"].events
        assert event.description.endswith(": 100% agreement on pairs, 0% under version 1")
