from __future__ import annotations

from django.urls import reverse

from annotation.actions.projects import write_guideline
from annotation.models import AuditEntry, Guideline
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint


class GuidelineTests(AccessTestCase):
    def url(self) -> str:
        return reverse("guidelines", args=[self.project.slug])

    def test_it_is_for_leads_and_every_member_may_read_a_version(self) -> None:
        self.check(Endpoint("guidelines", get=200, post=422))
        self.check(Endpoint("guideline", (1,), get=200, reviewer_get=200, annotator_get=200))
        self.check(Endpoint("guideline-diff", (1, 1), get=200, reviewer_get=200, annotator_get=200))

    def test_two_versions_are_compared_word_by_word_in_either_order(self) -> None:
        write_guideline(project=self.project, text="Prefer the **honest** answer.\n<i>", author=self.alice)
        for numbers in ((1, 2), (2, 1)):
            self.sign_in(self.bob)
            page = self.client.get(reverse("guideline-diff", args=[self.project.slug, *numbers]))
            self.assertContains(page, "<del>better</del>")
            self.assertContains(page, "<ins>honest</ins>")
            self.assertContains(page, "&lt;i&gt;")
        assert self.client.get(reverse("guideline-diff", args=[self.project.slug, 1, 3])).status_code == 404

    def test_the_list_says_how_many_judgments_each_version_has(self) -> None:
        builders.items(self.project, 3)
        builders.judgment(self.project, self.bob)
        builders.judgment(self.project, self.bob)
        write_guideline(project=self.project, text="Be strict.", author=self.alice)
        builders.judgment(self.project, self.bob)
        self.sign_in(self.alice)
        versions = self.client.get(self.url()).context["versions"]
        assert [(version.number, judgments) for version, judgments in versions] == [(2, 1), (1, 2)]
        # user, membership, the version in force, whether the project is large, judgments, versions, members
        with self.assertNumQueries(7):
            self.client.get(self.url())

    def test_a_new_version_is_noted(self) -> None:
        self.sign_in(self.alice)
        self.client.post(self.url(), {"text": "Be *strict*."})
        entry = AuditEntry.objects.filter(verb="guidelines.changed").latest("pk")
        assert (entry.actor, entry.subject) == (self.alice, "Version 2")

    def test_an_annotator_is_offered_no_page_that_is_closed_to_them(self) -> None:
        self.sign_in(self.bob)
        page = self.client.get(reverse("guideline", args=[self.project.slug, 1])).content.decode()
        for name in ("project", "progress", "snapshots", "guidelines"):
            assert f'href="{reverse(name, args=[self.project.slug])}"' not in page, name

    def test_an_edit_is_the_next_version_and_old_judgments_keep_theirs(self) -> None:
        builders.items(self.project, 1)
        judgment = builders.judgment(self.project, self.bob)
        self.sign_in(self.alice)
        self.assertRedirects(self.client.post(self.url(), {"text": "Be *strict*."}), self.url())
        assert self.project.guideline is not None
        assert (self.project.guideline.number, self.project.guideline.author) == (2, self.alice)
        assert judgment.guideline is not None
        assert judgment.guideline.number == 1
        page = self.client.get(reverse("guideline", args=[self.project.slug, 2]))
        self.assertContains(page, "Be <em>strict</em>.")

    def test_the_same_text_makes_no_version(self) -> None:
        self.sign_in(self.alice)
        self.client.post(self.url(), {"text": "Prefer the **better** answer."})
        assert Guideline.objects.count() == 1

    def test_empty_guidelines_are_refused(self) -> None:
        self.sign_in(self.alice)
        response = self.client.post(self.url(), {"text": "  "})
        self.assertContains(response, "Guidelines cannot be empty.", status_code=422)
        assert Guideline.objects.count() == 1

    def test_an_unknown_version_is_not_found(self) -> None:
        self.sign_in(self.alice)
        assert self.client.get(reverse("guideline", args=[self.project.slug, 9])).status_code == 404

    def test_the_preview_is_sanitised_markdown(self) -> None:
        self.sign_in(self.alice)
        response = self.client.post("/markdown/", {"text": "**bold** <script>alert(1)</script>"})
        self.assertContains(response, "<strong>bold</strong>")
        self.assertNotContains(response, "<script")
        assert self.client.get("/markdown/").status_code == 405
        self.client.logout()
        assert self.client.post("/markdown/", {"text": "x"}).status_code == 302
