from __future__ import annotations

from annotation.models import Judgment, Member
from annotation.views.judging.compare import CHOICES
from tests import builders
from tests.annotation.judging import JudgingTestCase


class CompareTests(JudgingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.judged = builders.project(self.alice, "Pairs", k=2)
        builders.join(self.judged, self.bob, Member.Role.ANNOTATOR)
        builders.items(self.judged, 9)

    def test_it_shows_two_answers_and_eight_buttons(self) -> None:
        response = self.client.get(self.url())
        self.assertContains(response, 'class="degree"', count=8)
        self.assertContains(response, 'class="answer"', count=2)
        self.assertContains(response, "A is negligibly better / unsure")

    def test_the_scale_runs_from_a_to_b(self) -> None:
        assert [choice.sentence for choice in CHOICES][::7] == [
            "A is significantly better",
            "B is significantly better",
        ]
        assert [choice.key for choice in CHOICES] == list(range(1, 9))

    def test_each_press_is_choice_and_degree(self) -> None:
        for choice in CHOICES:
            context = self.open()
            response = self.send(self.form(context, choice=choice.value))
            assert response.status_code == 200
            judgment = Judgment.objects.latest("id")
            ranks = dict(judgment.placements.values_list("response_id", "rank"))
            better, worse = context["cards"] if choice.letter == "A" else context["cards"][::-1]
            assert ranks == {better.response.pk: 1, worse.response.pk: 2}
            assert judgment.degree == choice.degree.value

    def test_a_press_of_no_button_is_refused_with_a_sentence(self) -> None:
        for bad in ({}, {"choice": ""}, {"choice": "2-better"}, {"choice": "0-hugely"}):
            response = self.send(self.form(self.open(), **bad))
            self.assertContains(response, "Every answer needs a rank", status_code=422)
        assert not Judgment.objects.exists()

    def test_the_same_press_twice_counts_once(self) -> None:
        form = self.form(self.open(), choice="0-better")
        self.send(form)
        self.send(form)
        assert Judgment.objects.count() == 1

    def test_two_tabs_judge_an_item_once(self) -> None:
        one, two = self.open(), self.open()
        self.send(self.form(one, choice="0-better"))
        response = self.send(self.form(two, choice="1-better"))
        self.assertContains(response, "You have judged this item before")
        assert Judgment.objects.count() == 1

    def test_an_item_of_two_is_compared_in_a_ranking_project_too(self) -> None:
        self.judged = self.project
        builders.items(self.project, 1, k=2)
        context = self.open()
        assert context["kind"] == "compare"
        self.send(self.form(context, choice="1-slightly"))
        assert Judgment.objects.get().degree == "slightly"
