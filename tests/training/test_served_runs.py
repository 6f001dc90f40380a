"""Runs whose answers come from a server instead of a model of the project."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.conf import settings

from annotation.models import Author, Project, Response, User
from tests import builders
from training.models import Run
from training.registry.actions import add_model
from training.runs.actions import start_run
from training.runs.job_files import write_job
from training.runs.outputs import save_output, store_output

pytestmark = pytest.mark.django_db

SERVED = {"server": "http://localhost:8000/v1", "server_model": "big", "samples": 2}


@pytest.fixture(autouse=True)
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ARTIFACTS", tmp_path)
    monkeypatch.setattr(settings, "MODEL_SERVERS", [SERVED["server"]])


@pytest.fixture
def alice() -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def project(alice: User) -> Project:
    project = builders.project(alice, k=2)
    builders.items(project, 1, k=2)
    return project


def started(project: Project, alice: User) -> Run:
    return start_run(project=project, kind="generate", creator=alice, config=SERVED)


def test_it_needs_no_model_in_the_project_and_takes_none(project: Project, alice: User) -> None:
    assert started(project, alice).model is None
    add_model(project=project, kind="policy", name="big", location="hub:someone/big@main")
    run = started(project, alice)
    assert run.model is None
    job = json.loads((write_job(run) / "job.json").read_text())
    assert "model" not in job
    assert job["config"]["server_model"] == "big"


def test_its_answers_are_the_servers_models_and_no_one_elses(project: Project, alice: User) -> None:
    add_model(project=project, kind="policy", name="big", location="hub:someone/big@main")
    prompt = project.prompts.get()
    for _ in range(2):
        run = started(project, alice)
        output = run.folder / "output"
        output.mkdir(parents=True)
        lines = [
            {
                "id": prompt.pk,
                "sample": n,
                "text": f"answer {n}",
                "token_ids": None,
                "logprobs": None,
                "seed": n,
            }
            | {"temperature": 1.0, "finished": True}
            for n in range(2)
        ]
        (output / "responses.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        store_output(run)
        save_output(run)
    author = Author.objects.get(project=project, name="big at http://localhost:8000/v1")
    assert author.kind == Author.Kind.POLICY
    assert not hasattr(author, "model_version")
    assert {one.author_id for one in Response.objects.filter(text__startswith="answer ")} == {author.pk}
