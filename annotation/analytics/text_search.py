"""Search in the texts of a project: prompts, answers, and annotators' reasons, newest first.

No index is used: docs/operations.md says what one would cost. The rows are read in parts, from the newest on, until a page is
full or the time for it is over; the page says how far it came, and the next one goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import OperationalError, connection, transaction
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy
from psycopg.errors import QueryCanceled

from annotation.logic.text_match import Part, snippet
from annotation.models import Candidate, Item, Project
from annotation.models.judgments import is_current

BUDGET_S = 0.8
"""For one kind of texts on a page; a part that was begun is finished."""
TIMEOUT_MS = 3000
"""For one statement."""
FIRST_ROWS, MAX_ROWS = 200, 5000
"""Rows of the first part, and the most of any; each is so large that it takes about a tenth of a second."""
_AROUND = 600
"""Characters that are read before a match, and three times as many from there: enough for a snippet."""

# ids in the order of an index, newest first
_PROMPT_IDS = """
SELECT id FROM (
  (SELECT id FROM annotation_prompt WHERE project_id = %(project)s AND split = 'train' AND id < %(before)s
   ORDER BY id DESC LIMIT %(rows)s)
  UNION ALL
  (SELECT id FROM annotation_prompt WHERE project_id = %(project)s AND split = 'held_out' AND id < %(before)s
   ORDER BY id DESC LIMIT %(rows)s)
) AS newest ORDER BY id DESC LIMIT %(rows)s
"""
_JUDGMENT_IDS = """
SELECT id FROM annotation_judgment WHERE project_id = %(project)s AND id < %(before)s ORDER BY id DESC LIMIT %(rows)s
"""
# `key`: the row in whose order is read; `prompt` and `response` lead to the item; `text` is matched
_PROMPTS = """
SELECT p.id AS key, p.id AS prompt, NULL::bigint AS response, NULL::bigint AS item, '' AS by, p.created_at AS at, texts.text
FROM annotation_prompt AS p, LATERAL (
  SELECT string_agg(m ->> 'content', E'\\n') AS text FROM jsonb_array_elements(p.messages) AS m
) AS texts
WHERE p.id = ANY(%(ids)s)
"""
_ANSWERS = """
SELECT r.prompt_id AS key, r.prompt_id AS prompt, r.id AS response, NULL::bigint AS item, a.name AS by, r.created_at AS at, r.text
FROM annotation_response AS r JOIN annotation_author AS a ON a.id = r.author_id WHERE r.prompt_id = ANY(%(ids)s)
"""
_REASONS = f"""
SELECT j.id AS key, NULL::bigint AS prompt, NULL::bigint AS response, j.item_id AS item, u.username AS by, j.created_at AS at,
  j.rationale AS text
FROM annotation_judgment AS j JOIN annotation_user AS u ON u.id = j.annotator_id
WHERE j.id = ANY(%(ids)s) AND j.rationale <> '' AND {is_current("j")}
"""


@dataclass(frozen=True)
class Kind:
    """Texts that are searched: their names on the page, and the SQL of the ids of their rows and of the rows themselves."""

    title: str | Promise
    ids: str
    rows: str


KINDS = {
    "prompts": Kind(gettext_lazy("Prompts"), _PROMPT_IDS, _PROMPTS),
    "answers": Kind(gettext_lazy("Answers"), _PROMPT_IDS, _ANSWERS),
    "reasons": Kind(gettext_lazy("Reasons"), _JUDGMENT_IDS, _REASONS),
}


@dataclass(frozen=True)
class Hit:
    """A text with the words: who wrote it, when, the item where it stands (None: it is in no item), and how many more texts of
    the same prompt have them."""

    parts: list[Part]
    by: str
    at: Any
    item: int | None
    more: int


@dataclass(frozen=True)
class SearchPage:
    """Hits of one kind, newest first. `after`: the id before which the next page begins, None where nothing is left;
    `rows`: how many prompts, or judgments, were read; `is_full`: there are as many hits as were asked for; `was_stopped`: a
    statement took too long."""

    hits: list[Hit]
    after: int | None
    rows: int
    is_full: bool
    was_stopped: bool


def search_texts(
    project: Project, kind: str, terms: list[str], *, limit: int, before: int | None = None
) -> SearchPage:
    """The newest texts that have all of the terms, at most `limit` of them, of the rows with ids below `before`."""
    end = time.monotonic() + BUDGET_S
    rows, read, was_stopped = FIRST_ROWS, 0, False
    found: list[dict[str, Any]] = []
    while len(found) <= limit:
        started = time.monotonic()
        try:
            ids, matches = _read_part(
                project, KINDS[kind], terms, rows=rows, before=before, limit=limit + 1 - len(found)
            )
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled):
                raise
            was_stopped = True
            break
        found += matches
        read += len(ids)
        before = ids[-1] if len(ids) == rows else None
        if before is None or time.monotonic() > end:
            break
        rows = _next_size(rows, time.monotonic() - started)
    is_full = len(found) > limit
    found = found[:limit]
    after = found[-1]["key"] if is_full else before
    return SearchPage(_hits(found, terms), after, read, is_full, was_stopped)


def _next_size(rows: int, seconds: float) -> int:
    if seconds < 0.05:
        return min(4 * rows, MAX_ROWS)
    return max(rows // 4, 1) if seconds > 0.3 else rows


def _read_part(
    project: Project, kind: Kind, terms: list[str], *, rows: int, before: int | None, limit: int
) -> tuple[list[int], list[dict[str, Any]]]:
    """The ids of the next rows, and those of them that match, at most `limit`."""
    matches = " AND ".join(f"strpos(lower(text), %(term{n})s) > 0" for n in range(len(terms)))
    values: dict[str, Any] = {f"term{n}": term.lower() for n, term in enumerate(terms)}
    statement = f"""
    SELECT key, prompt, response, item, by, at, more, substr(text, greatest(1, place - {_AROUND}), 4 * {_AROUND}) AS text FROM (
      SELECT DISTINCT ON (key) *, strpos(lower(text), %(term0)s) AS place, count(*) OVER (PARTITION BY key) - 1 AS more
      FROM ({kind.rows}) AS texts WHERE {matches} ORDER BY key DESC, response
    ) AS found ORDER BY key DESC LIMIT %(limit)s
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout')")
        [(usual,)] = cursor.fetchall()
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{TIMEOUT_MS}ms"])
        cursor.execute(kind.ids, {"project": project.pk, "before": before or 2**62, "rows": rows})
        ids = [pk for (pk,) in cursor.fetchall()]
        found: list[dict[str, Any]] = []
        if ids:
            cursor.execute(statement, values | {"ids": ids, "limit": limit})
            names = [column.name for column in cursor.description or ()]
            found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        # for what follows in the same transaction, where there is one around this
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [usual])
    return ids, found


def _hits(found: list[dict[str, Any]], terms: list[str]) -> list[Hit]:
    """With the item of each: that of the answer, or else the newest of the prompt."""
    of_response = _last(
        Candidate.objects.filter(response__in=[row["response"] for row in found if row["response"]])
        .order_by("item_id")
        .values_list("response_id", "item_id")
    )
    of_prompt = _last(
        Item.objects.filter(prompt__in=[row["prompt"] for row in found if row["prompt"]])
        .order_by("pk")
        .values_list("prompt_id", "pk")
    )
    return [
        Hit(
            snippet(row["text"], terms),
            row["by"],
            row["at"],
            row["item"] or of_response.get(row["response"]) or of_prompt.get(row["prompt"]),
            row["more"],
        )
        for row in found
    ]


def _last(pairs: Iterable[tuple[int, int]]) -> dict[int, int]:
    return dict(pairs)
