"""The job directory of a run: the data file and `job.json` that the training core reads.

The contract is in `training/core/__main__.py`; what the core writes back is read in `outputs.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from annotation.actions import snapshots
from annotation.exports.judgment_row import JudgmentRow
from annotation.models import Prompt, Response
from annotation.store import MissingObject, store
from training.configs import split_names
from training.errors import RunError
from training.models import Run
from training.registry.model_sources import put_model
from training.runs.actions import record_file
from training.runs.ai_rows import judge_rows, opinion_rows, revised_conversations, revision_prompts
from training.runs.checkpoints import restore_checkpoint
from training.runs.outputs import output_file, read_responses
from training.runs.queries import demonstrations, previous_rejection_run, select_prompts
from training.runs.reward_sources import LEARNS_REWARDS

JsonObject = dict[str, Any]


def write_job(run: Run) -> Path:
    """Write the run's job directory, with its models of the store, and return it. A resumed run gets the data that the store
    has: it must see the same.

    Raises:
        RunError: a model may not be loaded.
        StoreError: the store is not available, or lacks a file.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    restore_checkpoint(run)
    data = run.folder / "data.jsonl"
    if "data" in run.files:
        store().get(run.files["data"], data)
    else:
        _write_lines(data, _data_rows(run))
        record_file(run, "data", store().put(data, f"runs/{run.pk}", transfer="link"))
    job: JsonObject = {"kind": run.kind, "config": run.config}
    for name in ("model", "reward_model", "safety_reward_model", "second_reward_model", "judge", "reference"):
        if (version := getattr(run, name)) is not None:
            job[name] = put_model(version.location, run.folder)
    if run.constitution is not None:
        job["principles"] = run.constitution.principles
    partial = run.folder / "job.json.partial"
    partial.write_text(json.dumps(job, indent=1))
    partial.rename(run.folder / "job.json")
    return run.folder


def _data_rows(run: Run) -> Iterator[JsonObject]:
    if run.kind == Run.Kind.JUDGE:
        return judge_rows(run)
    if run.kind == Run.Kind.REVISE:
        return revision_prompts(run)
    if revisions := run.inputs.get("revisions"):
        return revised_conversations(revisions)
    if run.inputs.get("answers"):
        return _responses_to_score(run)
    if run.inputs.get("demonstrations"):
        return _demonstration_rows(run)
    if run.snapshot is not None:
        return _preference_rows(run)
    if run.kind == Run.Kind.GENERATE:
        return _generation_prompts(run)
    if run.kind in LEARNS_REWARDS:
        return chain(_rollout_prompts(run), _previous_best_responses(run))
    raise RunError("data", _("%(run)s has no text file.") % {"run": run})


def _preference_rows(run: Run) -> Iterator[JsonObject]:
    """What people judged; then, of a run that has them, a judge's opinions on other training prompts."""
    judged: set[int] = set()
    for row in _judgment_rows(run):
        if row["split"] == Prompt.Split.TRAIN:
            judged.add(row["prompt_id"])
        yield row
    if run.opinion_set is not None:
        yield from opinion_rows(run, judged)


def _judgment_rows(run: Run) -> Iterator[JsonObject]:
    assert run.snapshot is not None
    after = run.inputs.get("after", 0)
    safety_tag = run.inputs.get("safety_tag")  # earlier judgments of prompts with it are replayed
    criterion_names = _criterion_names(run)
    splits = {split: split for split in Prompt.Split.values}
    if run.inputs.get("swap"):
        splits = {"train": "held_out", "held_out": "train"}
    for row in snapshots.read_rankings(run.snapshot, with_imported=True):
        split = splits[row["split"]]
        is_replayed = safety_tag in row["tags"] and split == Prompt.Split.TRAIN
        if (row["judgment"] <= after and not is_replayed) or not _uses(run, row, split):
            continue
        safe = [response.get("safe") for response in row["responses"]]
        criteria = _ratings_by_criterion(row, criterion_names)
        yield {
            "id": row["judgment"],
            "prompt_id": row["group"],
            "prompt": row["messages"],
            "responses": [response["text"] for response in row["responses"]],
            "ranks": row["ranks"],
            "degree": row["degree"],
            "item": row["item"],
            "split": split,
            **({"safe": safe} if any(label is not None for label in safe) else {}),
            **({"criteria": criteria} if criteria else {}),
        }


def _criterion_names(run: Run) -> list[str]:
    """The criteria whose ratings a run reads: those that it learns, or that the model that it evaluates has learned."""
    learner = run.model.run if run.kind == Run.Kind.EVALUATE and run.model is not None else run
    return split_names(learner.config.get("criteria", "")) if learner is not None else []


def _ratings_by_criterion(row: JudgmentRow, names: list[str]) -> dict[str, list[int | None]]:
    """By criterion, the rating of each response, or None; criteria without any are left out."""
    by_response: list[dict[str, int]] = []
    for response in row["responses"]:
        pairs: Any = response.get("ratings") or []  # snapshots from before there were ratings lack it
        by_response.append({pair["question"]: pair["value"] for pair in pairs})
    ratings = {name: [values.get(name) for values in by_response] for name in names}
    return {name: values for name, values in ratings.items() if any(value is not None for value in values)}


def _uses(run: Run, row: JudgmentRow, split: str) -> bool:
    """Whether a run reads a judgment, in this split. Beside the project's own, imported ones train only: a model is measured
    by what this project's annotators prefer. That holds for a run, too, that learns from a judge's opinions only."""
    if run.inputs.get("ai") == "only" and split == Prompt.Split.TRAIN:
        return False
    choice = run.inputs.get("imported", "exclude")
    if not row.get("imported"):
        return bool(choice != "only")
    trains = run.kind != Run.Kind.EVALUATE and split == Prompt.Split.TRAIN
    return choice == "only" or (choice == "include" and trains)


def _responses_to_score(run: Run) -> Iterator[JsonObject]:
    """The responses that other runs sampled, by prompt."""
    by_prompt = read_responses(run.inputs["answers"])
    prompts = Prompt.objects.only("id", "messages").in_bulk(list(by_prompt))
    for prompt_id, texts_by_run in by_prompt.items():
        texts = list(chain.from_iterable(texts_by_run))
        if texts:
            yield {
                "id": prompt_id,
                "prompt": prompts[prompt_id].messages,
                "responses": texts,
                "split": "held_out",
            }


def _demonstration_rows(run: Run) -> Iterator[JsonObject]:
    """Demonstrations as conversations; those of held-out prompts are left out."""
    with_imported = run.inputs.get("imported") == "include"
    for item, messages, text in demonstrations(run.project, imported=with_imported):
        yield {"messages": [*messages, {"role": "assistant", "content": text}], "item": item}


def _generation_prompts(run: Run) -> Iterator[JsonObject]:
    inputs = run.inputs
    for prompt in select_prompts(
        run.project,
        prompt_ids=inputs.get("prompt_ids", ()),
        split=inputs.get("split"),
        limit=inputs.get("prompts") or None,
    ):
        yield {"id": prompt.pk, "prompt": prompt.messages}


def _rollout_prompts(run: Run) -> Iterator[JsonObject]:
    """Training prompts to sample responses to, and held-out ones to evaluate on.

    Where the reward is relative to a baseline, that is the prompt's first response; prompts without any are left out.
    """
    needs_baseline = run.config.get("reward") != "score"
    safety_tag = run.inputs.get("safety_tag")
    for split, limit in ((Prompt.Split.TRAIN, "prompts"), (Prompt.Split.HELD_OUT, "held_out")):
        prompts = select_prompts(run.project, split=split, seed=run.pk)
        baselines = _first_responses(prompts) if needs_baseline else {}
        if needs_baseline:
            prompts = [prompt for prompt in prompts if prompt.pk in baselines]
        prompts = prompts[: run.inputs.get(limit)]
        for prompt in prompts:
            row: JsonObject = {
                "id": prompt.pk,
                "prompt": prompt.messages,
                "tags": prompt.tags,
                "split": split,
            }
            if safety_tag in prompt.tags:
                row["safety"] = True
            if run.config.get("reward_function"):
                row["metadata"] = prompt.metadata
            if not needs_baseline:
                yield row
            elif prompt.pk in baselines:
                yield row | {"baseline": baselines[prompt.pk]}


def _first_responses(prompts: list[Prompt]) -> dict[int, str]:
    first = Response.objects.filter(prompt__in=prompts).order_by("prompt_id", "id").distinct("prompt_id")
    return dict(first.values_list("prompt_id", "text"))


def _previous_best_responses(run: Run) -> Iterator[JsonObject]:
    """The best responses that the previous rejection sampling wrote, earlier rounds' included. Held-out prompts are left out."""
    if run.kind != Run.Kind.REJECTION or run.model is None:
        return
    previous = previous_rejection_run(run)
    try:
        best = output_file(previous, "best.jsonl") if previous else None
    except MissingObject:
        best = None
    if best is None:
        return
    held_out = set(
        Prompt.objects.filter(project=run.project, split=Prompt.Split.HELD_OUT).values_list("pk", flat=True)
    )
    with best.open(encoding="utf-8") as file:
        rows = (json.loads(line) for line in file)
        yield from (row for row in rows if row["id"] not in held_out)


def _write_lines(path: Path, rows: Iterable[JsonObject]) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    partial.rename(path)
