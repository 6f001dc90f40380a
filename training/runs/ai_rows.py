"""Rows of `data.jsonl` for AI feedback: the responses that a judge compares, the prompts of revisions, and the opinions and
revisions that a run learns from."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, combinations, islice
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef

from annotation.actions.opinions import read_opinion_groups
from annotation.logic.judge_trust import recalibrated
from annotation.logic.splits import digest
from annotation.models import Candidate, Item, Judgment, Prompt
from training.models import Run
from training.runs.outputs import output_file, read_responses, stored_response_ids
from training.runs.queries import select_prompts

JsonObject = dict[str, Any]
CHUNK = 500
"""Prompts that are in memory at a time."""


class ResponseGroup(NamedTuple):
    """The responses to a prompt, by id, and the pairs of them that are compared, as positions."""

    prompt: Prompt
    texts: dict[int, str]
    pairs: list[tuple[int, int]]


def judge_rows(run: Run) -> Iterator[JsonObject]:
    """The responses that a judge run compares, a row for each prompt, with the ids of the responses beside their texts: those
    that other runs sampled, or else those of the project's items."""
    answers, tag = run.inputs.get("answers"), run.inputs.get("tag")
    groups = _sampled_groups(answers) if answers else _item_groups(run)
    if tag:
        groups = (group for group in groups if tag in group.prompt.tags)
    for group in islice(groups, run.inputs.get("prompts")):
        yield {
            "id": group.prompt.pk,
            "prompt": group.prompt.messages,
            "tags": group.prompt.tags,
            "responses": list(group.texts.values()),
            "response_ids": list(group.texts),
            "pairs": group.pairs,
        }


def _sampled_groups(run_ids: list[int]) -> Iterator[ResponseGroup]:
    by_prompt = read_responses(run_ids)
    ids = stored_response_ids(Run.objects.filter(pk__in=run_ids).select_related("model"), by_prompt)
    prompts = Prompt.objects.only("id", "messages", "tags").in_bulk(list(by_prompt))
    for key, texts_by_run in by_prompt.items():
        texts = {ids[key, digest(text)]: text for text in chain.from_iterable(texts_by_run)}
        if len(texts) > 1:
            yield ResponseGroup(prompts[key], texts, list(combinations(range(len(texts)), 2)))


def _item_groups(run: Run) -> Iterator[ResponseGroup]:
    """The prompts that people judged first, as they measure the judge; then the newest."""
    by_people = Judgment.objects.current().filter(item__prompt=OuterRef("pk"), demonstration=None)
    prompts = Prompt.objects.filter(Exists(Item.objects.filter(prompt=OuterRef("pk"))), project=run.project)
    prompts = prompts.to_learn_from()
    if run.inputs.get("split") in Prompt.Split.values:
        prompts = prompts.filter(split=run.inputs["split"])
    ordered = prompts.annotate(is_judged=Exists(by_people)).order_by("-is_judged", "-pk")
    all_keys = ordered.values_list("pk", flat=True).iterator()
    while keys := list(islice(all_keys, CHUNK)):
        chunk = Prompt.objects.only("id", "messages", "tags").in_bulk(keys)
        by_item: dict[int, dict[int, dict[int, str]]] = {key: defaultdict(dict) for key in keys}
        candidates = Candidate.objects.filter(item__prompt__in=keys).order_by("item", "response")
        for key, item, response, text in candidates.values_list(
            "item__prompt", "item", "response", "response__text"
        ):
            by_item[key][item][response] = text
        for key in keys:
            if (group := _merge_items(chunk[key], by_item[key].values())).pairs:
                yield group


def _merge_items(prompt: Prompt, items: Iterable[dict[int, str]]) -> ResponseGroup:
    """Each response once; only responses of the same item are compared."""
    texts: dict[int, str] = {}
    pairs: dict[tuple[int, int], None] = {}
    for item in items:
        texts |= item
        places = {response: place for place, response in enumerate(texts)}
        pairs |= dict.fromkeys(combinations(sorted(places[response] for response in item), 2))
    return ResponseGroup(prompt, texts, list(pairs))


def revision_prompts(run: Run) -> Iterator[JsonObject]:
    """Training prompts whose answers are revised."""
    limit = run.inputs.get("prompts")
    for prompt in select_prompts(run.project, split=Prompt.Split.TRAIN, seed=run.pk, limit=limit):
        yield {"id": prompt.pk, "prompt": prompt.messages, "tags": prompt.tags}


def revised_conversations(run_id: int) -> Iterator[JsonObject]:
    """Prompts with the revision in place of the first answer: what fine-tuning learns from."""
    with output_file(Run.objects.get(pk=run_id), "revisions.jsonl").open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            yield {"messages": [*row["prompt"], {"role": "assistant", "content": row["answer"]}]}


def opinion_rows(run: Run, judged: set[int]) -> Iterator[JsonObject]:
    """A judge's opinions on training prompts as soft labels, recalibrated and weighted (`annotation.logic.judge_trust`); the
    prompts that people `judged`, whose rankings the run learns from, are left out."""
    assert run.opinion_set is not None
    scale, weight = run.inputs["ai_scale"], run.inputs["ai_weight"]
    for group in read_opinion_groups(run.opinion_set):
        if group["split"] != Prompt.Split.TRAIN or group["prompt_id"] in judged or not group["opinions"]:
            continue
        yield {
            "id": group["prompt_id"],
            "prompt": group["messages"],
            "responses": [response["text"] for response in group["responses"]],
            "pairs": [
                [opinion["first"], opinion["second"], recalibrated(opinion["p"], scale)]
                for opinion in group["opinions"]
            ],
            "weight": weight,
            "split": group["split"],
        }
