"""The files that pass between the site and the training core: what a job directory is given, and what becomes of its
output. The contract is in `training/core/__main__.py`."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.text import slugify

from annotation.actions import queue, snapshots
from annotation.actions.prompts import Sample, add_responses
from annotation.models import Author, Project, Prompt, Response
from training.models import ModelVersion, Run
from training.queries import demonstrations, last_rejection
from training.registry import actions as model_actions
from training.runs import actions as run_actions
from training.runs.outputs import read_responses

JsonObject = dict[str, Any]


# --- in -------------------------------------------------------------------------------------------------------


def write_job(run: Run) -> Path:
    """Fill the run's job directory; what stands there already stays, so that a resumed run sees the same data."""
    run.folder.mkdir(parents=True, exist_ok=True)
    data = run.folder / "data.jsonl"
    if not data.exists():
        _write_lines(data, _data(run))
    job: JsonObject = {"kind": run.kind, "config": run.config}
    if run.model is not None:
        job["model"] = run.model.source
    for name in ("reward_model", "safety_reward_model", "reference"):
        if (other := getattr(run, name)) is not None:
            job[name] = other.source
    partial = run.folder / "job.json.partial"
    partial.write_text(json.dumps(job, indent=1))
    partial.rename(run.folder / "job.json")
    return run.folder


def _data(run: Run) -> Iterator[JsonObject]:
    if run.inputs.get("answers"):
        return _answers_to_score(run)
    if run.inputs.get("demonstrations"):
        return _demonstrations(run)
    if run.snapshot is not None:
        return _judgments(run)
    if run.kind == Run.Kind.GENERATE:
        return _prompts(run)
    if run.kind in run_actions.NEEDS_REWARD_MODEL:
        return chain(_questions(run), _kept_before(run))
    return _own_file(run)


def _judgments(run: Run) -> Iterator[JsonObject]:
    assert run.snapshot is not None
    after = run.inputs.get("after", 0)
    splits = {split: split for split in Prompt.Split.values}
    if run.inputs.get("swap"):
        splits = {"train": "held_out", "held_out": "train"}
    for row in snapshots.read(run.snapshot):
        if row["judgment"] <= after or len(row["responses"]) < 2:
            continue  # where an answer was written there is nothing to compare
        safe = [response.get("safe") for response in row["responses"]]
        yield {
            "id": row["judgment"],
            "prompt": row["messages"],
            "responses": [response["text"] for response in row["responses"]],
            "ranks": row["ranks"],
            "degree": row["degree"],
            "split": splits[row["split"]],
            **({"safe": safe} if any(label is not None for label in safe) else {}),
        }


def _answers_to_score(run: Run) -> Iterator[JsonObject]:
    """The answers of other runs, by prompt, to be scored."""
    sets = read_responses(run.inputs["answers"])
    prompts = Prompt.objects.only("id", "messages").in_bulk(list(sets))
    for prompt_id, answers in sets.items():
        texts = [text for of_run in answers for text in of_run]
        if texts:
            yield {
                "id": prompt_id,
                "prompt": prompts[prompt_id].messages,
                "responses": texts,
                "split": "held_out",
            }


def _demonstrations(run: Run) -> Iterator[JsonObject]:
    """What people wrote, as conversations to learn from; those of held-out prompts are left out."""
    for judgment in demonstrations(run.project).select_related("demonstration", "item__prompt"):
        assert judgment.demonstration is not None
        answer = {"role": "assistant", "content": judgment.demonstration.text}
        yield {"messages": [*judgment.item.prompt.messages, answer]}


def _prompts(run: Run) -> Iterator[JsonObject]:
    if (question := run.inputs.get("ask")) is not None:
        yield {"id": 0, "prompt": [{"role": "user", "content": question}]}
        return
    for prompt in pool(run.project, run.inputs)[: run.inputs.get("prompts") or None]:
        yield {"id": prompt.pk, "prompt": prompt.messages}


def _questions(run: Run) -> Iterator[JsonObject]:
    """Prompts to answer and learn from, and held-out ones to measure by. Where the reward compares with a baseline, it is
    the first answer that a prompt has; prompts without any are left out."""
    compares = run.config.get("reward") != "score"
    safety_tag = run.inputs.get("safety_tag")
    for split, most in ((Prompt.Split.TRAIN, "prompts"), (Prompt.Split.HELD_OUT, "held_out")):
        prompts = pool(run.project, {"split": split} | {"draw": run.pk})[: run.inputs.get(most)]
        first = _first_answers(prompts) if compares else {}
        for prompt in prompts:
            row: JsonObject = {"id": prompt.pk, "prompt": prompt.messages, "split": split}
            if safety_tag in prompt.tags:
                row["safety"] = True
            if not compares:
                yield row
            elif prompt.pk in first:
                yield row | {"baseline": first[prompt.pk]}


def _first_answers(prompts: list[Prompt]) -> dict[int, str]:
    answers = Response.objects.filter(prompt__in=prompts).order_by("prompt_id", "id").distinct("prompt_id")
    return dict(answers.values_list("prompt_id", "text"))


def _kept_before(run: Run) -> Iterator[JsonObject]:
    """What the newest rejection sampling before it kept, earlier rounds' best included: that of the loop's last round that
    had one, or else that of the policy's ancestors. Prompts held out are left out, should any be among them."""
    if run.kind != Run.Kind.REJECTION or run.model is None:
        return
    made_by = last_rejection(run)
    if made_by is None or not (best := made_by.folder / "output" / "best.jsonl").exists():
        return
    held_out = set(
        Prompt.objects.filter(project=run.project, split=Prompt.Split.HELD_OUT).values_list("pk", flat=True)
    )
    with best.open(encoding="utf-8") as file:
        rows = (json.loads(line) for line in file)
        yield from (row for row in rows if row["id"] not in held_out)


def pool(project: Project, inputs: JsonObject) -> list[Prompt]:
    """The prompts that a generation draws from, in the order in which it takes them: as they were named, or else those
    with the fewest items first, and among these at random."""
    prompts = Prompt.objects.filter(project=project).only("id", "messages", "tags").order_by("pk")
    if named := inputs.get("prompt_ids"):
        found = prompts.in_bulk(named)
        return [found[pk] for pk in named if pk in found]
    if inputs.get("split") in Prompt.Split.values:
        prompts = prompts.filter(split=inputs["split"])
    asked: dict[int, int] = defaultdict(int)
    for prompt_id in project.items.values_list("prompt_id", flat=True):
        asked[prompt_id] += 1
    shuffled = list(prompts)
    random.Random(inputs.get("draw", 0)).shuffle(shuffled)  # noqa: S311 - a draw to be repeated, not a secret
    return sorted(shuffled, key=lambda prompt: asked[prompt.pk])


def _own_file(run: Run) -> Iterator[JsonObject]:
    with run_actions.text_file(run.inputs["data"]).open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _write_lines(path: Path, rows: Iterable[JsonObject]) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    partial.rename(path)


# --- out ------------------------------------------------------------------------------------------------------


def collect(run: Run) -> JsonObject:
    """Make the run's output part of the site: a model version, or responses and items. Returns what came of it, with the
    core's report where there is one."""
    output = run.folder / "output"
    report = output / "report.json"
    made: JsonObject = {"report": json.loads(report.read_text())} if report.exists() else {}
    if "ask" in run.inputs:
        return made
    if run.kind == Run.Kind.GENERATE:
        return made | _keep_answers(run, output / "responses.jsonl")
    if run.kind in (*run_actions.MAKES_POLICY, Run.Kind.REWARD):
        version = model_actions.add_model(
            project=run.project,
            kind=ModelVersion.Kind.REWARD if run.kind == Run.Kind.REWARD else ModelVersion.Kind.POLICY,
            name=_name(run),
            location=str(output.relative_to(settings.ARTIFACTS)),
            parent=run.model,
            run=run,
            metrics=made.get("report") or {},
        )
        return made | {"model": version.name}
    return made


def _name(run: Run) -> str:
    wanted = slugify(run.inputs.get("name", ""))
    number = ModelVersion.objects.filter(project=run.project, run__kind=run.kind).count() + 1
    return wanted or f"{run.kind}-{number}"


def _keep_answers(run: Run, file: Path) -> JsonObject:
    author = _author(run)
    by_prompt: dict[int, list[Response]] = defaultdict(list)
    empty = sampled = new = 0
    with file.open(encoding="utf-8") as lines:
        while chunk := list(islice(lines, 2000)):
            answers = [json.loads(line) for line in chunk]
            sampled += len(answers)
            for answer in answers:
                by_prompt[
                    answer["id"]
                ]  # in the order of the run's prompts, whatever comes back from the database
            samples = [_sample(answer, run) for answer in answers if answer["text"].strip("\0 \n\t")]
            empty += len(answers) - len(samples)
            responses, fresh = add_responses(author=author, samples=samples)
            new += fresh
            for response in responses:
                by_prompt[response.prompt_id].append(response)
    kept = {"answers": sampled, "new": new, "empty": empty}
    if not run.inputs.get("publish"):
        return kept
    items = queue.enqueue(
        project=run.project, specs=_item_specs(run, by_prompt), priority=run.inputs.get("priority", 0)
    )
    return kept | {"items": len(items)}


def _author(run: Run) -> Author:
    """Who wrote a run's answers: its model or, where a server answered, that server's model, which is never taken for one
    of the project's own."""
    if run.model is not None and run.model.author is not None:
        return run.model.author
    name = f"{run.config['server_model']} at {run.config['server']}"[:200]
    author, _ = Author.objects.get_or_create(project=run.project, kind=Author.Kind.POLICY, name=name)
    return author


def _sample(answer: JsonObject, run: Run) -> Sample:
    sampling = {name: answer[name] for name in ("temperature", "seed", "token_ids", "finished")}
    if run.round is not None:
        sampling["round"] = run.round.number  # exports filter by it
    return Sample(prompt_id=answer["id"], text=answer["text"].replace("\0", ""), sampling=sampling)


def _item_specs(run: Run, by_prompt: dict[int, list[Response]]) -> Iterator[queue.ItemSpec]:
    """One item per prompt: all of its answers to be ranked, or two of them to be compared. Where the policy said the same
    thing every time there is nothing to ask."""
    inputs = run.inputs
    drawn_from = len(by_prompt) if inputs.get("prompt_ids") else len(pool(run.project, inputs))
    publish = inputs.get("publish_first", len(by_prompt))
    rng = random.Random(run.pk)  # noqa: S311 - a draw to be repeated, not a secret
    for prompt_id in islice(by_prompt, publish):
        responses = sorted({response.pk for response in by_prompt[prompt_id]})
        if rng.random() < inputs.get("comparisons", 0):
            responses = rng.sample(responses, min(2, len(responses)))
        if len(responses) >= 2:
            yield queue.ItemSpec(prompt_id, responses, len(by_prompt) / drawn_from)
