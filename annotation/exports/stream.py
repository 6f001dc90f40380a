"""Exports as chunks of bytes, in flat memory however many rows there are.

Read in batches of some megabytes, each by a query of its own: no connection and no transaction waits for a slow reader.
PostgreSQL makes the lines, and they pass through as they are. The same judgments give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.db import connection, transaction
from django.db.models import Max

from annotation.exports import sources
from annotation.exports.formats import FORMATS
from annotation.exports.parquet import as_parquet
from annotation.exports.query import lines_query, values_of, votes_query
from annotation.exports.selection import Selection
from annotation.logic import consensus
from annotation.logic.ranking import dense
from annotation.models import Judgment, Project

# PostgreSQL thinks for milliseconds before each batch, whatever its size; still larger ones are slower again
BATCH_BYTES = 2**22
# the first lines come soon; and after many prompts of which there is nothing to tell, a batch still fits into memory
FIRST_PROMPTS, MOST_PROMPTS = 20, 2000
Chunks = Generator[bytes, None, None]


def live(project: Project, selection: Selection) -> Chunks:
    """What people have said up to now, without what comes in after the start, nor what a later revision replaced."""
    return _as_file(_live(project, selection), selection)


def frozen(path: Path, selection: Selection) -> Chunks:
    """What a snapshot's file holds."""
    lines = _whole_file(path) if selection.is_everything else _frozen(path, selection)
    return _as_file(lines, selection)


def _as_file(lines: Chunks, selection: Selection) -> Chunks:
    return as_parquet(lines, selection) if selection.file == "parquet" else lines


def _live(project: Project, selection: Selection) -> Chunks:
    newest = Judgment.objects.aggregate(newest=Max("id"))["newest"] or 0
    after, limit = 0, FIRST_PROMPTS
    while prompts := list(
        project.prompts.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:limit]
    ):
        text = _lines(selection, sources.LIVE, prompts=prompts, newest=newest)
        if text:
            yield text.encode()
        after = prompts[-1]
        # twice as many as before, or as many as a batch has room for
        limit = max(1, min(2 * limit, MOST_PROMPTS, len(prompts) * BATCH_BYTES // max(1, len(text))))


def _frozen(path: Path, selection: Selection) -> Chunks:
    for lines in _batches(path):
        text = _lines(selection, sources.FROZEN, lines=lines)
        if text:
            yield text.encode()


def _lines(selection: Selection, source: str, **batch: Any) -> str:
    values = values_of(selection, **batch)
    with _joined_as_written() as cursor, psycopg.Cursor(cursor.connection) as plain:
        if selection.votes != "all":
            values["consensus"] = _consensus(selection, source, values)
        # the driver itself, and its binary format: megabytes of text come over as they are. Not prepared: a plan for
        # batches in general may be a bad one
        query = lines_query(selection, source)
        found: Any = plain.execute(query, values, binary=True, prepare=False).fetchone()
    return found[0] or ""


@contextmanager
def _joined_as_written() -> Iterator[Any]:
    """A cursor for queries whose tables are joined in the order in which they stand there, the batch first. For so many
    tables PostgreSQL's own order is a matter of luck, and once at a third of the speed."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL join_collapse_limit = 1")
        yield cursor
        # there may be a transaction around this one
        cursor.execute("SET LOCAL join_collapse_limit TO DEFAULT")


def _batches(path: Path) -> Iterator[list[str]]:
    """The file's lines, a batch at once, the lines of one prompt always together."""
    batch: list[str] = []
    size, group = 0, ""
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            # only where a batch is full does it matter whose line this is
            if size >= BATCH_BYTES and (group := group or _group(batch[-1])) != _group(line):
                yield batch
                batch, size, group = [], 0, ""
            batch.append(line.rstrip("\n"))
            size += len(line)
    if batch:
        yield batch


def _group(line: str) -> str:
    return str(json.loads(line)["group"])


def _whole_file(path: Path) -> Chunks:
    with path.open("rb") as file:
        while chunk := file.read(BATCH_BYTES):
            yield chunk


def _consensus(selection: Selection, source: str, values: dict[str, Any]) -> str:
    """The order that each item's votes come to, as JSON for the query."""
    with connection.cursor() as cursor:
        cursor.execute(votes_query(selection, source), values)
        found = cursor.fetchall()
    decided = (_decide(selection, item, rankings, verdict) for item, rankings, verdict in found)
    return json.dumps([one for one in decided if one])


def _decide(
    selection: Selection, item: int, rankings: Any, verdict: list[int] | None
) -> dict[str, Any] | None:
    """None where all have to agree and do not. What a reviewer decided stands above all votes but unanimous ones."""
    votes = selection.votes
    rankings = json.loads(rankings) if isinstance(rankings, str) else rankings
    if votes == "unanimous":
        ranks = unanimous(rankings, FORMATS[selection.format].rows)
        return {"item": item, "ranks": ranks} if ranks else None
    if verdict is not None:
        return {"item": item, "ranks": dense(verdict)}
    wins = consensus.votes(rankings)
    if votes == "majority":
        k = len(wins)
        points = [
            sum((wins[i][j] > wins[j][i]) - (wins[i][j] < wins[j][i]) for j in range(k)) for i in range(k)
        ]
        return {"item": item, "ranks": _ranks_of(points)}
    strengths = [round(strength, 6) for strength in consensus.bradley_terry(wins)]
    return {"item": item, "ranks": _ranks_of(strengths), "strengths": strengths}


def unanimous(rankings: list[list[int]], rows: str) -> list[int] | None:
    """What all agree on, as ranks, for lines of this kind (`Format.rows`): for whole rankings the order, for the best
    answers who comes first; else an order in which every pair that all put the same way stands that way."""
    first = rankings[0]
    if all(ranks == first for ranks in rankings):
        return first
    if rows == "rankings":
        return None
    answers = range(len(first))
    if rows == "best":
        best = [all(ranks[one] == 1 for ranks in rankings) for one in answers]
        return [1 if is_best else 2 for is_best in best] if any(best) else None
    won = [[all(ranks[i] < ranks[j] for ranks in rankings) for j in answers] for i in answers]
    # who beats another beats all whom that one beats, so more is won and less lost
    return _ranks_of([sum(won[i]) - sum(won[j][i] for j in answers) for i in answers])


def _ranks_of(scores: list[float] | list[int]) -> list[int]:
    order = sorted(set(scores), reverse=True)
    return [order.index(score) + 1 for score in scores]
