"""Helpers for the tests of rounds: loops on a tiny policy, judgments, and runs that end without a worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from annotation.actions import leases
from annotation.models import Project, User
from tests import builders
from training.core.rankings import pairs_of
from training.models import Loop, ModelVersion, Round, Run
from training.registry.actions import add_model
from training.rounds import transitions
from training.rounds.loops import save_loop
from training.runs.actions import claim_run, finish_run
from training.runs.job_files import write_job
from training.runs.outputs import save_output, store_output

TINY: dict[str, dict[str, Any]] = {
    "*": {"threads": 1, "max_length": 256, "max_new_tokens": 8, "checkpoint_every": 2},
    "reward": {"max_steps": 4, "batch_size": 4},
    "dpo": {"max_steps": 4, "batch_size": 4},
    "kto": {"max_steps": 4, "batch_size": 4},
    "ppo": {"max_steps": 2, "batch_size": 4, "updates": 2, "samples": 2},
    "grpo": {"max_steps": 2, "batch_size": 4, "samples": 2, "judge_mode": "comment"},
    "reinforce": {"max_steps": 2, "batch_size": 4, "samples": 2},
    "online": {"max_steps": 2, "batch_size": 4, "samples": 2},
    "rejection": {"max_steps": 2, "batch_size": 4, "samples": 2},
    "hindsight": {"max_steps": 2, "batch_size": 4, "samples": 3},
    "rest": {"max_steps": 2, "batch_size": 4, "samples": 2},
    "judge": {"mode": "comment"},
    "revise": {"mode": "select", "samples": 2},
    "sft": {"max_steps": 2, "batch_size": 4},
}
LENIENT = {
    "judgments": 10,
    "budget": 10,
    "repeat_share": 0.0,
    "evaluation_prompts": 6,
    "learn_prompts": 8,
    "min_judgments": 5,
    "min_accuracy": 0.0,
    "of_people": 0.0,
    "may_lose": 1.0,
    "max_calibration": 1.0,
    "min_unsafe_recall": 0.0,
    "max_kl": 1e6,
    "max_length_drift": 100.0,
}
"""Gates that a model of ten thousand weights can pass, except for the win rate."""


def make_loop(project: Project, creator: User, recipe: str = "dpo", **changes: Any) -> Loop:
    options = LENIENT | changes.pop("options", {})
    return save_loop(
        project=project, creator=creator, recipe=recipe, options=options, configs=TINY, **changes
    )


def project_with_policy(lead: User, location: str, items: int = 30, **fields: Any) -> Project:
    """A project with a policy and with answers to judge."""
    project = builders.project(lead, k=3, **fields)
    add_model(project=project, kind="policy", name="first", location=location)
    builders.items(project, items, k=3)
    return project


def judge_items(project: Project, person: User, most: int = 1000) -> int:
    """Judge up to `most` items of the queue; returns how many."""
    done = 0
    while done < most and (lease := leases.claim(project=project, annotator=person)) is not None:
        builders.submit(lease)
        done += 1
    return done


def reload(round: Round) -> Round:
    return Round.objects.select_related("loop__project", "policy_after").get(pk=round.pk)


def finish_runs(round: Round) -> list[str]:
    """End every queued run of the round as a worker would, with outputs of the right shape, but without waking the round.
    Returns their parts."""
    parts = []
    for run in round.runs.filter(state=Run.State.QUEUED).order_by("pk"):
        claimed = claim_run(run.pk)
        assert claimed is not None
        result = write_output(claimed)
        store_output(claimed)
        made = save_output(claimed)
        finish_run(claimed, state=Run.State.DONE, result=result | made)
        parts.append(run.part)
    return parts


def write_output(run: Run) -> dict[str, Any]:
    """Write what the core would: the new policy's answers are longer, and the reward models prefer length."""
    output = write_job(run) / "output"
    output.mkdir()
    rows = [json.loads(line) for line in (run.folder / "data.jsonl").open()]
    if run.kind == Run.Kind.GENERATE:
        older = ModelVersion.objects.filter(project=run.project, pk__lte=run.model_id or 0)
        longer = " really" * older.count()
        lines = [
            {
                "id": row["id"],
                "text": f"Answer {n}{longer}",
                "temperature": 1.0,
                "seed": n,
                "token_ids": None,
                "finished": True,
            }
            for row in rows
            for n in range(run.config["samples"])
        ]
        _write(output / "responses.jsonl", lines)
        return {"kl": 3.0} if run.reference else {}
    if run.kind == Run.Kind.EVALUATE:
        lines = [_scores(row) for row in rows]
        _write(output / "scores.jsonl", lines)
        return {"report": REPORT}
    if run.kind == Run.Kind.JUDGE:
        lines = [_opinions(row, run) for row in rows]
        _write(output / "opinions.jsonl", lines)
        result = {"opinions": sum(len(line["opinions"]) for line in lines), "ended_by": None}
        costs = {"tokens_in": 10, "tokens_out": 2, "cost": 0.0}
        (output / "result.json").write_text(json.dumps(result | costs))
    if run.kind == Run.Kind.REVISE:
        lines = [{"prompt": row["prompt"], "first": "Rude.", "answer": "Kind."} for row in rows]
        _write(output / "revisions.jsonl", lines)
    if run.kind == Run.Kind.REWARD:
        (output / "report.json").write_text(json.dumps(REPORT))
    return {}


def _scores(row: dict[str, Any]) -> dict[str, Any]:
    rewards = [float(len(text)) for text in row["responses"]]
    scores = {"id": row["id"], "rewards": rewards}
    if pairs := pairs_of(row.get("ranks") or []):
        scores |= {"pairs": len(pairs), "agrees": sum(rewards[one] > rewards[other] for one, other in pairs)}
    return scores


def _opinions(row: dict[str, Any], run: Run) -> dict[str, Any]:
    """Of a judge that prefers the answer that comes first, as `builders.judgment` does; one whose scale is 0.5 has no opinion
    that is worth anything."""
    p = 0.9 if run.config["scale"] != 0.5 else 0.1
    opinions = [
        {"first": i, "second": j, "p_ab": None, "p_ba": None, "p": p, "principle": "kind"}
        | {"rationale": "", "tokens_in": 5, "tokens_out": 1}
        for i, j in row["pairs"]
    ]
    return {"id": row["id"], "scores": None, "opinions": opinions, "no_opinion": []}


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


REPORT = {"accuracy": 0.7, "pairs": 40, "ece": 0.05}


def play(round: Round, *, until: str) -> Round:
    """Advance the round up to a step, its runs done by `work`."""
    for _ in range(40):
        transitions.advance(round.pk)
        round = reload(round)
        if round.step == until or not round.is_open or round.state != Round.State.WORKING:
            return round
        finish_runs(round)
    raise AssertionError(f"never at {until}: {round.step}, {round.state}")
