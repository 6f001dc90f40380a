"""Prompts and responses coming in, from people's files or from a policy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from annotation import events
from annotation.actions.queue import Wanted, enqueue
from annotation.logic.formats import ImportedPrompt, LineError, parse_prompt
from annotation.logic.markdown import render
from annotation.logic.sampling import digest, split_of
from annotation.models import Author, Candidate, Project, Prompt, Response

MAX_ERRORS = 100
BATCH_BYTES = 2**22


@dataclass
class ImportReport:
    """What an import did, or why it did nothing: with errors, nothing was imported."""

    prompts: int = 0
    responses: int = 0
    items: int = 0
    unchanged: int = 0
    errors: list[tuple[int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Sample:
    """One response of a policy, with what is known of how it was sampled."""

    prompt_id: int
    text: str
    sampling: dict[str, Any] = field(default_factory=dict)


def import_lines(*, project: Project, lines: Iterable[bytes]) -> ImportReport:
    """Import a file of prompts, each with or without responses, one JSON object per line.

    All of it or nothing. A prompt whose id is known is left as it is, so the same file may be sent again; responses
    that are new join it. Every set of two or more responses becomes an item of the queue, once.
    """
    report = ImportReport()
    with transaction.atomic():
        # the same file sent twice at once is imported once
        Project.objects.select_for_update().get(pk=project.pk)
        for rows in _batches(lines, report):
            if not report.errors:
                _import_rows(project, rows, report)
        if report.errors:
            transaction.set_rollback(True)
    if report.errors:
        return ImportReport(errors=report.errors)
    events.announce(events.project_group(project.pk), {"kind": "import"})
    return report


def _batches(lines: Iterable[bytes], report: ImportReport) -> Iterator[list[tuple[int, ImportedPrompt]]]:
    """The lines that are well formed, with their numbers, some megabytes at a time: a file of any length fits into
    memory. What is wrong with the others goes into the report."""
    seen: dict[str, int] = {}
    rows: list[tuple[int, ImportedPrompt]] = []
    size = 0
    for number, line in enumerate(lines, start=1):
        if len(report.errors) >= MAX_ERRORS:
            break
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if not text:
                continue
            row = parse_prompt(text)
            if row.external_id in seen:
                raise LineError(f"id: {row.external_id!r} stands in line {seen[row.external_id]} already")
        except UnicodeDecodeError:
            report.errors.append((number, "not UTF-8 text"))
            continue
        except LineError as error:
            report.errors.append((number, str(error)))
            continue
        seen[row.external_id] = number
        rows.append((number, row))
        size += len(line)
        if size >= BATCH_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows
    if not seen and not report.errors:
        report.errors.append((1, "the file is empty"))


def _import_rows(project: Project, rows: list[tuple[int, ImportedPrompt]], report: ImportReport) -> None:
    known = {
        p.external_id: p for p in project.prompts.filter(external_id__in=[row.external_id for _, row in rows])
    }
    fresh = []
    for number, row in rows:
        prompt = known.get(row.external_id)
        if prompt is None:
            fresh.append(_new_prompt(project, row))
        elif prompt.messages != row.messages:
            report.errors.append((number, f"id: {row.external_id!r} is known already, with another prompt"))
    if report.errors:
        return
    for prompt in Prompt.objects.bulk_create(fresh, batch_size=2000):
        known[prompt.external_id] = prompt
    report.prompts += len(fresh)

    by_author: dict[str, list[Sample]] = defaultdict(list)
    for _, row in rows:
        for response in row.responses:
            by_author[response.author].append(Sample(known[row.external_id].pk, response.text))
    ids: dict[tuple[int, str], int] = {}
    for name, samples in by_author.items():
        author, _ = Author.objects.get_or_create(project=project, kind=Author.Kind.IMPORTED, name=name)
        added, new = add_responses(author=author, samples=samples)
        report.responses += new
        ids |= {(response.prompt_id, response.digest): response.pk for response in added}

    standing = _standing_sets([known[row.external_id].pk for _, row in rows])
    added_ids = {prompt.external_id for prompt in fresh}
    wanted = []
    for _, row in rows:
        prompt_id = known[row.external_id].pk
        responses = [ids[prompt_id, digest(response.text)] for response in row.responses]
        if responses and frozenset(responses) not in standing:
            wanted.append(Wanted(prompt_id, responses))
        elif row.external_id not in added_ids:
            report.unchanged += 1
    report.items += len(enqueue(project=project, wanted=wanted))


def _new_prompt(project: Project, row: ImportedPrompt) -> Prompt:
    return Prompt(
        project=project,
        external_id=row.external_id,
        messages=row.messages,
        html=[render(message["content"]) for message in row.messages],
        tags=row.tags,
        split=split_of(row.messages),
    )


def add_responses(*, author: Author, samples: Sequence[Sample]) -> tuple[list[Response], int]:
    """Keep responses; a text that the author gave to the same prompt before is not kept again. Returns the responses,
    without doubles, and how many of them are new."""
    rows = {(s.prompt_id, digest(s.text)): s for s in samples}
    known = {
        (r.prompt_id, r.digest): r
        for r in Response.objects.filter(author=author, prompt_id__in={s.prompt_id for s in samples})
    }
    fresh = Response.objects.bulk_create(
        (
            Response(
                prompt_id=prompt_id,
                author=author,
                text=sample.text,
                html=render(sample.text),
                digest=text_digest,
                sampling=sample.sampling,
            )
            for (prompt_id, text_digest), sample in rows.items()
            if (prompt_id, text_digest) not in known
        ),
        batch_size=2000,
    )
    return [known[key] for key in rows if key in known] + fresh, len(fresh)


def _standing_sets(prompt_ids: list[int]) -> set[frozenset[int]]:
    """The sets of responses that stand in an item already."""
    members: dict[int, set[int]] = defaultdict(set)
    rows = Candidate.objects.filter(item__prompt_id__in=prompt_ids).values_list("item_id", "response_id")
    for item_id, response_id in rows:
        members[item_id].add(response_id)
    return {frozenset(responses) for responses in members.values()}
