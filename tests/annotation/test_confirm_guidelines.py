"""Guidelines are read and confirmed before the first item and after a new version; judgments record the version confirmed."""

from __future__ import annotations

from django.urls import reverse

from annotation.actions.projects import write_guideline
from annotation.models import Guideline, Judgment, Member, Slot
from tests import builders
from tests.annotation.judging import HTMX, JudgingTestCase


class ConfirmGuidelinesTests(JudgingTestCase):
    def setUp(self) -> None:
        super().setUp()
        builders.items(self.project, 2)
        self.members = Member.objects.filter(project=self.project, user=self.bob)

    def confirm(self, version: object, **headers: object):
        return self.client.post(self.url("work-confirm"), {"version": version}, follow=True, **headers)

    def new_version(self) -> Guideline:
        return write_guideline(project=self.project, text="Prefer the **honest** answer.", author=self.alice)

    def test_they_come_before_the_first_item(self) -> None:
        self.members.update(confirmed_guideline=None)
        page = self.client.get(self.url("work"))
        self.assertContains(page, "Read the guidelines first")
        self.assertContains(page, "<strong>better</strong>")
        assert not Slot.objects.filter(
            annotator=self.bob
        ).exists()  # nothing is reserved while somebody reads
        self.assertContains(self.confirm(1), 'data-kind="rank"')
        assert self.members.get().confirmed_guideline == self.project.guideline

    def test_a_new_version_comes_before_the_next_item_with_what_changed(self) -> None:
        context = self.open()
        self.new_version()
        page = self.send(self.ranked(context, 1, 2, 3, 4))
        self.assertContains(page, "The guidelines have changed")
        self.assertContains(page, "<del>better</del>")
        self.assertContains(page, "<ins>honest</ins>")
        assert Judgment.objects.get().guideline.number == 1  # the one that was confirmed
        self.confirm(2)
        self.send(self.ranked(self.open(), 1, 2, 3, 4))
        assert Judgment.objects.latest("pk").guideline.number == 2

    def test_nothing_is_held_ahead_under_a_version_that_was_not_confirmed(self) -> None:
        context = self.open()
        self.new_version()
        ahead = self.send({"ticket": context["ticket"]}, "work-ahead")
        assert "data-item" not in ahead.content.decode()
        held = self.send({**self.ranked(context, 1, 2, 3, 4), "showing": context["ticket"]})
        assert "data-item" not in held.content.decode()
        assert Judgment.objects.get().guideline.number == 1

    def test_an_old_version_cannot_be_confirmed(self) -> None:
        self.members.update(confirmed_guideline=None)
        self.new_version()
        for version in (1, 3, "", "x", "１", "9" * 5_000):
            page = self.confirm(version)
            self.assertContains(page, "The guidelines have changed meanwhile")
            self.assertContains(page, "Read the guidelines first")
        assert self.members.get().confirmed_guideline is None

    def test_a_damaged_ticket_shows_an_error_above_the_guidelines(self) -> None:
        self.new_version()
        page = self.send({"ticket": "x"})
        self.assertContains(page, "ticket is damaged", status_code=422)
        self.assertContains(page, "The guidelines have changed", status_code=422)

    def test_who_writes_a_version_has_read_it(self) -> None:
        self.new_version()
        self.sign_in(self.alice)
        self.assertContains(self.client.get(self.url("work")), 'data-kind="rank"')

    def test_a_revision_records_the_version_confirmed(self) -> None:
        self.send(self.ranked(self.open(), 1, 2, 3, 4))
        self.new_version()
        judgment = Judgment.objects.get()
        page = self.client.get(reverse("my-judgment", args=[judgment.pk])).context
        form = self.ranked({"cards": page["cards"], "key": page["key"], "ticket": ""}, 4, 3, 2, 1)
        self.client.post(reverse("my-judgment", args=[judgment.pk]), form, headers=HTMX)
        assert Judgment.objects.get(supersedes=judgment).guideline.number == 1

    def test_leads_see_how_many_have_confirmed_each_version(self) -> None:
        self.new_version()
        self.sign_in(self.alice)
        versions = self.client.get(self.url("guidelines")).context["versions"]
        assert [(version.number, version.confirmed) for version, _ in versions] == [(2, 1), (1, 2)]

    def test_it_is_for_members_and_by_post_only(self) -> None:
        assert self.client.get(self.url("work-confirm")).status_code == 405
        self.sign_in(self.charlie)
        assert self.client.post(self.url("work-confirm")).status_code == 404
        self.client.logout()
        assert self.client.post(self.url("work-confirm")).status_code == 302
