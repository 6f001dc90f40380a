"""The demo, whole, on real parts, with everything smaller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site_settings
from django.core.management import call_command

from annotation.models import Judgment, Project, Slot
from tests.processes import environment, free_port, warm_site
from training.demo import projects, run_settings, world
from training.demo.http_client import DemoError
from training.models import ModelVersion, Round, Run
from training.registry.actions import current_model

pytestmark = [pytest.mark.live, pytest.mark.slow(60)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, warm_core: dict[str, str]) -> None:
    """A demo that takes a minute, on the test database."""
    monkeypatch.setattr(site_settings, "ARTIFACTS", tmp_path)
    quick = warm_core | {"WARM_SITE": warm_site(), "FORK_SERVER": warm_core["WARM_CORE"]}
    for name, value in (environment() | quick).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        site_settings, "FORK_SERVER", warm_core["WARM_CORE"]
    )  # the site starts none of its own
    amounts = {
        "PRETRAINING_TEXTS": 300,
        "SFT_CONVERSATIONS": 100,
        "PROMPTS_PER_ROUND": 24,
        "HELD_OUT_PROMPTS": 10,
        "EVALUATION_PROMPTS": 14,
        "LEARN_PROMPTS": 8,
    }
    for name, amount in amounts.items():
        monkeypatch.setattr(run_settings, name, amount)
    monkeypatch.setattr(projects, "IMPORTED_PROMPTS", 300)
    monkeypatch.setattr(projects, "PROMPTS_WITH_RESPONSES", 6)
    monkeypatch.setattr(world, "CARELESS_JUDGMENTS", 8)
    tiny = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "layers": 1,
        "heads": 2,
        "kv_heads": 2,
        "max_steps": 20,
    }
    for stage, changes in {
        "PRETRAIN": tiny,
        "SFT": {"max_steps": 4},
        "GENERATE": {"max_new_tokens": 24, "samples": 4},
        "REWARD": {"max_steps": 4},
        "DPO": {"max_steps": 4},
        "REJECTION": {"max_steps": 2, "samples": 2, "max_new_tokens": 24},
        "PPO": {"max_steps": 2, "samples": 2, "max_new_tokens": 24},
    }.items():
        monkeypatch.setattr(run_settings, stage, getattr(run_settings, stage) | changes)


@pytest.mark.django_db(transaction=True)
def test_it_plays_a_round_and_does_not_repeat_it(small: None, capsys: pytest.CaptureFixture[str]) -> None:
    result = play(capsys, lead="overrules")
    assert len(result["rounds"]) == 1
    (first,) = result["rounds"]
    assert 0 <= first["rm_accuracy"] <= 1
    assert first["ci"][0] <= first["win_rate_vs_first"] <= first["ci"][1]
    careless = Judgment.objects.filter(annotator__username=projects.CARELESS_ANNOTATOR)
    judged = 24 + 10 - world.LEFT_FOR_PEOPLE
    assert result["judgments"] == Judgment.objects.count() == judged + careless.count()
    assert careless.count() == 8
    assert Slot.objects.filter(state="open").count() > 20, "people find something to judge"
    # from the newest policy back to every judgment
    policy = ModelVersion.objects.get(name="round-1-policy")
    assert [version.name for version in policy.lineage()] == ["round-1-policy", "first-policy", "base"]
    assert policy.run is not None
    assert policy.run.snapshot is not None
    assert policy.run.snapshot.counts["judgments"] == judged
    assert Round.objects.get().state == Round.State.DONE

    stages = {name: seconds for name, seconds in result["seconds"].items() if name != "total"}
    assert 0 < sum(stages.values()) <= result["seconds"]["total"]
    assert stages["Round 1: Train the reward models"] > 0

    runs = Run.objects.count()
    again = play(capsys, lead="overrules")
    assert again | {"seconds": result["seconds"]} == result
    assert not any(stage.startswith("Round") for stage in again["seconds"])
    assert Run.objects.count() == runs


@pytest.mark.django_db(transaction=True)
def test_llama_2_judges_what_is_safe_in_a_project_of_its_own(
    small: None, capsys: pytest.CaptureFixture[str]
) -> None:
    play(capsys, "llama2", lead="overrules")
    safety = ModelVersion.objects.get(project__slug=projects.SAFETY_SLUG)
    kinds = list(Round.objects.get().runs.filter(part__startswith="improve").order_by("pk"))
    assert [(run.kind, run.safety_reward_model) for run in kinds] == [("rejection", safety), ("ppo", safety)]


@pytest.mark.django_db(transaction=True)
def test_a_lead_who_obeys_keeps_the_repository_s_policy_where_a_gate_fails(
    small: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = run_settings.options
    monkeypatch.setattr(
        run_settings, "options", lambda *args, **values: options(*args, **values) | {"min_accuracy": 1.0}
    )
    result = play(capsys, scratch=False)
    assert not Run.objects.filter(kind__in=["pretrain", "sft"]).exists()
    assert ModelVersion.objects.get(name="first-policy").parent == ModelVersion.objects.get(name="base")
    (first,) = result["rounds"]
    assert (first["promoted"], first["overruled"]) == (False, False)
    assert first["win_rate_vs_first"] == 0.5
    assert first["kl"] is None
    assert Round.objects.get().state == Round.State.DONE
    assert current_model(Project.objects.get(slug="demo"), "policy").name == "first-policy"  # type: ignore[union-attr]


@pytest.mark.django_db(transaction=True)
def test_another_taste_needs_a_new_demo() -> None:
    projects.get_or_create_project("second")
    assert projects.get_or_create_project("second").guidelines.get().text == projects.GUIDELINES["second"]
    with pytest.raises(DemoError, match="demo-reset"):
        projects.get_or_create_project("first")


def play(
    capsys: pytest.CaptureFixture[str],
    recipe: str = "dpo",
    taste: str = "first",
    lead: str = "obeys",
    *,
    scratch: bool = True,
) -> dict[str, Any]:
    """The last line that the command prints, as JSON."""
    values = {"recipe": recipe, "taste": taste, "lead": lead, "scratch": scratch}
    call_command("demo", rounds=1, seed=3, port=free_port(), no_serve=True, **values)
    return dict(json.loads(capsys.readouterr().out.splitlines()[-1]))
