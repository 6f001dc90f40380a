from __future__ import annotations

from unittest.mock import patch

from django.urls import reverse

from annotation.actions import judgments
from annotation.actions.queue import ItemSpec, enqueue
from annotation.models import Judgment, Member
from annotation.views import my_judgments
from tests import builders
from tests.annotation.judging import JudgingTestCase


class ListTests(JudgingTestCase):
    def list(self, **query: str):
        return self.client.get(reverse("my-judgments"), query)

    def test_it_asks_who_is_there(self) -> None:
        self.client.logout()
        self.assertRedirects(self.list(), f"{reverse('account_login')}?next={reverse('my-judgments')}")

    def test_it_takes_no_other_methods(self) -> None:
        assert self.client.post(reverse("my-judgments")).status_code == 405

    def test_it_shows_my_own_newest_first_and_nobody_else_s(self) -> None:
        builders.items(self.project, 3)
        first = builders.judgment(self.project, self.bob)
        second = builders.judgment(self.project, self.bob)
        builders.judgment(self.project, self.dana)
        rows = self.list().context["rows"]
        assert [row.judgment for row in rows] == [second, first]

    def test_it_says_what_was_said(self) -> None:
        builders.items(self.project, 1)
        lease = builders.leases.claim(project=self.project, annotator=self.bob)
        builders.submit(lease, [2, 1, 2, 4])
        pairs = builders.project(self.alice, "Pairs", k=2)
        builders.join(pairs, self.bob, Member.Role.ANNOTATOR)
        builders.items(pairs, 1)
        builders.submit(builders.leases.claim(project=pairs, annotator=self.bob), [2, 1], degree="slightly")
        assert [row.summary for row in self.list().context["rows"]] == [
            "B is slightly better",
            "B > A = C > D",
        ]

    def test_one_project_can_be_asked_for(self) -> None:
        other = builders.project(self.alice, "Other")
        builders.join(other, self.bob, Member.Role.ANNOTATOR)
        for project in (self.project, other):
            builders.items(project, 1)
            builders.judgment(project, self.bob)
        rows = self.list(project=other.slug).context["rows"]
        assert [row.judgment.item.project for row in rows] == [other]
        assert self.list(project="nonsense").context["rows"] == []

    def test_it_has_pages(self) -> None:
        builders.items(self.project, 3)
        for _ in range(3):
            builders.judgment(self.project, self.bob)
        with patch.object(my_judgments, "PER_PAGE", 2):
            self.assertContains(self.list(), "Page 1 of 2")
            assert len(self.list(page="2").context["rows"]) == 1
            assert len(self.list(page="nonsense").context["rows"]) == 2

    def test_its_queries_do_not_grow_with_the_list(self) -> None:
        builders.items(self.project, 6)
        for _ in range(6):
            builders.judgment(self.project, self.bob)
        # who it is 1, projects 1, how many 1, the page 1, its placements 1
        with self.assertNumQueries(5):
            self.list()


class OneTests(JudgingTestCase):
    def setUp(self) -> None:
        super().setUp()
        builders.items(self.project, 2)
        lease = builders.leases.claim(project=self.project, annotator=self.bob)
        self.mine = builders.submit(lease, [2, 1, 3, 4])

    def at(self, judgment: Judgment | None = None) -> str:
        return reverse("my-judgment", args=[(judgment or self.mine).pk])

    def revised(self, *ranks: int, **fields: object):
        context = self.client.get(self.at()).context
        return self.client.post(self.at(), self.said(context, *ranks, **fields))

    def said(self, context, *ranks: int | str, **fields: object) -> dict[str, object]:
        return self.ranked({"cards": context["cards"], "key": context["key"], "ticket": ""}, *ranks, **fields)

    def test_it_shows_what_was_said_in_the_order_it_was_shown(self) -> None:
        context = self.client.get(self.at()).context
        assert [card.rank for card in context["cards"]] == [2, 1, 3, 4]
        assert [card.response.pk for card in context["cards"]] == self.mine.shown_order

    def test_a_change_is_a_new_revision_and_the_old_one_stays(self) -> None:
        self.assertRedirects(self.revised(1, 1, 2, 3), reverse("my-judgments"))
        newest = Judgment.objects.latest("id")
        assert newest.supersedes == self.mine
        ranks = dict(newest.placements.values_list("response_id", "rank"))
        assert [ranks[response] for response in self.mine.shown_order] == [1, 1, 2, 3]
        assert self.mine.placements.get(response_id=self.mine.shown_order[0]).rank == 2

    def test_from_the_work_it_leads_back_to_the_work(self) -> None:
        response = self.revised(1, 2, 3, 4, **{"from": "work"})
        self.assertRedirects(response, reverse("work", args=[self.project.slug]))

    def test_an_old_revision_leads_to_the_newest(self) -> None:
        self.revised(1, 1, 2, 3)
        newest = Judgment.objects.latest("id")
        self.assertRedirects(self.client.get(self.at()), self.at(newest))

    def test_a_mistake_is_named_and_the_input_stays(self) -> None:
        context = self.client.get(self.at()).context
        response = self.client.post(self.at(), self.said(context, 4, "", 3, 1))
        self.assertContains(response, "missing: B", status_code=422)
        assert [card.rank for card in response.context["cards"]] == [4, None, 3, 1]
        assert Judgment.objects.count() == 1

    def test_the_same_change_twice_counts_once(self) -> None:
        form = self.said(self.client.get(self.at()).context, 1, 1, 2, 3)
        for _ in range(2):
            self.assertRedirects(self.client.post(self.at(), form), reverse("my-judgments"))
        assert Judgment.objects.count() == 2

    def test_of_two_tabs_the_second_is_told(self) -> None:
        one, two = (self.client.get(self.at()).context for _ in range(2))
        self.client.post(self.at(), self.said(one, 1, 1, 2, 3))
        response = self.client.post(self.at(), self.said(two, 4, 3, 2, 1))
        self.assertContains(response, "You have changed this judgment before", status_code=422)
        assert Judgment.objects.count() == 2

    def test_it_is_nobody_else_s(self) -> None:
        for who in (self.alice, self.dana, self.charlie):
            self.sign_in(who)
            assert self.client.get(self.at()).status_code == 404
            assert self.client.post(self.at()).status_code == 404

    def test_who_left_the_project_cannot_change_it(self) -> None:
        Member.objects.filter(project=self.project, user=self.bob).delete()
        assert self.client.get(self.at()).status_code == 404

    def test_a_demonstration_can_be_written_anew(self) -> None:
        letters = builders.project(self.alice, "Letters", task="demonstrations")
        builders.join(letters, self.bob, Member.Role.ANNOTATOR)
        prompt = self.project.prompts.first()
        prompt.pk, prompt.project = None, letters
        prompt.save()
        enqueue(project=letters, specs=[ItemSpec(prompt.pk, [])])
        lease = builders.leases.claim(project=letters, annotator=self.bob)
        first = judgments.submit(lease=lease, ranks={}, text="Hello.", idempotency_key=self.new_uuid())
        context = self.client.get(self.at(first)).context
        assert context["text"] == "Hello."
        self.client.post(self.at(first), {"key": str(context["key"]), "text": "Hello, Noor."})
        assert Judgment.objects.latest("id").demonstration.text == "Hello, Noor."
