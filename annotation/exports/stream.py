"""Exports as chunks of bytes, in flat memory however many rows there are.

Each batch of a few megabytes is one query, so that no connection and no transaction waits for a slow client. PostgreSQL
writes the lines; Python does not parse them. The same judgments give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.db import connection, transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from annotation.exports import judgments_sql
from annotation.exports.formats import FORMATS
from annotation.exports.parquet_writer import convert_to_parquet
from annotation.exports.query import lines_query, opinion_lines_query, votes_query
from annotation.exports.selection import Selection, SelectionError
from annotation.logic import consensus
from annotation.logic.ranking import dense
from annotation.models import ImportedJudgment, Judgment, OpinionSet, Project

# planning a query takes milliseconds, whatever the size of the batch; larger batches are slower again
BATCH_BYTES = 2**22
# a small first batch, so that the first lines arrive soon; an upper limit, for batches after prompts without judgments
FIRST_PROMPTS, MAX_PROMPTS = 20, 2000
Chunks = Generator[bytes, None, None]


def export_project(project: Project, selection: Selection) -> Chunks:
    """The project's judgments up to now: without those that arrive after the start, or that a revision has replaced; then a
    judge's opinions, where the selection has them.

    Raises:
        SelectionError: there is no such opinion set. Before the first chunk is taken.
    """
    parts = []
    if selection.ai != "only":
        parts.append(_export_tables(project, selection))
    if selection.ai != "exclude":
        parts.append(_export_opinions(project, selection, _opinion_set(project, selection)))
    return _convert(_joined(parts), selection)


def _joined(parts: list[Chunks]) -> Chunks:
    for part in parts:
        yield from part


def _opinion_set(project: Project, selection: Selection) -> OpinionSet:
    """The one that the selection names, or the latest."""
    sets = project.opinion_sets.all()
    if selection.opinions is not None:
        sets = sets.filter(number=selection.opinions)
    opinion_set = sets.first()
    if opinion_set is None and selection.opinions is not None:
        text = _("This project has no opinion set %(number)s.")
        raise SelectionError("opinions", text % {"number": selection.opinions})
    if opinion_set is None:
        raise SelectionError("ai", _("No judge has given its opinions in this project yet."))
    return opinion_set


def export_snapshot(path: Path, selection: Selection) -> Chunks:
    """The judgments in a snapshot's file."""
    lines = _read_file(path) if selection.is_whole_snapshot else _export_file(path, selection)
    return _convert(lines, selection)


def _convert(lines: Chunks, selection: Selection) -> Chunks:
    return convert_to_parquet(lines, selection) if selection.file == "parquet" else lines


def newest_judgment() -> int:
    """The highest id of a judgment so far, imported ones included: theirs are of the same sequence."""
    newest = (
        table.objects.aggregate(newest=Max("id"))["newest"] or 0 for table in (Judgment, ImportedJudgment)
    )
    return max(newest)


def _export_tables(project: Project, selection: Selection) -> Chunks:
    imported = selection.imported
    if imported == "include" and not ImportedJudgment.objects.filter(item__project=project).exists():
        imported = "exclude"  # a simpler query, and the same rows
    source, newest = judgments_sql.live(imported), newest_judgment()
    yield from _by_prompts(
        project, lambda prompts: _query_lines(selection, source, prompts=prompts, newest=newest)
    )


def _export_opinions(project: Project, selection: Selection, opinion_set: OpinionSet) -> Chunks:
    values, query = selection.values() | {"opinion_set": opinion_set.pk}, opinion_lines_query(selection)
    yield from _by_prompts(project, lambda prompts: _run(query, values | {"prompts": prompts}))


def _by_prompts(project: Project, lines_of: Callable[[list[int]], str]) -> Chunks:
    """The lines of all prompts, in batches of a few megabytes."""
    after, limit = 0, FIRST_PROMPTS
    while prompts := list(
        project.prompts.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:limit]
    ):
        text = lines_of(prompts)
        if text:
            yield text.encode()
        after = prompts[-1]
        # twice as many as before, or as many as fit into a batch
        limit = max(1, min(2 * limit, MAX_PROMPTS, len(prompts) * BATCH_BYTES // max(1, len(text))))


def _export_file(path: Path, selection: Selection) -> Chunks:
    for lines in _batches(path):
        text = _query_lines(selection, judgments_sql.SNAPSHOT, lines=lines)
        if text:
            yield text.encode()


def _query_lines(selection: Selection, source: str, **batch: Any) -> str:
    values = selection.values() | batch
    if selection.votes != "all":
        with _fixed_join_order():
            values["consensus"] = _pool_votes(selection, source, values)
    return _run(lines_query(selection, source), values)


def _run(query: str, values: dict[str, Any]) -> str:
    with _fixed_join_order() as cursor, psycopg.Cursor(cursor.connection) as plain:
        # the driver's own cursor, in binary format: megabytes of text arrive without conversion. Not prepared: a generic
        # plan may be a bad one
        row: Any = plain.execute(query, values, binary=True, prepare=False).fetchone()
    return row[0] or ""


@contextmanager
def _fixed_join_order() -> Iterator[Any]:
    """A cursor whose queries join tables in the order in which they are written, the batch first. For so many tables the
    planner's own order varies with its statistics, and was up to three times slower."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL join_collapse_limit = 1")
        yield cursor
        # there may be an outer transaction
        cursor.execute("SET LOCAL join_collapse_limit TO DEFAULT")


def _batches(path: Path) -> Iterator[list[str]]:
    """The file's lines in batches, with all lines of a prompt in the same batch."""
    batch: list[str] = []
    size, group = 0, ""
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            # the group matters only at the end of a batch: parsing every line would be slow
            if size >= BATCH_BYTES and (group := group or _group(batch[-1])) != _group(line):
                yield batch
                batch, size, group = [], 0, ""
            batch.append(line.rstrip("\n"))
            size += len(line)
    if batch:
        yield batch


def _group(line: str) -> str:
    return str(json.loads(line)["group"])


def _read_file(path: Path) -> Chunks:
    with path.open("rb") as file:
        while chunk := file.read(BATCH_BYTES):
            yield chunk


def _pool_votes(selection: Selection, source: str, values: dict[str, Any]) -> str:
    """The ranks that each item's votes are pooled to, as JSON for the query."""
    with connection.cursor() as cursor:
        cursor.execute(votes_query(selection, source), values)
        items = cursor.fetchall()
    pooled = (_pool_item(selection, item, rankings, verdict) for item, rankings, verdict in items)
    return json.dumps([item for item in pooled if item])


def _pool_item(
    selection: Selection, item: int, rankings: Any, verdict: list[int] | None
) -> dict[str, Any] | None:
    """None where votes must be unanimous and are not. A reviewer's verdict replaces the votes, except unanimous ones."""
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
        return {"item": item, "ranks": _ranks_by_score(points)}
    strengths = [round(strength, 6) for strength in consensus.bradley_terry(wins)]
    return {"item": item, "ranks": _ranks_by_score(strengths), "strengths": strengths}


def unanimous(rankings: list[list[int]], rows: str) -> list[int] | None:
    """The ranks that all votes agree on, for lines of this kind (`Format.rows`): of whole rankings, the ranking; of best
    answers, which ones are first; else ranks that order every pair as all votes do."""
    first = rankings[0]
    if all(ranks == first for ranks in rankings):
        return first
    if rows == "rankings":
        return None
    answers = range(len(first))
    if rows == "best":
        best = [all(ranks[answer] == 1 for ranks in rankings) for answer in answers]
        return [1 if is_best else 2 for is_best in best] if any(best) else None
    beats = [[all(ranks[i] < ranks[j] for ranks in rankings) for j in answers] for i in answers]
    # an answer that beats another beats all that the other beats: it has more wins and fewer losses
    return _ranks_by_score([sum(beats[i]) - sum(beats[j][i] for j in answers) for i in answers])


def _ranks_by_score(scores: list[float] | list[int]) -> list[int]:
    order = sorted(set(scores), reverse=True)
    return [order.index(score) + 1 for score in scores]
