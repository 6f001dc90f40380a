from __future__ import annotations

from django.urls import reverse

from annotation.models import AuditEntry, Guideline, Member, Project
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint
from tests.base import PalateTestCase

GOOD = {
    "name": "Harmlessness",
    "criterion": "safety",
    "k": 5,
    "overlap": 2,
    "lease_minutes": 20,
    "guideline": "Prefer the **safer** answer.",
}
SETTINGS = {name: value for name, value in GOOD.items() if name != "guideline"}


class NewProjectTests(PalateTestCase):
    url = "/projects/new/"

    def test_it_makes_a_project_with_guidelines_and_a_lead(self) -> None:
        self.sign_in(self.alice)
        response = self.client.post(self.url, GOOD)
        project = Project.objects.get(name="Harmlessness")
        self.assertRedirects(response, reverse("project", args=["harmlessness"]))
        assert (project.k, project.overlap, project.lease_minutes, project.criterion) == (5, 2, 20, "safety")
        assert project.members.get().role == Member.Role.LEAD
        assert project.members.get().user == self.alice
        assert project.guideline is not None
        assert (project.guideline.number, project.guideline.text) == (1, "Prefer the **safer** answer.")

    def test_it_names_every_wrong_field_and_makes_nothing(self) -> None:
        self.sign_in(self.alice)
        wrong = {
            "name": " ",
            "criterion": "beauty",
            "k": 10,
            "overlap": 0,
            "lease_minutes": 0,
            "guideline": " ",
        }
        response = self.client.post(self.url, GOOD | wrong)
        assert response.status_code == 422
        assert set(response.context["form"].errors) == set(wrong)
        self.assertContains(response, "less than or equal to 9", status_code=422)
        assert Project.objects.count() == 1
        assert Guideline.objects.count() == 1

    def test_only_staff_may(self) -> None:
        for who in (self.bob, self.charlie):
            self.sign_in(who)
            assert self.client.get(self.url).status_code == 403
            assert self.client.post(self.url, GOOD).status_code == 403
        self.client.logout()
        self.assertRedirects(self.client.get(self.url), f"/sign-in/?next={self.url}")
        assert Project.objects.count() == 1

    def test_it_refuses_other_methods(self) -> None:
        self.sign_in(self.alice)
        assert self.client.delete(self.url).status_code == 405


class SettingsTests(AccessTestCase):
    def url(self) -> str:
        return reverse("project-settings", args=[self.project.slug])

    def test_it_is_for_leads(self) -> None:
        self.check(Endpoint("project-settings", get=200, post=422))

    def test_it_saves(self) -> None:
        self.sign_in(self.alice)
        self.assertRedirects(self.client.post(self.url(), SETTINGS), self.url())
        self.project.refresh_from_db()
        assert (self.project.name, self.project.k, self.project.overlap) == ("Harmlessness", 5, 2)
        assert self.project.slug == "helpfulness"

    def test_wrong_settings_are_not_saved_and_the_heading_keeps_the_name(self) -> None:
        self.sign_in(self.alice)
        response = self.client.post(self.url(), SETTINGS | {"name": "Other", "k": 1})
        self.assertContains(response, "greater than or equal to 2", status_code=422)
        self.assertContains(response, "Settings · Helpfulness", status_code=422)
        self.project.refresh_from_db()
        assert self.project.k == 4

    def test_it_says_what_a_change_is_for_once_there_are_items(self) -> None:
        builders.items(self.project, 1)
        self.sign_in(self.alice)
        self.assertContains(self.client.get(self.url()), "Changes apply to new items only.", count=3)

    def test_everything_that_is_asked_and_how_work_is_handed_out_is_saved_and_noted(self) -> None:
        self.sign_in(self.alice)
        given = {
            "task": "demonstrations",
            "asks_quality": "on",
            "asks_safety": "on",
            "rationale": "required",
            "gold_rate": "12.5",
            "control_rate": "20",
            "qualification_items": "5",
            "qualification_accuracy": "80",
        }
        self.assertRedirects(self.client.post(self.url(), SETTINGS | given), self.url())
        self.project.refresh_from_db()
        assert (self.project.task, self.project.rationale) == ("demonstrations", "required")
        assert self.project.extra_questions == ["quality", "safety", "rationale", "required rationale"]
        assert (self.project.gold_rate, self.project.control_rate) == (0.125, 0.2)
        assert (self.project.qualification_items, self.project.qualification_accuracy) == (5, 0.8)
        page = self.client.get(self.url())
        self.assertContains(page, 'value="12.5"')
        entry = AuditEntry.objects.get(verb="project.changed")
        assert entry.actor == self.alice
        assert (entry.data["before"]["gold_rate"], entry.data["after"]["gold_rate"]) == (0.0, 0.125)
        assert "qualification_items" in entry.data["after"]
        assert "slug" not in entry.data["after"]

    def test_saving_the_same_again_is_no_change(self) -> None:
        self.sign_in(self.alice)
        for _ in range(2):
            self.client.post(self.url(), SETTINGS)
        assert AuditEntry.objects.filter(verb="project.changed").count() == 1

    def test_numbers_that_are_left_out_get_their_defaults(self) -> None:
        self.sign_in(self.alice)
        empty = dict.fromkeys(
            ("gold_rate", "control_rate", "qualification_items", "qualification_accuracy"), ""
        )
        self.client.post(self.url(), SETTINGS | empty)
        self.project.refresh_from_db()
        assert (self.project.gold_rate, self.project.control_rate) == (0.0, 0.0)
        assert (self.project.qualification_items, self.project.qualification_accuracy) == (0, 0.7)

    def test_gold_and_control_cannot_be_more_than_everything(self) -> None:
        self.sign_in(self.alice)
        response = self.client.post(self.url(), SETTINGS | {"gold_rate": "60", "control_rate": "60"})
        self.assertContains(response, "are 120% of all items together", status_code=422)
        for name, value in (("gold_rate", "101"), ("control_rate", "-1"), ("qualification_accuracy", "x")):
            response = self.client.post(self.url(), SETTINGS | {name: value})
            assert list(response.context["form"].errors) == [name]
        assert not AuditEntry.objects.filter(verb="project.changed").exists()
