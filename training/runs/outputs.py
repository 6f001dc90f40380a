"""The output of a finished run: reading the files of its `output/` folder, and saving them as models, responses and items."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from django.utils.text import slugify
from django.utils.translation import gettext as _

from annotation.actions import queue
from annotation.actions.import_rows import SampledResponse, add_responses
from annotation.actions.opinions import JudgedGroup, store_opinions
from annotation.models import Author, OpinionSet, Response
from annotation.store import MissingObject, folder_file, put_folder
from training.errors import LimitReached, RunError
from training.models import ModelVersion, Run
from training.registry.actions import add_model
from training.runs.actions import record_warning
from training.runs.comparisons import store_comparison
from training.runs.kinds import MAKES_POLICY
from training.runs.queries import prompts_of

JsonObject = dict[str, Any]


def store_output(run: Run) -> None:
    """Put the output of a run into the store. Its row says so when the run is finished.

    Raises:
        StoreError: the store is not available or is full.
    """
    run.files = run.files | {"output": put_folder(run.folder / "output", f"runs/{run.pk}")}


def written_bytes(run: Run) -> int:
    """The size of what a run has written into its job folder, with its data and without its models."""
    files = (path for path in run.folder.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files if run.folder / "models" not in path.parents)


def output_file(run: Run, name: str) -> Path:
    """A file of a finished run's output.

    Raises:
        MissingObject: there is none of that name.
        StoreError: the store is not available.
    """
    if "output" not in run.files:
        raise MissingObject(_("%(run)s has no output.") % {"run": run})
    return folder_file(run.files["output"], name)


def read_responses(run_ids: Sequence[int]) -> dict[int, list[list[str]]]:
    """The sampled texts by prompt id, one list per run in the order of `run_ids`; empty texts are left out."""
    responses: dict[int, list[list[str]]] = {}
    runs = Run.objects.only("files").in_bulk(run_ids)
    for place, run_id in enumerate(run_ids):
        with output_file(runs[run_id], "responses.jsonl").open(encoding="utf-8") as lines:
            for line in map(json.loads, lines):
                text = line["text"].replace("\0", "")
                if text.strip():
                    responses.setdefault(line["id"], [[] for _ in run_ids])[place].append(text)
    return responses


def stored_response_ids(runs: Iterable[Run], prompts: Iterable[int]) -> dict[tuple[int, str], int]:
    """The ids of the responses to these prompts by the models of these runs, by prompt id and digest of the text."""
    authors = {run.model.author_id for run in runs if run.model}
    stored = Response.objects.filter(author__in=authors, prompt__in=list(prompts))
    return {(prompt, sha): pk for prompt, sha, pk in stored.values_list("prompt_id", "digest", "pk")}


def read_scores(run: Run) -> dict[int, list[float]]:
    """The rewards of an evaluation, by prompt id if it scored responses, by judgment id if it scored judgments."""
    with output_file(run, "scores.jsonl").open(encoding="utf-8") as lines:
        return {row["id"]: row["rewards"] for row in map(json.loads, lines)}


def read_agreement(run: Run) -> dict[int, tuple[float, int]]:
    """Of an evaluation on judgments, by judgment id: on how many of its pairs the model agrees with it, and how many these are.
    Judgments that its report leaves out are not there."""
    with output_file(run, "scores.jsonl").open(encoding="utf-8") as lines:
        return {row["id"]: (row["agrees"], row["pairs"]) for row in map(json.loads, lines) if "pairs" in row}


def save_output(run: Run) -> JsonObject:
    """Add the run's output, which is stored, to the site: a model version, responses and items, opinions, or a comparison.

    Returns what goes into `run.result`: the core's report, if there is one, and the model's name, the numbers of responses
    and items, or the number of the set of opinions.
    """
    output = run.folder / "output"
    report = output / "report.json"
    result: JsonObject = {"report": json.loads(report.read_text())} if report.exists() else {}
    if run.kind == Run.Kind.JUDGE:
        return result | _save_opinions(run)
    if run.kind == Run.Kind.GENERATE:
        return result | _save_responses(run, output / "responses.jsonl")
    if run.kind == Run.Kind.EVALUATE and len(answers := run.inputs.get("answers", [])) == 2:
        store_comparison(run, read_responses(answers), read_scores(run))
    if run.kind in (*MAKES_POLICY, Run.Kind.REWARD):
        name = _model_name(run)
        version = add_model(
            project=run.project,
            kind=ModelVersion.Kind.REWARD if run.kind == Run.Kind.REWARD else ModelVersion.Kind.POLICY,
            name=name,
            location=run.files["output"],
            parent=run.model,
            run=run,
            metrics=result.get("report") or {},
        )
        if version.name != name:
            text = _("A model called %(name)s was added meanwhile: this one is called %(new_name)s.")
            record_warning(run, text % {"name": repr(name), "new_name": repr(version.name)})
        return result | {"model": version.name}
    return result


def _save_opinions(run: Run) -> JsonObject:
    result = json.loads((run.folder / "output" / "result.json").read_text())
    if not result["opinions"]:
        raise _no_opinions(run, result["ended_by"])
    opinion_set = store_opinions(
        project=run.project,
        judge=_judge_name(run),
        mode=run.config["mode"],
        constitution=run.constitution,
        author=run.model.author if run.model else None,
        rows=_judged_groups(run),
        tokens_in=result["tokens_in"],
        tokens_out=result["tokens_out"],
        cost=result["cost"],
        creator=run.created_by,
    )
    Run.objects.filter(pk=run.pk).update(output_opinion_set=opinion_set)
    return {"opinion_set": opinion_set.number}


def _no_opinions(run: Run, ended_by: str | None) -> RunError:
    """The error of a judge that has no opinion at all."""
    if ended_by:
        text = _(
            "the limit %(limit)s ended the run before the judge had compared any answers: raise it in another run."
        )
        return LimitReached(ended_by, text % {"limit": ended_by})
    text = _(
        "the judge has no opinion on any two responses: in the mode %(mode)s it replied with something else."
    )
    return RunError("opinions", text % {"mode": run.config["mode"]})


def _judge_name(run: Run) -> str:
    name = run.model.name if run.model else f"{run.config['server_model']} at {run.config['server']}"
    return name[: OpinionSet._meta.get_field("judge").max_length]


def _judged_groups(run: Run) -> Iterator[JudgedGroup]:
    """What the judge said of each row of its data; rows that a limit left unread are not in the output."""
    with (
        (run.folder / "data.jsonl").open(encoding="utf-8") as data,
        (run.folder / "output" / "opinions.jsonl").open(encoding="utf-8") as lines,
    ):
        rows = map(json.loads, data)
        for opinions in map(json.loads, lines):
            row = next(row for row in rows if row["id"] == opinions["id"])
            yield JudgedGroup(
                prompt_id=row["id"],
                response_ids=row["response_ids"],
                scores=opinions["scores"],
                opinions=opinions["opinions"],
                no_opinion=opinions["no_opinion"],
            )


def _model_name(run: Run) -> str:
    name = slugify(run.inputs.get("name", ""))
    number = ModelVersion.objects.filter(project=run.project, run__kind=run.kind).count() + 1
    return name or f"{run.kind}-{number}"


def _save_responses(run: Run, file: Path) -> JsonObject:
    author = _author(run)
    by_prompt: dict[int, list[Response]] = defaultdict(list)
    sampled = empty = new = 0
    with file.open(encoding="utf-8") as lines:
        while chunk := [json.loads(line) for line in islice(lines, 2000)]:
            for answer in chunk:
                by_prompt[answer["id"]]  # fixes the order: that of the run's prompts, not of the database
            samples = [_sample(answer, run) for answer in chunk if answer["text"].strip("\0 \n\t")]
            responses, fresh = add_responses(author=author, samples=samples)
            for response in responses:
                by_prompt[response.prompt_id].append(response)
            sampled += len(chunk)
            empty += len(chunk) - len(samples)
            new += fresh
    counts = {"answers": sampled, "new": new, "empty": empty}
    if not run.inputs.get("publish"):
        return counts
    items = queue.enqueue(
        project=run.project, specs=_item_specs(run, by_prompt), priority=run.inputs.get("priority", 0)
    )
    return counts | {"items": len(items)}


def _author(run: Run) -> Author:
    """The author of a run's responses: its model's, or one named after the server's model, which is no model of the project."""
    if run.model is not None and run.model.author is not None:
        return run.model.author
    name = f"{run.config['server_model']} at {run.config['server']}"[:200]
    author, _created = Author.objects.get_or_create(project=run.project, kind=Author.Kind.POLICY, name=name)
    return author


def _sample(answer: JsonObject, run: Run) -> SampledResponse:
    sampling = {name: answer[name] for name in ("temperature", "seed", "token_ids", "finished")}
    if run.round is not None:
        sampling["round"] = run.round.number  # exports filter by it
    return SampledResponse(prompt_id=answer["id"], text=answer["text"].replace("\0", ""), sampling=sampling)


def _item_specs(run: Run, by_prompt: dict[int, list[Response]]) -> Iterator[queue.ItemSpec]:
    """One item per prompt: all of its responses to rank, or two of them to compare. A prompt whose responses are all the
    same gets none."""
    inputs = run.inputs
    probability = 1.0
    if by_prompt and not inputs.get("prompt_ids"):
        probability = len(by_prompt) / prompts_of(run.project, inputs.get("split")).count()
    rng = random.Random(run.pk)  # noqa: S311 - reproducible, not a secret
    for prompt_id in islice(by_prompt, inputs.get("publish_first", len(by_prompt))):
        responses = sorted({response.pk for response in by_prompt[prompt_id]})
        if rng.random() < inputs.get("comparisons", 0):
            responses = rng.sample(responses, min(2, len(responses)))
        if len(responses) >= 2:
            yield queue.ItemSpec(prompt_id, responses, probability)
