from __future__ import annotations

from datetime import UTC, timedelta

from django.utils import timezone

from annotation.models import Batch, Slot
from tests import builders
from tests.annotation.api.base import ApiTestCase

PATH = "projects/helpfulness/batches/"


class BatchTests(ApiTestCase):
    def setUp(self) -> None:
        builders.items(self.project, 3)

    def body(self, **changes: object) -> dict[str, object]:
        due = (timezone.now() + timedelta(days=2)).isoformat()
        return {"name": "Week 48", "users": ["bob"], "due_at": due, "limit": 2} | changes

    def test_a_lead_assigns_lists_changes_and_closes_one(self) -> None:
        answer = self.post(PATH, self.alice, self.body())
        assert answer.status_code == 201, answer.json()
        made = answer.json()
        assert (made["items"], made["judged"], made["taken"], made["total"], made["done"]) == (2, 0, 0, 2, 0)
        assert made["people"] == [{"username": "bob", "done": 0}]
        builders.judgment(self.project, self.bob)
        [row] = self.get(PATH, self.alice).json()["results"]
        assert (row["done"], row["late"], row["people"]) == (1, False, [{"username": "bob", "done": 1}])
        due = timezone.now() + timedelta(days=9)
        answer = self.call("PATCH", f"{PATH}{made['id']}/", self.alice, {"due_at": due.isoformat()})
        assert answer.status_code == 200
        assert Batch.objects.get().due_at == due.astimezone(UTC)
        assert self.post(f"{PATH}{made['id']}/close/", self.alice, {}).json()["closed_at"]

    def test_they_are_listed_in_pages(self) -> None:
        due = timezone.now() + timedelta(days=2)
        made = Batch.objects.bulk_create(
            Batch(project=self.project, name=f"Week {n}", created_by=self.alice, due_at=due)
            for n in range(101)
        )
        first, second = self.pages(PATH, self.alice)
        assert [row["id"] for row in first] == [batch.pk for batch in made[:0:-1]]
        assert [(row["id"], row["total"], row["done"]) for row in second] == [(made[0].pk, 0, 0)]

    def test_what_is_wrong_is_refused(self) -> None:
        for changes, field, sentence in (
            ({"users": ["charlie"]}, "users", "'charlie' is not a member"),
            ({"users": []}, "users", "at least 1"),
            ({"due_at": "2020-01-01T00:00:00Z"}, "due_at", "in the future"),
            ({"limit": 0}, "limit", "greater than or equal to 1"),
            ({"metadata": "x"}, "metadata", "name=value"),
            ({"tag": "none"}, "items", "No open item matches"),
            ({"priority": 1}, "priority", "no such field"),
        ):
            self.refused(self.post(PATH, self.alice, self.body(**changes)), 400, field, sentence)
        assert not Slot.objects.filter(batch__isnull=False).exists()

    def test_one_of_another_project_is_not_there(self) -> None:
        made = self.post(PATH, self.alice, self.body()).json()
        builders.project(self.alice, "Other")
        path = f"projects/other/batches/{made['id']}/"
        assert self.call("PATCH", path, self.alice, {}).status_code == 404
        assert self.post(f"{path}close/", self.alice, {}).status_code == 404
