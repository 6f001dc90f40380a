"""The seam, on real parts: a Celery worker, its broker, the training core as its child, models trained by real steps."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from annotation.actions import snapshots
from annotation.models import Item, Project, User
from annotation.store import folder_files
from tests import builders
from tests.processes import process, until
from tests.training.conftest import ROOT
from training.models import Run
from training.registry.actions import add_model
from training.registry.model_sources import staged_folder
from training.runs.actions import (
    cancel_run,
    resume_run,
    start_run,
)

pytestmark = [pytest.mark.live, pytest.mark.slow(30), pytest.mark.django_db(transaction=True)]

FUNCTION = "tests.training.reward_functions:count_letters"
SMALL = {"max_length": 256, "threads": 1}


@pytest.fixture(scope="module", autouse=True)
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "ARTIFACTS", tmp_path_factory.mktemp("artifacts"))
        yield


@pytest.fixture(scope="module", autouse=True)
def trainer(django_db_setup: None, artifacts: None, warm_core: dict[str, str]) -> Iterator[None]:
    """A worker for all tests of this module: it does not mind that the rows of one are gone in the next."""
    with process("trainer", REWARD_FUNCTIONS=FUNCTION, **warm_core):
        yield


@pytest.fixture
def alice() -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def project(alice: User, tiny_policy: Path) -> Project:
    project = builders.project(alice, k=3)
    add_model(project=project, kind="policy", name="first", location=f"file:{tiny_policy}")
    return project


def snapshot_of_judgments(project: Project, alice: User, count: int = 30) -> snapshots.Snapshot:
    builders.items(project, count, k=3)
    for _ in range(count):
        builders.judgment(project, alice)
    return snapshots.create_snapshot(project=project, creator=alice)


def over(run: Run) -> bool:
    run.refresh_from_db()
    return not run.is_open


def test_it_trains_a_reward_model_and_a_policy_that_lead_back_to_the_judgments(
    project: Project, alice: User
) -> None:
    snapshot = snapshot_of_judgments(project, alice)
    for kind in ("reward", "dpo"):
        run = start_run(project=project, kind=kind, creator=alice, snapshot=snapshot, config=SMALL)
        until(lambda run=run: over(run), f"the {kind} run ends")
        assert (run.state, run.error) == (Run.State.DONE, "")
        assert run.metrics.count() > 0
        version = run.output
        assert version.parent == project.model_versions.get(name="first")
        assert "model.safetensors" in folder_files(version.location)
        assert version.run.snapshot.sha256 == snapshot.sha256
    assert project.model_versions.get(kind="reward").metrics["accuracy"] is not None
    # the run can be repeated by hand from what lies in its folder
    ids = [json.loads(line)["id"] for line in (run.folder / "data.jsonl").open()]
    assert ids == list(snapshot_ids(snapshot))


def snapshot_ids(snapshot: snapshots.Snapshot) -> Iterator[int]:
    return (row["judgment"] for row in snapshots.read_rankings(snapshot))


def test_generated_answers_enter_the_queue(project: Project, alice: User) -> None:
    builders.items(project, 12, k=3)
    run = start_run(
        project=project,
        kind="generate",
        creator=alice,
        config=SMALL | {"samples": 3, "max_new_tokens": 8},
        inputs={"prompts": 5, "publish": True},
    )
    before = Item.objects.count()
    until(lambda: over(run), "the answers are there")
    assert (run.state, run.error) == (Run.State.DONE, "")
    assert run.result["answers"] == 15
    made = Item.objects.order_by("id")[before:]
    assert 0 < run.result["items"] == len(made) <= 5
    for item in made:
        assert {response.author.name for response in item.responses.all()} == {"first"}
        assert all("seed" in response.sampling for response in item.responses.all())
        assert item.probability == pytest.approx(5 / 12)


def test_a_policy_learns_from_how_a_reward_model_scores_its_answers(project: Project, alice: User) -> None:
    snapshot = snapshot_of_judgments(project, alice)
    run = start_run(project=project, kind="reward", creator=alice, snapshot=snapshot, config=SMALL)
    until(lambda: over(run), "the reward run ends")
    reward = run.output
    config = SMALL | {"samples": 2, "max_new_tokens": 8, "batch_size": 4, "max_steps": 3, "log_every": 1}
    run = start_run(
        project=project, kind="grpo", creator=alice, config=config, inputs={"prompts": 8, "held_out": 3}
    )
    until(lambda: over(run), "the policy has learned")
    assert (run.state, run.error) == (Run.State.DONE, "")
    assert run.reward_model == reward
    assert run.metrics.get(step=1).values["kl"] == 0
    assert "held_out_reward" in run.result["metrics"]
    assert run.output.parent == project.model_versions.get(name="first")
    assert json.loads((run.folder / "job.json").read_text())["reward_model"] == str(
        staged_folder(reward.location)
    )


def test_a_policy_learns_from_a_function_that_reads_the_metadata(
    project: Project, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    builders.items(project, 12, k=3)
    project.prompts.update(metadata={"letter": "e"})
    monkeypatch.setattr(settings, "REWARD_FUNCTIONS", [FUNCTION])
    config = SMALL | {"samples": 4, "max_new_tokens": 8, "batch_size": 4, "max_steps": 2, "log_every": 1}
    run = start_run(
        project=project, kind="grpo", creator=alice, config=config | {"reward_function": FUNCTION}
    )
    until(lambda: over(run), "the policy has learned")
    assert (run.state, run.error) == (Run.State.DONE, "")
    source = (ROOT / "tests" / "training" / "reward_functions.py").read_bytes()
    assert run.reward_function == (FUNCTION, hashlib.sha256(source).hexdigest())
    project.prompts.update(metadata={})
    run = start_run(
        project=project, kind="grpo", creator=alice, config=config | {"reward_function": FUNCTION}
    )
    until(lambda: over(run), "the function has failed")
    assert run.state == Run.State.FAILED
    assert f"The reward function {FUNCTION} failed: KeyError: 'letter'" in run.error
    assert re.search(
        r"^[\d-]{10} [\d:]{8}Z .*count_letters", (run.folder / "log.txt").read_text(), re.MULTILINE
    )


def test_a_cancelled_run_stops_with_a_checkpoint_and_can_be_resumed(project: Project, alice: User) -> None:
    snapshot = snapshot_of_judgments(project, alice)
    config = SMALL | {"epochs": 100, "batch_size": 8}
    run = start_run(project=project, kind="dpo", creator=alice, snapshot=snapshot, config=config)
    until(lambda: Run.objects.get(pk=run.pk).step >= 3, "three steps")
    cancel_run(run)
    until(lambda: over(run), "the run stops")
    assert run.state == Run.State.CANCELLED
    assert (run.folder / "checkpoint").is_dir()
    reached = run.step
    resume_run(run)
    until(lambda: over(run), "the resumed run ends")
    assert run.state == Run.State.DONE
    assert run.step == run.total > reached


def test_a_failed_run_has_an_error_message(
    project: Project, alice: User, tiny_policy: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_policy, tmp_path / "gone")
    version = add_model(project=project, kind="policy", name="gone", location=f"file:{folder}")
    shutil.rmtree(folder)
    builders.items(project, 1, k=3)
    run = start_run(project=project, kind="generate", creator=alice, model=version)
    until(lambda: over(run), "the run fails")
    assert run.state == Run.State.FAILED
    assert str(folder) in run.error
