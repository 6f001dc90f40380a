"""What finished runs wrote into their `output/` folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

from training.models import Run


def read_responses(run_ids: Sequence[int]) -> dict[int, list[list[str]]]:
    """The sampled texts by prompt id, one list per run in the order of `run_ids`; empty texts are left out."""
    responses: dict[int, list[list[str]]] = {}
    for place, run_id in enumerate(run_ids):
        path = Path(settings.ARTIFACTS) / "runs" / str(run_id) / "output" / "responses.jsonl"
        with path.open(encoding="utf-8") as lines:
            for line in map(json.loads, lines):
                text = line["text"].replace("\0", "")
                if text.strip():
                    responses.setdefault(line["id"], [[] for _ in run_ids])[place].append(text)
    return responses


def read_scores(run: Run) -> dict[int, list[float]]:
    """The rewards of an evaluation's rows, by prompt id where it scored answers and by judgment id where it scored judgments."""
    with (run.folder / "output" / "scores.jsonl").open(encoding="utf-8") as lines:
        return {row["id"]: row["rewards"] for row in map(json.loads, lines)}
