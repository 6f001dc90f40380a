"""The commands of docs/api.md, run as they stand, one after the other, by curl on a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from django.test import TransactionTestCase
from palate_client import Palate

from annotation.models import ApiToken, AuditEntry, Invitation, Judgment, Snapshot
from tests import builders
from tests.annotation.api.test_client import answers
from tests.patience import HANGS_S
from tests.processes import free_port, process, until
from tests.sequences import use_new_ids

pytestmark = pytest.mark.live

PAGE = Path(__file__).resolve().parents[3] / "docs" / "api.md"


def script(url: str, token: str) -> str:
    """The page's commands, with the address and the token of this server; the first that is refused is the last."""
    lines = ["set -euo pipefail; shopt -s expand_aliases"]
    for language, block in re.findall(r"```(sh|python)\n(.*?)```", PAGE.read_text(), re.DOTALL):
        lines.append(
            block if language == "sh" else f"{sys.executable} - <<'END_OF_PYTHON'\n{block}END_OF_PYTHON\n"
        )
    return (
        "\n".join(lines)
        .replace("http://localhost:8000/api/v1", f"{url}/api/v1")
        .replace("palate_…", token)
        .replace("curl -sSL", "echo; curl -sS --fail-with-body")
    )


class ApiPageTests(TransactionTestCase):
    reset_sequences = True  # the page speaks of item 1, run 1

    def tearDown(self) -> None:
        use_new_ids()
        super().tearDown()

    def test_every_command_of_the_page_does_what_it_says(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(self.settings(ARTIFACTS=folder / "artifacts"))
        alice = builders.user("alice", is_staff=True)
        builders.project(alice)
        token = ApiToken.issue(user=alice, name="t", scope="lead")[1]
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with (
            process("web", port=port),
            process("importer"),
            process("archiver"),
            Palate(url, token) as palate,
        ):
            until(lambda: answers(palate), "the site to answer")
            done = subprocess.run(
                ["bash", "-c", script(url, token)],
                cwd=folder,
                env=os.environ,
                capture_output=True,
                text=True,
                timeout=HANGS_S,
            )
        assert done.returncode == 0, f"{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
        assert Judgment.objects.count() == 2
        assert len((folder / "pairs.jsonl").read_text().splitlines()) == 4
        assert (folder / "frozen.jsonl").read_bytes() == (folder / "pairs.jsonl").read_bytes()
        assert Snapshot.objects.get().note == "pilot"
        assert Invitation.objects.get().places == 30
        assert (
            AuditEntry.objects.filter(verb__in=["item.retired", "rule.changed", "member.added"]).count() == 3
        )
