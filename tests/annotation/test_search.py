"""The search in a project's texts."""

from __future__ import annotations

import re
import uuid
from html import unescape
from unittest.mock import patch

from django.db import connection
from django.urls import reverse

from annotation.actions import judgments, leases
from annotation.analytics import text_search
from annotation.models import Item, Prompt
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint


class SearchTests(AccessTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.sign_in(self.alice)

    def search(self, **query: object):
        return self.client.get(reverse("search", args=[self.project.slug]), query)

    def hits(self, **query: object) -> dict[str, list[str]]:
        """The snippets of each kind, with brackets around what is marked."""
        page = self.search(**query).content.decode()
        found: dict[str, list[str]] = {}
        for kind in re.findall('<section [^>]*aria-labelledby="found-([a-z]+)"', page):
            section = page.partition(f'aria-labelledby="found-{kind}"')[2].partition("</section>")[0]
            texts = re.findall('<span class="hit-text" dir="auto">(.*?)</span>', section, re.DOTALL)
            found[kind] = [unescape(re.sub("</?mark>", lambda m: "[]"["/" in m[0]], text)) for text in texts]
        return {kind: texts for kind, texts in found.items() if texts}

    def test_who_may_search(self) -> None:
        self.check(Endpoint("search", get=200, reviewer_get=200))

    def test_it_finds_prompts_answers_and_reasons_and_marks_the_words(self) -> None:
        builders.imported(
            self.project,
            {"prompt": "Where does the Ferry go?", "responses": ["To Tessel.", "A ferry? No.", "c", "d"]},
            {"prompt": "Why is tea hot?", "responses": ["e", "f", "g", "h"]},
        )
        lease = leases.claim(project=self.project, annotator=self.bob)
        assert lease is not None
        ranks = dict(zip(lease.shown_order, (1, 2, 3, 4), strict=True))
        judgments.submit(
            lease=lease, ranks=ranks, idempotency_key=uuid.uuid4(), rationale="The first names the ferry."
        )
        assert self.hits(q="ferry") == {
            "prompts": ["Where does the [Ferry] go?"],
            "answers": ["A [ferry]? No."],
            "reasons": ["The first names the [ferry]."],
        }
        assert self.hits(q="FERR go") == {"prompts": ["Where does the [Ferr]y [go]?"]}
        assert self.hits(q='"tea is"') == {}
        assert self.hits(q="ferry", kind="answers") == {"answers": ["A [ferry]? No."]}
        item = Item.objects.get(prompt__messages__0__content="Where does the Ferry go?")
        self.assertContains(
            self.search(q="ferry", kind="answers"), reverse("item", args=["helpfulness", item.pk])
        )
        self.assertContains(self.search(q="ferry", kind="reasons"), "bob")

    def test_the_words_of_a_conversation_may_be_in_several_messages(self) -> None:
        messages = [("user", "Do you know tea?"), ("assistant", "Yes."), ("user", "How hot?")]
        builders.imported(
            self.project, {"prompt": [{"role": role, "content": text} for role, text in messages]}
        )
        assert self.hits(q="hot tea") == {"prompts": ["Do you know [tea]? Yes. How [hot]?"]}
        assert self.hits(q="assistant") == {}
        assert self.hits(q="content") == {}

    def test_other_projects_are_not_searched(self) -> None:
        other = builders.project(self.charlie, "Others")
        builders.items(other, 3)
        assert self.hits(q="question") == {}
        builders.items(self.project, 1)
        assert self.hits(q="question", kind="prompts") == {"prompts": ["[Question] 0?"]}

    def test_signs_of_patterns_and_of_html_are_signs(self) -> None:
        builders.imported(self.project, {"prompt": "100% of <b>a_b</b>"}, {"prompt": "100 of acb"})
        for text in ("100%", "a_b", "<b>"):
            assert len(self.hits(q=text)["prompts"]) == 1, text
        page = self.search(q="<b>").content.decode()
        assert "<mark>&lt;b&gt;</mark>a_b&lt;/b&gt;" in page

    def test_pages_go_on_from_the_last_hit_without_a_gap(self) -> None:
        builders.items(self.project, 45)
        seen: list[str] = []
        query: dict[str, object] = {"q": "question", "kind": "prompts"}
        for size in (20, 20, 5):
            response = self.search(**query)
            (_name, _title, found) = response.context["found"][0]
            assert len(found.hits) == size
            seen += ["".join(part.text for part in hit.parts) for hit in found.hits]
            query["before"] = found.after
        assert found.after is None
        assert seen == [f"Question {n}?" for n in reversed(range(45))]

    def test_each_prompt_is_once_among_the_answers(self) -> None:
        builders.items(self.project, 3)
        response = self.search(q="answer", kind="answers")
        (_name, _title, found) = response.context["found"][0]
        assert [hit.more for hit in found.hits] == [3, 3, 3]
        self.assertContains(response, "and 3 more answers to this prompt", count=3)

    def test_a_search_whose_time_is_over_says_how_far_it_came_and_goes_on(self) -> None:
        builders.imported(self.project, {"prompt": "The oldest, with a needle."})
        builders.items(self.project, 5)
        with patch.multiple(text_search, FIRST_ROWS=2, BUDGET_S=-1):
            response = self.search(q="needle")
            self.assertContains(response, "2 prompts were searched, from the newest on.")
            (_name, _title, found) = response.context["found"][0]
            assert (found.hits, found.rows) == ([], 2)
            for _ in range(2):
                response = self.search(q="needle", kind="prompts", before=found.after)
                (_name, _title, found) = response.context["found"][0]
            assert len(found.hits) == 1
            assert Prompt.objects.count() == 6

    def test_a_statement_that_takes_too_long_is_stopped_with_a_sentence(self) -> None:
        builders.items(self.project, 5)
        slow = text_search.Kind(
            "x", "SELECT id FROM annotation_prompt, pg_sleep(5)", text_search.KINDS["prompts"].rows
        )
        with patch.object(text_search, "TIMEOUT_MS", 50), patch.dict(text_search.KINDS, prompts=slow):
            response = self.search(q="question", kind="prompts")
            self.assertContains(response, "The search was stopped because it took too long.")
        self.search(q="question")
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("0",)

    def test_nonsense_finds_nothing(self) -> None:
        builders.items(self.project, 2)
        for query in ({"q": ""}, {"q": '""'}, {"q": "\0"}, {"q": "x" * 10_000}, {"q": "none of this"}):
            assert self.search(**query).status_code == 200
            assert self.hits(**query) == {}
        for before in ("x", "-1", "9" * 30, "²"):
            assert self.hits(q="question", kind="prompts", before=before)["prompts"]
        assert self.hits(q="question", kind="nonsense")["prompts"]

    def test_what_is_in_no_item_is_found_without_a_link(self) -> None:
        builders.items(self.project, 1)
        Prompt.objects.create(
            project=self.project,
            external_id="x",
            messages=[{"role": "user", "content": "Aside"}],
            split="train",
        )
        self.assertContains(self.search(q="aside"), "not in the queue")

    def test_the_queries_do_not_grow_with_what_is_found(self) -> None:
        for rows in (1, 18):
            builders.items(self.project, rows, prefix=f"q{rows}")
            # the session's user, and the role with the project; of each kind a savepoint, the timeout twice, the ids, the texts,
            # the timeout as before, and the end of the savepoint; the items of prompts and of answers
            with self.assertNumQueries(2 + 7 + 1 + 7 + 2 + 6):
                assert self.hits(q="e").keys() == {"prompts", "answers"}
