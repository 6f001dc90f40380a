"""Lists: their order, filters, pages and files."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotation.lists.items import ITEMS
from annotation.lists.judgments import JUDGMENTS
from annotation.lists.keyset import read_all
from annotation.lists.listing import Listing
from annotation.models import Item, Judgment, Member, Prompt
from tests import builders
from tests.analytics import AnalyticsTestCase


class ListTestCase(AnalyticsTestCase):
    def listing(self, name: str, query: str = "", **data: str) -> Listing:
        found: Listing = self.client.get(self.url(name) + query, data or None).context["listing"]
        return found

    def walk(self, name: str, query: str = "", size: int = 2) -> list[int]:
        """The ids of all rows, page by page forth; going back gives the same pages."""
        definition = {"items": ITEMS, "judgments": JUDGMENTS}[name]
        object.__setattr__(definition, "size", size)
        self.addCleanup(object.__setattr__, definition, "size", 50)
        forth = [self.listing(name, query)]
        while forth[-1].older:
            forth.append(self.listing(name, forth[-1].older))
        back = [forth[-1]]
        while back[-1].newer:
            back.append(self.listing(name, back[-1].newer))
        pages = [[row.pk for row in listing.page.rows] for listing in forth]
        assert [[row.pk for row in listing.page.rows] for listing in back[::-1]] == pages
        return [pk for page in pages for pk in page]

    def rows_of_file(self, name: str, query: str = "") -> list[dict[str, str]]:
        response = self.client.get(self.url(name) + (query or "?") + "&format=csv")
        assert response["Content-Type"] == "text/csv; charset=utf-8"
        assert response["Content-Disposition"] == f'attachment; filename="{name}-{self.project.slug}.csv"'
        text = b"".join(response).decode()  # type: ignore[arg-type]
        assert text.startswith("\ufeff")
        return list(csv.DictReader(io.StringIO(text[1:])))


class PageTests(ListTestCase):
    def test_pages_have_every_row_once_in_both_directions_and_orders(self) -> None:
        items = [item.pk for item in self.judged(*[[[1, 2, 3], [1, 2, 3]]] * 4, [[1, 2, 3], [3, 2, 1]])]
        worst, *alike = items[-1], *sorted(items[:-1])
        self.sign_in(self.dana)
        assert self.walk("items") == sorted(items, reverse=True)
        assert self.walk("items", "?sort=item") == sorted(items)
        # four of them agree alike: by their ids then
        assert self.walk("items", "?sort=agreement") == [worst, *alike]
        assert self.walk("items", "?sort=-agreement") == [*alike[::-1], worst]
        judgments = sorted(Judgment.objects.values_list("pk", flat=True))
        assert self.walk("judgments", size=3) == judgments[::-1]
        assert self.walk("judgments", "?sort=judgment&annotator=bob", size=3) == [
            pk for pk in judgments if Judgment.objects.get(pk=pk).annotator == self.bob
        ]

    def test_a_position_that_is_none_or_beyond_the_last_row_shows_the_first_page(self) -> None:
        self.more_items(3)
        self.sign_in(self.alice)
        first = [row.pk for row in self.listing("items").page.rows]
        for query in ("?after=x", "?after=1,2", "?before=%00", "?after=0", f"?after={2**63}", "?before=nan"):
            assert [row.pk for row in self.listing("items", query).page.rows] == first, query
        assert [row.pk for row in self.listing("items", "?sort=agreement&after=nan,x").page.rows] == []

    def test_a_page_costs_the_same_wherever_it_is(self) -> None:
        """No row is skipped: the condition is on the order's own columns, and the index has them."""
        self.more_items(6)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            rows = Item.objects.filter(project=self.project)
            assert len(list(read_all(rows, ITEMS.sorts["item"], descending=True, size=2))) == 3
        assert len(queries) == 4
        assert not any("OFFSET" in query["sql"] for query in queries)
        assert 'WHERE ("annotation_item"."project_id"' in queries[1]["sql"]
        assert re.search(r'\("annotation_item"\."id"\) < \(\d+\)', queries[1]["sql"])


class SortTests(ListTestCase):
    def test_the_head_that_is_sorted_by_says_how_and_a_click_turns_it_around(self) -> None:
        self.judged([[1, 2, 3], [1, 2, 3]])
        self.sign_in(self.alice)
        page = self.client.get(self.url("items"), {"state": "done"})
        path = self.url("items")
        self.assertContains(page, '<th scope="col" aria-sort="descending">', count=1)
        self.assertContains(page, f'href="{path}?state=done&amp;sort=item"')
        self.assertContains(page, f'href="{path}?state=done&amp;sort=agreement"')
        page = self.client.get(self.url("items"), {"state": "done", "sort": "agreement"})
        self.assertContains(page, '<th scope="col" class="number" aria-sort="ascending">', count=1)
        self.assertContains(page, f'href="{path}?state=done&amp;sort=-agreement"')
        self.assertContains(page, f'href="{path}?state=done"')

    def test_people_are_sorted_by_any_column_and_who_lacks_a_value_comes_last(self) -> None:
        self.more_items(3)
        builders.judgment(self.project, self.erin)
        self.sign_in(self.alice)

        def names(**query: str) -> list[str]:
            return [row.member.user.username for row in self.listing("members", **query).page.rows]

        assert names() == ["erin", "alice", "bob", "dana"]
        assert names(sort="person") == ["alice", "bob", "dana", "erin"]
        assert names(sort="-person") == ["erin", "dana", "bob", "alice"]
        assert names(sort="role") == ["erin", "bob", "alice", "dana"]
        assert names(sort="-total")[0] == names(sort="last")[0] == names(sort="-last")[0] == "erin"
        assert names(role="annotator") == ["erin", "bob"]
        assert names(state="paused") == []
        Member.objects.filter(user=self.bob).update(paused_at="2026-11-20T12:00Z")
        assert names(state="paused") == ["bob"]
        assert names(role="nonsense") == names()


class FilterTests(ListTestCase):
    def test_filters_that_are_set_are_shown_with_a_way_to_remove_each(self) -> None:
        self.more_items(1)
        self.sign_in(self.alice)
        listing = self.listing("items", state="open", text="Question", sort="item", version="x", to="soon")
        assert [(chip.label, chip.value, chip.query) for chip in listing.chips] == [
            ("Search prompts", "Question", "?state=open&sort=item"),
            ("State", "Open", "?text=Question&sort=item"),
        ]
        both = self.listing("items", **{"from": "2026-11-20", "to": "2026-11-21"})
        assert [(str(chip.value), chip.query) for chip in both.chips] == [
            ("Judged from 20 November 2026 to 21 November 2026", "?")
        ]
        page = self.client.get(self.url("items"), {"state": "retired"})
        self.assertContains(page, "Nothing matches")
        self.assertContains(page, f'class="button" href="{self.url("items")}"')

    def test_htmx_gets_the_address_without_empty_filters(self) -> None:
        self.sign_in(self.alice)
        query = {"text": "", "state": "open", "tag": "", "after": "9", "sort": "odd"}
        page = self.client.get(self.url("items"), query, headers={"HX-Request": "true"})
        assert page["HX-Push-Url"] == f"{self.url('items')}?state=open"
        assert "HX-Push-Url" not in self.client.get(self.url("items"), query)

    def test_it_works_without_scripts(self) -> None:
        self.sign_in(self.alice)
        for name in ("items", "judgments", "members", "review", "progress", "audit"):
            page = self.client.get(self.url(name)).content.decode()
            forms = re.findall(r'<form class="filters".*?</form>', page, re.DOTALL)
            assert forms, name
            assert all("<noscript>" in form and 'type="submit"' in form for form in forms), name


class JudgmentTests(ListTestCase):
    def test_leads_and_reviewers_see_it(self) -> None:
        self.who_may("judgments", alice=200, dana=200, bob=403)

    def test_it_has_what_counts_and_no_other_project_s(self) -> None:
        self.judged([[1, 2, 2], [3, 1, 2]])
        other = builders.project(self.charlie, "Other", k=3)
        builders.items(other, 1, k=3)
        builders.judgment(other, self.charlie)
        self.sign_in(self.dana)
        page = self.client.get(self.url("judgments"))
        assert [(row.annotator.username, words) for row, words, _screen in page.context["rows"]] == [
            ("erin", "B > C > A"),
            ("bob", "A > B = C"),
        ]
        assert self.listing("judgments", annotator="dana").page.rows == []
        assert self.listing("judgments", days="1").count == 2
        self.moved(
            Judgment.objects.get(annotator=self.bob),
            Judgment.objects.earliest("pk").created_at.replace(year=2020),
        )
        assert [row.annotator for row in self.listing("judgments", days="30").page.rows] == [self.erin]

    def test_its_queries_do_not_grow_with_the_judgments(self) -> None:
        self.judged(*[[[1, 2, 3], [1, 2, 3]]] * 5)
        self.sign_in(self.alice)
        # user; membership; judgments, their placements; how many; the filter's people; views
        with self.assertNumQueries(7):
            self.client.get(self.url("judgments"))


class FileTests(ListTestCase):
    def test_a_file_has_what_the_list_has_and_no_formula(self) -> None:
        one, two = self.judged([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [3, 2, 1]])
        evil = [{"role": "user", "content": "=HYPERLINK(1)"}]
        Prompt.objects.filter(items=two).update(messages=evil, tags=["maths", "web"])
        self.sign_in(self.dana)
        rows = self.rows_of_file("items", "?sort=agreement")
        assert [(row["item"], row["agreement"], row["prompt"]) for row in rows] == [
            (str(two.pk), "0.0", "'=HYPERLINK(1)"),
            (str(one.pk), "1.0", one.prompt.messages[-1]["content"]),
        ]
        assert (rows[0]["tags"], rows[0]["state"], rows[0]["judgments"]) == ("maths; web", "done", "2")
        assert [row["item"] for row in self.rows_of_file("items", "?tag=maths")] == [str(two.pk)]
        judgments = self.rows_of_file("judgments", "?annotator=bob")
        assert [(row["annotator"], row["order"], row["counts"]) for row in judgments] == [
            (self.bob.pseudonym, "A > B > C", "yes")
        ] * 2

    def test_a_file_of_people_is_for_leads(self) -> None:
        self.more_items(1)
        builders.judgment(self.project, self.bob)
        self.sign_in(self.alice)
        rows = self.rows_of_file("members")
        assert (rows[0]["person"], rows[0]["role"], rows[0]["total"]) == ("bob", "annotator", "1")
        for person, status in ((self.dana, 403), (self.charlie, 404)):
            self.sign_in(person)
            assert self.client.get(self.url("members"), {"format": "csv"}).status_code == status

    def test_a_long_file_is_read_in_parts(self) -> None:
        self.more_items(5)
        rows: Any = Item.objects.filter(project=self.project)
        parts = list(read_all(rows, ITEMS.sorts["item"], descending=False, size=2))
        assert [len(part) for part in parts] == [2, 2, 1]
        assert [item.pk for part in parts for item in part] == sorted(rows.values_list("pk", flat=True))
