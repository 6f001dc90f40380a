"""Rows whose response alone exceeds the maximum sequence length: left out by name, or too many to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.core.conftest import judgments, write_job
from tests.training.core.in_process import do_here
from training.core.errors import BadInput

LONG = "the ferry leaves at nine " * 40
SMALL = {"threads": 1, "max_steps": 2, "max_length": 96, "batch_size": 4}


def rows(number: int, long: int, **more: Any) -> list[dict[str, Any]]:
    """Rows of which the first ones have a response that is too long."""
    made = judgments(number)
    for n, row in enumerate(made):
        row["item"] = 100 + n
        if n < long:
            row["responses"] = [LONG, *row["responses"][1:]]
    return [row | more for row in made]


@pytest.mark.parametrize("kind", ["reward", "dpo"])
def test_they_are_left_out_and_named_before_the_first_step(kind: str, source: Path, tmp_path: Path) -> None:
    folder = write_job(tmp_path / "job", kind, rows(40, 2), model=str(source), config=SMALL)
    _, events = do_here(folder)
    [warning] = [event for event in events if event["event"] == "warning"]
    assert (
        "2 of 40 rows have a response that, alone or with the last turn of the prompt, exceeds"
        in warning["message"]
    )
    assert "item 100, item 101." in warning["message"]
    assert events.index(warning) < next(n for n, event in enumerate(events) if event["event"] == "metrics")


@pytest.mark.parametrize("kind", ["reward", "dpo"])
def test_more_than_a_share_of_them_stop_the_run(kind: str, source: Path, tmp_path: Path) -> None:
    folder = write_job(tmp_path / "job", kind, rows(40, 3), model=str(source), config=SMALL)
    with pytest.raises(BadInput, match="3 of 40 rows") as caught:
        do_here(folder)
    error = caught.value
    assert (error.setting, error.line) == ("max_length", 1)
    assert "more than 0.05 of all (too_long_share): item 100, item 101, item 102." in str(error)
    more = write_job(
        tmp_path / "more", kind, rows(40, 3), model=str(source), config=SMALL | {"too_long_share": 0.1}
    )
    do_here(more)


def test_conversations_are_left_out_too(source: Path, tmp_path: Path) -> None:
    conversations = [
        {"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": text}]}
        for text in [LONG, *(f"hello {n}." for n in range(30))]
    ]
    folder = write_job(tmp_path / "job", "sft", conversations, model=str(source), config=SMALL)
    result, events = do_here(folder)
    assert result is not None
    assert result["conversations"] == 30
    assert any(
        "1 of 31 rows" in event.get("message", "") and "line 1." in event["message"] for event in events
    )


def test_responses_that_are_only_to_be_scored_are_never_left_out(models: Path, tmp_path: Path) -> None:
    scored = [{key: row[key] for key in ("id", "prompt", "responses")} for row in rows(40, 1)]
    model = str(models / "taste")
    config = {"max_length": 96, "threads": 1}
    with pytest.raises(BadInput, match="more than 0 of all"):
        do_here(write_job(tmp_path / "scored", "evaluate", scored, model=model, config=config))
    _, events = do_here(write_job(tmp_path / "judged", "evaluate", rows(40, 1), model=model, config=config))
    assert "item 100." in "".join(event.get("message", "") for event in events)
