"""The names of models: given once, and never a reason to lose a training."""

from __future__ import annotations

import pytest

from tests.training.round_case import RoundTestCase
from tests.training.round_helpers import finish_runs, judge_items, make_loop, reload, write_output
from training.errors import RunError
from training.models import ModelVersion, Run
from training.registry.actions import add_model, free_name
from training.rounds import transitions
from training.runs.actions import claim_run, start_run
from training.runs.outputs import save_output, store_output


class NameTests(RoundTestCase):
    def start_sft(self, name: str) -> Run:
        inputs = {"name": name, "demonstrations": True}
        return start_run(project=self.policy_project, kind="sft", creator=self.alice, inputs=inputs)

    def test_a_free_one_is_numbered(self) -> None:
        assert free_name("a", {"b"}) == "a"
        assert free_name("a", {"a", "a-2"}) == "a-3"
        assert len(free_name("a" * 120, {"a" * 120})) <= ModelVersion._meta.get_field("name").max_length

    def test_a_run_reserves_its_model_s_name_while_it_is_open(self) -> None:
        run = self.start_sft("polite")
        for name in ("polite", "Polite", "first"):
            with pytest.raises(RunError, match="already"):
                self.start_sft(name)
        Run.objects.filter(pk=run.pk).update(state=Run.State.FAILED)
        self.start_sft("polite")

    def test_a_training_is_not_lost_to_a_name_that_was_taken_meanwhile(self) -> None:
        run = claim_run(self.start_sft("polite").pk)
        assert run is not None
        add_model(
            project=self.policy_project, kind="policy", name="polite", location="hub:somewhere/else@main"
        )
        write_output(run)
        store_output(run)
        assert save_output(run)["model"] == "polite-2"
        assert "'polite-2'" in " ".join(run.warnings)

    def test_two_loops_at_once_lose_no_model(self) -> None:
        judge_items(self.policy_project, self.alice, 30)
        loops = [make_loop(self.policy_project, self.alice, name=name) for name in ("one", "two")]
        rounds = [transitions.start_round(loop=loop, creator=self.alice) for loop in loops]
        transitions.advance(rounds[0].pk)
        transitions.skip_waiting(rounds[1], self.alice)
        for _ in range(40):
            for round in rounds:
                transitions.advance(round.pk)
            for round in rounds:
                finish_runs(reload(round))
        trainings = Run.objects.filter(round__in=rounds, kind__in=["reward", "dpo"])
        names = ModelVersion.objects.filter(run__in=trainings).values_list("name", flat=True)
        assert len(set(names)) == len(names) == trainings.count() >= 4
