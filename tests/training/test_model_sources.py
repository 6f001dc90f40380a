"""Where models may come from: nobody reads a folder or asks a server of the internal network by naming it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from django.conf import settings

from annotation.models import Project
from annotation.store import MissingObject
from tests import builders
from training.errors import RunError
from training.models import Run
from training.registry.actions import add_model
from training.registry.model_sources import check_location, check_server, check_settings, put_model
from training.runs.actions import resume_run, start_run

SERVED = {"server": "http://169.254.169.254/latest", "server_model": "x"}


def model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text("")
    return folder


def refusal(location: str) -> str:
    with pytest.raises(RunError) as refused:
        check_location(location)
    return str(refused.value).replace(f" {location} ", " X ")


def test_only_folders_of_the_administrator_can_be_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts, allowed, other = (tmp_path / name for name in ("artifacts", "allowed", "other"))
    ours, theirs, secret = model(artifacts / "m"), model(allowed / "m"), model(other / "m")
    (allowed / "link").symlink_to(secret)
    monkeypatch.setattr(settings, "ARTIFACTS", artifacts)
    monkeypatch.setattr(settings, "MODEL_DIRS", [str(allowed)])
    for location in (
        f"file:{theirs}",
        f"file:{other}/../allowed/m",
        "hub:org/name@0f3a9c",
        "hub:name@refs/pr/1",
    ):
        check_location(location)
    nothing = refusal(f"file:{tmp_path / 'nowhere'}")
    # what exists and may not be read is answered as what does not exist
    for location in (
        f"file:{ours}",
        f"file:{secret}",
        f"file:{allowed}/../other/m",
        f"file:{allowed / 'link'}",
        f"file:{secret / 'config.json'}",
        "file:/",
        "file:/etc",
        "file:",
    ):
        assert refusal(location) == nothing


def test_what_is_missing_is_never_looked_for_on_a_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry takes no relative path, and the core gets only folders and what says that it is a hub's."""
    monkeypatch.setattr(settings, "ARTIFACTS", tmp_path)
    monkeypatch.setattr(settings, "MODEL_DIRS", [str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    model(tmp_path / "org" / "name")
    for location in ("org/name", "runs/3/output", "./org/name"):
        assert "is no location of a model" in refusal(location)
        with pytest.raises(RunError, match="is no location of a model"):
            put_model(location, tmp_path / "job")
    here = f"file:{tmp_path / 'org' / 'name'}"
    assert put_model(here, tmp_path / "job") == str(tmp_path / "org" / "name")
    assert put_model("hub:org/name@v1", tmp_path / "job") == "hub:org/name@v1"
    shutil.rmtree(tmp_path / "org")
    with pytest.raises(RunError, match=r"no folder .* \(MODEL_DIRS\)"):
        put_model(here, tmp_path / "job")
    with pytest.raises(MissingObject, match="ARTIFACT_STORE"):
        put_model(f"store:runs/3/{64 * 'a'}", tmp_path / "job")


@pytest.mark.django_db
def test_a_folder_may_be_named_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "MODEL_DIRS", [str(tmp_path)])
    project: Project = builders.project(builders.user("alice", is_staff=True), k=2)
    model(tmp_path / "mine")
    added = add_model(project=project, kind="policy", name="mine", location=str(tmp_path / "mine"))
    assert added.location == f"file:{tmp_path / 'mine'}"
    with pytest.raises(RunError, match=f"no folder file:/etc below one of {tmp_path}"):
        add_model(project=project, kind="policy", name="other", location="/etc")


@pytest.mark.django_db
def test_runs_ask_only_servers_of_the_administrator(monkeypatch: pytest.MonkeyPatch) -> None:
    alice = builders.user("alice", is_staff=True)
    project: Project = builders.project(alice, k=2)
    builders.items(project, 1, k=2)
    for allowed in ([], ["http://localhost:8000/v1"]):
        monkeypatch.setattr(settings, "MODEL_SERVERS", allowed)
        with pytest.raises(RunError, match="none of the servers") as refused:
            start_run(project=project, kind="generate", creator=alice, config=SERVED)
        assert refused.value.field == "server"
    monkeypatch.setattr(settings, "MODEL_SERVERS", [SERVED["server"] + "/"])
    run = start_run(project=project, kind="generate", creator=alice, config=SERVED)
    Run.objects.filter(pk=run.pk).update(state=Run.State.FAILED)
    monkeypatch.setattr(settings, "MODEL_SERVERS", [])
    with pytest.raises(RunError, match="none of the servers"):
        resume_run(run)


def test_only_samplers_of_the_administrator_get_a_runs_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"sampler": "vllm-lora", "sampler_server": "http://localhost:8000/v1", "lora_rank": 8}
    monkeypatch.setattr(settings, "MODEL_SERVERS", [config["sampler_server"]])
    with pytest.raises(RunError, match="SAMPLER_SERVERS, of which there are none") as refused:
        check_settings(config)
    assert refused.value.field == "sampler_server"
    monkeypatch.setattr(settings, "SAMPLER_SERVERS", [config["sampler_server"]])
    check_settings(config)
    with pytest.raises(RunError, match="in the administrator's SAMPLER_SERVERS: http://localhost:8000/v1"):
        check_settings(config | {"sampler_server": "http://localhost:8001/v1"})


def test_a_server_is_allowed_as_it_is_written_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "MODEL_SERVERS", ["https://models.example/v1/"])
    check_server("https://models.example/v1")
    for other in (
        "https://models.example",
        "https://models.example/v1/../admin",
        "https://models.example.evil/v1",
    ):
        with pytest.raises(RunError):
            check_server(other)
