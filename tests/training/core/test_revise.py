"""The revise job by a local model: selection by a judge with a known taste, and writing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.core import tastes
from tests.training.core.conftest import write_job
from tests.training.core.in_process import Recorded, do_here
from training.core.errors import BadInput
from training.core.tokenization import Encoder

SETTINGS = {"mode": "select", "samples": 6, "max_new_tokens": 12, "max_length": 100, "threads": 1}
WRITTEN = {"key": "kind", "compare": "Which?", "critique": "please kindly", "revise": "thank you"}


@pytest.fixture
def judge(tmp_path: Path, tokenizer) -> Path:
    tastes.save_judge(tmp_path / "judge", tokenizer, strength=20.0)
    return tmp_path / "judge"


def job(folder: Path, models: Path, count: int = 8, principles: Any = None, **values: Any) -> Path:
    config = SETTINGS | values.pop("config", {})
    data = [{"id": row["id"], "prompt": row["prompt"]} for row in tastes.prompts(count)]
    given = principles or [tastes.PRINCIPLE]
    return write_job(
        folder, "revise", data, model=str(models / "policy"), principles=given, config=config, **values
    )


def revisions(folder: Path) -> list[dict[str, Any]]:
    return tastes.lines(folder / "output" / "revisions.jsonl")


def test_the_response_that_the_judge_likes_best_replaces_the_first(
    models: Path, judge: Path, tmp_path: Path, tokenizer
):
    # so many, and so long, that several end
    config = {"min_gain": 0.1, "samples": 32, "max_new_tokens": 40}
    result, _ = do_here(job(tmp_path / "job", models, judge=str(judge), config=config))
    found = revisions(tmp_path / "job")
    assert result is not None
    assert len(found) >= 3
    assert (result["prompts"], result["revisions"], result["dropped"]) == (8, len(found), 8 - len(found))
    encoder = Encoder(tokenizer, 100)
    for row in found:
        assert row["answer"] != row["first"]
        assert encoder.decode(row["token_ids"]) == row["answer"]
        assert row["token_ids"][-1] == encoder.end_id, "what is cut is not learned"
        assert row["gain"] >= 0.1
        assert (row["principle"], row["critique"]) == ("liked", "")
    assert result["gain"] == pytest.approx(sum(row["gain"] for row in found) / len(found))


def test_without_enough_gain_a_prompt_is_left_out(models: Path, judge: Path, tmp_path: Path):
    result, _ = do_here(job(tmp_path / "job", models, judge=str(judge), config={"min_gain": 1000.0}))
    assert result is not None
    assert (result["revisions"], result["dropped"]) == (0, 8)
    assert result["gain"] is None


def test_the_policy_judges_itself_by_default(models: Path, tmp_path: Path):
    result, _ = do_here(job(tmp_path, models, 2, config={"min_gain": 0.0}))
    assert result is not None
    assert result["prompts"] == 2


@pytest.mark.parametrize("mode", ["select", "write"])
@pytest.mark.parametrize("gently", [False, True])
def test_a_run_that_was_killed_or_stopped_ends_with_the_same_bytes(
    models: Path, tmp_path: Path, mode: str, *, gently: bool
):
    principles = [tastes.PRINCIPLE | WRITTEN]
    config = {"mode": mode, "min_gain": 0.0, "sample_tokens": 64, "max_new_tokens": 24}
    for name in ("whole", "again"):
        job(tmp_path / name, models, principles=principles, config=config)
    do_here(tmp_path / "whole")
    assert do_here(tmp_path / "again", Recorded(2, gently=gently))[0] is None
    _, events = do_here(tmp_path / "again")
    assert events[0]["resumed_from"]
    one, other = (tmp_path / name / "output" / "revisions.jsonl" for name in ("whole", "again"))
    assert one.read_bytes() == other.read_bytes()


def test_a_model_writes_critiques_and_revisions(models: Path, tmp_path: Path):
    config = {"mode": "write", "max_new_tokens": 24, "revisions": 2}
    result, _ = do_here(job(tmp_path, models, 20, principles=[WRITTEN], config=config))
    assert result is not None
    assert result["prompts"] == result["revisions"] + result["dropped"] == 20
    for row in revisions(tmp_path):
        assert row["critique"]
        assert row["gain"] is None
        assert row["answer"] != row["first"]


def test_a_limit_ends_the_run(models: Path, tmp_path: Path):
    config = {"max_tokens_total": 300, "sample_tokens": 200}
    result, events = do_here(job(tmp_path, models, config=config))
    assert result is not None
    assert result["ended_by"] == "max_tokens_total"
    assert 0 < result["prompts"] < 8
    assert any("max_tokens_total" in event.get("message", "") for event in events)


def test_what_a_mode_needs_of_the_principles_is_named(models: Path, tmp_path: Path):
    job(tmp_path, models, principles=[{"key": "kind", "compare": "Which?"}], config={"mode": "write"})
    with pytest.raises(BadInput, match="no critique and revise") as caught:
        do_here(tmp_path)
    assert caught.value.setting == "principles"


def test_the_program_does_the_job(models: Path, tmp_path: Path, do):
    code, events = do(job(tmp_path, models, 2))
    assert code == 0
    assert events[-1]["event"] == "done"
    assert json.loads((tmp_path / "output" / "palate.json").read_text())["kind"] == "revise"
