from __future__ import annotations

from annotation import queries
from annotation.actions.review import flag_for_review, make_gold, reopen
from annotation.models import (
    AuditEntry,
    Item,
    Judgment,
    Project,
    ReviewFlag,
    Skip,
    Slot,
    Verdict,
)
from tests import builders
from tests.analytics import AnalyticsTestCase


class ReviewTests(AnalyticsTestCase):
    def test_leads_and_reviewers_see_it(self) -> None:
        self.who_may("review", alice=200, dana=200, bob=403)

    def test_the_worst_disagreement_comes_first_and_leaves_with_a_verdict(self) -> None:
        _, mild, worst = self.judged([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [2, 3, 1]], [[1, 2, 3], [3, 2, 1]])
        self.sign_in(self.dana)

        def listed() -> list[int]:
            return [row.pk for row in self.client.get(self.url("review")).context["listing"].page.rows]

        assert listed() == [worst.pk, mild.pk]
        self.client.post(self.url("item-decide", worst.pk), self.ranked(2, 1, 3) | {"do": "verdict"})
        assert listed() == [mild.pk]

    def ranked(self, *ranks: int) -> dict[str, object]:
        return {f"rank-{letter}": rank for letter, rank in zip("ABC", ranks, strict=True)}

    def test_an_item_that_is_retired_waits_for_no_verdict(self) -> None:
        (item,) = self.judged([[1, 2, 3], [3, 2, 1]])
        self.sign_in(self.dana)
        self.client.post(self.url("item-decide", item.pk), {"do": "retire", "reason": "Broken."})
        assert self.client.get(self.url("review")).context["listing"].page.rows == []

    def test_what_annotators_sent_waits_until_it_is_answered(self) -> None:
        (item,) = self.judged([[1, 2, 3], [1, 2, 3]])
        skip = self.sent(item, self.dana, note="B may be unsafe.")
        self.sign_in(self.dana)
        self.assertContains(self.client.get(self.url("review"), {"kind": "sent"}), "B may be unsafe.")
        self.assertContains(self.client.get(self.url("item", item.pk)), "B may be unsafe.")
        self.client.post(self.url("item-decide", item.pk), {"do": "dismiss"})
        skip.refresh_from_db()
        assert skip.resolved_at is not None
        self.assertNotContains(self.client.get(self.url("review"), {"kind": "sent"}), "B may be unsafe.")

    def test_known_answers_missed_name_who_missed_them(self) -> None:
        (item,) = self.gold_missed_by(self.bob)
        self.sign_in(self.alice)
        page = self.client.get(self.url("review"), {"kind": "gold"})
        self.assertContains(page, "0 of 3")
        self.assertContains(page, self.url("item", item.pk))

    def test_where_nothing_waits_it_says_what_would(self) -> None:
        self.sign_in(self.alice)
        for kind, words in (
            ("disagreements", "No disagreements"),
            ("sent", "Nothing sent to review"),
            ("gold", "No failed gold items"),
            ("flagged", "No flagged judgments"),
        ):
            self.assertContains(self.client.get(self.url("review"), {"kind": kind}), words)
        assert self.client.get(self.url("review"), {"kind": "x", "page": "-1"}).status_code == 200

    def test_its_queries_do_not_grow_with_the_items(self) -> None:
        self.judged(*[[[1, 2, 3], [3, 2, 1]]] * 6)
        flag_for_review(
            judgments=Judgment.objects.values_list("pk", flat=True), reason=ReviewFlag.Reason.REWARDS
        )
        self.sign_in(self.alice)
        # user; membership; how many disagreements, sent, flagged, questions; the filters' people, whether the project is large,
        # its tags, versions; the rows; how many match; views
        with self.assertNumQueries(13):
            self.client.get(self.url("review"))
        # how many match is counted with the rows where the agreement is; one for the filter's person
        with self.assertNumQueries(13):
            assert self.client.get(self.url("review"), {"annotator": "bob"}).context["listing"].count == 6
        # the rows come with their judgments, people and prompts; there is no filter by version
        with self.assertNumQueries(12):
            self.client.get(self.url("review"), {"kind": "flagged"})


class ReviewFlagTests(AnalyticsTestCase):
    """Judgments that reward models find odd come to a reviewer, once."""

    def flagged_item(self) -> tuple[Item, Judgment]:
        (item,) = self.judged([[1, 2, 3], [1, 2, 3]])
        judgment = Judgment.objects.get(item=item, annotator=self.erin)
        assert flag_for_review(judgments=[judgment.pk], reason=ReviewFlag.Reason.REWARDS) == 1
        return item, judgment

    def listed(self) -> list[int]:
        self.sign_in(self.dana)
        page = self.client.get(self.url("review"), {"kind": "flagged"})
        return [flag.judgment_id for flag in page.context["listing"].page.rows]

    def test_it_waits_with_its_reason_and_leads_to_its_item(self) -> None:
        item, judgment = self.flagged_item()
        assert self.listed() == [judgment.pk]
        page = self.client.get(self.url("review"), {"kind": "flagged"})
        self.assertContains(page, "Two reward models disagree with it")
        self.assertContains(page, self.url("annotator", "erin"))
        self.assertContains(page, self.url("item", item.pk))
        self.assertContains(self.client.get(self.url("item", item.pk)), "judgment by erin")

    def test_it_is_dismissed_and_not_asked_again(self) -> None:
        item, judgment = self.flagged_item()
        self.sign_in(self.alice)
        self.client.post(self.url("item-decide", item.pk), {"do": "dismiss"})
        assert ReviewFlag.objects.get().resolved_at is not None
        assert flag_for_review(judgments=[judgment.pk], reason=ReviewFlag.Reason.REWARDS) == 0
        assert self.listed() == []
        self.assertNotContains(self.client.get(self.url("item", item.pk)), "reward models disagree with it")

    def test_a_verdict_answers_it_too(self) -> None:
        item, _ = self.flagged_item()
        self.sign_in(self.dana)
        ranks = {"rank-A": 1, "rank-B": 2, "rank-C": 3}
        self.client.post(self.url("item-decide", item.pk), ranks | {"do": "verdict"})
        assert self.listed() == []
        assert Verdict.objects.count() == 1

    def test_twice_is_once_and_what_was_revised_is_left_out(self) -> None:
        _, judgment = self.flagged_item()
        assert flag_for_review(judgments=[judgment.pk], reason=ReviewFlag.Reason.REWARDS) == 0
        assert ReviewFlag.objects.count() == 1
        first = Judgment.objects.get(annotator=self.bob)
        Judgment.objects.create(
            item=first.item,
            project_id=first.item.project_id,
            slot=first.slot,
            annotator=self.bob,
            shown_order=first.shown_order,
            seconds=1,
            supersedes=first,
            idempotency_key=builders.uuid.uuid4(),
        )
        assert flag_for_review(judgments=[first.pk, 10**9], reason=ReviewFlag.Reason.REWARDS) == 0

    def test_another_project_s_doubts_are_not_shown(self) -> None:
        other = builders.project(self.charlie, "Other", k=3)
        builders.join(other, self.bob, "annotator")
        builders.items(other, 1, k=3)
        flag_for_review(judgments=[builders.judgment(other, self.bob).pk], reason=ReviewFlag.Reason.REWARDS)
        assert self.listed() == []

    def test_where_nobody_differs_the_next_to_review_is_a_doubted_one(self) -> None:
        one, two = self.judged([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [1, 2, 3]])
        flag_for_review(
            judgments=Judgment.objects.filter(item=two).values_list("pk", flat=True)[:1],
            reason=ReviewFlag.Reason.REWARDS,
        )
        self.sign_in(self.dana)
        assert self.client.get(self.url("item", one.pk)).context["next"] == two.pk
        assert self.client.get(self.url("item", two.pk)).context["next"] is None


class ItemTests(AnalyticsTestCase):
    def item(self) -> Item:
        return self.judged([[1, 2, 3], [3, 2, 1]])[0]

    def ranked(self, *ranks: int) -> dict[str, object]:
        return {f"rank-{letter}": rank for letter, rank in zip("ABC", ranks, strict=True)}

    def test_leads_and_reviewers_open_and_decide(self) -> None:
        item = self.item()
        self.who_may("item", item.pk, alice=200, dana=200, bob=403)
        data = self.ranked(1, 2, 2) | {"do": "verdict"}
        self.who_may("item-decide", item.pk, method="post", data=data, alice=302, dana=302, bob=403)
        assert self.client.get(self.url("item-decide", item.pk)).status_code == 405

    def test_another_project_s_item_is_not_found(self) -> None:
        other = builders.project(self.charlie, "Other", k=3)
        builders.items(other, 1, k=3)
        self.sign_in(self.alice)
        pk = Item.objects.get(project=other).pk
        assert self.client.get(self.url("item", pk)).status_code == 404
        assert (
            self.client.post(self.url("item-decide", pk), {"do": "retire", "reason": "x"}).status_code == 404
        )

    def test_it_shows_everybody_s_ranks_and_the_consensus(self) -> None:
        item = self.item()
        self.sign_in(self.dana)
        shown = self.client.get(self.url("item", item.pk)).context["review"]
        assert {judgment.name: judgment.ranks for judgment in shown.judgments} == {
            "bob": [1, 2, 3],
            "erin": [3, 2, 1],
        }
        assert shown.consensus == [1, 1, 1]
        assert shown.agreement == 0
        filled = self.client.get(self.url("item", item.pk), {"fill": "consensus"})
        assert [rank for _, rank in filled.context["cards"]] == [1, 1, 1]

    def test_what_was_refused_as_unsafe_stands_beside_what_counts(self) -> None:
        item = self.item()
        first, second, third = sorted(item.responses.values_list("pk", flat=True))
        data = {
            "ranks": {str(first): 1, str(second): 2, str(third): "x"},
            "marks": {str(first): {"safe": False}, str(second): {"safe": True}, str(third): 7},
        }
        Skip.objects.create(item=item, annotator=self.dana, reason=Skip.Reason.REVIEW, data=data)
        self.sign_in(self.alice)
        page = self.client.get(self.url("item", item.pk))
        self.assertContains(page, "unsafe preferred; refused")
        (request,) = page.context["review"].review_requests
        assert [(rating.rank, rating.safe) for rating in request.ratings] == [
            (1, False),
            (2, True),
            (None, None),
        ]
        for unsafe, safe in ((2, 1), (1, 1)):
            Skip.objects.update(
                data={"ranks": {str(first): unsafe, str(second): safe}, "marks": data["marks"]}
            )
            self.assertNotContains(self.client.get(self.url("item", item.pk)), "unsafe preferred; refused")

    def test_a_verdict_is_kept_dense_and_audited_and_the_next_opens(self) -> None:
        first, second = self.judged([[1, 2, 3], [3, 2, 1]], [[1, 2, 3], [3, 2, 1]])
        self.sign_in(self.dana)
        data = self.ranked(3, 1, 1) | {"do": "verdict", "note": "A is wrong.", "next": "1"}
        response = self.client.post(self.url("item-decide", first.pk), data)
        self.assertRedirects(response, self.url("item", second.pk))
        verdict = Verdict.objects.get()
        assert list(verdict.ranks.values()) == [2, 1, 1]
        assert (verdict.reviewer, verdict.note, verdict.degree) == (self.dana, "A is wrong.", None)
        entry = AuditEntry.objects.get(verb="verdict.given")
        assert (entry.actor, entry.data["item"]) == (self.dana, first.pk)

    def test_a_verdict_lacking_a_rank_is_refused_and_keeps_what_was_entered(self) -> None:
        item = self.item()
        self.sign_in(self.dana)
        data = self.ranked(1, 2, 3) | {"do": "verdict", "note": "Because."}
        data.popitem(), data.pop(next(iter(data)))
        response = self.client.post(
            self.url("item-decide", item.pk), data | {"do": "verdict", "note": "Because."}
        )
        self.assertContains(response, "Every answer needs a rank", status_code=422)
        self.assertContains(response, "Because.", status_code=422)
        for ranks in ((0, 1, 2), (1, 2, 9)):
            assert (
                self.client.post(
                    self.url("item-decide", item.pk), self.ranked(*ranks) | {"do": "verdict"}
                ).status_code
                == 422
            )
        assert self.client.post(self.url("item-decide", item.pk), {"do": "sing"}).status_code == 422
        assert not Verdict.objects.exists()

    def test_gold_needs_an_order_and_an_explanation(self) -> None:
        item = self.item()
        self.sign_in(self.alice)
        url = self.url("item-decide", item.pk)
        assert self.client.post(url, self.ranked(1, 1, 1) | {"do": "gold", "note": "x"}).status_code == 422
        self.assertContains(
            self.client.post(url, self.ranked(1, 2, 3) | {"do": "gold"}), "Say why", status_code=422
        )
        item.refresh_from_db()
        assert item.gold is None
        self.client.post(url, self.ranked(1, 2, 3) | {"do": "gold", "note": "A answers it."})
        item.refresh_from_db()
        assert item.gold is not None
        assert list(item.gold.values()) == [1, 2, 3]
        assert item.gold_explanation == "A answers it."
        assert AuditEntry.objects.filter(verb="item.gold", actor=self.alice).count() == 1

    def test_a_retired_item_waits_for_nobody_and_comes_back(self) -> None:
        builders.items(self.project, 1, k=3)
        item = Item.objects.get()
        self.sign_in(self.dana)
        url = self.url("item-decide", item.pk)
        assert self.client.post(url, {"do": "retire", "reason": ""}).status_code == 422
        self.client.post(url, {"do": "retire", "reason": "Broken table."})
        item.refresh_from_db()
        assert (item.state, item.retired_reason) == ("retired", "Broken table.")
        assert not item.slots.exclude(state=Slot.State.DONE).exists()
        assert builders.leases.claim(project=self.project, annotator=self.bob) is None
        self.client.post(url, {"do": "reopen"})
        item.refresh_from_db()
        assert (item.state, item.slots.count()) == ("open", 2)
        assert builders.leases.claim(project=self.project, annotator=self.bob) is not None
        verbs = set(AuditEntry.objects.values_list("verb", flat=True))
        assert {"item.retired", "item.reopened"} <= verbs

    def test_a_known_answer_is_forgotten_by_reopening(self) -> None:
        (item,) = self.gold_missed_by(self.bob)
        self.sign_in(self.alice)
        self.client.post(self.url("item-decide", item.pk), {"do": "reopen"})
        item.refresh_from_db()
        assert (item.gold, item.gold_explanation, item.slots.count()) == (None, "", 2)

    def test_judgments_made_for_a_known_answer_are_not_the_item_s_own_once_it_is_forgotten(self) -> None:
        builders.items(self.project, 1, k=3)
        builders.judgment(self.project, self.erin)  # before anybody knew
        item = Item.objects.get()
        builders.imported(self.project, {"prompt": "Besides?", "responses": ["a", "b", "c"]})
        ranks = {pk: n for n, pk in enumerate(sorted(item.responses.values_list("pk", flat=True)), start=1)}
        make_gold(item=item, actor=self.alice, ranks=ranks, explanation="It is known.")
        Project.objects.filter(pk=self.project.pk).update(gold_rate=1.0)
        self.project.refresh_from_db()
        builders.judgment(self.project, self.bob)
        builders.leases.claim(project=self.project, annotator=self.dana)
        reopen(item=item, actor=self.alice)
        slots = item.slots.order_by("gold", "state").values_list("gold", "state", "annotator")
        assert list(slots) == [
            (False, "done", self.erin.pk),
            (False, "open", None),
            (True, "done", self.bob.pk),
        ]
        assert queries.progress(self.project).total == 2 + self.project.overlap

    def test_its_queries_do_not_grow_with_what_was_said(self) -> None:
        item = self.item()
        self.sent(item, self.dana)
        self.sign_in(self.alice)
        # user; membership; item, responses; judgments, placements; skips; review flags; verdicts; slots; imported
        # judgments; opinions; questions; the next to review, of those on which people differ and of those that are flagged
        with self.assertNumQueries(15):
            self.client.get(self.url("item", item.pk))

    def test_a_verdict_takes_nobody_s_turn(self) -> None:
        builders.items(self.project, 1, k=3)
        item = builders.judgment(self.project, self.bob).item
        self.sign_in(self.dana)
        self.client.post(self.url("item-decide", item.pk), self.ranked(2, 1, 3) | {"do": "verdict"})
        self.client.post(self.url("item-decide", item.pk), self.ranked(1, 2, 3) | {"do": "verdict"})
        assert [list(one.ranks.values()) for one in Verdict.objects.order_by("id")] == [[2, 1, 3], [1, 2, 3]]
        assert sorted(item.slots.values_list("state", flat=True)) == ["done", "open"]

    def test_a_known_answer_brings_a_retired_item_back(self) -> None:
        item = self.item()
        self.sign_in(self.dana)
        url = self.url("item-decide", item.pk)
        self.client.post(url, {"do": "retire", "reason": "Broken."})
        self.client.post(url, self.ranked(1, 2, 3) | {"do": "gold", "note": "It is known."})
        item.refresh_from_db()
        assert (item.state, item.retired_reason) == ("open", "")

    def test_whatever_is_decided_answers_what_was_sent(self) -> None:
        item = self.item()
        skip = self.sent(item, self.dana)
        self.sign_in(self.dana)
        for data in (
            {"do": "verdict"},
            {"do": "gold", "note": "It is known."},
            {"do": "retire", "reason": "Broken."},
        ):
            Skip.objects.update(resolved_at=None)
            self.client.post(self.url("item-decide", item.pk), self.ranked(1, 2, 3) | data)
            skip.refresh_from_db()
            assert skip.resolved_at is not None, data


class CompareItemTests(AnalyticsTestCase):
    k = 2

    def test_of_two_answers_a_verdict_is_one_press_with_its_degree(self) -> None:
        (item,) = self.judged([[1, 2], [2, 1]])
        self.sign_in(self.dana)
        url = self.url("item-decide", item.pk)
        assert self.client.post(url, {"do": "verdict"}).status_code == 422
        assert self.client.post(url, {"do": "verdict", "choice": "1-hugely"}).status_code == 422
        self.client.post(url, {"do": "verdict", "choice": "1-slightly"})
        verdict = Verdict.objects.get()
        assert (list(verdict.ranks.values()), verdict.degree) == ([2, 1], "slightly")
        page = self.client.get(self.url("item", item.pk))
        assert [c["value"] for c in page.context["choices"] if c["checked"]] == ["1-slightly"]
