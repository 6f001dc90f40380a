from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from django.test import override_settings

from tests import builders
from tests.annotation.api.base import ApiTestCase, EndpointTests
from tests.training.round_helpers import LENIENT, TINY, judge_items, play, reload
from training.models import Loop, Round
from training.registry.actions import add_model
from training.rounds import transitions
from training.rounds.loops import save_loop

READERS = "lead reviewer"
HUGE = 10**400


class LoopApiTestCase(ApiTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        settings = override_settings(ARTIFACTS=Path(folder.name))
        settings.enable()
        self.addCleanup(settings.disable)
        add_model(project=self.project, kind="policy", name="first", location="hub:some/policy@main")
        builders.items(self.project, 30)
        judge_items(self.project, self.alice)
        self.loop = save_loop(
            project=self.project, creator=self.alice, recipe="dpo", options=LENIENT, configs=TINY
        )


class AccessTests(EndpointTests, LoopApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.round = transitions.start_round(loop=self.loop, creator=self.alice)
        self.ENDPOINTS = (
            ("GET", "projects/helpfulness/loops/", READERS, None),
            ("POST", "projects/helpfulness/loops/", "lead", {"recipe": "grpo", "name": "Other"}),
            ("GET", "projects/helpfulness/leaderboard/", READERS, None),
            ("GET", f"loops/{self.loop.pk}/", READERS, None),
            ("PUT", f"loops/{self.loop.pk}/", "lead", {"recipe": "dpo"}),
            ("GET", f"loops/{self.loop.pk}/rounds/", READERS, None),
            ("POST", f"loops/{self.loop.pk}/rounds/", "lead", None),
            ("GET", f"rounds/{self.round.pk}/", READERS, None),
            ("POST", f"rounds/{self.round.pk}/cancel/", "lead", {}),
        )


class RoundTests(LoopApiTestCase):
    def act(self, round: Round, verb: str, body: Any = None) -> Any:
        return self.post(f"rounds/{round.pk}/{verb}/", self.alice, body or {})

    def test_a_loop_is_set_up_and_changed(self) -> None:
        body = {"name": "Weekly", "recipe": "llama2", "weekdays": [0], "options": {"budget": 9}}
        made = self.post("projects/helpfulness/loops/", self.alice, body)
        assert made.status_code == 201, made.content
        pk = made.json()["id"]
        assert made.json()["options"] == {"budget": 9}
        changed = self.call("PUT", f"loops/{pk}/", self.alice, {"recipe": "grpo", "active": False})
        assert (changed.json()["recipe"], changed.json()["name"]) == ("grpo", "Weekly")
        assert not Loop.objects.get(pk=pk).active

    def test_an_invalid_value_is_reported_at_its_field(self) -> None:
        other = builders.project(self.charlie, "Theirs")
        for changes, field, words in (
            ({"recipe": "alchemy"}, "recipe", "no recipe called"),
            ({"options": {"judgments": 0}}, "options", "at least 1"),
            ({"options": {"judgments": HUGE}}, "options", "at most 1e+07, not one of hundreds of digits"),
            ({"options": {"control_share": HUGE}}, "options", "finite"),
            ({"options": {"safety_tag": "\0"}}, "options", "a null byte"),
            ({"configs": {"dpo": {"beta": 0}}}, "configs", "{'beta': ['must be at least"),
            ({"configs": {"dpo": {"beta": HUGE}}}, "configs", "finite"),
            ({"configs": {"dpo": {"epochs": HUGE}}}, "configs", "at most 1000"),
            ({"configs": {"alchemy": {}}}, "configs", "no kind of run called"),
            ({"configs": {"reward": 5}}, "configs", "Expected a dictionary"),
            ({"configs": {"*": None}}, "configs", "may not be null"),
            ({"configs": {"*": {"kind": "dpo"}}}, "configs", "no kind of run has such a setting"),
            ({"configs": {"*": {"epochs": "x"}}}, "configs", "in a pretrain run it must be a whole number"),
            ({"configs": {"*": {"samples": 1}}}, "configs", "in a grpo run it must be at least 2"),
            ({"configs": {"*": {"lora_targets": "\ud800"}}}, "configs", "half of a character"),
            ({"after_judgments": 3_000_000_000}, "after_judgments", "less than or equal to"),
            ({"safety_project": other.slug}, "safety_project", "You lead no project"),
            ({"name": "DPO"}, "name", "There is a loop called"),
        ):
            body = {"name": "New", "recipe": "dpo"} | changes
            self.refused(self.post("projects/helpfulness/loops/", self.alice, body), 400, field, words)
        endless = b'{"recipe": "dpo", "name": "New", "configs": {"*": {"seed": 1e999}}}'
        answer = self.post("projects/helpfulness/loops/", self.alice, endless)
        self.refused(answer, 400, "configs", "a whole number, not inf")
        assert Loop.objects.count() == 1

    def test_settings_for_all_kinds_of_runs_are_saved(self) -> None:
        body = {"name": "New", "recipe": "grpo", "configs": {"*": {"epochs": 2, "samples": 4}}}
        made = self.post("projects/helpfulness/loops/", self.alice, body)
        assert (made.status_code, made.json()["configs"]) == (201, body["configs"])

    def test_a_round_is_started_read_and_promoted(self) -> None:
        started = self.post(f"loops/{self.loop.pk}/rounds/", self.alice)
        assert started.status_code == 201
        round = play(Round.objects.get(pk=started.json()["id"]), until="promotion")
        body = self.get(f"rounds/{round.pk}/", self.dana).json()
        assert (body["state"], body["step"]) == ("awaiting", "promotion")
        assert body["runs"]["improve-1"] == round.runs.get(part="improve-1").pk
        assert {gate["name"] for gate in body["gates"]} >= {"reward_accuracy", "wins_reward"}
        done = self.act(round, "promote", {"note": "Good."})
        assert (done.status_code, done.json()["decision"]) == (200, "promoted")
        self.refused(self.act(round, "promote"), 409, "detail", "not possible")

    def test_a_loop_has_one_open_round(self) -> None:
        self.post(f"loops/{self.loop.pk}/rounds/", self.alice)
        again = self.post(f"loops/{self.loop.pk}/rounds/", self.alice)
        self.refused(again, 409, "detail", "is still open")

    def test_overruling_needs_a_reason(self) -> None:
        self.loop.options |= {"min_accuracy": 0.9}
        self.loop.save()
        round = play(transitions.start_round(loop=self.loop, creator=self.alice), until="none")
        self.refused(self.act(round, "overrule"), 400, "reason", "Say why")
        assert self.act(round, "overrule", {"reason": "Small data."}).status_code == 200
        assert reload(round).overrules[0]["by"] == self.alice.pseudonym
        self.refused(self.act(round, "retry", {"step": "collect"}), 400, "step", "has reached")
        self.refused(self.act(round, "explode"), 400, "verb", "no action")

    def test_the_leaderboard_ranks_by_preference(self) -> None:
        assert self.get("projects/helpfulness/leaderboard/", self.alice).json() == []
        texts = {"good": "Certainly.", "poor": "No."}
        builders.imported(
            self.project,
            *(
                {
                    "id": f"b{n}",
                    "prompt": f"And {n}?",
                    "responses": [
                        {"text": f"{text} {n}", "author": author} for author, text in texts.items()
                    ],
                }
                for n in range(12)
            ),
        )
        for n in range(
            12
        ):  # ranks are in the order of the responses' ids: the good one comes first, but once
            builders.judgment(self.project, self.alice, [1, 2] if n else [2, 1])
        first, last = self.get("projects/helpfulness/leaderboard/", self.alice).json()
        assert (first["author"], last["author"], first["comparisons"]) == ("good", "poor", 12)
        assert first["low"] < first["points"] < first["high"]
