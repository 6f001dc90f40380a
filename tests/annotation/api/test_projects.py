from __future__ import annotations

from django.test import TestCase

from annotation.models import AuditEntry, Project
from tests import builders
from tests.annotation.api.base import ApiTestCase, EndpointTests


class ProjectsTests(ApiTestCase):
    def test_it_lists_ones_own_with_ones_role(self) -> None:
        builders.project(self.charlie, "Charlie's")
        (line,) = self.get("projects/", self.dana).json()
        assert (line["slug"], line["role"], line["k"]) == ("helpfulness", "reviewer", 4)
        assert self.get("projects/", self.charlie).json()[0]["role"] == "lead"

    def test_it_wants_to_know_who_calls(self) -> None:
        self.refused(self.get("projects/", None), 401, "detail")

    def test_the_number_of_queries_does_not_grow(self) -> None:
        for n in range(5):
            builders.project(self.alice, f"Project {n}")
        self.sign_in(self.alice)
        with self.assertNumQueries(2):  # user, projects
            self.client.get("/api/v1/projects/")


class NewProjectTests(ApiTestCase):
    def test_who_makes_one_leads_it(self) -> None:
        made = self.post(
            "projects/",
            self.alice,
            {"name": "Ärger & Co", "k": 2, "gold_rate": 0.1, "guideline": "Be *kind*."},
        )
        assert made.status_code == 201, made.content
        said = made.json()
        assert (said["slug"], said["role"], said["k"], said["gold_rate"]) == ("arger-co", "lead", 2, 0.1)
        assert (said["guideline"], said["guideline_version"], said["overlap"]) == ("Be *kind*.", 1, 1)
        assert self.get("projects/arger-co/", self.alice).json() == said

    def test_what_makes_no_project_is_refused_by_field(self) -> None:
        for body, field, words in (
            ({"guideline": "x"}, "name", "required"),
            ({"name": "x"}, "guideline", "required"),
            ({"name": "x", "guideline": "x", "k": 10}, "k", "9"),
            ({"name": "x", "guideline": "x", "gold_rate": 0.7, "control_rate": 0.5}, "control_rate", "120%"),
        ):
            self.refused(self.post("projects/", self.alice, body), 400, field, words)
        assert Project.objects.count() == 1


class SettingsTests(ApiTestCase):
    HERE = "projects/helpfulness/"

    def test_what_is_left_out_stays_and_the_change_is_noted(self) -> None:
        said = self.call("PATCH", self.HERE, self.alice, {"overlap": 3, "asks_flags": True}).json()
        assert (said["overlap"], said["asks_flags"], said["k"], said["name"]) == (3, True, 4, "Helpfulness")
        self.project.refresh_from_db()
        assert (self.project.overlap, self.project.asks_flags) == (3, True)
        entry = AuditEntry.objects.get(verb="project.changed")
        assert (entry.actor, entry.data["after"]) == (self.alice, {"overlap": 3, "asks_flags": True})

    def test_what_cannot_be_is_refused_by_field(self) -> None:
        self.call("PATCH", self.HERE, self.alice, {"gold_rate": 0.7})
        for body, field, words in (
            ({"control_rate": 0.5}, "control_rate", "120%"),
            ({"criterion": "beauty"}, "criterion", "beauty"),
            ({"name": ""}, "name", "blank"),
        ):
            self.refused(self.call("PATCH", self.HERE, self.alice, body), 400, field, words)
        self.project.refresh_from_db()
        assert (self.project.name, self.project.control_rate) == ("Helpfulness", 0.0)


class ProjectTests(EndpointTests, ApiTestCase, TestCase):
    ENDPOINTS = (
        ("GET", "projects/helpfulness/", "lead reviewer annotator", None),
        ("PATCH", "projects/helpfulness/", "lead", {"overlap": 2}),
    )

    def test_it_tells_how_far_the_queue_is(self) -> None:
        builders.items(self.project, 4)
        builders.judgment(self.project, self.bob)
        said = self.get("projects/helpfulness/", self.dana).json()
        assert said["role"] == "reviewer"
        assert said["guideline"] == "Prefer the **better** answer."
        assert said["guideline_version"] == 1
        assert said["progress"] == {
            "wanted": 4,
            "done": 1,
            "leased": 0,
            "left": 3,
            "last_hour": 1,
            "percent": 25,
            "working": 1,
            "eta_s": None,
            "eta_low_s": None,
            "eta_high_s": None,
            "out_of_reach": 0,
        }
        builders.items(self.project, 20, prefix="more")
        for _ in range(5):
            builders.judgment(self.project, self.bob)
        said = self.get("projects/helpfulness/", self.dana).json()["progress"]
        assert 0 < said["eta_low_s"] < said["eta_s"] < said["eta_high_s"]
