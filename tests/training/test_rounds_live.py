"""Whole rounds on real parts: a beat, a worker, a trainer, and models of some ten thousand weights that learn by real steps."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from annotation.models import Item, Member, User
from tests import builders
from tests.processes import process, until
from tests.training.round_helpers import judge_items, make_loop, project_with_policy, reload
from training.models import Round
from training.rounds import transitions

pytestmark = [pytest.mark.live, pytest.mark.slow(40), pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "ARTIFACTS", tmp_path)
    return tmp_path


@pytest.fixture
def alice() -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def workers(warm_core: dict[str, str]) -> Iterator[None]:
    with process("worker"), process("trainer", **warm_core):
        yield


def reaches(round: Round, *states: str) -> Round:
    def there() -> bool:
        now = reload(round)
        assert now.state in states or now.state == "working", (now.state, now.step, now.error, now.gates)
        return now.state in states

    until(there, f"round {round.pk} is {' or '.join(states)}: {reload(round).step}")
    return reload(round)


def test_a_round_of_dpo_goes_from_judgments_to_new_questions(
    alice: User, tiny_policy: Path, workers: None
) -> None:
    project = project_with_policy(alice, f"file:{tiny_policy}")
    round = transitions.start_round(loop=make_loop(project, alice), creator=alice)
    assert (round.state, round.step) == ("working", "collect")
    judge_items(project, alice)
    round = reaches(round, "held", "awaiting")
    assert round.snapshot is not None
    assert round.snapshot.counts["judgments"] == 30
    names = {gate["name"] for gate in round.gates}
    assert {"reward_accuracy", "reward_may_lose", "wins_reward", "wins_second", "kl", "length"} <= names
    if round.state == Round.State.HELD:  # four steps teach nobody to win
        assert [gate["name"] for gate in round.gates if not gate["passed"]], round.error
        round = transitions.overrule(round, alice, "It is only a test.")
        round = reaches(round, "awaiting")
    assert round.policy_after is not None
    assert round.policy_after.parent == round.policy_before
    assert len(round.report["regressions"]) > 0
    before = Item.objects.count()
    transitions.decide(round, alice, "promoted")
    round = reaches(round, "done")
    round.policy_after.refresh_from_db()  # type: ignore[union-attr]
    assert round.policy_after.current  # type: ignore[union-attr]
    asked = Item.objects.order_by("id")[before:]
    assert 0 < len(asked) <= 10
    for item in asked:
        assert {response.author for response in item.responses.all()} == {round.policy_after.author}  # type: ignore[union-attr]
        assert 0 < item.probability <= 1


def test_many_who_look_at_once_start_every_part_once(alice: User, tiny_policy: Path) -> None:
    project = project_with_policy(alice, f"file:{tiny_policy}")
    judge_items(project, alice)
    round = transitions.start_round(loop=make_loop(project, alice), creator=alice)

    def look(_: int) -> None:
        try:
            transitions.advance(round.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(look, range(24)))
    assert reload(round).step == "rewards"
    assert sorted(round.runs.values_list("part", flat=True)) == ["reward", "second"]
    assert project.snapshots.count() == 1


def test_a_round_of_llama_2_has_two_reward_models_and_asks_about_two_policies(
    alice: User, tiny_policy: Path, workers: None
) -> None:
    project = project_with_policy(alice, f"file:{tiny_policy}")
    safety = builders.project(alice, "Safety", k=2)
    builders.items(safety, 20, k=2)
    one = make_loop(project, alice, "llama2", safety_project=safety, options={"second_opinion": False})
    round = transitions.start_round(loop=one, creator=alice)
    judge_items(project, alice)
    judge_items(safety, alice)
    round = reaches(round, "held", "awaiting")
    if round.state == Round.State.HELD:
        round = reaches(transitions.overrule(round, alice, "It is only a test."), "awaiting")
    kinds = {run.part: (run.kind, run.safety_reward_model) for run in round.runs.all()}
    reward = safety.model_versions.get(kind="reward")
    assert kinds["improve-1"] == ("rejection", reward)
    assert kinds["improve-2"] == ("ppo", reward)
    assert reward.current
    transitions.decide(round, alice, "promoted")
    round = reaches(round, "done")
    asked = Item.objects.filter(project=project, judgments=None)
    authors = {response.author.name for item in asked for response in item.responses.all()}
    assert authors == {"first", "round-1-policy"}
    assert Member.objects.count() == 2
