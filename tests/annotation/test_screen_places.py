"""Where the answers of a judgment stood on its annotator's screen: on the item's page, in the list and in its file."""

from __future__ import annotations

import csv

from annotation.analytics.items import item_review
from annotation.models import Judgment
from tests.analytics import AnalyticsTestCase


class ScreenPlaceTests(AnalyticsTestCase):
    def setUp(self) -> None:
        self.judged(*[[[1, 2, 3], [2, 1, 3]]] * 8)
        self.sign_in(self.dana)
        # the order on the screen is random: of 8 judgments, one in another order than the letters
        self.judgment = next(
            judgment
            for judgment in Judgment.objects.filter(annotator=self.bob)
            if judgment.shown_order != sorted(judgment.shown_order)
        )
        self.places = [self.judgment.shown_order.index(pk) + 1 for pk in sorted(self.judgment.shown_order)]

    def test_the_item_s_page_has_each_answer_s_place(self) -> None:
        item = self.judgment.item
        mine = next(one for one in item_review(item).judgments if one.name == "bob")
        assert [rating.place for rating in mine.ratings] == self.places
        page = self.client.get(self.url("item", item.pk)).content.decode()
        row = page.partition(">bob</a>")[2].partition("</tr>")[0]
        assert [part[0] for part in row.split("place ")[1:]] == [str(place) for place in self.places]

    def test_the_list_and_its_file_have_the_order_on_the_screen(self) -> None:
        letters = " ".join("ABC"[self.places.index(place)] for place in (1, 2, 3))
        page = self.client.get(self.url("judgments") + "?annotator=bob").content.decode()
        assert f"on screen: {letters}" in page
        response = self.client.get(self.url("judgments") + "?annotator=bob&format=csv")
        lines = b"".join(response).decode("utf-8-sig").splitlines()  # type: ignore[arg-type]
        row = next(row for row in csv.DictReader(lines) if row["item"] == str(self.judgment.item_id))
        assert (row["order"], row["screen_order"]) == ("A > B > C", letters)
