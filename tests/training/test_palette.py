"""The command palette: what it finds for whom."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from annotation.models import Item, Member
from annotation.palette import Query
from tests import builders
from tests.access_cases import policy
from tests.base import PalateTestCase
from tests.training import round_helpers
from training.rounds import transitions
from training.runs.actions import start_run

HTMX = {"HX-Request": "true"}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12),
        ("#12", 12),
        ("item 12", 12),
        ("Round  7", 7),
        ("policy-1", None),
        ("12 a", None),
        ("9" * 30, None),
        ("²", None),
    ],
)
def test_a_number_stands_alone_or_after_a_word(text: str, number: int | None) -> None:
    assert Query.read(text).number == number


class PaletteTests(PalateTestCase):
    def find(self, q: str = "", project: str | None = "helpfulness") -> dict[str, dict[str, str]]:
        """The paths of what is found, by section and title."""
        query = {"q": q} | ({"project": project} if project else {})
        response = self.client.get(reverse("palette"), query, headers=HTMX)
        assert response.status_code == 200
        sections: list[Any] = response.context["sections"]
        return {
            section.title: {str(result.title): result.path for result in section.results}
            for section in sections
        }

    def test_it_is_for_people_who_are_signed_in_and_members_of_the_project_they_name(self) -> None:
        url = reverse("palette")
        assert self.client.get(url).status_code == 302
        self.sign_in(self.charlie)
        assert self.client.get(url).status_code == 200
        assert self.client.get(url, {"project": "helpfulness"}).status_code == 404
        for unknown in ("none", "help\0fulness", "x" * 10_000):
            assert self.client.get(url, {"project": unknown}).status_code == 404
        assert self.client.post(url).status_code == 405

    def test_a_lead_finds_everything_of_the_project(self) -> None:
        self.sign_in(self.alice)
        builders.items(self.project, 1)
        policy(self.project, "helpful-policy")
        started = transitions.start_round(
            loop=round_helpers.make_loop(self.project, self.alice), creator=self.alice
        )
        run = start_run(project=self.project, kind="generate", creator=self.alice)
        item = Item.objects.get()
        assert self.find(f"item {item.pk}")["Items"] == {
            f"Item {item.pk}": f"/p/helpfulness/items/{item.pk}/"
        }
        assert self.find("1")["Rounds"] == {"Round 1": f"/p/helpfulness/rounds/{started.pk}/"}
        assert f"/p/helpfulness/runs/{run.pk}/" in self.find(f"run {run.pk}")["Runs"].values()
        assert set(self.find("HELPFUL pol")["Models"]) == {"helpful-policy"}
        assert self.find("bo")["People"] == {"bob": "/p/helpfulness/people/bob/"}
        assert self.find("webh")["Pages of this project"] == {"Webhooks": "/p/helpfulness/settings/webhooks/"}
        assert self.find("start a r")["Actions"] == {
            "Start a round": "/p/helpfulness/rounds/new/",
            "Start a run": "/p/helpfulness/runs/",
        }
        assert self.find("invite")["Actions"] == {"Invite somebody": "/p/helpfulness/members/#invite"}
        assert self.find("help")["Projects"] == {"Helpfulness": "/p/helpfulness/"}
        assert "/help/api/" in self.find("webhooks")["Help"].values()
        texts = self.find("a&b")["Texts"]
        assert list(texts.values()) == ["/p/helpfulness/search/?q=a%26b"]

    def test_a_reviewer_finds_what_reviewers_may_open(self) -> None:
        self.sign_in(self.dana)
        for words in ("", "start", "import", "playground", "webhooks", "members", "b"):
            for section, results in self.find(words).items():
                for title, path in results.items():
                    assert self.client.get(path.partition("#")[0]).status_code == 200, (section, title, path)
        assert set(self.find("")["Actions"]) == {"Judge the next item"}
        assert "Settings" not in str(self.find("webhooks"))

    def test_an_annotator_finds_work_projects_and_help_and_nothing_of_the_project(self) -> None:
        self.sign_in(self.bob)
        builders.items(self.project, 1)
        policy(self.project, "helpful-policy")
        assert set(self.find("")) == {"Actions", "Projects", "Your pages"}
        assert self.find("")["Projects"] == {"Helpfulness": "/p/helpfulness/work/"}
        for words in (str(Item.objects.get().pk), "policy", "dana", "alice"):
            assert not {"Items", "Models", "People", "Rounds", "Runs", "Texts"} & set(self.find(words)), words

    def test_other_projects_are_not_found(self) -> None:
        other = builders.project(self.charlie, "Secret")
        builders.join(other, builders.user("eve"), Member.Role.ANNOTATOR)
        builders.items(other, 1)
        policy(other, "secret-policy")
        self.sign_in(self.alice)
        for words in ("secret", "eve", str(Item.objects.get().pk)):
            found = self.find(words)
            assert not {"Items", "Models", "People", "Projects"} & set(found), (words, found)

    def test_outside_of_projects_it_finds_projects_pages_and_documents(self) -> None:
        self.sign_in(self.alice)
        assert set(self.find("", project=None)) == {"Projects", "Your pages"}
        assert self.find("new", project=None)["Your pages"] == {"New project": "/projects/new/"}

    def test_names_are_shown_as_they_are_and_signs_are_no_patterns(self) -> None:
        self.sign_in(self.alice)
        policy(self.project, "<b>&policy")
        response = self.client.get(reverse("palette"), {"project": "helpfulness", "q": "<b>"}, headers=HTMX)
        self.assertContains(response, "&lt;b&gt;&amp;policy")
        assert set(self.find("%")) == {"Texts"}
        assert set(self.find("x" * 10_000)) == {"Texts"}
        assert self.find("\0") == self.find("")

    def test_the_number_of_queries_is_the_same_in_every_project(self) -> None:
        self.sign_in(self.alice)
        for number in range(20):
            builders.join(self.project, builders.user(f"ann-{number}"), Member.Role.ANNOTATOR)
            policy(self.project, f"ann-model-{number}")
        # the user, their role with the project, projects, models, people
        with self.assertNumQueries(5):
            found = self.find("ann")
        assert (len(found["Models"]), len(found["People"])) == (6, 6)
        # and an item, rounds, a run
        with self.assertNumQueries(8):
            self.find("item 1")
        with self.assertNumQueries(3):
            self.find("")

    def test_it_is_a_page_for_browsers_without_scripts(self) -> None:
        self.sign_in(self.alice)
        page = self.client.get(reverse("palette"), {"project": "helpfulness", "q": "rules"})
        self.assertContains(page, '<a href="/p/helpfulness/rules/">Rules</a>')
        self.assertContains(page, 'name="project" value="helpfulness"')
        home = self.client.get(reverse("rules", args=["helpfulness"]))
        self.assertContains(home, 'href="/go/?project=helpfulness" data-palette')
