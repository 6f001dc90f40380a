"""Web and worker on two machines: processes with folders of their own, which exchange files through a real S3 server."""

from __future__ import annotations

import io
import json
import secrets
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from django.conf import settings
from django.test import Client

from annotation.actions import snapshots
from annotation.models import ApiToken, Import, Project, User
from annotation.store import stores
from tests import builders
from tests.processes import free_port, kill, process, until
from tests.s3_server import BUCKET, S3Server, s3_server
from training import tasks
from training.models import ModelVersion, Run
from training.runs.actions import cancel_run, resume_run, start_run

pytestmark = [pytest.mark.live, pytest.mark.slow(120), pytest.mark.django_db(transaction=True)]

SMALL = {"max_length": 256, "threads": 1}


class Machine:
    """A machine with nothing but the settings of the others: its own folders, and the database, the broker and the bucket."""

    def __init__(self, folder: Path, server: S3Server) -> None:
        self.folder = folder
        self.settings = server.environment | {
            "PALATE_VAR": str(folder / "var"),
            "ARTIFACTS": str(folder / "artifacts"),
            "ARTIFACT_STORE": f"s3://{BUCKET}/{folder.parent.name}",
            "REDIS_URL": settings.REDIS_URL,
            "SECRET_KEY": settings.SECRET_KEY,
            "CHECKPOINT_UPLOAD_S": "0",
        }

    def job_folders(self) -> list[Path]:
        return list((self.folder / "artifacts" / "runs").glob("*"))

    def events(self, run: Run) -> list[dict[str, Any]]:
        path = self.folder / "artifacts" / "runs" / str(run.pk) / "events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


def over(run: Run) -> bool:
    run.refresh_from_db()
    return not run.is_open


def test_the_whole_loop_goes_through_the_store(
    project: Project, alice: User, server: S3Server, warm_core: dict[str, str], tmp_path: Path
) -> None:
    web, worker = Machine(tmp_path / "web", server), Machine(tmp_path / "worker", server)
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    key = ApiToken.issue(user=alice, name="two machines", scope=ApiToken.Scope.LEAD)[1]
    api = requests.Session()
    api.headers["Authorization"] = f"Bearer {key}"

    def post(path: str, **body: Any) -> dict[str, Any]:
        answer = api.post(f"{site}/api/v1/{path}", json=body)
        assert answer.status_code < 300, answer.text
        return dict(answer.json())

    def run(kind: str, **body: Any) -> Run:
        """A run that a worker has done."""
        config = SMALL | body.pop("config", {})
        made = Run.objects.get(
            pk=post(f"projects/{project.slug}/runs/", kind=kind, config=config, **body)["id"]
        )
        until(lambda: over(made), f"the {kind} run ends")
        assert (made.state, made.error) == (Run.State.DONE, "")
        return made

    with (
        process("web", port=port, **web.settings),
        process("importer", **worker.settings),
        process("trainer", **worker.settings | warm_core),
    ):
        until(lambda: answers(site), "the site answers")
        # import: the web process gets the file, a worker reads it
        page = signed_in(alice, site)
        rows = [
            {"prompt": f"When does ferry {n} leave?", "responses": [f"At {n}", "Never", f"Soon {n}"]}
            for n in range(24)
        ]
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        page.post(f"{site}/p/{project.slug}/import/", files={"file": ("prompts.jsonl", content)})
        upload = Import.objects.get()
        page.post(f"{site}/p/{project.slug}/import/{upload.pk}/start/")
        until(lambda: Import.objects.get().state == "done", "the import ends")

        for _ in range(24):
            builders.judgment(project, alice)
        snapshot = post(f"projects/{project.slug}/snapshots/")["number"]
        reward = run("reward", snapshot=snapshot, config={"max_steps": 3, "batch_size": 4})
        sampling = {"samples": 2, "max_new_tokens": 8}
        config = sampling | {"batch_size": 4, "max_steps": 2}
        policy = run("grpo", config=config, inputs={"prompts": 8, "held_out": 3})
        assert policy.reward_model == reward.output
        # a policy from the store generates
        assert (
            run("generate", model=policy.output.pk, config=sampling, inputs={"prompts": 2}).result["answers"]
            == 4
        )

        # registered and downloaded: as one archive, and file by file from the bucket
        path = f"{site}/api/v1/models/{policy.output.pk}/file/"
        with tarfile.open(fileobj=io.BytesIO(api.get(path).content)) as archive:
            weights = archive.extractfile(f"{policy.output.name}/model.safetensors").read()  # type: ignore[union-attr]
        redirect = api.get(f"{path}?file=model.safetensors", allow_redirects=False)
        assert redirect.status_code == 302
        assert redirect.headers["Location"].startswith(server.url)
        with urllib.request.urlopen(redirect.headers["Location"]) as answer:
            assert answer.read() == weights
        lines = api.get(
            f"{site}/api/v1/projects/{project.slug}/snapshots/{snapshot}/file/"
        ).content.splitlines()
        assert len(lines) >= 24
        until(lambda: not worker.job_folders(), "job folders of runs that are done are deleted")
        assert web.job_folders() == []


def answers(site: str) -> bool:
    try:
        return requests.get(f"{site}/readyz", timeout=60).status_code == 200
    except requests.RequestException:
        return False


def signed_in(user: User, site: str) -> requests.Session:
    """A browser's session on the site."""
    client = Client()
    client.force_login(user, backend="annotation.backends.AccountBackend")
    page = requests.Session()
    page.cookies["sessionid"] = client.cookies["sessionid"].value
    page.cookies["csrftoken"] = page.headers["X-CSRFToken"] = secrets.token_hex(16)
    return page


def test_another_machine_continues_from_the_uploaded_checkpoint(
    project: Project, alice: User, server: S3Server, warm_core: dict[str, str], tmp_path: Path
) -> None:
    first, second = (Machine(tmp_path / name, server) for name in ("first", "second"))
    config = SMALL | {"epochs": 400, "batch_size": 8, "checkpoint_every": 5}
    with pytest.MonkeyPatch.context() as patch:
        on_machine(patch, Machine(tmp_path / "web", server))
        builders.items(project, 30, k=3)
        for _ in range(30):
            builders.judgment(project, alice)
        snapshot = snapshots.create_snapshot(project=project, creator=alice)
        run = start_run(project=project, kind="reward", creator=alice, snapshot=snapshot, config=config)
    with process("trainer", **first.settings | warm_core) as trainer:
        until(lambda: "checkpoint" in Run.objects.get(pk=run.pk).files, "a checkpoint is stored")
        kill(trainer)  # and its machine is gone
    run.refresh_from_db()
    assert run.state == Run.State.RUNNING
    with process("worker", **second.settings), process("trainer", **second.settings | warm_core):
        until(
            lambda: any(event["event"] == "start" for event in second.events(run)),
            "another one takes it over",
        )
        start = next(event for event in second.events(run) if event["event"] == "start")
        assert start["resumed_from"] >= 5
        cancel_run(run)
        until(lambda: over(run), "the run stops")
    assert run.state == Run.State.CANCELLED
    assert run.warnings == []


def test_a_store_that_is_away_fails_the_run_which_can_be_resumed(
    project: Project,
    alice: User,
    server: S3Server,
    warm_core: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in warm_core.items():
        monkeypatch.setenv(name, value)
    on_machine(monkeypatch, Machine(tmp_path / "worker", server))
    builders.items(project, 4, k=3)
    run = start_run(
        project=project,
        kind="sft",
        creator=alice,
        config=SMALL | {"max_steps": 1, "batch_size": 2},
        inputs={"data": texts("talks.jsonl")},
    )
    away = f"http://127.0.0.1:{free_port()}"

    def execute(endpoint_before: str, endpoint_after: str) -> None:
        """Execute the run, with the store at one address until the program ends, and at another one then."""
        core = tasks._run_core

        def run_core(*arguments: Any) -> tasks.CoreReport:
            report = core(*arguments)
            at(endpoint_after)
            return report

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tasks, "_run_core", run_core)
            at(endpoint_before)
            tasks.execute_run.run(run.pk)
        run.refresh_from_db()

    def at(endpoint: str) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        stores._store.cache_clear()

    for before, after in ((away, away), (server.url, away)):
        execute(before, after)
        assert run.state == Run.State.FAILED
        assert "ARTIFACT_STORE" in run.error
        assert not ModelVersion.objects.filter(run=run).exists()
        resume_run(run)
    execute(server.url, server.url)
    assert (run.state, run.error) == (Run.State.DONE, "")
    assert run.output.location.startswith(f"store:runs/{run.pk}/")


def texts(name: str) -> str:
    """Put a file of conversations where leads put them, and return its name."""
    folder = Path(settings.ARTIFACTS) / "texts"
    folder.mkdir(parents=True)
    talk = [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "At nine."}]
    (folder / name).write_text(4 * (json.dumps({"messages": talk}) + "\n"))
    return name


def on_machine(patch: pytest.MonkeyPatch, machine: Machine) -> None:
    """Let this process have the settings of a machine."""
    for name, value in machine.settings.items():
        if name.startswith("AWS"):
            patch.setenv(name, value)
    patch.setattr(settings, "ARTIFACTS", Path(machine.settings["ARTIFACTS"]))
    patch.setattr(settings, "ARTIFACT_STORE", machine.settings["ARTIFACT_STORE"])
    stores._store.cache_clear()
