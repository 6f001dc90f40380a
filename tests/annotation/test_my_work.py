"""My work: honest counts, active time, days in one's own zone, and timesheets."""

from __future__ import annotations

import csv
import io
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pandas
import pytest
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from annotation import queries, timesheets
from annotation.actions import judgments, leases, skips
from annotation.logic.csv_text import text_cell
from annotation.logic.device_times import DeviceTimes
from annotation.models import Judgment, Member, Project, Skip, Slot, User
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint
from tests.annotation.judging import JudgingTestCase

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def moved(row: Judgment | Skip, at: datetime, seconds: float | None = None) -> None:
    """As if it had been made at another time, and had taken so long."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            f"UPDATE {row._meta.db_table} SET created_at = %s, seconds = COALESCE(%s, seconds) WHERE id = %s",
            [at, seconds, row.pk],
        )
        cursor.execute("SET LOCAL session_replication_role = origin")


def revised(judgment: Judgment) -> Judgment:
    return judgments.revise(
        judgment=judgment,
        annotator=judgment.annotator,
        ranks=dict.fromkeys(judgment.shown_order, 1),
        idempotency_key=uuid.uuid4(),
    )


def skipped(project: Project, user: User) -> Skip:
    lease = leases.claim(project=project, annotator=user)
    assert lease is not None
    skips.skip(lease=lease, reason="broken")
    return Skip.objects.get(item=lease.item_id, annotator=user)


class WorkTestCase(JudgingTestCase):
    def setUp(self) -> None:
        super().setUp()
        builders.items(self.project, 8)

    def zone(self, name: str) -> None:
        User.objects.filter(pk=self.bob.pk).update(time_zone=name)

    def judged_at(self, at: datetime, seconds: float = 60) -> Judgment:
        judgment = builders.judgment(self.project, self.bob)
        moved(judgment, at, seconds)
        return judgment

    def page(self, **query: str):
        return self.client.get(reverse("my-work"), query)

    def day(self, day: str = "2026-11-20"):
        return self.page(**{"from": day, "to": day})


class CountTests(WorkTestCase):
    def test_items_edits_and_skips_are_counted_apart(self) -> None:
        first = self.judged_at(NOON, 30)
        self.judged_at(NOON + timedelta(minutes=5), 90)
        moved(revised(first), NOON + timedelta(minutes=10))
        moved(skipped(self.project, self.bob), NOON + timedelta(minutes=20), 45)
        builders.judgment(self.project, self.dana)
        total = self.day().context["total"]
        assert (total.items, total.edits, total.skips) == (2, 1, 1)
        assert total.median_seconds == 60
        assert total.active_seconds == 30 + 90 + 45, "an edit has no time of its own"

    def test_a_page_left_open_counts_for_ten_minutes(self) -> None:
        self.judged_at(NOON, 7200)
        assert self.day().context["total"].active_seconds == 600

    def test_two_projects_at_once_count_once_and_each_day_has_both(self) -> None:
        other = builders.project(self.alice, "Other")
        builders.join(other, self.bob, Member.Role.ANNOTATOR)
        builders.items(other, 1)
        self.judged_at(NOON, 120)
        moved(builders.judgment(other, self.bob), NOON + timedelta(seconds=60), 120)
        page = self.day()
        assert page.context["total"].active_seconds == 180
        assert [(name, work.active_seconds) for name, work in page.context["projects"]] == [
            ("Helpfulness", 120),
            ("Other", 60),
        ]
        [row] = page.context["days"]
        assert [name for name, _ in row["projects"]] == ["Helpfulness", "Other"]

    def test_the_parts_add_up_whatever_the_period(self) -> None:
        """An item that was begun on one day and submitted on the next is divided, also where only one of them is shown."""
        self.judged_at(datetime(2026, 11, 21, 0, 2, tzinfo=UTC), 300)
        one, two = (self.day(day).context["total"] for day in ("2026-11-20", "2026-11-21"))
        assert (one.items, one.active_seconds) == (0, 180)
        assert (two.items, two.active_seconds) == (1, 120)

    def test_the_number_of_queries_does_not_grow(self) -> None:
        for n in range(4):
            self.judged_at(NOON + timedelta(hours=n))
        self.day()
        # the user, the acts, the projects, the calendar, the threads
        with self.assertNumQueries(5):
            self.day()

    def test_what_is_no_period_is_refused(self) -> None:
        page = self.page(**{"from": "2026-11-20", "to": "2026-11-19"})
        self.assertContains(page, "is before the first", status_code=422)

    def test_it_is_for_whoever_is_signed_in(self) -> None:
        assert self.client.post(reverse("my-work")).status_code == 405
        self.client.logout()
        self.assertRedirects(self.page(), f"{reverse('account_login')}?next={reverse('my-work')}")

    def test_the_calendar_has_every_day_of_twelve_weeks(self) -> None:
        now = timezone.now()
        self.judged_at(now - timedelta(days=7), 10)
        weeks = timesheets.calendar(self.bob, now.date(), UTC)
        assert len(weeks) == 12
        assert all(len(week) == 7 and week[0][0].weekday() == 0 for week in weeks)
        assert sum(count or 0 for week in weeks for _, count in week) == 1
        assert [count for day, count in weeks[-1] if day > now.date()] == [None] * (6 - now.weekday())
        self.assertContains(self.page(), f"{now - timedelta(days=7):%A, %-d %B}: 1 item")


class ZoneTests(WorkTestCase):
    def test_days_are_those_of_ones_own_zone(self) -> None:
        self.judged_at(datetime(2026, 11, 20, 23, 30, tzinfo=UTC))
        assert [row["day"] for row in self.day().context["days"]] == [date(2026, 11, 20)]
        self.zone("Europe/Berlin")
        assert self.day().context["days"] == []
        [row] = self.day("2026-11-21").context["days"]
        assert row["work"].items == 1
        self.assertContains(self.day("2026-11-21"), "0:30")

    def test_days_of_23_and_25_hours(self) -> None:
        """The first and the last second of each day in Berlin, and those around it."""
        days = {date(2026, 3, 29): 23, date(2026, 10, 25): 25}
        for day, hours in days.items():
            start = datetime(day.year, day.month, day.day, tzinfo=BERLIN).astimezone(UTC)
            second, end = timedelta(seconds=1), start + timedelta(hours=hours)
            for at in (start - second, start, end - second, end):
                self.judged_at(at, 0)
            rows = timesheets.lines_of_user(
                self.bob, day - timedelta(days=1), day + timedelta(days=1), BERLIN
            )
            assert [line.work.items for line in rows] == [1, 2, 1]

    def test_my_day_begins_at_ones_own_midnight_and_has_its_hours(self) -> None:
        self.zone("Europe/Berlin")
        now = datetime(2026, 10, 25, 12, tzinfo=UTC)
        self.judged_at(datetime(2026, 10, 24, 21, 59, tzinfo=UTC))
        first = self.judged_at(datetime(2026, 10, 24, 22, 0, tzinfo=UTC))
        self.judged_at(datetime(2026, 10, 25, 1, 30, tzinfo=UTC))  # the second 2:30
        moved(revised(first), now)
        with patch("django.utils.timezone.now", return_value=now):
            context = self.client.get(reverse("home")).context
        assert (context["day"].items, context["day"].edits) == (2, 1)
        points = context["chart"].points
        assert [(point.point.description, round(point.x)) for point in points] == [
            ("0:00: 1 item", 2),
            ("2:00: 1 item", 14),
        ], "of 25 columns"

    def test_today_on_the_judging_page_is_ones_own_and_counts_items_only(self) -> None:
        self.zone("Asia/Kolkata")
        midnight = queries.midnight().astimezone(UTC)
        with timezone.override(ZoneInfo("Asia/Kolkata")):
            own = queries.midnight()
        assert own.astimezone(ZoneInfo("Asia/Kolkata")).hour == 0
        assert own != midnight
        self.judged_at(own - timedelta(seconds=1))
        revised(self.judged_at(own))
        assert self.open()["work_status"].today == 1

    def test_an_unknown_zone_is_the_site_s(self) -> None:
        self.zone("Mars/Olympus")
        self.judged_at(NOON)
        assert self.day().context["total"].items == 1

    def test_the_zone_of_one_request_is_not_that_of_the_next(self) -> None:
        self.zone("Asia/Kolkata")
        self.assertContains(self.page(), "Asia/Kolkata time")
        self.sign_in(self.dana)
        self.assertContains(self.page(), "UTC time")


class LateTests(WorkTestCase):
    """What was done without a network, and arrived later."""

    def setUp(self) -> None:
        super().setUp()
        claimed = timezone.now() - timedelta(hours=2)
        for minutes in (90, 80, 70):
            lease = leases.claim(project=self.project, annotator=self.bob)
            Slot.objects.filter(pk=lease.slot_id).update(opened_at=None)
            early = replace(lease, opened_at=claimed.timestamp())
            times = DeviceTimes(seconds=300, late=60 * minutes)
            builders.submit(early, times=times)
        lease = leases.claim(project=self.project, annotator=self.bob)
        Slot.objects.filter(pk=lease.slot_id).update(opened_at=None)
        skips.skip(
            lease=replace(lease, opened_at=claimed.timestamp()),
            reason="broken",
            times=DeviceTimes(seconds=300, late=60 * 60),
        )

    def test_each_act_counts_for_the_time_in_which_it_was_done(self) -> None:
        now = timezone.now()
        acts = timesheets.acts_of(self.bob, now - timedelta(hours=3), now)
        assert [act.kind for act in acts] == ["item", "item", "item", "skip"]
        ages = [(now - act.at) / timedelta(minutes=1) for act in acts]
        assert ages == pytest.approx([90, 80, 70, 60], abs=1)
        zone = ZoneInfo("UTC")
        first = (now - timedelta(hours=3)).date()
        work = timesheets.total(timesheets.lines_of_user(self.bob, first, now.date(), zone))
        assert work.active_seconds == pytest.approx(4 * 300, abs=1)

    def test_a_late_skip_is_not_earlier_than_its_claim(self) -> None:
        lease = leases.claim(project=self.project, annotator=self.bob)
        skips.skip(lease=lease, reason="broken", times=DeviceTimes(seconds=0, late=3 * 24 * 3600))
        skip = Skip.objects.latest("id")
        assert skip.submitted_at.timestamp() == pytest.approx(lease.opened_at, abs=0.001)
        assert skip.seconds == 0

    def test_a_period_has_what_was_done_in_it_whenever_it_arrived(self) -> None:
        now = timezone.now()
        acts = timesheets.acts_of(self.bob, now - timedelta(minutes=85), now - timedelta(minutes=65))
        assert len(acts) == 2


class SkipTimeTests(WorkTestCase):
    def test_a_skip_stores_how_long_the_item_was_on_the_screen(self) -> None:
        lease = leases.claim(project=self.project, annotator=self.bob)
        Slot.objects.filter(pk=lease.slot_id).update(opened_at=timezone.now() - timedelta(minutes=3))
        skips.skip(lease=lease, reason="broken")
        assert Skip.objects.get().seconds == pytest.approx(180, abs=60)

    def test_an_item_that_was_never_shown_took_no_known_time(self) -> None:
        shown = leases.claim(project=self.project, annotator=self.bob)
        ahead = leases.claim(project=self.project, annotator=self.bob, on_screen=shown)
        skips.skip(lease=ahead, reason="broken")
        assert Skip.objects.get().seconds is None


class TimesheetTests(AccessTestCase):
    def setUp(self) -> None:
        builders.items(self.project, 4)
        Project.objects.update(name="=HYPERLINK(1)")
        moved(builders.judgment(self.project, self.bob), NOON, 90)
        moved(builders.judgment(self.project, self.dana), NOON + timedelta(days=1), 30)

    def rows(self, url: str, **query: str) -> list[dict[str, str]]:
        response = self.client.get(url, {"from": "2026-11-01", "to": "2026-11-30"} | query)
        assert response.status_code == 200
        assert response["Content-Type"] == "text/csv; charset=utf-8"
        return list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"))))

    def test_ones_own(self) -> None:
        User.objects.filter(pk=self.bob.pk).update(time_zone="Europe/Berlin")
        self.sign_in(self.bob)
        assert self.rows(reverse("my-timesheet")) == [
            {
                "date": "2026-11-20",
                "project": "'=HYPERLINK(1)",
                "items": "1",
                "edits": "0",
                "skips": "0",
                "active_minutes": "1.5",
                "first": "2026-11-20T13:00:00+01:00",
                "last": "2026-11-20T13:00:00+01:00",
                "time_zone": "Europe/Berlin",
            }
        ]

    def test_that_of_a_project_has_everybody(self) -> None:
        self.sign_in(self.alice)
        url = reverse("project-timesheet", args=[self.project.slug])
        assert [(row["date"], row["user"], row["items"]) for row in self.rows(url)] == [
            ("2026-11-20", "bob", "1"),
            ("2026-11-21", "dana", "1"),
        ]
        self.assertContains(self.client.get(reverse("members", args=[self.project.slug])), url)

    def test_it_has_nothing_of_other_projects(self) -> None:
        other = builders.project(self.alice, "Other")
        builders.join(other, self.bob, Member.Role.ANNOTATOR)
        builders.items(other, 1)
        moved(builders.judgment(other, self.bob), NOON, 10)
        self.sign_in(self.alice)
        rows = self.rows(reverse("project-timesheet", args=[other.slug]))
        assert [(row["user"], row["project"], row["active_minutes"]) for row in rows] == [
            ("bob", "Other", "0.2")
        ]

    def test_pandas_reads_it(self) -> None:
        self.sign_in(self.alice)
        url = reverse("project-timesheet", args=[self.project.slug])
        response = self.client.get(url, {"from": "2026-11-01", "to": "2026-11-30"})
        table = pandas.read_csv(io.BytesIO(response.content), parse_dates=["date", "first"])
        assert table["active_minutes"].sum() == 2.0
        assert table["items"].dtype == "int64"
        assert table["first"][0] == NOON

    def test_no_cell_is_a_formula(self) -> None:
        for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =1"):
            assert text_cell(text) == f"'{text}"
        assert text_cell("Safety, 2 = two") == "Safety, 2 = two"

    def test_a_wrong_period_is_refused(self) -> None:
        self.sign_in(self.alice)
        for url in (reverse("my-timesheet"), reverse("project-timesheet", args=[self.project.slug])):
            response = self.client.get(url, {"from": "yesterday"})
            self.assertContains(response, "from: 'yesterday' is not a date", status_code=422)

    def test_who_may(self) -> None:
        self.check(Endpoint("project-timesheet", get=200))
        self.client.logout()
        assert self.client.get(reverse("my-timesheet")).status_code == 302
