from __future__ import annotations

from typing import Any

from django.urls import reverse

from annotation.actions.constitutions import write_constitution
from annotation.logic.principles import STARTING_PRINCIPLES, read_principles
from annotation.models import AuditEntry, Constitution
from tests.access_cases import AccessTestCase, Endpoint

KIND: dict[str, Any] = {"key": "kind", "compare": "Which answer is kinder?"}
BRIEF: dict[str, Any] = {"key": "brief", "tag": "long", "compare": "Which answer is shorter?"}


class ConstitutionTests(AccessTestCase):
    def url(self, name: str = "constitutions", *args: int) -> str:
        return reverse(name, args=[self.project.slug, *args])

    def write(self, *principles: dict[str, Any]) -> Constitution:
        return write_constitution(
            project=self.project, principles=read_principles(list(principles)), author=self.alice
        )

    def save(self, *rows: dict[str, object]):
        data: dict[str, object] = {"form-TOTAL_FORMS": len(rows), "form-INITIAL_FORMS": 0}
        for number, row in enumerate(rows):
            data |= {f"form-{number}-{name}": value for name, value in row.items()}
        self.sign_in(self.alice)
        return self.client.post(self.url(), data)

    def keys(self) -> list[str]:
        return [principle["key"] for principle in Constitution.objects.all()[0].principles]

    def test_leads_write_it_reviewers_read_it_and_annotators_do_not_see_it(self) -> None:
        self.write(KIND)
        self.check(Endpoint("constitutions", get=200, post=422, reviewer_get=200))
        self.check(Endpoint("constitution", (1,), get=200, reviewer_get=200))
        self.check(Endpoint("constitution-diff", (1, 1), get=200, reviewer_get=200))
        self.sign_in(self.dana)
        page = self.client.get(self.url())
        self.assertContains(page, "Which answer is kinder?")
        self.assertNotContains(page, '<form class="form principles"')
        self.sign_in(self.alice)
        self.assertContains(self.client.get(reverse("guidelines", args=[self.project.slug])), self.url())

    def test_an_empty_one_begins_with_a_start_that_can_be_taken_over(self) -> None:
        self.sign_in(self.alice)
        page = self.client.get(self.url())
        self.assertContains(page, STARTING_PRINCIPLES[0].compare)
        formset = page.context["formset"]
        rows = [form.initial | {"ORDER": n} for n, form in enumerate(formset.forms[:-1], 1)]
        self.assertRedirects(self.save(*rows, {"key": ""}), self.url())
        assert self.keys() == ["helpful", "honest", "harmless"]

    def test_each_change_is_the_next_version_and_the_same_is_none(self) -> None:
        self.save(KIND)
        self.save(KIND, {**BRIEF, "start": "That was", "good": "short", "bad": "long"})
        self.save(KIND, {**BRIEF, "start": "That was", "good": "short", "bad": "long"})
        latest, first = Constitution.objects.all()
        assert [principle["key"] for principle in first.principles] == ["kind"]
        assert latest.principles[1]["comment"] == {
            "start": "That was",
            "good": "short",
            "bad": "long",
            "also": "",
        }
        entries = AuditEntry.objects.filter(verb="constitution.changed").order_by("id")
        assert [entry.subject for entry in entries] == ["Version 1", "Version 2"]

    def test_rows_are_ordered_and_removed(self) -> None:
        self.save({**KIND, "ORDER": 2}, {**BRIEF, "ORDER": 1}, {"key": "new", "compare": "Which?"})
        assert self.keys() == ["brief", "kind", "new"]
        self.save({**KIND, "DELETE": "on"}, BRIEF)
        assert self.keys() == ["brief"]

    def test_what_is_wrong_stands_at_its_field_and_nothing_is_saved(self) -> None:
        page = self.save({**KIND, "ORDER": 2}, {"key": "brief", "ORDER": 1})
        self.assertContains(page, "Write the question by which a judge compares", status_code=422)
        shown = [form["key"].value() for form in page.context["formset"].rows]
        assert shown == ["brief", "kind"]
        assert "compare" in page.context["formset"].rows[0].errors
        page = self.save({**KIND, "key": "Kind!"})
        self.assertContains(page, "1 to 40 lower-case letters", status_code=422)
        page = self.save({**KIND, "start": "That was", "good": "warm"})
        assert "bad" in page.context["formset"].forms[0].errors
        page = self.save({**KIND, "start": "That was", "good": "warm", "bad": "warm"})
        self.assertContains(page, "are not different from each other", status_code=422)
        page = self.save({**KIND, "ORDER": "x"})
        assert page.status_code == 422
        assert self.save({**KIND, "DELETE": "on"}).status_code == 422
        assert self.client.post(self.url(), {}).status_code == 422
        assert not Constitution.objects.exists()

    def test_a_version_and_the_differences_of_two(self) -> None:
        self.write(KIND)
        self.write(KIND | {"compare": "Which answer is warmer?"}, BRIEF)
        self.sign_in(self.dana)
        page = self.client.get(self.url("constitution", 2))
        self.assertContains(page, "Which answer is warmer?")
        self.assertContains(page, "only with the tag long")
        for numbers in ((1, 2), (2, 1)):
            page = self.client.get(self.url("constitution-diff", *numbers))
            self.assertContains(page, "<del>kinder</del>")
            self.assertContains(page, "<ins>warmer</ins>")
        assert self.client.get(self.url("constitution", 3)).status_code == 404
        assert self.client.get(self.url("constitution-diff", 1, 3)).status_code == 404
