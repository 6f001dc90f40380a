"""The client and the command, against a real server, and the examples of docs/client.md."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from django.db import transaction
from django.test import TransactionTestCase
from palate_client import Item, Palate, PalateError, client
from palate_client import Judgment as Said

from annotation.analytics.figures import LARGE
from annotation.models import ApiToken, Judgment, Project, Prompt, Snapshot, SnapshotJob, User
from tests import builders
from tests.annotation.bulk import fill
from tests.patience import HANGS_S
from tests.processes import free_port, process, until

pytestmark = [pytest.mark.live, pytest.mark.slow(20)]

ROOT = Path(__file__).resolve().parents[3]


class ClientTests(TransactionTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(self.settings(ARTIFACTS=self.folder / "artifacts"))
        self.alice = builders.user("alice", is_staff=True)
        self.project = builders.project(self.alice)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = ApiToken.issue(user=self.alice, name="t", scope="lead")[1]

    def test_it_does_what_the_docs_say(self) -> None:
        with (
            process("web", port=self.port),
            process("importer"),
            process("archiver"),
            Palate(self.url, self.token) as palate,
        ):
            until(lambda: answers(palate), "the site to answer")
            self.commands(palate)
            self.examples()
            self.downloads_go_on(palate)
            self.rows_end_at_newlines_alone(palate)
            self.what_is_at_work_is_waited_for()
            self.a_worker_is_waited_for(palate)
            self.snapshots_go_to_the_hub(palate)
            self.refusals(palate)
            self.odd_files()

    def palate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PALATE_URL": self.url,
            "PALATE_TOKEN": self.token,
            "PYTHONPATH": f"{ROOT / 'client'}:{self.folder}",
        }
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=HANGS_S,
        )

    def odd_files(self) -> None:
        odd = [{"prompt": "a?", "chosen": "b", "rejected": "c", "topic": "air"}, {"prompt": ""}]
        (self.folder / "odd.jsonl").write_text("".join(json.dumps(line) + "\n" for line in odd))
        stopped = self.palate("-m", "palate_client", "import", "helpfulness", "odd.jsonl")
        assert (stopped.returncode, "has no column 'topic'" in stopped.stderr) == (1, True), stopped.stderr
        done = self.palate(
            *("-m", "palate_client", "import", "helpfulness", "odd.jsonl"),
            *("--other-columns", "metadata", "--set-aside", "0.5"),
        )
        assert done.stdout.splitlines()[1:] == [
            "Set aside: line 2: prompt: empty",
            "Columns kept as metadata: topic",
        ], done.stderr
        assert self.palate("-m", "palate_client", "--version").stdout.startswith("palate-client 0.")

    def commands(self, palate: Palate) -> None:
        lines = [{"prompt": f"{n}?", "responses": ["a", "bb", "ccc"]} for n in range(12)]
        (self.folder / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        done = self.palate("-m", "palate_client", "import", "helpfulness", "prompts.jsonl")
        assert (done.returncode, done.stdout.split(",")[0]) == (0, "New prompts: 12"), done.stderr
        (self.folder / "shortest.py").write_text(python_of_the_docs()[0])
        done = self.palate(
            "-m", "palate_client", "label", "helpfulness", "shortest.py:shortest", "--limit", "10"
        )
        assert done.stdout == "10 items judged.\n", done.stderr
        assert Judgment.objects.count() == 10
        for command in (
            "export helpfulness p.jsonl --format trl",
            "export helpfulness p.parquet --votes majority",
        ):
            done = self.palate("-m", "palate_client", *command.split())
            assert done.returncode == 0, done.stderr
        assert len((self.folder / "p.jsonl").read_text().splitlines()) == 30
        done = self.palate("-m", "palate_client", *"export helpfulness - --format trl".split())
        assert done.stdout == (self.folder / "p.jsonl").read_text()
        assert not (self.folder / "-").exists()
        assert (self.folder / "p.parquet").read_bytes()[:4] == b"PAR1"
        (self.folder / "bad.jsonl").write_text('{"prompt": ""}\n')
        done = self.palate("-m", "palate_client", "import", "helpfulness", "bad.jsonl")
        assert done.returncode == 1
        assert "line 1: prompt: empty" in done.stderr
        again = gzip.compress((self.folder / "prompts.jsonl").read_bytes())
        (self.folder / "again.jsonl.gz").write_bytes(again)
        done = self.palate("-m", "palate_client", "import", "helpfulness", "again.jsonl.gz")
        assert "Unchanged rows: 12." in done.stdout, done.stderr
        (self.folder / "list.json").write_text(
            json.dumps([{"prompt": "A list?", "responses": ["a", "b", "c"]}])
        )
        done = self.palate("-m", "palate_client", "import", "helpfulness", "list.json")
        assert done.stdout.startswith("New prompts: 1, responses: 3, items: 1."), done.stderr
        (self.folder / "torn.jsonl.gz").write_bytes(again[:-9])
        done = self.palate("-m", "palate_client", "import", "helpfulness", "torn.jsonl.gz")
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
        assert self.palate("-m", "palate_client", "export", "nothing", "x.jsonl").returncode == 1
        assert not (self.folder / "x.jsonl").exists()
        self.resources()
        done = self.palate("-m", "palate_client", "rounds", "start", "helpfulness")
        assert "has 0 loops" in done.stderr

    def resources(self) -> None:
        def table(*arguments: str) -> list[list[str]]:
            done = self.palate("-m", "palate_client", *arguments)
            assert done.returncode == 0, done.stderr
            return [line.split() for line in done.stdout.splitlines()]

        (self.folder / "rules.md").write_text("Prefer short answers.")
        made = table("projects", "create", "Second", "--guideline", "rules.md", "--set", "k=3")
        assert made[1][0] == "second"
        assert Project.objects.get(slug="second").k == 3
        assert [row[0] for row in table("projects", "list")] == ["slug", "helpfulness", "second"]
        builders.user("nina")
        assert table("members", "add", "second", "nina", "--role", "reviewer")[1][1:3] == ["nina", "reviewer"]
        assert [row[1] for row in table("members", "list", "second")] == ["username", "alice", "nina"]
        assert table("freeze", "helpfulness", "--note", "first")[1][:2] == ["1", "10"]
        listed = self.palate("-m", "palate_client", "snapshots", "list", "helpfulness", "--json")
        assert [snapshot["note"] for snapshot in json.loads(listed.stdout)] == ["first"]
        for kind in ("runs", "models", "loops", "webhooks"):
            assert table(kind, "list", "helpfulness") == [[]]
        old, _ = ApiToken.issue(user=self.alice, name="old")
        assert [row[1] for row in table("tokens", "list")] == ["name", "old", "t"]
        assert [row[1] for row in table("tokens", "revoke", str(old.pk))] == ["name", "t"]
        refused = self.palate("-m", "palate_client", "runs", "start", "helpfulness", "reward")
        assert (refused.returncode, "no policy yet" in refused.stderr) == (1, True), refused.stderr
        odd = self.palate("-m", "palate_client", "runs", "start", "helpfulness", "reward", "--set", "epochs")
        assert "give NAME=VALUE" in odd.stderr
        Project.objects.filter(slug="second").update(name="Second")

    def examples(self) -> None:
        User.objects.filter(pk=self.alice.pk).update(account="machine")
        for block in python_of_the_docs()[1:]:
            done = self.palate("-c", block)
            assert done.returncode == 0, done.stderr
        assert Prompt.objects.filter(external_id="q9").exists()
        assert (self.folder / "pairs.jsonl").exists()

    def downloads_go_on(self, palate: Palate) -> None:
        fill(self.project, builders.user("bob"), 300)
        number = palate.freeze("helpfulness")["number"]
        whole = palate.export("helpfulness", self.folder / "whole.jsonl", snapshot=number).read_bytes()
        # what has come of a download that broke off, and of which file it is
        headers = palate._http.get(f"{self.url}/api/v1/projects/helpfulness/snapshots/{number}/file/").headers
        (self.folder / "part.jsonl.part").write_bytes(whole[:1000])
        (self.folder / "part.jsonl.part.etag").write_text(headers["ETag"])
        counted: list[int] = []
        path = palate.export(
            "helpfulness", self.folder / "part.jsonl", snapshot=number, on_bytes=counted.append
        )
        assert path.read_bytes() == whole
        assert counted[0] == 1000
        # of another file: it begins again
        (self.folder / "other.jsonl.part").write_bytes(b"x" * 1000)
        (self.folder / "other.jsonl.part.etag").write_text('"another"')
        assert (
            palate.export("helpfulness", self.folder / "other.jsonl", snapshot=number).read_bytes() == whole
        )
        assert next(iter(palate.rows("helpfulness", snapshot=number))) == json.loads(whole.splitlines()[0])
        # begun of a snapshot, and then of what is there now, by somebody who stopped it: it begins again
        (self.folder / "live.jsonl.part").write_bytes(whole[:1000])
        (self.folder / "live.jsonl.part.etag").write_text(headers["ETag"])
        with pytest.raises(KeyboardInterrupt):
            palate.export("helpfulness", self.folder / "live.jsonl", format="raw", on_bytes=stops)
        assert (self.folder / "live.jsonl.part").stat().st_size
        assert palate.export("helpfulness", self.folder / "live.jsonl", snapshot=number).read_bytes() == whole

    def rows_end_at_newlines_alone(self, palate: Palate) -> None:
        """Other signs that end a line may stand in a text."""
        text = "one\u2028two\u2029three\u0085four\x0bfive\x0csix\x1cseven\x1deight\x1enine\rten\neleven"
        project = builders.project(self.alice, "Lines")
        builders.imported(project, {"id": "q", "prompt": text, "responses": [text, "b", "c"]})
        builders.judgment(project, self.alice)
        (row,) = palate.rows("lines", format="raw")
        assert row["messages"][0]["content"] == text
        number = palate.freeze("lines")["number"]
        assert list(palate.rows("lines", snapshot=number, format="raw")) == [row]

    def what_is_at_work_is_waited_for(self) -> None:
        """A site that works for longer than one waits for its answer does it once."""
        before = Snapshot.objects.count()
        with Palate(self.url, self.token, timeout_s=1) as hasty, ThreadPoolExecutor(1) as pool:
            seen: list[int] = []
            hasty._http.event_hooks = {"response": [lambda answer: seen.append(answer.status_code)]}
            with transaction.atomic():
                Project.objects.select_for_update(no_key=True).get(pk=self.project.pk)
                with patch.object(client, "IN_PROGRESS_S", 2):
                    refused = raised(lambda: hasty.freeze("helpfulness"))
                assert (refused.status, "being executed" in str(refused)) == (409, True), refused
                seen.clear()
                frozen = pool.submit(hasty.freeze, "helpfulness", note="once")
                until(lambda: frozen.done() or seen.count(409) > 1, "the site to be at work")
            number = frozen.result(60)["number"]
        assert set(seen) == {409, 201}
        assert Snapshot.objects.get(note="once").number == number
        until(lambda: Snapshot.objects.count() == before + 2, "what was given up to be done")

    def a_worker_is_waited_for(self, palate: Palate) -> None:
        project = builders.project(self.alice, "Large")
        fill(project, builders.user("carol"), LARGE + 1)
        seen: list[str] = []
        made = palate.freeze("large", every_s=0.2, on_change=lambda job: seen.append(job["state"]))
        assert (made["number"], made["counts"]["judgments"], seen[-1]) == (1, LARGE + 1, "done")
        job = f"/projects/large/snapshots/jobs/{SnapshotJob.objects.get().pk}/cancel/"
        assert raised(lambda: palate._json("POST", job)).status == 409

    def snapshots_go_to_the_hub(self, palate: Palate) -> None:
        with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as hub:
            threading.Thread(target=hub.serve_forever, daemon=True).start()
            here = {
                "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
                "HF_TOKEN": "hf_x",
                "HF_HUB_OFFLINE": "0",
            }
            commit = f"{here['HF_ENDPOINT']}/datasets/us/preferences/commit/1"
            with patch.dict(os.environ, here):
                done = self.palate(
                    *("-m", "palate_client", "push", "helpfulness", "us/preferences", "--snapshot", "1")
                )
            hub.shutdown()
        assert done.stdout.split() == ["url", commit], done.stderr
        made = [Hub.created[name] for name in ("organization", "name", "type", "visibility")]
        assert made == ["us", "preferences", "dataset", "private"]
        here = palate.export(
            "helpfulness", self.folder / "p.parquet", snapshot=1, split="train", file="parquet"
        )
        assert Hub.files["data/trl/train.parquet"] == here.read_bytes()
        assert {"README.md", "manifest.json"} < set(Hub.files)
        assert Hub.deleted == ["data/older/train.parquet"]

    def refusals(self, palate: Palate) -> None:
        builders.imported(self.project, {"id": "last", "prompt": "Last?", "responses": ["a", "b", "c"]})
        for wrong, status, words in (
            (lambda: palate.project("nothing"), 404, "No such project"),
            (lambda: palate.export("helpfulness", self.folder / "n", format="csv"), 400, "format: 'csv'"),
            (lambda: Palate(self.url, "palate_x").projects(), 401, "is unknown"),
            (lambda: palate.label("helpfulness", lambda item: Said(ranks={"Z": 1})), 400, "ranks: 'Z'"),
        ):
            refused = raised(wrong)
            assert (refused.status, words in str(refused)) == (status, True), refused
        seen: list[Item] = []
        palate.label("helpfulness", lambda item: (seen.append(item), Said(ranks=[1, 2, 2]))[1], limit=1)
        assert [answer.label for answer in seen[0].answers] == ["A", "B", "C"]


def stops(count: int) -> None:
    if count:
        raise KeyboardInterrupt


def raised(work: Any) -> PalateError:
    try:
        work()
    except PalateError as error:
        return error
    raise AssertionError("it was not refused")


def answers(palate: Palate) -> bool:
    try:
        return bool(palate.projects())
    except PalateError:
        return False


def python_of_the_docs() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "client.md").read_text(), re.DOTALL)


def test_it_needs_nothing_of_the_site() -> None:
    code = "import sys; import palate_client.cli; print([m for m in sys.modules if m.split('.')[0] in ('django', 'annotation')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "client", capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


class Hub(BaseHTTPRequestHandler):
    """What the Hugging Face hub answers to an upload: the few requests of its HTTP API, by its documentation."""

    created: ClassVar[dict[str, Any]] = {}
    files: ClassVar[dict[str, bytes]] = {}
    deleted: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        # the files that the repository has before the upload
        here = {"type": "file", "path": "data/older/train.parquet", "size": 1, "oid": "0"}
        self.answer([here] if "/tree/" in self.path else {"id": "us/preferences", "sha": "0", "siblings": []})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            Hub.created.update(json.loads(body))
            self.answer({"url": self.repository()})
        elif "/preupload/" in self.path:
            files = [
                {**file, "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]
            ]
            self.answer({"files": files})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    Hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    Hub.deleted.append(line["value"]["path"])
            self.answer({"commitUrl": f"{self.repository()}/commit/1", "commitOid": "1", "success": True})
        else:
            self.answer({})

    def repository(self) -> str:
        return f"http://{self.headers['Host']}/datasets/us/preferences"

    def answer(self, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words: Any) -> None:
        pass


class UnreliableSite(BaseHTTPRequestHandler):
    """A site that answers 503 with a date in Retry-After, and then breaks off in mid-line."""

    requests = 0

    def do_GET(self) -> None:
        UnreliableSite.requests += 1
        if UnreliableSite.requests == 1:
            self.send_response(503)
            self.send_header("Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = b"[]" if "projects/x" not in self.path else b'{"prompt": 1}\n{"prom'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + ("x" in self.path and 100)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        pass


def test_a_date_to_come_back_at_is_no_number_and_a_broken_connection_is_said() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), UnreliableSite) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        with Palate(f"http://127.0.0.1:{site.server_port}", "palate_t") as palate:
            assert palate.projects() == []
            assert UnreliableSite.requests == 2
            lines = palate.rows("x")
            assert next(lines) == {"prompt": 1}
            assert "The connection broke" in str(raised(lambda: next(lines)))
        site.shutdown()
