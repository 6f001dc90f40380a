"""The list of items: what finds them, and in which order."""

from __future__ import annotations

from django.db import connection

from annotation.models import Item, Prompt, Response, Skip, User
from tests import builders
from tests.analytics import AnalyticsTestCase


class ItemsTests(AnalyticsTestCase):
    def test_leads_and_reviewers_see_it(self) -> None:
        self.who_may("items", alice=200, dana=200, bob=403)

    def rows(self, **query: object) -> list[Item]:
        return list(self.client.get(self.url("items"), query).context["listing"].page.rows)

    def item_ids(self, **query: object) -> set[int]:
        self.sign_in(self.alice)
        return {item.pk for item in self.rows(**query)}

    def test_it_finds_by_state_words_tag_person_and_day(self) -> None:
        done, decided = self.judged([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [1, 3, 2]])
        self.sign_in(self.alice)
        ranks = {"rank-A": 1, "rank-B": 2, "rank-C": 3}
        self.client.post(self.url("item-decide", decided.pk), ranks | {"do": "verdict"})
        Prompt.objects.filter(items=done).update(tags=["maths"], metadata={"source": "web", "length": 3})
        assert self.item_ids() == {done.pk, decided.pk}
        assert self.item_ids(state="done") == {done.pk, decided.pk}
        assert self.item_ids(state="decided") == {decided.pk}
        assert (
            self.item_ids(state="open")
            == self.item_ids(state="gold")
            == self.item_ids(state="retired")
            == set()
        )
        assert self.item_ids(tag="maths") == {done.pk}
        assert self.item_ids(metadata="source=web") == self.item_ids(metadata="length = 3") == {done.pk}
        assert self.item_ids(metadata="source=book") == set()
        assert self.item_ids(metadata="source") == {done.pk, decided.pk}, "not of that form"
        self.assertContains(
            self.client.get(self.url("item", done.pk)),
            f'href="{self.url("items")}?metadata=source=web">web</a>',
        )
        assert self.item_ids(text=done.prompt.messages[-1]["content"]) == {done.pk}
        assert self.item_ids(annotator="erin") == {done.pk, decided.pk}
        assert self.item_ids(annotator="dana") == set()
        assert self.item_ids(to="2001-01-01") == set()
        assert self.item_ids(**{"from": "2001-01-01"}) == {done.pk, decided.pk}
        assert self.item_ids(version=2) == self.item_ids(reason="broken") == set()
        Skip.objects.create(item=done, annotator=self.dana, reason="broken")
        assert self.item_ids(reason="broken") == {done.pk}
        assert self.item_ids(**{"from": "soon", "state": "odd", "version": "x", "page": "z"}) == {
            done.pk,
            decided.pk,
        }

    def judged_in_order(self, person: User, *rankings: list[int], seconds: float = 5) -> list[int]:
        """An item each, ranked in the order shown; in so many seconds the first, and one less each further one."""
        self.more_items(len(rankings))
        items = []
        for n, ranks in enumerate(rankings):
            lease = builders.leases.claim(project=self.project, annotator=person)
            assert lease is not None
            judgment = builders.submit(lease, ranks)
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL session_replication_role = replica")
                cursor.execute(
                    "UPDATE annotation_judgment SET seconds = %s WHERE id = %s", [seconds - n, judgment.pk]
                )
                cursor.execute("SET LOCAL session_replication_role = origin")
            items.append(judgment.item_id)
        return items

    def test_it_finds_what_somebody_chose(self) -> None:
        first, second, tied, shared = self.judged_in_order(
            self.bob, [1, 2, 3], [3, 1, 2], [1, 1, 1], [1, 1, 2]
        )
        assert self.item_ids(annotator="bob", chose="first") == {first}
        assert self.item_ids(annotator="bob", chose="tied") == {tied}
        assert self.item_ids(annotator="erin", chose="tied") == set()
        assert self.item_ids(annotator="bob", chose="odd") == {first, second, tied, shared}

    def test_it_finds_where_somebody_chose_the_longest_answer(self) -> None:
        chosen = []
        for rank in (1, 2):
            row = {"prompt": f"Which {rank}?", "responses": ["Short.", "A much longer answer.", "Between."]}
            builders.imported(self.project, row)
            lease = builders.leases.claim(project=self.project, annotator=self.bob)
            assert lease is not None
            texts = Response.objects.in_bulk(lease.shown_order)
            lengths = [len(texts[pk].text) for pk in lease.shown_order]
            ranks = [rank if n == max(lengths) else 3 - rank if n == min(lengths) else 3 for n in lengths]
            chosen.append(builders.submit(lease, ranks).item_id)
        assert self.item_ids(annotator="bob", chose="longest") == {chosen[0]}

    def test_somebody_s_fastest_judgments_come_first_with_their_time(self) -> None:
        items = self.judged_in_order(self.bob, [1, 2, 3], [1, 2, 3], [1, 2, 3])
        self.sign_in(self.alice)
        page = self.client.get(self.url("items"), {"annotator": "bob", "sort": "fastest"})
        assert [item.pk for item in page.context["listing"].page.rows] == items[::-1]
        self.assertContains(page, "<b>3 s</b>")
        assert len(self.rows(sort="fastest")) == 3, "of nobody: all are equal"

    def test_its_queries_do_not_grow_with_the_items(self) -> None:
        self.judged(*[[[1, 2, 3], [1, 2, 3]]] * 5)
        self.sign_in(self.alice)
        # user; membership; how many, items' ids, items; whether the project is large; the filters' tags, people, versions; views;
        # open batches
        with self.assertNumQueries(11):
            self.client.get(self.url("items"))
