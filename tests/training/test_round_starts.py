"""What starts a round, and what it needs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.test import override_settings
from django.urls import reverse

from annotation.models import AuditEntry, Item
from tests import builders
from tests.training.round_case import RoundTestCase
from tests.training.round_helpers import (
    finish_runs,
    judge_items,
    make_loop,
    reload,
)
from training.configs import ConfigError
from training.errors import RunError
from training.models import Round, Run
from training.registry.actions import add_model
from training.rounds import transitions
from training.rounds.loops import save_loop
from training.rounds.plan import draft_round
from training.rounds.schedule import start_due_rounds


class StartingTests(RoundTestCase):
    def test_it_needs_a_policy_and_prompts(self) -> None:
        with pytest.raises(RunError, match="no policy yet"):
            make_loop(self.project, self.alice)

    def test_a_recipe_with_a_judge_needs_a_constitution(self) -> None:
        for recipe in ("mixed", "rlaif", "rlaif-direct", "cai"):
            with pytest.raises(RunError, match="no constitution yet"):
                transitions.start_round(loop=self.make_loop(recipe), creator=self.alice)
        assert not Round.objects.exists()

    def test_a_loop_s_settings_are_checked(self) -> None:
        with pytest.raises(ConfigError, match="judgments"):
            self.make_loop(options={"judgments": 0})
        with pytest.raises(ConfigError, match="epochs"):
            save_loop(
                project=self.policy_project,
                creator=self.alice,
                recipe="dpo",
                options={},
                configs={"dpo": {"epochs": 0}},
            )
        with pytest.raises(RunError, match="must be another project"):
            self.make_loop(safety_project=self.policy_project)

    def test_rounds_start_automatically_after_new_judgments(self) -> None:
        self.make_loop(after_judgments=5)
        assert start_due_rounds() == []
        judge_items(self.policy_project, self.alice, 5)
        (round,) = start_due_rounds()
        assert round.created_by is None
        assert start_due_rounds() == [], "one is open"
        assert AuditEntry.objects.get(verb="round.started").actor is None

    def test_an_inactive_loop_starts_none(self) -> None:
        self.make_loop(after_judgments=5, active=False)
        judge_items(self.policy_project, self.alice, 5)
        assert start_due_rounds() == []

    def test_rounds_start_automatically_once_on_their_day(self) -> None:
        self.make_loop(weekdays=[0], hour=6)
        sunday, early, monday = (
            datetime(2026, 11, day, hour, tzinfo=UTC) for day, hour in ((22, 9), (23, 5), (23, 6))
        )
        assert start_due_rounds(sunday) == start_due_rounds(early) == []
        (round,) = start_due_rounds(monday)
        Round.objects.filter(pk=round.pk).update(state="cancelled", finished_at=monday, created_at=monday)
        assert start_due_rounds(monday) == []

    def test_without_anything_to_judge_the_policy_answers_first(self) -> None:
        empty = builders.project(self.alice, "Empty", k=3)
        add_model(project=empty, kind="policy", name="first", location="hub:x/y@main")
        builders.imported(empty, *({"id": f"p{n}", "prompt": f"What is {n}?"} for n in range(30)))
        round = transitions.start_round(loop=make_loop(empty, self.alice), creator=self.alice)
        assert round.step == "first-answers"
        assert finish_runs(round) == ["first-1"]
        transitions.advance(round.pk)
        assert reload(round).step == "collect"
        asked = Item.objects.filter(project=empty)
        assert asked.count() == 10
        assert asked.filter(prompt__split="held_out").count() == 2
        for split in ("train", "held_out"):
            chances = asked.filter(prompt__split=split).values_list("probability", flat=True)
            in_all = empty.prompts.filter(split=split).count()
            assert list(chances) == pytest.approx([len(chances) / in_all] * len(chances))

    def test_it_is_estimated_from_earlier_runs(self) -> None:
        one = self.make_loop()
        assert draft_round(one).estimate["unknown"] == ["dpo", "evaluate", "generate", "reward"]
        for kind, seconds in (("reward", 60), ("dpo", 100), ("evaluate", 5), ("generate", 10)):
            Run.objects.create(
                project=self.policy_project,
                kind=kind,
                state="done",
                config={},
                result={"seconds": seconds},
                created_by=self.alice,
            )
        estimate = draft_round(one).estimate
        assert estimate["unknown"] == []
        assert estimate["seconds"] == 60 + 5 + 100 + 10 + 5 + 10 + 5
        assert estimate["steps"]["improve-1"] == 100
        assert estimate["run_seconds"] >= estimate["seconds"]
        self.sign_in(self.alice)
        with override_settings(GPU_HOUR_PRICE=36.0, CURRENCY="EUR"):
            page = self.client.get(reverse("round-new", args=[one.project.slug])).content.decode()
        assert f"At most {estimate['run_seconds'] / 100:.2f} EUR for each GPU." in page

    def test_a_part_is_estimated_from_the_same_part(self) -> None:
        one = self.make_loop()
        for seconds, fields in (
            (10, {"inputs": {"prompts": 5}}),
            (90, {"part": "fresh-1"}),
        ):
            Run.objects.create(
                project=self.policy_project,
                kind="generate",
                state="done",
                config={},
                result={"seconds": seconds},
                created_by=self.alice,
                **fields,
            )
        steps = draft_round(one).estimate["steps"]
        assert steps["fresh-answers"] == 90, "the same part of a round"
        assert steps["answers"] == (10 + 90) / 2, "its kind, without the question"
