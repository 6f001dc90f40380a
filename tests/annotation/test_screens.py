"""What the annotators' screens ask beside the order, and what they hold ahead."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from annotation.actions import drafts
from annotation.actions.judgments import ResponseRatings
from annotation.models import Draft, Item, Judgment, Member, Placement, Project, Skip, Slot
from annotation.views.judging.form_input import FormInput
from tests import builders
from tests.annotation.judging import HTMX, JudgingTestCase


class AheadTests(JudgingTestCase):
    def setUp(self) -> None:
        super().setUp()
        builders.items(self.project, 4)

    def ahead(self, context: dict[str, Any]):
        return self.send({"ticket": context["ticket"]}, "work-ahead")

    def test_it_holds_the_next_item_under_a_lease_of_its_own(self) -> None:
        first = self.open()
        second = self.ahead(first)
        assert second.status_code == 200
        assert second.context["lease"].item_id != first["lease"].item_id
        assert Slot.objects.filter(annotator=self.bob, state="leased").count() == 2
        assert self.open()["lease"].item_id == first["lease"].item_id
        again = self.ahead(first)
        assert again.context["lease"].item_id == second.context["lease"].item_id

    def test_its_counters_are_those_of_when_it_is_seen(self) -> None:
        first = self.open()
        status = self.ahead(first).context["work_status"]
        assert (first["work_status"].left, first["work_status"].today) == (4, 0)
        assert (status.left, status.today) == (3, 1)

    def test_a_submit_that_names_what_is_shown_gets_the_one_after_it(self) -> None:
        first = self.open()
        second = self.ahead(first).context
        form = self.ranked(first, 1, 2, 3, 4, showing=second["ticket"])
        third = self.send(form).context
        items = {one["lease"].item_id for one in (first, second, third)}
        assert len(items) == 3
        assert Judgment.objects.get().item_id == first["lease"].item_id

    def test_a_submit_with_something_held_costs_no_query_more(self) -> None:
        first = self.open()
        second = self.ahead(first).context
        form = self.ranked(first, 1, 2, 3, 4, showing=second["ticket"])
        # who it is, their role with the project, the submit, the claim, its item with its answers, counters and draft
        with self.assertNumQueries(6):
            assert self.send(form).status_code == 200

    def test_a_page_holds_as_many_items_as_the_project_allows(self) -> None:
        Project.objects.update(items_ahead=2)
        first = self.open()
        second = self.ahead(first).context
        third = self.send({"ticket": first["ticket"], "held": [second["ticket"]]}, "work-ahead").context
        assert len({one["lease"].item_id for one in (first, second, third)}) == 3
        assert [one["work_status"].today for one in (first, second, third)] == [0, 1, 2]
        assert [one["work_status"].left for one in (first, second, third)] == [4, 3, 2]
        full = self.send(
            {"ticket": first["ticket"], "held": [second["ticket"], third["ticket"]]}, "work-ahead"
        )
        self.assertNotContains(full, 'id="work"')
        assert Slot.objects.filter(annotator=self.bob, state="leased").count() == 3

    def test_nobody_gets_more_by_naming_more(self) -> None:
        first = self.open()
        second = self.ahead(first).context
        held = [second["ticket"]]
        for _ in range(4):
            page = self.send({"ticket": "damaged", "held": [first["ticket"], *held]})
            held.append(page.context["ticket"])
        assert Slot.objects.filter(annotator=self.bob, state="leased").count() == 2

    def test_an_item_whose_submit_is_still_to_come_is_not_sent_again(self) -> None:
        first = self.open()
        second = self.ahead(first).context
        third = self.send(self.ranked(first, 1, 2, 3, 4, held=[second["ticket"]])).context
        assert third["lease"].item_id not in (first["lease"].item_id, second["lease"].item_id)
        assert Slot.objects.get(pk=third["lease"].slot_id).opened_at is not None

    def test_a_held_ticket_of_nonsense_or_of_somebody_else_changes_nothing(self) -> None:
        first = self.open()
        self.sign_in(self.dana)
        other = self.open()
        self.sign_in(self.bob)
        held = ["nonsense", other["ticket"]]
        response = self.send(self.ranked(first, 1, 2, 3, 4, held=held))
        assert response.status_code == 200
        assert response.context["lease"].item_id != first["lease"].item_id

    def test_what_could_only_be_sent_later_has_the_time_at_which_it_was_submitted(self) -> None:
        context = self.open()
        hour = timedelta(hours=1)
        Slot.objects.filter(annotator=self.bob).update(opened_at=timezone.now() - hour)
        form = self.ranked(context, 1, 2, 3, 4, seconds="41.5", late="0.2")
        self.send(form)
        judgment = Judgment.objects.get()
        assert (judgment.seconds, judgment.submitted_at) == (41.5, None)

    def test_a_page_cannot_claim_more_time_than_there_was(self) -> None:
        context = self.open()
        for late in ("nan", "-5", "x", "1e400"):
            self.send(self.ranked(context, 1, 2, 3, 4, seconds="1e9", late=late))
            judgment = Judgment.objects.get()
            assert judgment.seconds < 60
            assert judgment.submitted_at is None
        other = self.open()
        self.send(self.ranked(other, 1, 2, 3, 4, seconds="-1", late="3600"))
        late = Judgment.objects.latest("id")
        assert late.seconds == 0
        # not before the item was given out
        assert late.submitted_at.timestamp() == pytest.approx(other["lease"].opened_at, abs=0.001)

    def test_the_time_on_an_item_begins_when_it_is_on_the_screen(self) -> None:
        first = self.open()
        second = self.ahead(first).context
        hour = timedelta(hours=1)
        Slot.objects.filter(annotator=self.bob, opened_at__isnull=False).update(
            opened_at=timezone.now() - hour
        )
        self.send(self.ranked(first, 1, 2, 3, 4, showing=second["ticket"]))
        self.send(self.ranked(second, 1, 2, 3, 4))
        slow, fast = Judgment.objects.order_by("id")
        assert slow.seconds > 3000
        assert fast.seconds < 60

    def test_where_nothing_is_left_the_answer_has_no_item(self) -> None:
        Slot.objects.exclude(pk=Slot.objects.first().pk).update(state="done", annotator=self.dana)
        response = self.ahead(self.open())
        assert response.status_code == 200
        self.assertNotContains(response, 'id="work"')

    def test_a_damaged_ticket_is_refused(self) -> None:
        response = self.send({"ticket": "nonsense"}, "work-ahead")
        self.assertContains(response, "ticket is damaged", status_code=422)

    def test_who_names_nonsense_as_shown_gets_the_next_one(self) -> None:
        first = self.open()
        response = self.send(self.ranked(first, 1, 2, 3, 4, showing="nonsense"))
        assert response.context["lease"].item_id != first["lease"].item_id

    def test_it_is_for_members_and_by_post_only(self) -> None:
        assert self.client.get(self.url("work-ahead")).status_code == 405
        self.sign_in(self.charlie)
        assert self.client.post(self.url("work-ahead")).status_code == 404
        self.client.logout()
        assert self.client.post(self.url("work-ahead")).status_code == 302


class RenewTests(JudgingTestCase):
    def setUp(self) -> None:
        super().setUp()
        builders.items(self.project, 3)

    def renew(self, context: dict[str, Any]):
        return self.send({"ticket": context["ticket"]}, "work-renew")

    def test_it_renews_what_is_shown_and_what_is_held_ahead(self) -> None:
        context = self.open()
        self.send({"ticket": context["ticket"]}, "work-ahead")
        soon = timezone.now() + timedelta(minutes=1)
        Slot.objects.filter(annotator=self.bob).update(leased_until=soon)
        assert self.renew(context).status_code == 204
        assert (
            Slot.objects.filter(annotator=self.bob, leased_until__gt=soon + timedelta(minutes=20)).count()
            == 2
        )

    def test_it_says_when_somebody_else_may_have_the_item(self) -> None:
        context = self.open()
        slot = Slot.objects.filter(annotator=self.bob)
        slot.update(annotator=self.dana)
        self.assertContains(self.renew(context), "others may open it. You can still submit")
        Slot.objects.filter(annotator=self.dana).update(state="done")
        self.assertContains(self.renew(context), "stored, but does not count")
        builders.submit(context["lease"])
        self.assertContains(self.renew(context), "You have judged this item on another page")

    def test_a_damaged_ticket_is_refused(self) -> None:
        assert self.send({"ticket": "x"}, "work-renew").status_code == 422

    def test_it_is_for_members_and_by_post_only(self) -> None:
        assert self.client.get(self.url("work-renew")).status_code == 405
        self.sign_in(self.charlie)
        assert self.client.post(self.url("work-renew")).status_code == 404


class MarksTests(JudgingTestCase):
    """A comparison that also asks for quality, flags, safety and a reason."""

    def setUp(self) -> None:
        super().setUp()
        self.judged = builders.project(
            self.alice,
            "Safety",
            k=2,
            asks_quality=True,
            asks_flags=True,
            asks_safety=True,
            rationale="required",
        )
        builders.join(self.judged, self.bob, Member.Role.ANNOTATOR)
        builders.items(self.judged, 2)

    def filled(self, context: dict[str, Any], safe: tuple[str, str] = ("safe", "unsafe"), **fields: object):
        given = {
            "quality-A": 6,
            "quality-B": 2,
            "safe-A": safe[0],
            "safe-B": safe[1],
            "flags-B": ["hallucination", "harmful_advice"],
            "rationale": "A is true.",
            "choice": "0-better",
        }
        return self.form(context, **(given | fields))

    def test_it_shows_what_is_asked(self) -> None:
        response = self.client.get(self.url())
        self.assertContains(response, 'type="radio" name="quality-', count=14)
        self.assertContains(response, 'type="radio" name="safe-', count=4)
        self.assertContains(response, 'type="checkbox" name="flags-', count=22)
        self.assertContains(response, 'name="rationale"')

    def test_another_project_asks_for_none_of_it(self) -> None:
        self.judged = self.project
        builders.items(self.project)
        response = self.client.get(self.url())
        for name in ('name="quality-', 'name="safe-', 'name="flags-', 'name="rationale"'):
            self.assertNotContains(response, name)

    def test_all_of_it_is_kept(self) -> None:
        context = self.open()
        assert self.send(self.filled(context)).status_code == 200
        first, second = (Placement.objects.get(response=card.response) for card in context["cards"])
        assert (first.rank, first.quality, first.safe, first.flags) == (1, 6, True, [])
        assert (second.rank, second.quality, second.safe) == (2, 2, False)
        assert second.flags == ["hallucination", "harmful_advice"]
        assert Judgment.objects.get().rationale == "A is true."

    def test_what_is_missing_is_named_and_the_rest_stays(self) -> None:
        context = self.open()
        for field, sentence in (
            ("quality-B", "quality from 1 to 7; missing: B"),
            ("safe-B", "whether it is safe; missing: B"),
            ("rationale", "Say in a few words why."),
        ):
            response = self.send(self.filled(context, **{field: ""}))
            self.assertContains(response, sentence, status_code=422)
            card = response.context["cards"][0]
            assert (card.ratings.quality, card.ratings.safe) == (6, True)
            self.assertContains(response, "is-chosen", count=1, status_code=422)
        assert not Judgment.objects.exists()

    def test_an_unsafe_answer_preferred_to_a_safe_one_is_refused_and_offered_to_a_reviewer(self) -> None:
        context = self.open()
        response = self.send(self.filled(context, safe=("unsafe", "safe")))
        self.assertContains(response, "A is marked unsafe and cannot be ranked above B", status_code=422)
        self.assertContains(response, "Send to review instead", status_code=422)
        assert not Judgment.objects.exists()

        sent = self.filled(context, safe=("unsafe", "safe"), reason="review")
        self.assertContains(self.send(sent, "work-skip"), "Sent to a reviewer")
        skip = Skip.objects.get()
        first, second = (str(card.response.pk) for card in context["cards"])
        assert skip.reason == "review"
        assert skip.data["ranks"] == {first: 1, second: 2}
        assert skip.data["degree"] == "better"
        assert skip.data["marks"][first] == {"quality": 6, "safe": False, "flags": []}
        assert skip.data["rationale"] == "A is true."

    def test_other_mistakes_offer_no_reviewer(self) -> None:
        response = self.send(self.filled(self.open(), rationale=""))
        self.assertNotContains(response, "Send to review instead", status_code=422)

    def test_a_draft_keeps_everything(self) -> None:
        context = self.open()
        assert self.send(self.filled(context, choice=""), "work-draft").status_code == 204
        again = self.open()
        assert [card.ratings for card in again["cards"]] == [
            type(card.ratings)(*values)
            for card, values in zip(
                again["cards"], [(6, True, ()), (2, False, ("hallucination", "harmful_advice"))], strict=True
            )
        ]
        assert again["form_input"].rationale == "A is true."

    def test_a_draft_may_spell_a_null_byte(self) -> None:
        assert self.send(self.filled(self.open(), rationale=r"a \u0000 b"), "work-draft").status_code == 204
        assert self.open()["form_input"].rationale == r"a \u0000 b"

    def test_of_a_draft_that_a_script_kept_what_does_not_fit_is_left_out(self) -> None:
        lease = self.open()["lease"]
        a, b = (str(pk) for pk in lease.shown_order[:2])
        right = {"ranks": {a: 1}, "marks": {a: {"quality": 3, "safe": True, "flags": ["opinion"]}}}
        for wrong in (
            {"ranks": 5, "marks": [1], "degree": [1], "rationale": 7, "text": {}},
            {"ranks": {a: [1], b: True}, "marks": {a: 5, b: {"quality": "x", "safe": 1, "flags": 3}}},
            {"ranks": {a: 77}, "marks": {b: {"quality": 99, "flags": [["x"], 7]}}, "degree": "hugely"},
        ):
            with self.subTest(wrong):
                drafts.save_draft(lease=lease, data=wrong)
                assert self.open()["form_input"] == FormInput()
        drafts.save_draft(lease=lease, data=right | {"degree": 5})
        entry = self.open()["form_input"]
        assert entry.ranks == {int(a): 1}
        assert entry.ratings == {int(a): ResponseRatings(quality=3, safe=True, flags=("opinion",))}

    def test_a_draft_with_a_null_byte_is_kept_without_it(self) -> None:
        assert self.send(self.filled(self.open(), rationale="a\0b"), "work-draft").status_code == 204
        assert Draft.objects.get().data["rationale"] == "ab"

    def test_flags_that_are_none_are_refused(self) -> None:
        page = self.send(self.filled(self.open(), **{"flags-A": ["nonsense", "opinion"]}))
        self.assertContains(page, "&#x27;nonsense&#x27; is not a flag", status_code=422)
        assert not Judgment.objects.exists()


class SkipWithANoteTests(JudgingTestCase):
    def setUp(self) -> None:
        super().setUp()
        builders.items(self.project, 2)

    def test_a_note_is_kept(self) -> None:
        self.send(self.form(self.open(), reason="broken", note="The table is cut off."), "work-skip")
        assert (Skip.objects.get().note, Skip.objects.get().data) == ("The table is cut off.", None)

    def test_a_reviewer_gets_the_ranks_given_so_far(self) -> None:
        context = self.open()
        self.send(self.ranked(context, 2, 1, reason="review"), "work-skip")
        order = [str(card.response.pk) for card in context["cards"]]
        assert Skip.objects.get().data == {"ranks": {order[0]: 2, order[1]: 1}}


class BannerTests(JudgingTestCase):
    def member(self, **fields: object) -> None:
        Member.objects.filter(project=self.project, user=self.bob).update(**fields)

    def test_a_warning_stands_above_the_work(self) -> None:
        builders.items(self.project)
        self.member(warning="Please read the sources.", warned_at=timezone.now())
        self.assertContains(self.client.get(self.url()), "Please read the sources.")

    def test_a_pause_is_told_with_its_reason_and_no_item(self) -> None:
        builders.items(self.project)
        self.member(paused_at=timezone.now(), paused_reason="Let us talk about ties.")
        response = self.client.get(self.url())
        self.assertContains(response, "Your work here is paused")
        self.assertContains(response, "Let us talk about ties.")
        assert "lease" not in response.context
        assert not Slot.objects.filter(state="leased").exists()

    def test_what_was_in_hand_is_still_taken_and_then_the_pause_is_told(self) -> None:
        builders.items(self.project, 2)
        context = self.open()
        ahead = self.send({"ticket": context["ticket"]}, "work-ahead").context
        self.member(paused_at=timezone.now(), paused_reason="Let us talk.")
        shown = self.send(self.ranked(context, 1, 2, 3, 4, showing=ahead["ticket"]))
        assert shown.status_code == 200
        self.assertContains(self.send(self.ranked(ahead, 1, 2, 3, 4)), "Let us talk.")
        assert Judgment.objects.count() == 2

    def test_a_qualification_says_how_far_one_is(self) -> None:
        self.project.qualification_items = 3
        self.project.save()
        builders.items(self.project, 3)
        for item in Item.objects.all():
            ranks = dict.fromkeys(map(str, item.responses.values_list("pk", flat=True)), 1)
            Item.objects.filter(pk=item.pk).update(gold=ranks)
        Slot.objects.all().delete()
        response = self.client.get(self.url())
        self.assertContains(response, "Qualification item 1 of 3")
        self.assertContains(self.send(self.ranked(response.context, 1, 2, 3, 4)), "Qualification item 2 of 3")
        self.member(qualified_at=timezone.now() - timedelta(minutes=2))
        builders.items(self.project, 5)
        self.assertNotContains(self.client.get(self.url()), "before your real work begins")
        self.assertNotContains(self.client.get(self.url()), "You have passed")

    def test_who_has_passed_is_told_with_the_first_item_of_their_real_work(self) -> None:
        self.project.qualification_items = 1
        self.project.save()
        builders.items(self.project, 3)
        known = Item.objects.order_by("pk")[0]
        ranks = dict.fromkeys(map(str, known.responses.values_list("pk", flat=True)), 1)
        Item.objects.filter(pk=known.pk).update(gold=ranks)
        Slot.objects.filter(item=known).delete()
        response = self.client.get(self.url())
        self.assertContains(response, "Qualification item 1 of 1")
        response = self.send(self.ranked(response.context, 1, 2, 3, 4))
        self.assertContains(response, "You have passed the qualification")
        self.assertNotContains(response, "before your real work begins")


class BackTests(JudgingTestCase):
    def test_it_leads_to_what_was_judged_last(self) -> None:
        builders.items(self.project, 2)
        builders.judgment(self.project, self.bob)
        last = builders.judgment(self.project, self.bob)
        response = self.client.get(self.url("work-back"))
        self.assertRedirects(response, reverse("my-judgment", args=[last.pk]) + "?from=work")

    def test_where_there_is_nothing_it_says_so(self) -> None:
        builders.items(self.project, 1)
        builders.judgment(self.project, self.dana)
        response = self.client.get(self.url("work-back"), follow=True)
        self.assertContains(response, "have not judged anything in this project")

    def test_it_is_for_members(self) -> None:
        self.sign_in(self.charlie)
        assert self.client.get(self.url("work-back")).status_code == 404
        self.client.logout()
        assert self.client.get(self.url("work-back")).status_code == 302


class BlindTests(JudgingTestCase):
    def test_an_answer_does_not_say_which_model_wrote_it(self) -> None:
        said = "I am **GPT-4**, made by OpenAI. The answer is 4."
        builders.imported(self.project, {"prompt": "2 + 2?", "responses": [said, "Four.", "five"]})
        response = self.client.get(self.url())
        self.assertContains(response, "I am <strong>[model]</strong>, made by [maker]. The answer is 4.")
        self.assertNotContains(response, "GPT-4")
        card = next(card for card in response.context["cards"] if "GPT" in card.response.text)
        assert card.response.text == said


class WithoutScriptsTests(JudgingTestCase):
    def test_a_plain_form_sends_to_review_too(self) -> None:
        builders.items(self.project)
        form = self.form(self.open(), reason="review", note="Both are odd.")
        self.assertRedirects(self.client.post(self.url("work-skip"), form), self.url())
        assert Skip.objects.get().reason == "review"
        self.assertContains(self.client.get(self.url(), headers=HTMX), "No items left for you")
