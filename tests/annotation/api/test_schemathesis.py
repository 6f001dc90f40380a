"""Whatever is sent to whatever door, by whomever: no 500, and no answer that the OpenAPI document does not know."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest
from django.test import TransactionTestCase

from annotation.actions import snapshots
from annotation.models import ApiToken
from tests import builders, live_chats
from tests.patience import HANGS_S
from tests.processes import free_port, process, until

pytestmark = [pytest.mark.live, pytest.mark.slow(30)]

EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "1")


class SchemathesisTests(TransactionTestCase):
    def test_every_role_at_every_door(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        alice, bob, dana, charlie = (builders.user(name) for name in ("alice", "bob", "dana", "charlie"))
        project = builders.project(alice)
        builders.join(project, bob, "annotator")
        builders.join(project, dana, "reviewer")
        builders.items(project, 5)
        builders.judgment(project, bob)
        live_chats.enable(project)
        live_chats.chat_of(project, bob, "How do tides work?")
        with self.settings(ARTIFACTS=Path(folder.name)):
            snapshots.create_snapshot(project=project, creator=alice)
            port = free_port()
            address = f"http://127.0.0.1:{port}/api/v1/schema/?format=json"
            with process("web", port=port, API_CALLS_PER_MINUTE="0"):
                until(lambda: fetched(address), "the site to answer")
                for user, scope in ((alice, "lead"), (dana, "lead"), (bob, "annotate"), (charlie, "read")):
                    key = ApiToken.issue(user=user, name="t", scope=scope)[1]
                    self.run_against(address, key, user.username)

    def run_against(self, address: str, key: str, who: str) -> None:
        done = subprocess.run(
            [
                *(Path(sys.executable).with_name("schemathesis"), "run", address),
                *("--header", f"Authorization: Bearer {key}", "--header", "Accept-Encoding: identity"),
                *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance"),
                *("--phases", "examples,fuzzing", "--max-examples", EXAMPLES, "--seed", "1"),
                *("--generation-database", "none", "--suppress-health-check", "all", "--no-color"),
                *("--request-timeout", str(HANGS_S)),
                *("--exclude-operation-id", "chats_stream"),  # it goes on until a worker answers
            ],
            capture_output=True,
            text=True,
            timeout=HANGS_S,
            env=os.environ | {"SCHEMATHESIS_HOOKS": str(Path(__file__).with_name("schemathesis_hooks.py"))},
        )
        assert done.returncode == 0, f"as {who}:\n{done.stdout[-6000:]}\n{done.stderr[-1000:]}"


def fetched(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=HANGS_S) as answer:
            return answer.status == 200
    except OSError:
        return False
