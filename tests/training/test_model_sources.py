"""Where models may come from: nobody reads a folder or asks a server of the internal network by naming it."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings

from annotation.models import Project
from tests import builders
from training.errors import RunError
from training.models import Run
from training.registry.model_sources import check_location, check_server
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
    for location in ("m", str(ours), str(theirs), "../allowed/m"):
        check_location(location)
    nothing = refusal(str(tmp_path / "nowhere"))
    # what exists and may not be read is answered as what does not exist
    for location in (
        str(secret),
        "../other/m",
        str(allowed / "link"),
        str(secret / "config.json"),
        "/",
        "/etc",
    ):
        assert refusal(location) == nothing


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
