from __future__ import annotations

from django.test import TestCase

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


class ProjectTests(EndpointTests, ApiTestCase, TestCase):
    ENDPOINTS = (("GET", "projects/helpfulness/", "lead reviewer annotator", None),)

    def test_it_tells_how_far_the_queue_is(self) -> None:
        builders.items(self.project, 4)
        builders.judgment(self.project, self.bob)
        said = self.get("projects/helpfulness/", self.bob).json()
        assert said["role"] == "annotator"
        assert said["guideline"] == "Prefer the **better** answer."
        assert said["guideline_version"] == 1
        assert said["progress"] == {
            "wanted": 4,
            "done": 1,
            "leased": 0,
            "left": 3,
            "last_hour": 1,
            "percent": 25,
            "eta_s": 10800.0,
        }
