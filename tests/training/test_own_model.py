"""The path of the README with a model of one's own and default settings, by the client, on real servers and workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from palate_client import Item, Judgment, Palate, PalateError

from annotation.models import ApiToken
from tests import builders
from tests.patience import HANGS_S
from tests.processes import free_port, process, until
from training.demo import language

pytestmark = [pytest.mark.live, pytest.mark.slow(80), pytest.mark.django_db(transaction=True)]
ROOT = Path(__file__).resolve().parents[2]
SIZE = {"hidden_size": 128, "intermediate_size": 352, "layers": 2, "heads": 4, "kv_heads": 4}


@pytest.fixture(scope="module")
def own_model(tmp_path_factory: pytest.TempPathFactory, warm_core: dict[str, str]) -> Path:
    """A model of half a million weights with a tokenizer and a chat template, from another program as far as the site knows."""
    folder = tmp_path_factory.mktemp("own")
    config = SIZE | {"vocab_size": 2000, "block_length": 128, "max_length": 1024, "max_steps": 40}
    config |= {"batch_size": 4, "batch_tokens": 1024, "learning_rate": 2e-3, "threads": 1}
    (folder / "job.json").write_text(json.dumps({"kind": "pretrain", "config": config}))
    texts = ({"text": text} for text in language.pretraining_texts(5, 1000))
    (folder / "data.jsonl").write_text("".join(f"{json.dumps(text)}\n" for text in texts))
    done = subprocess.run(
        [sys.executable, "-m", "training.core", str(folder)],
        cwd=ROOT, env=os.environ | warm_core, capture_output=True, text=True, timeout=HANGS_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["result"]["parameters"] > 500_000
    return folder / "output"


def answers(palate: Palate) -> bool:
    try:
        palate.projects()
    except PalateError:
        return False
    return True


@pytest.fixture
def palate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm_core: dict[str, str]) -> Iterator[Palate]:
    monkeypatch.setattr(settings, "ARTIFACTS", tmp_path)
    token = ApiToken.issue(user=builders.user("lead", is_staff=True), name="t", scope="lead")[1]
    port = free_port()
    with (
        process("web", port=port),
        process("worker"),
        process("trainer", **warm_core),
        Palate(f"http://127.0.0.1:{port}", token) as palate,
    ):
        until(lambda: answers(palate), "the site answers")
        yield palate


def shortest(item: Item) -> Judgment:
    lengths = [len(answer.text) for answer in item.answers]
    if len(lengths) == 2:
        return Judgment(ranks=[1, 2] if lengths[0] <= lengths[1] else [2, 1], degree="better")
    return Judgment(ranks=[1 + sum(other < own for other in lengths) for own in lengths])


def reached(palate: Palate, round: int, *states: str) -> dict[str, Any]:
    end = time.monotonic() + 5 * HANGS_S
    while (now := palate.round(round))["state"] not in states:
        assert now["state"] != "failed", now["error"]
        assert time.monotonic() < end, now
        if now["step"] == "collect":
            palate.label(slug_of(palate), shortest)
        time.sleep(0.5)
    return dict(now)


def policies(palate: Palate, slug: str) -> list[dict[str, Any]]:
    return [dict(model) for model in palate.models(slug) if model["kind"] == "policy"]


def slug_of(palate: Palate) -> str:
    return str(palate.projects()[0]["slug"])


def test_from_prompts_and_a_model_to_a_better_model(palate: Palate, own_model: Path) -> None:
    slug = palate.create_project("Ferries", "Put the shorter answer first.")["slug"]
    exchanges = language.take(9, 160, held_out=True)
    rows = [{"id": f"p{number}", "prompt": exchange.messages} for number, exchange in enumerate(exchanges)]
    assert palate.import_prompts(slug, rows)["prompts"] == 160
    first = palate.add_model(slug, "policy", "mine", f"file:{own_model}")
    assert first["current"]

    options = {"judgments": 40, "budget": 60, "evaluation_prompts": 10}  # the rest is as everybody's
    loop = palate.create_loop(slug, "main", options=options)
    round = palate.start_round(loop["id"])["id"]
    state = reached(palate, round, "held", "awaiting")
    while state["state"] == "held":  # what a gate says of so little is chance
        palate.decide_round(round, "overrule", reason="It is only a test.")
        state = reached(palate, round, "held", "awaiting")
    assert {gate["name"] for gate in state["gates"]} >= {"reward_accuracy", "wins_reward", "kl"}
    (policy,) = (model for model in policies(palate, slug) if model["parent"] == first["id"])
    snapshots = palate.snapshots(slug)
    assert snapshots[0]["counts"]["judgments"] >= 40

    palate.decide_round(round, "promote", note="It is shorter.")
    reached(palate, round, "done")
    assert [model["id"] for model in policies(palate, slug) if model["current"]] == [policy["id"]]
    assert palate.label(slug, shortest, limit=1) == 1, "the new policy's answers are in the queue"
