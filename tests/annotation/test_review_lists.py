"""The lists of what waits for a reviewer: order, filters, pages, files, and acts on several rows."""

from __future__ import annotations

import csv
import io
from typing import Any

from annotation.actions import messages
from annotation.actions.review import flag_for_review, give_verdict
from annotation.lists.listing import Listing
from annotation.lists.review import REVIEW
from annotation.models import Item, Judgment, ReviewFlag, SavedView, Skip
from tests import builders
from tests.annotation.test_bulk import BulkTestCase

AGREE, DIFFER = [[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [3, 2, 1]]


class ReviewListTests(BulkTestCase):
    def listing(self, query: str = "", **data: str) -> Listing:
        found: Listing = self.client.get(self.url("review") + query, data or None).context["listing"]
        return found

    def items_of(self, **data: str) -> list[int]:
        listing = self.listing(**data)
        return [listing.definition.subject(row) for row in listing.page.rows]

    def file(self, query: str) -> list[dict[str, str]]:
        response = self.client.get(self.url("review") + query)
        text = b"".join(response).decode()  # type: ignore[arg-type]
        return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))

    def test_pages_have_every_disagreement_once_in_both_orders(self) -> None:
        items = [item.pk for item in self.judged(*[DIFFER] * 3, [[1, 2, 3], [2, 3, 1]])]
        *worst, mild = items
        definition = REVIEW["disagreements"]
        object.__setattr__(definition, "size", 2)
        self.addCleanup(object.__setattr__, definition, "size", 50)
        self.sign_in(self.dana)
        for query, expected in (
            ("", [*sorted(worst), mild]),
            ("?sort=-agreement", [mild, *sorted(worst, reverse=True)]),
            # the agreement is counted then, of what somebody was part of
            ("?annotator=bob&days=7", [*sorted(worst), mild]),
            ("?annotator=bob&sort=-agreement", [mild, *sorted(worst, reverse=True)]),
        ):
            first = self.listing(query)
            second = self.listing(first.older)
            assert [row.pk for page in (first, second) for row in page.page.rows] == expected, query
            assert not second.older
            assert [row.pk for row in self.listing(second.newer).page.rows] == expected[:2], query
            assert (first.count, second.count) == (4, 4)
        assert self.items_of(after="x") == sorted(worst)[:2]
        assert self.items_of(annotator="dana") == []

    def test_another_kind_keeps_the_filters_and_unknown_people_are_ignored(self) -> None:
        first, second = self.judged(AGREE, AGREE)
        self.sent(first, self.dana, note="Hm.")
        self.sent(second, self.alice, note="Hm.")
        self.sign_in(self.alice)
        assert self.items_of(kind="sent") == [first.pk, second.pk]
        assert self.items_of(kind="sent", sort="-sent") == [second.pk, first.pk]
        assert self.items_of(kind="sent", annotator="nobody") == [first.pk, second.pk]
        listing = self.listing(kind="sent", annotator="dana", sort="-sent")
        assert [row.item_id for row in listing.page.rows] == [first.pk]
        assert listing.query == "?kind=sent&annotator=dana&sort=-sent"
        assert [chip.query for chip in listing.chips] == ["?kind=sent&sort=-sent"]
        page = self.client.get(self.url("review"), {"kind": "sent", "annotator": "dana"})
        self.assertContains(page, '<input type="hidden" name="kind" value="sent">')
        self.assertContains(page, f'href="{self.url("review")}?kind=sent">Clear')
        self.assertContains(page, "?annotator=dana&amp;kind=flagged")
        Skip.objects.filter(item=first).update(created_at="2020-01-01T00:00Z")
        assert self.items_of(kind="sent", days="30") == [second.pk]

    def test_each_kind_is_a_file_too(self) -> None:
        (item,) = self.judged(DIFFER)
        self.sent(item, self.dana, note="=1+1")
        flag_for_review(
            judgments=Judgment.objects.values_list("pk", flat=True), reason=ReviewFlag.Reason.REWARDS
        )
        messages.ask(item=item, annotator=self.bob, text="And tables?")
        self.gold_missed_by(self.bob)
        self.sign_in(self.dana)
        (row,) = self.file("?format=csv&annotator=bob")
        assert (row["item"], row["agreement"]) == (str(item.pk), "0.0")
        (row,) = self.file("?kind=sent&format=csv")
        assert (row["annotator"], row["note"]) == (self.dana.pseudonym, "'=1+1")
        flagged = self.file("?kind=flagged&format=csv")
        assert [row["annotator"] for row in flagged] == [self.bob.pseudonym, self.erin.pseudonym]
        (row,) = self.file("?kind=questions&format=csv")
        assert (row["annotator"], row["question"]) == (self.bob.pseudonym, "And tables?")
        (row,) = self.file("?kind=gold&format=csv")
        assert (row["annotator"], row["right"], row["pairs"]) == (self.bob.pseudonym, "0", "3")

    def test_a_view_of_a_kind_is_saved(self) -> None:
        self.sign_in(self.dana)
        save = self.url("view-save", "review")
        response = self.client.post(save, {"name": "Theirs", "query": "?kind=sent&annotator=bob"})
        assert response.url == f"{self.url('review')}?kind=sent&annotator=bob"
        assert SavedView.objects.get().list == "review"
        self.assertContains(self.client.get(response.url), "Theirs")
        self.sign_in(self.bob)
        assert self.client.post(save, {"name": "x", "query": ""}).status_code == 403

    def test_leads_and_reviewers_act(self) -> None:
        for name in ("review-bulk", "review-undo"):
            for person, status in ((self.charlie, 404), (self.bob, 403), (self.dana, 302), (self.alice, 302)):
                self.sign_in(person)
                assert self.client.post(self.url(name), {"do": "resolve"}).status_code == status, person
            self.client.logout()
            assert self.client.post(self.url(name)).url.startswith("/sign-in/")

    def test_requests_are_resolved_at_once_and_wait_again_after_an_undo(self) -> None:
        first, second, third = self.judged(AGREE, AGREE, AGREE)
        for item in (first, second):
            self.sent(item, self.dana)
        self.sent(first, self.alice)
        self.sign_in(self.dana)
        page = self.act("review", "resolve", first.pk, second.pk, third.pk, query="kind=sent")
        assert page.redirect_chain == [(f"{self.url('review')}?kind=sent", 302)]
        assert self.messages_of(page) == [
            "The review requests of 2 items are resolved. 1 row stays as it was."
        ]
        assert self.items_of(kind="sent") == []
        give_verdict(item=second, reviewer=self.alice, ranks=self.ranks(second))
        undone = self.undo(page)
        assert undone == [
            "1 row is as it was before.",
            "1 row was not put back: somebody has changed it since.",
        ]
        assert self.items_of(kind="sent") == [first.pk, first.pk]

    def ranks(self, item: Item) -> dict[int, int]:
        return {pk: n for n, pk in enumerate(item.responses.values_list("pk", flat=True), 1)}

    def test_all_that_match_are_acted_on_by_their_items(self) -> None:
        items = self.judged(AGREE, AGREE)
        judgments = Judgment.objects.values_list("pk", flat=True)
        flag_for_review(judgments=judgments, reason=ReviewFlag.Reason.REWARDS)
        self.sign_in(self.alice)
        page = self.act("review", "resolve", query="kind=flagged&annotator=bob", all="on")
        assert self.messages_of(page) == ["The review requests of 2 items are resolved."]
        assert not ReviewFlag.objects.filter(resolved_at=None).exists()
        assert self.undo(page) == ["2 rows are as they were before."]
        assert ReviewFlag.objects.filter(resolved_at=None).count() == 4
        page = self.act("review", "retire", query="kind=flagged", all="on", reason="Broken.")
        assert self.messages_of(page) == ["2 items are retired."]
        assert {item.state for item in Item.objects.filter(pk__in=[i.pk for i in items])} == {"retired"}

    def test_disagreements_are_restricted_and_other_kinds_have_no_acts(self) -> None:
        (item,) = self.judged(DIFFER)
        self.gold_missed_by(self.bob)
        self.sign_in(self.dana)
        page = self.act("review", "restrict", item.pk)
        assert self.messages_of(page) == ["1 item is for reviewers only."]
        assert self.undo(page) == ["1 row is as it was before."]
        for kind in ("gold", "questions"):
            self.assertNotContains(self.client.get(self.url("review"), {"kind": kind}), 'id="bulk"')
            page = self.act("review", "retire", item.pk, query=f"kind={kind}", reason="No.")
            assert self.messages_of(page) == ["Select some rows, and press one of the buttons."]

    def test_another_project_s_rows_stay(self) -> None:
        other = builders.project(self.charlie, "Other", k=3)
        builders.items(other, 1, k=3)
        item = Item.objects.get(project=other)
        skip: Any = Skip.objects.create(item=item, annotator=self.charlie, reason=Skip.Reason.REVIEW)
        self.sign_in(self.alice)
        assert self.items_of(kind="sent") == []
        self.act("review", "resolve", item.pk, query="kind=sent")
        skip.refresh_from_db()
        assert skip.resolved_at is None
