from __future__ import annotations

import re
from datetime import timedelta
from unittest.mock import patch

from django.urls import reverse
from django.utils import timezone

from annotation import queries
from annotation.actions import import_rows
from annotation.actions.projects import write_guideline
from annotation.models import Draft, Judgment, Member, Skip, Slot
from tests import builders
from tests.annotation.judging import HTMX, JudgingTestCase


class ShowTests(JudgingTestCase):
    def test_it_asks_who_is_there(self) -> None:
        self.client.logout()
        self.assertRedirects(self.client.get(self.url()), f"{reverse('account_login')}?next={self.url()}")

    def test_outsiders_cannot_tell_that_the_project_exists(self) -> None:
        self.sign_in(self.charlie)
        for name, method in (
            ("work", "get"),
            ("work", "post"),
            ("work-skip", "post"),
            ("work-draft", "post"),
        ):
            assert getattr(self.client, method)(self.url(name)).status_code == 404
        assert self.client.get(self.url("work-guidelines")).status_code == 404

    def test_it_takes_no_other_methods(self) -> None:
        assert self.client.put(self.url()).status_code == 405
        assert self.client.get(self.url("work-skip")).status_code == 405
        assert self.client.get(self.url("work-draft")).status_code == 405
        assert self.client.post(self.url("work-guidelines")).status_code == 405

    def test_it_shows_the_answers_in_the_order_of_the_lease(self) -> None:
        builders.items(self.project)
        context = self.open()
        slot = Slot.objects.get()
        assert [card.response.pk for card in context["cards"]] == slot.shown_order
        assert [card.letter for card in context["cards"]] == ["A", "B", "C", "D"]

    def test_a_reload_shows_the_same_order(self) -> None:
        builders.items(self.project, 5)
        first, again = self.open(), self.open()
        assert [c.response.pk for c in first["cards"]] == [c.response.pk for c in again["cards"]]

    def test_it_shows_no_one_s_name_and_no_rank_of_its_own(self) -> None:
        lines = builders.lines(
            {"prompt": "Who?", "responses": [{"text": t, "author": "secret-model"} for t in ("x", "y", "z")]}
        )
        assert not import_rows.import_lines(project=self.project, lines=lines).errors
        response = self.client.get(self.url())
        self.assertNotContains(response, "secret-model")
        assert not re.search(r'name="rank-[^>]* checked', response.content.decode())

    def test_scripts_in_a_text_are_text(self) -> None:
        evil = "<script>alert(1)</script> <img src=x onerror=alert(1)> [x](javascript:alert(1))"
        lines = builders.lines({"prompt": evil, "responses": [evil, "b", "c"]})
        assert not import_rows.import_lines(project=self.project, lines=lines).errors
        response = self.client.get(self.url())
        self.assertContains(response, "&lt;script&gt;alert(1)&lt;/script&gt;")
        self.assertNotContains(response, "<script>alert")
        self.assertNotContains(response, "<img")
        self.assertNotContains(response, 'href="javascript')

    def test_it_counts_what_is_left_and_what_was_done_today(self) -> None:
        builders.items(self.project, 3)
        builders.judgment(self.project, self.bob)
        status = self.open()["work_status"]
        assert (status.left, status.today) == (2, 1)

    def test_many_are_not_counted_to_the_end(self) -> None:
        builders.items(self.project, 4)
        with patch.object(queries, "MANY_LEFT", 3):
            assert self.open()["work_status"].left == 3 + 1  # besides the one on the screen
        assert self.open()["work_status"].left == 4

    def test_the_number_of_items_left_is_rough(self) -> None:
        builders.items(self.project, 12)
        self.assertContains(self.client.get(self.url()), "<b>over 10</b> left")
        for _ in range(2):
            builders.judgment(self.project, self.bob)
        self.assertContains(self.client.get(self.url()), "<b>up to 10</b> left")

    def test_every_role_may_judge(self) -> None:
        builders.items(self.project, 3)
        for who in (self.alice, self.bob, self.dana):
            self.sign_in(who)
            assert self.client.get(self.url()).status_code == 200

    def test_the_page_is_never_kept_by_the_browser(self) -> None:
        builders.items(self.project)
        assert self.client.get(self.url())["Cache-Control"] == "no-store"


class SubmitTests(JudgingTestCase):
    def setUp(self) -> None:
        super().setUp()
        builders.items(self.project, 2)

    def test_it_keeps_the_ranks_and_answers_with_the_next_item(self) -> None:
        context = self.open()
        response = self.send(self.ranked(context, 2, 1, 2, 4))
        assert response.status_code == 200
        judgment = Judgment.objects.get()
        order = [card.response.pk for card in context["cards"]]
        assert dict(judgment.placements.values_list("response_id", "rank")) == dict(
            zip(order, [2, 1, 2, 3], strict=True)
        )
        assert (judgment.annotator, judgment.shown_order) == (self.bob, order)
        assert judgment.slot is not None
        assert judgment.slot.state == Slot.State.DONE
        assert response.context["lease"].item_id != judgment.item_id
        self.assertContains(response, 'data-title="Rank · Helpfulness – Palate"')
        self.assertNotContains(response, "<html")

    def test_without_scripts_it_leads_to_the_next_item(self) -> None:
        response = self.client.post(self.url(), self.ranked(self.open(), 1, 2, 3, 4))
        self.assertRedirects(response, self.url())
        assert Judgment.objects.count() == 1

    def test_it_names_the_answers_that_have_no_rank_and_keeps_the_others(self) -> None:
        context = self.open()
        form = self.ranked(context, 3, "", 1)
        response = self.send(form)
        self.assertContains(response, "Every answer needs a rank; missing: B, D.", status_code=422)
        assert [card.rank for card in response.context["cards"]] == [3, None, 1, None]
        assert response.context["lease"].item_id == context["lease"].item_id
        assert not Judgment.objects.exists()

    def test_it_says_so_on_the_whole_page_without_scripts(self) -> None:
        response = self.client.post(self.url(), self.ranked(self.open(), 1))
        self.assertContains(response, "missing: B, C, D", status_code=422)
        self.assertContains(response, "<html", status_code=422)

    def test_it_refuses_ranks_out_of_bounds(self) -> None:
        for bad in (0, 5, 99):
            response = self.send(self.ranked(self.open(), bad, 1, 1, 1))
            self.assertContains(response, "A rank is a number from 1 to 4.", status_code=422)

    def test_what_is_no_number_counts_as_not_given(self) -> None:
        for bad in ("-1", "x", "1.5", "²", "", "1\x00"):
            response = self.send(self.ranked(self.open(), bad, 1, 1, 1))
            self.assertContains(response, "missing: A.", status_code=422)
        assert not Judgment.objects.exists()

    def test_a_number_of_a_thousand_digits_is_no_rank(self) -> None:
        assert self.send(self.ranked(self.open(), "9" * 5000, 1, 1, 1)).status_code == 422

    def test_ranks_of_strange_answers_are_no_matter(self) -> None:
        self.send(self.ranked(self.open(), 1, 2, 3, 4, **{"rank-Z": 1}))
        assert Judgment.objects.get().placements.count() == 4

    def test_a_damaged_ticket_shows_the_item_again_with_its_draft(self) -> None:
        context = self.open()
        self.send(self.ranked(context, 4, 3), "work-draft")
        response = self.send({**self.ranked(context, 4, 3, 2, 1), "ticket": "x" + context["ticket"]})
        self.assertContains(response, "ticket is damaged", status_code=422)
        assert [card.rank for card in response.context["cards"]] == [4, 3, None, None]
        assert not Judgment.objects.exists()

    def test_no_ticket_at_all_is_a_damaged_one(self) -> None:
        self.assertContains(self.send({}), "ticket is damaged", status_code=422)

    def test_someone_else_s_ticket_is_refused_and_claims_nothing(self) -> None:
        context = self.open()
        self.sign_in(self.dana)
        for name in ("work", "work-skip"):
            response = self.send(self.ranked(context, 1, 2, 3, 4, reason="broken"), name)
            self.assertContains(response, "given to someone else", status_code=403)
        assert not Judgment.objects.exists()
        assert not Skip.objects.exists()
        assert not Slot.objects.filter(annotator=self.dana).exists()
        plain = self.client.post(self.url(), self.ranked(context, 1, 2, 3, 4))
        self.assertContains(plain, "given to someone else", status_code=422)

    def test_a_ticket_of_another_project_is_refused(self) -> None:
        form = self.ranked(self.open(), 1, 2, 3, 4)
        other = builders.project(self.alice, "Other")
        builders.join(other, self.bob, Member.Role.ANNOTATOR)
        response = self.client.post(reverse("work", args=[other.slug]), form, headers=HTMX)
        self.assertContains(response, "belongs to another project", status_code=422)
        assert not Judgment.objects.exists()

    def test_a_damaged_key_keeps_what_was_entered(self) -> None:
        response = self.send({**self.ranked(self.open(), 1, 2, 3, 4), "key": "nonsense"})
        self.assertContains(response, "This page is invalid", status_code=422)
        assert [card.rank for card in response.context["cards"]] == [1, 2, 3, 4]

    def test_the_same_submit_twice_counts_once(self) -> None:
        form = self.ranked(self.open(), 1, 2, 3, 4)
        assert self.send(form).status_code == 200
        assert self.send(form).status_code == 200
        assert Judgment.objects.count() == 1

    def test_two_tabs_judge_an_item_once_and_the_second_is_told(self) -> None:
        one, two = self.open(), self.open()
        self.send(self.ranked(one, 1, 2, 3, 4))
        response = self.send(self.ranked(two, 4, 3, 2, 1))
        self.assertContains(response, "You have judged this item before")
        assert response.context["lease"].item_id != one["lease"].item_id
        judgment = Judgment.objects.get()
        assert dict(judgment.placements.values_list("response_id", "rank"))[judgment.shown_order[0]] == 1

    def test_a_late_submit_counts_while_the_slot_is_free(self) -> None:
        context = self.open()
        Slot.objects.filter(annotator=self.bob).update(leased_until=timezone.now() - timedelta(hours=1))
        self.send(self.ranked(context, 1, 2, 3, 4))
        assert Judgment.objects.get().slot is not None

    def test_a_submit_after_others_finished_the_item_is_kept_and_says_so(self) -> None:
        context = self.open()
        mine = Slot.objects.filter(annotator=self.bob)
        mine.update(leased_until=timezone.now() - timedelta(hours=1))
        mine.update(state="done", annotator=self.dana)
        response = self.send(self.ranked(context, 1, 2, 3, 4))
        self.assertContains(response, "does not count")
        assert Judgment.objects.get().slot is None

    def test_a_project_without_items_does_not_say_that_they_are_done(self) -> None:
        empty = builders.project(self.alice, "Empty")
        builders.join(empty, self.bob, "annotator")
        response = self.client.get(reverse("work", args=[empty.slug]))
        self.assertContains(response, "No items yet")
        self.assertNotContains(response, "through every item")

    def test_the_last_item_is_followed_by_my_day(self) -> None:
        for _ in range(2):
            response = self.send(self.ranked(self.open(), 1, 2, 3, 4))
        self.assertContains(response, "No items left for you")
        assert response.context["day"].items == 2
        self.assertContains(response, 'data-title="Finished')

    def test_it_asks_this_much_of_the_database(self) -> None:
        form = self.ranked(self.open(), 1, 2, 3, 4)
        self.send(self.ranked({**self.open()}, 1), "work-draft")
        # who it is 1, their role and the project 1, the submit 1;
        # the next item: claimed 1, with its prompt and answers 1, counters, version and draft together 1
        with self.assertNumQueries(6):
            assert self.send(form).status_code == 200


class SkipTests(JudgingTestCase):
    def setUp(self) -> None:
        super().setUp()
        builders.items(self.project, 2)

    def test_it_gives_the_item_back_and_shows_another(self) -> None:
        context = self.open()
        response = self.send(self.form(context, reason="cannot_judge"), "work-skip")
        self.assertContains(response, "Skipped.")
        skip = Skip.objects.get()
        assert (skip.item_id, skip.annotator, skip.reason) == (
            context["lease"].item_id,
            self.bob,
            "cannot_judge",
        )
        assert response.context["lease"].item_id != skip.item_id
        assert Slot.objects.get(item_id=skip.item_id).state == Slot.State.OPEN

    def test_without_scripts_it_leads_to_the_next_item(self) -> None:
        form = self.form(self.open(), reason="all_bad")
        self.assertRedirects(self.client.post(self.url("work-skip"), form), self.url())

    def test_it_needs_a_reason_that_is_known(self) -> None:
        for reason in ({}, {"reason": ""}, {"reason": "bored"}):
            response = self.send(self.form(self.open(), **reason), "work-skip")
            self.assertContains(response, "is not a reason to skip", status_code=422)
        assert not Skip.objects.exists()

    def test_it_needs_a_ticket(self) -> None:
        response = self.send({"reason": "all_bad"}, "work-skip")
        self.assertContains(response, "ticket is damaged", status_code=422)

    def test_skipping_twice_is_harmless(self) -> None:
        form = self.form(self.open(), reason="all_bad")
        self.send(form, "work-skip")
        self.send(form, "work-skip")
        assert Skip.objects.count() == 1

    def test_everything_skipped_ends_the_work(self) -> None:
        for _ in range(2):
            response = self.send(self.form(self.open(), reason="all_bad"), "work-skip")
        self.assertContains(response, "No items left for you")


class DraftTests(JudgingTestCase):
    def setUp(self) -> None:
        super().setUp()
        builders.items(self.project, 2)

    def test_a_reload_restores_what_was_given(self) -> None:
        context = self.open()
        assert self.send(self.ranked(context, 2, "", 1), "work-draft").status_code == 204
        again = self.open()
        assert [card.rank for card in again["cards"]] == [2, None, 1, None]
        assert [c.response.pk for c in again["cards"]] == [c.response.pk for c in context["cards"]]

    def test_the_newest_draft_holds(self) -> None:
        context = self.open()
        self.send(self.ranked(context, 2), "work-draft")
        self.send(self.ranked(context, 4), "work-draft")
        assert self.open()["cards"][0].rank == 4
        assert Draft.objects.count() == 1

    def test_it_is_nobody_else_s(self) -> None:
        context = self.open()
        self.sign_in(self.dana)
        response = self.send(self.ranked(context, 2), "work-draft")
        self.assertContains(response, "given to someone else", status_code=422)
        assert not Draft.objects.exists()

    def test_submitting_ends_it(self) -> None:
        context = self.open()
        self.send(self.ranked(context, 2), "work-draft")
        self.send(self.ranked(context, 1, 2, 3, 4))
        assert not Draft.objects.exists()

    def test_a_draft_that_comes_after_the_submit_is_dropped(self) -> None:
        context = self.open()
        self.send(self.ranked(context, 1, 2, 3, 4))
        assert self.send(self.ranked(context, 2), "work-draft").status_code == 202
        assert not Draft.objects.exists()

    def test_it_keeps_numbers_only(self) -> None:
        self.send(self.ranked(self.open(), "x", 3, **{"rank-Z": 1}), "work-draft")
        ranks = Draft.objects.get().data["ranks"]
        assert list(ranks.values()) == [3]

    def test_it_renews_the_lease(self) -> None:
        context = self.open()
        soon = timezone.now() + timedelta(minutes=1)
        Slot.objects.filter(annotator=self.bob).update(leased_until=soon)
        self.send(self.ranked(context, 2), "work-draft")
        slot = Slot.objects.get(annotator=self.bob)
        assert slot.leased_until is not None
        assert slot.leased_until > soon + timedelta(minutes=20)


class GuidelinesTests(JudgingTestCase):
    def test_the_drawer_gets_the_text_alone(self) -> None:
        response = self.client.get(self.url("work-guidelines"), headers=HTMX)
        self.assertContains(response, "Version 1")
        self.assertContains(response, "<strong>better</strong>")
        self.assertNotContains(response, "<html")

    def test_it_is_a_page_of_its_own_too(self) -> None:
        self.assertContains(self.client.get(self.url("work-guidelines")), "<html")

    def test_the_screen_names_the_version_in_force(self) -> None:
        builders.items(self.project)
        write_guideline(project=self.project, text="New rules.", author=self.alice)
        self.client.post(self.url("work-confirm"), {"version": 2})
        assert self.open()["work_status"].guideline_number == 2
        self.send(self.ranked(self.open(), 1, 2, 3, 4))
        guideline = Judgment.objects.get().guideline
        assert guideline is not None
        assert guideline.number == 2
