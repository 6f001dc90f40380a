from __future__ import annotations

from django.urls import reverse
from django.utils import timezone

from annotation.actions import import_rows, snapshots
from annotation.models import Member
from tests import builders
from tests.access_cases import finished, policy, snapshot
from tests.base import PalateTestCase
from tests.training import round_helpers
from training.models import Round, Run
from training.registry.actions import add_model, promote
from training.rounds import transitions
from training.runs.actions import start_run


class OverviewTests(PalateTestCase):
    def setUp(self) -> None:
        self.sign_in(self.alice)

    def url(self) -> str:
        return reverse("project", args=[self.project.slug])

    def next(self) -> str:
        """The label of the button that the page suggests."""
        return str(self.client.get(self.url()).context["next"].label)

    def train(self, kind: str, **values: object) -> None:
        run = start_run(project=self.project, kind=kind, creator=self.alice, **values)  # type: ignore[arg-type]
        if kind == "dpo":
            add_model(
                project=self.project, kind="policy", name="policy-1", location="x", parent=run.model, run=run
            )
        finished(run)

    def test_the_next_step_goes_around_the_loop(self) -> None:
        assert self.next() == "Import prompts"
        import_rows.import_lines(project=self.project, lines=builders.lines({"prompt": "Why?"}))
        assert self.next() == "Add a policy"
        first = policy(self.project)
        assert self.next() == "Generate answers"
        builders.items(self.project, 20)
        assert self.next() == "Remind people"
        builders.judgment(self.project, self.bob)
        assert self.next() == "View the progress"
        for _ in range(19):
            builders.judgment(self.project, self.bob)
        assert self.next() == "Create snapshot"
        frozen = snapshots.create_snapshot(project=self.project, creator=self.alice)
        assert self.next() == "Train a reward model"
        run = start_run(project=self.project, kind="reward", creator=self.alice, snapshot=frozen)
        assert self.next() == "View the run"
        finished(run)
        assert self.next() == "Improve the policy"
        self.train("dpo", snapshot=frozen)
        assert self.next() == "View policy-1"
        promote(first.children.get())
        assert self.next() == "Generate answers"

    def test_a_new_project_has_a_list_of_what_is_missing(self) -> None:
        def missing() -> list[str]:
            return [step.url for step in self.client.get(self.url()).context["checklist"] if not step.done]

        self.project.members.exclude(user=self.alice).delete()
        assert missing() == ["import", "models", "members", "round-new"]
        import_rows.import_lines(project=self.project, lines=builders.lines({"prompt": "Why?"}))
        policy(self.project)
        builders.join(self.project, self.bob, Member.Role.ANNOTATOR)
        assert missing() == ["round-new"]
        self.assertContains(self.client.get(self.url()), "Getting started")
        builders.items(self.project, 1)
        builders.judgment(self.project, self.bob)
        snapshots.create_snapshot(project=self.project, creator=self.alice)
        assert missing() == []
        self.assertNotContains(self.client.get(self.url()), "Getting started")

    def test_a_reviewer_sees_no_list_of_what_a_lead_does(self) -> None:
        self.sign_in(self.dana)
        self.assertNotContains(self.client.get(self.url()), "Getting started")

    def test_who_judges_is_said_and_nobody_who_does_not(self) -> None:
        policy(self.project)
        builders.items(self.project, 20)
        assert "Nobody has judged yet: 20 judgments are left." in self.sentence()
        for _ in range(6):
            builders.judgment(self.project, self.bob)
        assert "1 person is judging, about" in self.sentence()
        builders.age_judgments(self.project, days=1)
        assert "Nobody is judging: the last judgment was made 1 day ago, and 14 are left." in self.sentence()
        assert self.next() == "Remind people"
        Member.objects.filter(project=self.project, user=self.bob).delete()
        assert "there is no annotator" in self.sentence()
        assert self.next() == "Invite people"

    def sentence(self) -> str:
        return str(self.client.get(self.url()).context["next"].sentence)

    def test_a_policy_that_learned_rewards_since_the_snapshot_is_trained(self) -> None:
        first = policy(self.project)
        builders.items(self.project, 1)
        builders.judgment(self.project, self.bob)

        def learn() -> None:
            Run.objects.create(
                project=self.project, kind="grpo", state="done", config={}, model=first, created_by=self.alice
            )

        learn()
        snapshots.create_snapshot(project=self.project, creator=self.alice)
        assert self.next() == "Train a reward model", "that was before"
        learn()
        assert self.next() == "Generate answers"

    def test_an_open_round_comes_first(self) -> None:
        policy(self.project)
        builders.items(self.project, 20)
        for _ in range(6):
            builders.judgment(self.project, self.bob)
        round = transitions.start_round(
            loop=round_helpers.make_loop(self.project, self.alice), creator=self.alice
        )
        assert self.next() == "View the round"
        assert f"{round}: New judgments: 6 of 10." in self.sentence()
        assert "1 person is judging" in self.sentence()
        builders.age_judgments(self.project, days=1)
        assert self.next() == "Remind people"
        Round.objects.filter(pk=round.pk).update(state=Round.State.HELD)
        assert self.next() == "Decide"
        assert "It is a lead’s turn: alice." in self.sentence()
        self.assertContains(self.client.get(self.url()), round.get_absolute_url())

    def test_a_policy_that_a_lead_decided_against_is_not_suggested(self) -> None:
        first = policy(self.project)
        builders.items(self.project, 2)
        builders.judgment(self.project, self.bob)
        round = round_helpers.make_loop(self.project, self.alice).rounds.create(
            number=1,
            plan=[],
            step="",
            step_since=timezone.now(),
            recipe="dpo",
            options={},
            policy_before=first,
        )
        run = start_run(project=self.project, kind="generate", creator=self.alice)
        finished(run)
        round.policy_after = add_model(
            project=self.project, kind="policy", name="round-1", location="x", parent=first, run=run
        )
        for decision, suggested in (("promoted", True), ("rejected", False)):
            round.decision, round.state, round.finished_at = decision, "done", timezone.now()
            round.save()
            candidate = self.client.get(self.url()).context["loop"].candidate
            assert (candidate == round.policy_after) == suggested

    def test_a_failed_run_is_not_a_step_done(self) -> None:
        policy(self.project)
        frozen = snapshot(self.project, self.alice, self.bob)
        run = start_run(project=self.project, kind="reward", creator=self.alice, snapshot=frozen)
        finished(run, state=Run.State.FAILED, error="no")
        assert self.next() == "Train a reward model"

    def test_it_shows_each_step_of_the_loop_with_its_count(self) -> None:
        policy(self.project)
        snapshot(self.project, self.alice, self.bob, 20)
        page = self.client.get(self.url())
        loop = page.context["loop"]
        assert (loop.prompts, loop.answers, loop.queue.done, loop.new_judgments) == (20, 80, 20, 0)
        self.assertContains(page, "Snapshot 1")
        self.assertContains(page, "policy-0")
        self.assertContains(page, "Guidelines version 1")
        self.assertContains(page, '<progress class="progress" data-live="bar" value="20" max="20"')

    def test_a_reviewer_sees_no_actions_of_leads(self) -> None:
        policy(self.project)
        snapshot(self.project, self.alice, self.bob)
        self.sign_in(self.dana)
        page = self.client.get(self.url()).content.decode()
        for name in ("import", "members", "guidelines", "project-settings"):
            assert f'href="{reverse(name, args=[self.project.slug])}"' not in page, name
        assert "/runs/new/" not in page

    def test_its_queries_do_not_grow_with_the_project(self) -> None:
        policy(self.project)
        frozen = snapshot(self.project, self.alice, self.bob)
        for kind in ("reward", "dpo"):
            self.train(kind, snapshot=frozen)
        start_run(project=self.project, kind="reward", creator=self.alice, snapshot=frozen)
        # user; membership; the queue and the counts, who is at work; who did what today, members;
        # loop: snapshot, models, unanswered, new judgments, what learned, open runs, the round; recent runs; guidelines
        with self.assertNumQueries(15):
            self.client.get(self.url())
