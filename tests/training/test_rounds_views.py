from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.test import override_settings
from django.urls import reverse

from annotation.models import AuditEntry, Judgment
from tests import builders
from tests.access_cases import AccessTestCase, Endpoint
from tests.training.round_helpers import LENIENT, judge_items, make_loop, play, reload
from training.models import Loop, Metric, Round
from training.registry.actions import add_model, promote
from training.rounds import charts, transitions
from training.rounds.evaluation import reward_by_kl
from training.rounds.settings import RoundSettings
from training.rounds.timeline import build_timeline


class RoundPagesTestCase(AccessTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        artifacts = override_settings(ARTIFACTS=Path(folder.name))
        artifacts.enable()
        self.addCleanup(artifacts.disable)
        self.first = add_model(
            project=self.project, kind="policy", name="first", location="hub:some/policy@main"
        )
        builders.items(self.project, 30)
        judge_items(self.project, self.alice)

    def start_round(self, **options: Any) -> Round:
        return transitions.start_round(
            loop=make_loop(self.project, self.alice, options=options), creator=self.alice
        )

    def url(self, name: str, *args: object) -> str:
        return reverse(name, args=[self.project.slug, *args])


class AccessTests(RoundPagesTestCase):
    def test_leads_act_and_reviewers_read(self) -> None:
        round = self.start_round()
        self.check(Endpoint("rounds", get=200, reviewer_get=200))
        self.check(Endpoint("rounds-live", get=200, reviewer_get=200))
        self.check(Endpoint("round-new", get=200, post=422))
        self.check(Endpoint("round", (round.pk,), get=200, reviewer_get=200))
        self.check(Endpoint("round-live", (round.pk,), get=200, reviewer_get=200))
        self.check(Endpoint("round-act", (round.pk, "cancel"), post=302))
        self.check(Endpoint("model-compare", get=200, reviewer_get=200))
        self.check(Endpoint("playground", get=200, post=422))
        self.check(Endpoint("chat-settings", get=200, post=422))
        self.check(Endpoint("model-card", (self.first.pk,), get=200, reviewer_get=200))
        self.check(Endpoint("model-retire", (self.first.pk,), post=302))

    def test_missing_objects_are_404(self) -> None:
        round = self.start_round()
        self.sign_in(self.alice)
        other = builders.project(self.alice, "Other")
        assert self.client.get(reverse("round", args=[other.slug, round.pk])).status_code == 404
        assert self.client.post(self.url("round-act", round.pk, "explode")).status_code == 404


class PagesTests(RoundPagesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.sign_in(self.alice)

    def test_the_empty_page_links_to_the_form(self) -> None:
        page = self.client.get(self.url("rounds"))
        self.assertContains(page, "Start the first round")
        self.assertContains(page, self.url("round-new"))

    def test_the_step_says_what_it_waits_for_and_who_can_act(self) -> None:
        builders.items(self.project, 20, prefix="more")
        round = self.start_round(judgments=40)
        page = self.client.get(self.url("round", round.pk))
        (waiting,) = [line for line in page.context["steps"] if line.awaits]
        assert waiting.awaits.sentence.startswith("New judgments: 30 of 40. 1 person is judging")
        builders.age_judgments(self.project, hours=2)
        page = self.client.get(self.url("round", round.pk))
        self.assertContains(
            page, "Nobody is judging: the last judgment was made 2 hours ago, and 10 are left."
        )
        self.assertContains(page, self.url("remind"))
        self.sign_in(self.dana)
        self.assertNotContains(self.client.get(self.url("round", round.pk)), self.url("remind"))
        Round.objects.filter(pk=round.pk).update(state=Round.State.HELD)
        self.assertContains(self.client.get(self.url("round", round.pk)), "It is a lead’s turn: alice.")

    def test_a_loop_says_how_many_judgments_its_next_round_still_needs(self) -> None:
        make_loop(self.project, self.alice, after_judgments=50)
        self.assertContains(
            self.client.get(self.url("rounds")), "The next one starts after 50 new judgments; there are 30."
        )

    def test_a_run_that_no_worker_has_taken_is_named(self) -> None:
        round = self.start_round(judgments=40)  # more than there are items: it generates answers first
        page = self.client.get(self.url("round", round.pk))
        (waiting,) = [line for line in page.context["steps"] if line.awaits]
        assert "waits for a worker." in waiting.awaits.sentence

    def test_a_first_round_needs_only_a_recipe(self) -> None:
        response = self.client.post(self.url("round-new"), {"recipe": "llama2"})
        round = Round.objects.get()
        self.assertRedirects(response, self.url("round", round.pk))
        assert (round.recipe, round.created_by) == ("llama2", self.alice)
        assert round.options["previous_share"] == 0.5, "the recipe's own"
        assert AuditEntry.objects.filter(verb="round.started").count() == 1

    def test_settings_are_saved_for_the_next_round(self) -> None:
        data = {
            "recipe": "dpo",
            "setting_judgments": "77",
            "weekdays": ["0", "3"],
            "hour": "5",
            "only_save": "1",
        }
        self.assertRedirects(self.client.post(self.url("round-new"), data), self.url("rounds"))
        one = Loop.objects.get()
        assert (one.options, one.weekdays, one.hour) == ({"judgments": 77}, [0, 3], 5)
        form = self.client.get(self.url("round-new")).context["form"]
        assert form["setting_judgments"].value() == 77
        assert form["setting_budget"].value() is None
        assert not Round.objects.exists()

    def test_an_invalid_setting_is_reported_at_its_field(self) -> None:
        response = self.client.post(self.url("round-new"), {"recipe": "dpo", "setting_temperatures": "hot"})
        assert response.status_code == 422
        assert "setting_temperatures" in response.context["form"].errors
        self.assertContains(response, "separated by commas", status_code=422)
        assert not Loop.objects.exists()

    def test_an_invalid_setting_without_a_field_is_reported_above_the_form(self) -> None:
        one = make_loop(self.project, self.alice)
        one.configs = {"*": {"epochs": "x"}}
        one.save()
        response = self.client.post(self.url("round-new"), {"recipe": "dpo"})
        self.assertContains(response, "must be a whole number", status_code=422)
        many = self.client.post(self.url("round-new"), {"recipe": "dpo", "after_judgments": "3000000000"})
        assert "after_judgments" in many.context["form"].errors
        assert not Round.objects.exists()

    def test_a_second_round_is_refused_while_one_is_open(self) -> None:
        self.start_round()
        response = self.client.post(self.url("round-new"), {"recipe": "dpo"})
        self.assertContains(response, "Round 1 is still open", status_code=422)
        assert Round.objects.count() == 1

    def test_the_gates_are_described_before_the_start_and_while_it_is_open(self) -> None:
        requirement = "Accuracy of at least 72% on new held-out judgments."
        self.assertContains(self.client.get(self.url("round-new")), "Accuracy of at least 55% on new")
        round = self.start_round(min_accuracy=0.72)
        self.assertContains(self.client.get(self.url("round", round.pk)), requirement)
        page = self.client.get(self.url("round-new"))
        self.assertContains(page, requirement)
        self.assertContains(page, "Round 1</a> is still open")
        self.assertNotContains(page, "Start the round")
        self.assertNotContains(page, "Not included, as there are no earlier runs: .")
        self.assertContains(
            page, "Not included, as there are no earlier runs: DPO, Evaluation, Generation, Reward model."
        )

    def test_settings_that_differ_from_the_recipe_s_are_marked_with_its_default(self) -> None:
        marked = '<span class="badge nowrap">default: %s</span>'
        round = self.start_round(min_accuracy=0.72, safety_tag="harmful", judge="first")
        page = self.client.get(self.url("round", round.pk))
        requirement = "Accuracy of at least 72% on new held-out judgments. "
        self.assertContains(page, f"<li>{requirement}{marked % '55%'}</li>", html=True)
        for value, default in (("0.72", "0.55"), ("harmful", "safety"), ("first", "–")):
            cell = f'<td><span class="mono">{value}</span> {marked % default}</td>'
            self.assertContains(page, cell, html=True)
        self.assertContains(self.client.get(self.url("round-new")), marked % "55%", html=True)
        Round.objects.update(options=RoundSettings().to_dict())
        self.assertNotContains(self.client.get(self.url("round", round.pk)), "default:")

    def test_a_gate_s_threshold_is_marked_where_the_loop_has_changed_it(self) -> None:
        round = play(self.start_round(min_accuracy=0.9), until="none")
        lines = {line.label: line for step in build_timeline(round) for line in step.gates}
        assert (lines["Held-out accuracy"].threshold, lines["Held-out accuracy"].default) == (
            "90.0%",
            "55.0%",
        )
        assert lines["Training judgments"].default == "50"
        self.assertContains(
            self.client.get(self.url("round", round.pk)), '<span class="badge nowrap">default: 55.0%</span>'
        )

    def test_a_gate_says_how_many_points_better_or_worse_a_reward_model_is(self) -> None:
        round = play(self.start_round(min_accuracy=0.9, may_lose=0.03), until="none")
        (gate,) = [gate for gate in round.gates if gate["name"] == "reward_may_lose"]
        for loss, text in (
            (-0.098, "9.8 points better"),
            (0.021, "2.1 points worse"),
            (0.0, "0.0 points better"),
        ):
            gate["figure"] = loss
            round.save()
            page = self.client.get(self.url("round", round.pk))
            self.assertContains(page, f"{text}, threshold 3.0 points worse")

    def test_the_kl_beside_the_chart_is_that_of_the_weights_that_were_kept(self) -> None:
        round = play(self.start_round(), until="promotion")
        run = round.run_of("improve-1")
        assert run is not None
        for step, kl in ((0, 0.0), (5, 1.25), (10, 7.5)):
            values = {"held_out_kl": kl, "held_out_reward": kl / 2}
            Metric.objects.create(run=run, step=step, values=values)
        assert charts.kept_rewards(reward_by_kl([run])) == [f"{run}: 3.75 at 7.5 nats"]
        run.result |= {"metrics": {"best_step": 5}}
        round.report |= {"reward_by_kl": reward_by_kl([run])}
        round.save()
        self.assertContains(
            self.client.get(self.url("round", round.pk)), f"<li>{run}: 0.625 at 1.2 nats</li>", html=True
        )

    def test_the_list_says_on_how_many_pairs_an_accuracy_was_counted(self) -> None:
        round = play(self.start_round(min_accuracy=0.9), until="none")
        transitions.cancel(round, self.alice)
        page = self.client.get(self.url("rounds"))
        self.assertContains(page, "of 40 pairs")
        measured = round.run_of("measure-reward")
        assert measured is not None
        measured.inputs |= {"after": 7}
        measured.save()
        self.assertContains(self.client.get(self.url("rounds")), "of 40 new pairs")

    def test_disputed_judgments_link_to_their_items(self) -> None:
        round = self.start_round()
        odd = Judgment.objects.filter(item__project=self.project).latest("pk")
        Round.objects.filter(pk=round.pk).update(report={"odd": [odd.pk]})
        page = self.client.get(self.url("round", round.pk))
        self.assertContains(page, self.url("item", odd.item_id))
        self.assertContains(page, "1 judgment with which both reward models disagree")

    def test_a_held_round_shows_the_reason_and_is_overruled(self) -> None:
        round = play(self.start_round(min_accuracy=0.9), until="none")
        page = self.client.get(self.url("round", round.pk))
        self.assertContains(page, "It agrees with annotators on 70.0% of 40")
        self.assertContains(page, "not passed")
        self.assertContains(page, "Not passed: Held-out accuracy. Keep the current policy")
        german = self.client.get(self.url("round", round.pk), headers={"accept-language": "de"})
        self.assertContains(german, "70,0% von 40")
        self.assertNotContains(german, "It agrees with annotators")
        self.assertNotContains(german, "Held-out accuracy")
        act = self.url("round-act", round.pk, "overrule")
        self.assertContains(self.client.post(act, {"reason": ""}, follow=True), "Say why")
        assert reload(round).state == Round.State.HELD
        self.client.post(act, {"reason": "It will do."})
        assert reload(round).step == "improve-1"
        self.assertContains(self.client.get(self.url("round", round.pk)), "It will do.")

    def test_a_gate_that_holds_a_round_without_a_figure_does_not_say_that_data_is_missing(self) -> None:
        round = play(self.start_round(min_accuracy=0.9), until="none")
        gate = next(gate for gate in round.gates if not gate["passed"])
        self.assertNotContains(self.client.get(self.url("round", round.pk)), "cannot be judged")
        gate["figure"] = None
        round.save()
        page = self.client.get(self.url("round", round.pk))
        self.assertContains(page, '<span class="badge danger">cannot be judged</span>', html=True)

    def test_a_policy_promoted_over_a_failed_gate_says_so_wherever_it_stands(self) -> None:
        round = play(self.start_round(min_accuracy=0.9), until="none")
        self.client.post(self.url("round-act", round.pk, "overrule"), {"reason": "It will do."})
        round = play(reload(round), until="promotion")
        self.assertNotContains(self.client.get(self.url("round", round.pk)), "over a failed gate")
        self.client.post(self.url("round-act", round.pk, "promote"), {"note": "All the same."})
        round = play(reload(round), until="none")
        assert round.is_override
        assert round.policy_after is not None
        self.assertContains(self.client.get(self.url("round", round.pk)), "over a failed gate")
        self.assertContains(self.client.get(self.url("rounds")), "badge warn")
        model = self.client.get(self.url("model", round.policy_after.pk))
        self.assertContains(model, "promoted over a failed gate")

    def test_a_lead_promotes_or_rejects_from_the_page(self) -> None:
        round = play(self.start_round(), until="promotion")
        page = self.client.get(self.url("round", round.pk))
        for words in (
            "is ready",
            "Promote round-1-policy",
            "the reward model",
            "Largest regressions",
        ):
            self.assertContains(page, words)
        self.client.post(self.url("round-act", round.pk, "reject"), {"note": "Too curt."})
        round = play(reload(round), until="none")
        self.assertContains(self.client.get(self.url("round", round.pk)), "Too curt.")
        self.assertContains(self.client.get(self.url("rounds")), "was not promoted")
        assert self.client.get(self.url("round-new")).context["draft"].number == 2

    def test_reviewers_see_no_buttons(self) -> None:
        round = play(self.start_round(), until="promotion")
        self.sign_in(self.dana)
        for name, args in (("round", (round.pk,)), ("rounds", ())):
            self.assertNotContains(
                self.client.get(self.url(name, *args)), self.url("round-act", round.pk, "promote")
            )

    def test_its_queries_do_not_grow_with_the_runs(self) -> None:
        round = play(self.start_round(), until="promotion")
        # user; membership; the round; its runs; their project; whose turn it is
        with self.assertNumQueries(6):
            self.client.get(self.url("round", round.pk))


class ModelsTests(RoundPagesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.sign_in(self.alice)

    def test_two_models_stand_side_by_side(self) -> None:
        round = play(self.start_round(), until="promotion")
        assert round.policy_after is not None
        page = self.client.get(self.url("model-compare"), {"a": self.first.pk, "b": round.policy_after.pk})
        assert len(page.context["rows"]) == min(10, LENIENT["evaluation_prompts"], 4)
        for row in page.context["rows"]:
            assert {answer.response.author for answer in row.baseline} == {self.first.author}
            assert {answer.response.author for answer in row.policy} == {round.policy_after.author}
            assert row.gain > 0, "the reward model prefers length"

    def test_a_model_and_its_run_lead_to_their_round(self) -> None:
        round = play(self.start_round(), until="none")
        assert round.policy_after is not None
        assert round.policy_after.run is not None
        for page in (round.policy_after, round.policy_after.run):
            self.assertContains(
                self.client.get(page.get_absolute_url()), f'href="{round.get_absolute_url()}"'
            )

    def test_an_answer_leaves_room_for_the_question_in_a_small_model(self) -> None:
        folder = Path(settings.ARTIFACTS) / "small"
        folder.mkdir()
        (folder / "config.json").write_text('{"max_position_embeddings": 256}')
        (folder / "model.safetensors").write_text("")
        small = add_model(project=self.project, kind="policy", name="small", location=f"file:{folder}")
        promote(small, self.alice)
        form = self.client.get(self.url("run-new", "generate")).context["form"]
        assert form["setting_max_new_tokens"].value() == 128

    def test_a_card_describes_the_model(self) -> None:
        round = play(self.start_round(), until="promotion")
        assert round.policy_after is not None
        said = self.client.get(self.url("model-card", round.policy_after.pk)).content.decode()
        for words in (
            "# round-1-policy",
            "SHA-256",
            "- **first**",
            "Settings: `adam_beta1=0.9`",
            "- Passed: Win rate over the old policy, by the reward model",
        ):
            assert words in said, said

    def test_a_model_is_retired_unless_it_is_current(self) -> None:
        second = add_model(project=self.project, kind="policy", name="second", location="hub:x/y@main")
        self.assertContains(
            self.client.post(self.url("model-retire", self.first.pk), follow=True), "is current"
        )
        self.client.post(self.url("model-retire", second.pk))
        second.refresh_from_db()
        assert second.retired_at is not None
        offered = self.client.get(reverse("run-new", args=[self.project.slug, "generate"])).context["form"][
            "model"
        ]
        assert [version.name for version in offered.field.queryset] == ["first"]
