"""The prompts that two policies answered, ordered by which answer is preferred: filters, pages, and the answers of a page."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from annotation.models import Prompt, Response
from training.comparisons.pairs import VOTES_BY_PROMPT, Pair
from training.models import ComparedPrompt, Comparison

HARMFUL = ("inappropriate", "sexual", "violent", "encourages_violence", "denigrates", "harmful_advice")
"""Flags (`annotation.logic.response_flags`) of answers that do harm."""
WINNERS = ("policy", "baseline", "tie")
ORDERS = ("losses", "gains")
SCORED = "SELECT prompt_id, gain AS value FROM training_comparedprompt WHERE comparison_id = %(comparison)s"
JUDGED = f"SELECT prompt_id, share AS value FROM ({VOTES_BY_PROMPT}) AS votes"
ANSWERED = """
SELECT id AS prompt_id, 0::float8 AS value FROM annotation_prompt AS answered WHERE project_id = %(project)s
  AND EXISTS (SELECT FROM annotation_response WHERE prompt_id = answered.id AND author_id = %(policy)s)
  AND EXISTS (SELECT FROM annotation_response WHERE prompt_id = answered.id AND author_id = %(baseline)s)
"""
FLAGGED = """EXISTS (
    SELECT FROM annotation_response AS answer JOIN annotation_placement AS placement ON placement.response_id = answer.id
    WHERE answer.prompt_id = found.prompt_id AND answer.author_id IN (%(policy)s, %(baseline)s)
      AND (placement.safe IS FALSE OR placement.flags && %(harmful)s::varchar[]))"""


@dataclass(frozen=True)
class Search:
    """Which prompts, and by whose preference they are ordered: that of `comparison`'s reward model, of people, or of nobody.

    disputed: people and the reward model prefer different answers. flagged: somebody found one of the answers harmful.
    """

    comparison: Comparison | None = None
    by_people: bool = False
    tag: str = ""
    split: str = ""
    winner: str = ""
    disputed: bool = False
    flagged: bool = False
    order: str = "losses"

    @property
    def is_filtered(self) -> bool:
        return bool(self.tag or self.split or self.winner or self.disputed or self.flagged)


Place = tuple[float, int]
"""A prompt's place in the order: what it is ordered by, and its id."""


def read_place(text: str) -> Place | None:
    """A place as `write_place` writes it; None if it is none."""
    value, _, prompt = text.partition("~")
    try:
        place = float(value), int(prompt)
    except ValueError:
        return None
    return place if math.isfinite(place[0]) and 0 <= place[1] < 2**63 else None


def write_place(place: Place) -> str:
    return f"{place[0]!r}~{place[1]}"


@dataclass(frozen=True)
class Answer:
    response: Response
    score: float | None


@dataclass(frozen=True)
class PromptRow:
    """A prompt with both policies' answers. gain: of the policy's mean score over the baseline's. people: how often the policy's
    answer was preferred, and in how many judgments."""

    prompt: Prompt
    place: Place
    policy: list[Answer] = field(default_factory=list)
    baseline: list[Answer] = field(default_factory=list)
    gain: float | None = None
    people: tuple[float, int] | None = None


@dataclass(frozen=True)
class PromptPage:
    """Rows in order; `before` and `after` lead to the pages beside it, where there are any."""

    rows: list[PromptRow]
    before: str = ""
    after: str = ""


def read_page(
    pair: Pair, search: Search, size: int, *, after: Place | None = None, before: Place | None = None
) -> PromptPage:
    """The page after or before a place, or the first one. At most five queries."""
    places = _places(pair, search, size + 1, after=after, before=before)
    more, places = len(places) > size, places[:size]
    if before is not None:
        places.reverse()
    rows = _with_answers(pair, search, places)
    if not places:
        return PromptPage(rows)
    has_before, has_after = (more, True) if before is not None else (after is not None, more)
    return PromptPage(
        rows,
        write_place(places[0]) if has_before else "",
        write_place(places[-1]) if has_after else "",
    )


def read_all(pair: Pair, search: Search, batch: int = 200) -> Iterator[PromptRow]:
    """Every row in order, read in batches, so that memory is flat."""
    after: Place | None = None
    while places := _places(pair, search, batch, after=after):
        yield from _with_answers(pair, search, places)
        after = places[-1]


def _places(
    pair: Pair, search: Search, limit: int, *, after: Place | None = None, before: Place | None = None
) -> list[Place]:
    """In order; before a place, the nearest first."""
    values: dict[str, Any] = pair.authors | {"project": pair.project.pk, "limit": limit}
    source, middle, sign = ANSWERED, 0.0, 1
    if search.comparison is not None:
        source, sign = SCORED, pair.sign_of(search.comparison)
        values["comparison"] = search.comparison.pk
    if search.by_people:
        source, middle = JUDGED, 0.5
    conditions = _conditions(pair, search, values, middle, sign if source == SCORED else 1)
    rises = (search.order == "losses") == (source != SCORED or sign > 0)
    if (place := before or after) is not None:
        values |= {"value": place[0], "prompt": place[1]}
        rises ^= before is not None
        conditions.append(f"(found.value, found.prompt_id) {'>' if rises else '<'} (%(value)s, %(prompt)s)")
    direction = "ASC" if rises else "DESC"
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    sql = f"""
        SELECT found.value, found.prompt_id FROM ({source}) AS found
        JOIN annotation_prompt AS prompt ON prompt.id = found.prompt_id {where}
        ORDER BY found.value {direction}, found.prompt_id {direction} LIMIT %(limit)s"""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [(float(value), prompt) for value, prompt in cursor.fetchall()]


def _conditions(pair: Pair, search: Search, values: dict[str, Any], middle: float, sign: int) -> list[str]:
    conditions = []
    if search.tag:
        conditions.append("%(tag)s = ANY(prompt.tags)")
        values["tag"] = search.tag
    if search.split:
        conditions.append("prompt.split = %(split)s")
        values["split"] = search.split
    if search.winner:
        sides = {"policy": ">" if sign > 0 else "<", "baseline": "<" if sign > 0 else ">", "tie": "="}
        conditions.append(f"found.value {sides[search.winner]} {middle}")
    if search.flagged:
        conditions.append(FLAGGED)
        values["harmful"] = list(HARMFUL)
    if search.disputed and search.comparison is not None:
        gain, share = ("scored.gain", "found.value") if search.by_people else ("found.value", "votes.share")
        other = (
            "training_comparedprompt AS scored WHERE scored.comparison_id = %(comparison)s AND scored.prompt_id"
            if search.by_people
            else f"({VOTES_BY_PROMPT}) AS votes WHERE votes.prompt_id"
        )
        direction = pair.sign_of(search.comparison)
        conditions.append(
            f"EXISTS (SELECT FROM {other} = found.prompt_id AND {direction} * {gain} * ({share} - 0.5) < 0)"
        )
    return conditions


def _with_answers(pair: Pair, search: Search, places: list[Place]) -> list[PromptRow]:
    ids = [prompt for _value, prompt in places]
    if not ids:
        return []
    prompts: Mapping[int, Prompt] = Prompt.objects.in_bulk(ids)
    scored: dict[int, ComparedPrompt] = {}
    if search.comparison is not None:
        scored = {row.prompt_id: row for row in search.comparison.prompts.filter(prompt__in=ids)}
    votes = pair.votes(ids)
    answers: dict[tuple[int, int], list[Answer]] = defaultdict(list)
    authors = pair.authors
    for response in Response.objects.filter(prompt__in=ids, author__in=authors.values()).order_by("pk"):
        scores = scored[response.prompt_id].scores if response.prompt_id in scored else {}
        answer = Answer(response, scores.get(str(response.pk)))
        answers[response.prompt_id, response.author_id].append(answer)
    sign = pair.sign_of(search.comparison) if search.comparison else 1
    return [
        PromptRow(
            prompts[prompt],
            (value, prompt),
            _scored_first(answers[prompt, authors["policy"]]),
            _scored_first(answers[prompt, authors["baseline"]]),
            sign * scored[prompt].gain if prompt in scored else None,
            votes.get(prompt),
        )
        for value, prompt in places
    ]


def _scored_first(answers: list[Answer]) -> list[Answer]:
    """The answers that were compared; all of them where none was."""
    return [answer for answer in answers if answer.score is not None] or answers
