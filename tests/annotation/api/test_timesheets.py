from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

from tests import builders
from tests.annotation.api.base import ApiTestCase
from tests.annotation.test_my_work import moved

PATH = "projects/helpfulness/timesheet/?from=2026-11-01&to=2026-11-30"


class TimesheetTests(ApiTestCase):
    def setUp(self) -> None:
        builders.items(self.project, 2)
        moved(builders.judgment(self.project, self.bob), datetime(2026, 11, 20, 23, 30, tzinfo=UTC), 90)

    def test_json(self) -> None:
        assert self.get(PATH, self.alice).json() == [
            {
                "date": "2026-11-20",
                "user": "bob",
                "items": 1,
                "edits": 0,
                "skips": 0,
                "active_minutes": 1.5,
                "first": "2026-11-20T23:30:00Z",
                "last": "2026-11-20T23:30:00Z",
            }
        ]

    def test_days_of_a_zone(self) -> None:
        [row] = self.get(f"{PATH}&time_zone=Europe/Berlin", self.alice).json()
        assert (row["date"], row["first"]) == ("2026-11-21", "2026-11-20T23:30:00Z")

    def test_csv(self) -> None:
        answer = self.get(f"{PATH}&format=csv", self.alice)
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        [row] = csv.DictReader(io.StringIO(answer.content.decode()))
        assert (row["user"], row["items"], row["time_zone"]) == ("bob", "1", "UTC")

    def test_what_is_wrong_is_refused(self) -> None:
        for query, field, sentence in (
            ("from=x", "from", "is not a date"),
            ("period=always", "period", "is not a period"),
            ("time_zone=Mars", "time_zone", "is not a time zone"),
            ("format=xlsx", "format", "json, csv"),
        ):
            answer = self.get(f"projects/helpfulness/timesheet/?{query}", self.alice)
            self.refused(answer, 400, field, sentence)
