"""Opinion sets: a judge's opinions as rows of the table, and as a file that never changes, with its SHA-256."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from django.db import IntegrityError, connection, transaction
from django.utils.translation import gettext as _

from annotation import audit
from annotation.db import bulk_insert
from annotation.logic.storable_text import storable
from annotation.models import Author, Constitution, Opinion, OpinionSet, Project, Prompt, Response, User
from annotation.store import scratch_file, store, uri_of

# of this many prompts the texts are in memory at a time
BATCH_GROUPS = 200
Row = TypeVar("Row")
_COLUMNS = (
    *("opinion_set_id", "prompt_id", "first_id", "second_id", "p_ab", "p_ba", "p", "score_first"),
    *("score_second", "principle", "rationale", "tokens_in", "tokens_out"),
)


class OpinionError(Exception):
    """Why opinions could not be stored, in a sentence."""


@dataclass(frozen=True)
class JudgedGroup:
    """A judge's opinions on the responses to a prompt.

    Attributes:
        prompt_id: the id of the row of the prompt; `response_ids` are those of its responses.
        scores: of each response, where the judge reads each by itself.
        opinions: lines as in `output/opinions.jsonl` of a judge: `first` and `second` are indices of `response_ids`, `p` is the
            probability that the first is better; also `p_ab`, `p_ba`, `principle`, `rationale`, `tokens_in`, `tokens_out`.
        no_opinion: pairs of indices that the judge did not answer in a readable way.
    """

    prompt_id: int
    response_ids: Sequence[int]
    opinions: Sequence[Mapping[str, Any]]
    scores: Sequence[float] | None = None
    no_opinion: Sequence[Sequence[int]] = field(default=())


@transaction.atomic
def store_opinions(
    *,
    project: Project,
    judge: str,
    mode: str,
    constitution: Constitution | None,
    author: Author | None,
    rows: Iterable[JudgedGroup],
    tokens_in: int,
    tokens_out: int,
    cost: float,
    creator: User,
) -> OpinionSet:
    """Store the opinions of one judge run as the project's next opinion set: rows, and a file with one line for each group. In
    flat memory however many groups there are.

    Args:
        judge: the name of the model, and of its server if it has one.
        author: the author of the responses that the judge itself wrote, if it wrote any.

    Raises:
        OpinionError: there are none, one is not on two responses of the project, or the file could not be written.
    """
    scope = f"opinions/{project.slug}"
    try:
        with scratch_file() as partial:
            counts, sha256 = _write(project, rows, partial)
            # numbers are consecutive; NO KEY UPDATE does not wait for an import's foreign keys
            Project.objects.select_for_update(no_key=True).get(pk=project.pk)
            latest = project.opinion_sets.first()
            number = latest.number + 1 if latest else 1
            opinion_set = OpinionSet.objects.create(
                project=project,
                number=number,
                judge=judge,
                author=author,
                mode=mode,
                constitution=constitution,
                counts=counts,
                tokens_in=tokens_in,
                tokens_out=tokens_out,
                cost=cost,
                path=uri_of(scope, sha256),
                sha256=sha256,
                created_by=creator,
            )
            _insert(opinion_set, partial)
            audit.record(
                "opinions.stored",
                project=project,
                actor=creator,
                subject=f"Opinions {number}",
                judge=judge,
                sha256=sha256,
            )
            store().put(partial, scope, transfer="move")
    except OSError as error:
        text = _("The file of the opinions could not be written: %(reason)s.")
        raise OpinionError(text % {"reason": error.strerror}) from error
    return opinion_set


def opinion_set_path(opinion_set: OpinionSet) -> Path:
    """
    Raises:
        StoreError: the store has not the file, or is not available.
    """
    return store().path(opinion_set.path)


def read_opinion_groups(opinion_set: OpinionSet) -> Iterator[dict[str, Any]]:
    """The lines of the set's file, in the order in which they were stored: `prompt_id` (of the row), `messages`, `tags`, `split`,
    `responses` (`id`, `text`, `model`), `scores`, `opinions` with the `id` of each in the table, and `no_opinion`."""
    return _read_lines(opinion_set_path(opinion_set))


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield json.loads(line)


def _write(project: Project, rows: Iterable[JudgedGroup], target: Path) -> tuple[dict[str, int], str]:
    """Write the file, whose opinions have the ids of rows to come. Returns its counts and its SHA-256."""
    counts = {"prompts": 0, "comparisons": 0, "opinions": 0, "no_opinion": 0}
    sha256 = hashlib.sha256()
    with target.open("wb") as file:
        for groups in _batches(rows):
            for line in _lines(project, groups):
                data = json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n"
                file.write(data)
                sha256.update(data)
                opinions, no_opinion = len(line["opinions"]), len(line["no_opinion"])
                counts["prompts"] += 1
                counts["comparisons"] += opinions + no_opinion
                counts["opinions"] += opinions
                counts["no_opinion"] += no_opinion
        file.flush()
        os.fsync(file.fileno())
    if not counts["opinions"]:
        raise OpinionError(_("The judge has no opinion on any two responses."))
    return counts, sha256.hexdigest()


def _insert(opinion_set: OpinionSet, path: Path) -> None:
    """Insert the rows of a set from its file."""
    with connection.cursor() as cursor:
        # foreign keys are checked row by row: checks deferred to the commit would fill the memory
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for lines in _batches(_read_lines(path)):
        opinions = [(line, opinion) for line in lines for opinion in line["opinions"]]
        try:
            bulk_insert.insert(
                Opinion,
                _COLUMNS,
                [_row(opinion_set.pk, line, opinion) for line, opinion in opinions],
                ids=[opinion["id"] for line, opinion in opinions],
            )
        except IntegrityError as error:
            text = _("There are two opinions on the same two responses by one principle.")
            raise OpinionError(text) from error


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    remaining = iter(rows)
    while batch := list(islice(remaining, BATCH_GROUPS)):
        yield batch


def _lines(project: Project, groups: Sequence[JudgedGroup]) -> list[dict[str, Any]]:
    """The lines of the file for some groups."""
    prompts = project.prompts.only("id", "messages", "tags", "split").in_bulk(
        {group.prompt_id for group in groups}
    )
    response_ids = {id for group in groups for id in group.response_ids}
    responses = (
        Response.objects.filter(prompt__in=prompts)
        .select_related("author")
        .only("id", "text", "prompt_id", "author__name")
        .in_bulk(response_ids)
    )
    lines = [_line(group, prompts, responses) for group in groups]
    ids = iter(bulk_insert.next_ids(Opinion, sum(len(line["opinions"]) for line in lines)))
    for line in lines:
        line["opinions"] = [{"id": next(ids)} | opinion for opinion in line["opinions"]]
    return lines


def _line(
    group: JudgedGroup, prompts: Mapping[int, Prompt], responses: Mapping[int, Response]
) -> dict[str, Any]:
    """A group's line of the file, with opinions that have no ids yet.

    Raises:
        OpinionError: the prompt or a response is not of the project, or an opinion is not on two of the responses.
    """
    prompt = prompts.get(group.prompt_id)
    if prompt is None:
        raise OpinionError(_("This project has no prompt %(prompt)s.") % {"prompt": group.prompt_id})
    for id in group.response_ids:
        if id not in responses or responses[id].prompt_id != prompt.pk:
            values = {"prompt": prompt.pk, "response": id}
            raise OpinionError(_("The prompt %(prompt)s has no response %(response)s.") % values)
    if group.scores is not None and len(group.scores) != len(group.response_ids):
        raise OpinionError(
            _("The prompt %(prompt)s has not one score for each response.") % {"prompt": prompt.pk}
        )
    return {
        "prompt_id": prompt.pk,
        "messages": prompt.messages,
        "tags": prompt.tags,
        "split": prompt.split,
        "responses": [
            {"id": id, "text": responses[id].text, "model": responses[id].author.name}
            for id in group.response_ids
        ],
        "scores": None if group.scores is None else list(group.scores),
        "opinions": [_opinion(opinion, group) for opinion in group.opinions],
        "no_opinion": [list(pair) for pair in group.no_opinion],
    }


def _opinion(opinion: Mapping[str, Any], group: JudgedGroup) -> dict[str, Any]:
    first, second, p = opinion["first"], opinion["second"], opinion["p"]
    size = len(group.response_ids)
    if not (0 <= first < size and 0 <= second < size and first != second and 0 <= p <= 1):
        text = _(
            "An opinion on the prompt %(prompt)s is not a probability for two of its responses: %(opinion)s."
        )
        opinion = {"first": first, "second": second, "p": p}
        raise OpinionError(text % {"prompt": group.prompt_id, "opinion": opinion})
    return {
        "first": first,
        "second": second,
        "p_ab": opinion.get("p_ab"),
        "p_ba": opinion.get("p_ba"),
        "p": p,
        "principle": opinion.get("principle") or "",
        "rationale": storable(opinion.get("rationale") or ""),
        "tokens_in": opinion.get("tokens_in", 0),
        "tokens_out": opinion.get("tokens_out", 0),
    }


def _row(set_id: int, line: Mapping[str, Any], opinion: Mapping[str, Any]) -> tuple[Any, ...]:
    """The values of `_COLUMNS`."""
    first, second = opinion["first"], opinion["second"]
    scores = line["scores"]
    return (
        *(set_id, line["prompt_id"], line["responses"][first]["id"], line["responses"][second]["id"]),
        *(opinion["p_ab"], opinion["p_ba"], opinion["p"]),
        *((None, None) if scores is None else (scores[first], scores[second])),
        *(opinion["principle"], opinion["rationale"], opinion["tokens_in"], opinion["tokens_out"]),
    )
