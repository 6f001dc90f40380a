"""Runs and model downloads whose bucket is full, refuses the keys or gives another content: a sentence, no half-registered model,
and a run that can be resumed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from annotation.models import Project, User
from annotation.store import folder_files
from tests.faulty_s3 import FaultyS3, faulty_s3
from tests.s3_server import bucket_as_store, s3_server
from tests.training.test_two_machines import texts
from training import tasks
from training.errors import RunError
from training.launch.devices import Devices
from training.models import ModelVersion, Run
from training.runs.actions import resume_run, start_run

pytestmark = [pytest.mark.live, pytest.mark.slow(60), pytest.mark.django_db(transaction=True)]

UPLOADS = ["PUT", "POST"]
FULL = {"status": 507, "code": "XMinioStorageFull", "methods": UPLOADS}
REFUSED = {"status": 403, "code": "AccessDenied"}
SMALL = {"max_length": 256, "threads": 1, "max_steps": 30, "batch_size": 2, "checkpoint_every": 2}


@pytest.fixture(scope="module")
def proxy() -> Iterator[FaultyS3]:
    with s3_server() as server, faulty_s3(server) as proxy:
        yield proxy


@pytest.fixture
def bucket(
    proxy: FaultyS3, tmp_path: Path, warm_core: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultyS3]:
    for name, value in warm_core.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(settings, "CHECKPOINT_UPLOAD_S", 0.0)
    monkeypatch.setattr(settings, "RUN_HEARTBEAT_S", 0.05)  # how often a worker looks for checkpoints
    with bucket_as_store(proxy, tmp_path / "artifacts", tmp_path.name):
        yield proxy
        proxy.fault()


def start(project: Project, alice: User) -> Run:
    return start_run(
        project=project, kind="sft", creator=alice, config=SMALL, inputs={"data": texts("talks.jsonl")}
    )


def test_a_full_bucket_starts_no_run(bucket: FaultyS3, project: Project, alice: User) -> None:
    bucket.fault(**FULL)
    with pytest.raises(RunError, match=r"ARTIFACT_STORE\) is full"):
        start(project, alice)
    assert not Run.objects.exists()


def test_a_run_fails_in_a_sentence_and_is_resumed(
    bucket: FaultyS3, project: Project, alice: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(project, alice)
    core = tasks._run_core

    def execute(before: dict[str, Any], during: dict[str, Any]) -> None:
        """Execute the run with one fault while its job directory is made, and another one from the program's start on."""

        def run_core(run: Run, lock: int, devices: Devices) -> tasks.CoreReport:
            bucket.fault(**during)
            return core(run, lock, devices)

        shutil.rmtree(tmp_path / "artifacts" / "cache", ignore_errors=True)
        bucket.fault(**before)
        with monkeypatch.context() as patch:
            patch.setattr(tasks, "_run_core", run_core)
            tasks.execute_run.run(run.pk)
        bucket.fault()
        run.refresh_from_db()

    for before, during, sentence in (
        (REFUSED, {}, "AWS_ACCESS_KEY_ID"),
        ({"truncated": True, "methods": ["GET"]}, {}, "AWS_ENDPOINT_URL) is not available"),
        ({"replaced": True, "methods": ["GET"]}, {}, "has another content than its SHA-256 says"),
        ({}, FULL, "Its output could not be saved: The store"),
    ):
        execute(before, during)
        assert run.state == Run.State.FAILED
        assert sentence in run.error
        assert "ARTIFACT_STORE" in run.error
        assert not ModelVersion.objects.filter(run=run).exists()
        assert "output" not in run.files
        resume_run(run)
    assert any("A checkpoint could not be stored. The store" in text for text in run.warnings)
    execute({"delay_s": 0.2}, {"delay_s": 0.2})
    assert (run.state, run.error) == (Run.State.DONE, "")
    assert ModelVersion.objects.filter(run=run).count() == 1
    check_downloads(bucket, run.output, alice, tmp_path)


def check_downloads(bucket: FaultyS3, model: ModelVersion, alice: User, folder: Path) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(alice, backend="annotation.backends.AccountBackend")
    path = f"/api/v1/models/{model.pk}/file/"
    for query in ("", "?file=config.json"):
        shutil.rmtree(folder / "artifacts" / "cache", ignore_errors=True)
        bucket.fault(**REFUSED)
        answer = client.get(path + query)
        assert answer.status_code == 503
        assert "AWS_ACCESS_KEY_ID" in answer.json()["detail"]
    bucket.fault()
    folder_files(model.location)  # the manifest is in the cache
    bucket.fault(truncated=True, methods=["GET"])
    archive = client.get(path)
    with pytest.raises(OSError, match="ARTIFACT_STORE"):
        b"".join(archive)
    bucket.fault()
    assert len(b"".join(client.get(path))) == int(client.get(path)["Content-Length"])
