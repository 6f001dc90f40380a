"""`palate rounds` against a real server, which sees a round move as its own workers would move it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.test import TransactionTestCase
from palate_client import Palate

from annotation.models import ApiToken, User
from tests import builders
from tests.annotation.api.test_client import ROOT, answers
from tests.patience import HANGS_S
from tests.processes import free_port, process, until
from tests.training.round_helpers import judge_items, make_loop, play, project_with_policy, reload
from training.demo.lead import Lead
from training.models import Loop, Round, Run
from training.rounds import transitions
from training.runs.actions import claim_run, finish_run

pytestmark = pytest.mark.live


class Watch:
    """The command, followed line by line while it runs."""

    def __init__(self, url: str, token: str, *arguments: str) -> None:
        environment = os.environ | {
            "PALATE_URL": url,
            "PALATE_TOKEN": token,
            "PYTHONPATH": f"{ROOT / 'client'}",
        }
        self.child = subprocess.Popen(
            [sys.executable, "-m", "palate_client", "rounds", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        self.lines.extend(line.rstrip("\n") for line in self.child.stdout)

    def says(self, words: str) -> None:
        until(lambda: any(words in line for line in self.lines), f"it says {words!r}: {self.lines}")

    def ends(self) -> tuple[int, str, str]:
        """Its exit code, its last line, and what it complained of."""
        code = self.child.wait(HANGS_S)
        self.reader.join(HANGS_S)
        assert self.child.stderr is not None
        return code, self.lines[-1] if self.lines else "", self.child.stderr.read()


class RoundsCommandTests(TransactionTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(self.settings(ARTIFACTS=self.folder))
        self.alice: User = builders.user("alice", is_staff=True)
        self.project = project_with_policy(self.alice, "hub:some/policy@main")
        self.loop: Loop = make_loop(self.project, self.alice)
        self.url = f"http://127.0.0.1:{free_port()}"
        self.token = ApiToken.issue(user=self.alice, name="t", scope="lead")[1]

    @contextmanager
    def site(self) -> Iterator[None]:
        with process("web", port=int(self.url.rpartition(":")[2])), Palate(self.url, self.token) as palate:
            until(lambda: answers(palate), "the site to answer")
            yield

    def watch(self, *arguments: str) -> Watch:
        return Watch(self.url, self.token, *arguments)

    def test_it_follows_a_round_to_each_of_its_ends(self) -> None:
        with self.site():
            for follow in (self.promoted, self.held_and_cancelled, self.failed):
                follow()
            self.more_rounds_than_a_page_holds()

    def promoted(self) -> None:
        watch = self.watch("start", "helpfulness", "--watch")
        watch.says("Round 1 has started")
        steps = len(Round.objects.get().plan)
        watch.says(f"1 of {steps}: Collect judgments")
        judge_items(self.project, self.alice)
        round = play(Round.objects.get(), until="rewards")
        watch.says(f"3 of {steps}: Train the reward models")
        play(round, until="promotion")
        code, last, complaint = watch.ends()
        assert (code, complaint) == (3, "")
        assert last == "Round 1 waits for a decision: promote its policy, or reject it."
        transitions.decide(reload(round), self.alice, "promoted")
        watch = self.watch("watch", str(round.pk))
        watch.says(f" of {steps}: ")
        play(round, until="none")
        assert watch.ends() == (0, "Round 1 is done: its policy was promoted.", "")

    def held_and_cancelled(self) -> None:
        Loop.objects.update(options=self.loop.options | {"min_accuracy": 0.9})
        judge_items(self.project, self.alice)
        watch = self.watch("start", "helpfulness", "--watch", "--loop", str(self.loop.pk))
        watch.says("Round 2 has started")
        round = play(Round.objects.get(number=2), until="none")
        code, last, complaint = watch.ends()
        assert (code, complaint) == (3, "")
        assert last.startswith("Round 2 is held: overrule its gates")
        assert "the minimum is 90.0%" in last
        transitions.cancel(round, self.alice)
        code, _, complaint = self.watch("watch", str(round.pk)).ends()
        assert (code, complaint) == (1, "palate: Round 2 was cancelled.\n")

    def failed(self) -> None:
        answers = ["The ferry leaves.", "Twelve crowns.", "Ask again, please."]
        more = ({"prompt": f"And {n}?", "responses": answers} for n in range(12))
        builders.imported(self.project, *more)
        judge_items(self.project, self.alice)
        round = play(transitions.start_round(loop=self.loop, creator=self.alice), until="rewards")
        watch = self.watch("watch", str(round.pk))
        watch.says("Train the reward models")
        claimed = claim_run(round.runs.get(part="reward").pk)
        assert claimed is not None
        finish_run(claimed, state=Run.State.FAILED, error="The disk is full.")
        transitions.advance(round.pk)
        code, _, complaint = watch.ends()
        assert (code, "The disk is full." in complaint) == (1, True), complaint
        assert complaint.startswith("palate: Round 3 failed at “Train the reward models”: ")
        transitions.cancel(reload(round), self.alice)

    def more_rounds_than_a_page_holds(self) -> None:
        last = Round.objects.get(number=3)
        for number in range(4, 225):
            last.pk, last.number = None, number
            last.save(force_insert=True)
        with Palate(self.url, self.token) as palate:
            listed = [one["number"] for one in palate.rounds(self.loop.pk)]
        assert listed == list(range(224, 0, -1))
        lead = Lead(self.url, "helpfulness", self.token)
        assert [one["number"] for one in lead.rounds(self.loop.pk)] == listed[::-1]
        assert lead.loop(self.loop.name) == self.loop.pk
