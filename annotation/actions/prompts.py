"""Prompts and responses coming in, from people's files or from a policy."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

from django.db import connection, transaction

from annotation import audit, events
from annotation.actions.queue import ItemSpec, enqueue
from annotation.db import bulk_insert
from annotation.imports.schema import ImportedPrompt, LineError, parse_prompt
from annotation.logic.markdown import render
from annotation.logic.ranking import dense
from annotation.logic.similarity import distinct
from annotation.logic.splits import digest, split_of
from annotation.models import Author, Item, Project, Prompt, Response, User

ResponseKey = tuple[int, int, str]
"""The prompt's id, the author's, and the digest of the text: several authors may say the same."""

MAX_ERRORS = 100
BATCH_BYTES = 2**22


@dataclass
class ImportReport:
    """What an import did, or why it did nothing: with errors, nothing was imported.

    `held_back`: answers that say nearly the same as another one of their item, which goes without them. `set_aside`: rows
    that nothing could be made of, by the reason. `more_errors`: those beyond the first hundred.
    """

    prompts: int = 0
    responses: int = 0
    items: int = 0
    unchanged: int = 0
    held_back: int = 0
    set_aside: dict[str, int] = field(default_factory=dict)
    errors: list[tuple[int, str]] = field(default_factory=list)
    more_errors: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def add_error(self, number: int, sentence: str) -> None:
        if len(self.errors) < MAX_ERRORS:
            self.errors.append((number, sentence))
        else:
            self.more_errors += 1


@dataclass(frozen=True)
class Parsed:
    """One row of a file, or what is wrong with it, or why it is set aside. `number` is its line, `position` how many bytes
    have been read with it. `named`: the file gives it its id, which no other row may have."""

    number: int
    position: int
    prompt: ImportedPrompt | None = None
    error: str = ""
    aside: str = ""
    named: bool = False


@dataclass(frozen=True)
class Sample:
    """One response of a policy, with what is known of how it was sampled."""

    prompt_id: int
    text: str
    sampling: dict[str, Any] = field(default_factory=dict)


def fewest_responses(project: Project) -> int:
    """Of a row that has any: one is enough where people write answers, and make it better."""
    return 1 if project.task == Project.Task.DEMONSTRATIONS else 2


@transaction.atomic
def import_lines(*, project: Project, lines: Iterable[bytes], actor: User | None = None) -> ImportReport:
    """Import prompts in Palate's own shape, each with or without responses, one JSON object per line: see `take`. Where
    something new came in, it is noted that the `actor` brought it."""
    report = take(project=project, rows=_parsed(lines, fewest_responses(project)))
    counts = {name: getattr(report, name) for name in ("prompts", "responses", "items")}
    if actor is not None and any(counts.values()):
        audit.record("import.done", project=project, actor=actor, subject="through the API", **counts)
    return report


def _parsed(lines: Iterable[bytes], fewest: int) -> Iterator[Parsed]:
    position = 0
    for number, line in enumerate(lines, start=1):
        position += len(line)
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if text:
                yield Parsed(number, position, parse_prompt(text, fewest=fewest), named=True)
        except UnicodeDecodeError:
            yield Parsed(number, position, error="not UTF-8 text")
        except LineError as error:
            yield Parsed(number, position, error=str(error))


def take(
    *, project: Project, rows: Iterable[Parsed], on_batch: Callable[[int], None] = lambda position: None
) -> ImportReport:
    """Take in the rows of a file, all of them or none.

    A prompt whose id is known is left as it is, so the same file may be sent again; responses that are new join it. Every
    set of two or more responses becomes an item of the queue, once; in a project that asks for demonstrations, every
    prompt does.

    Args:
        on_batch: is told after some megabytes how far the file has been read; what it raises undoes everything.
    """
    report = ImportReport()
    writer = _Writer(project, report)
    with transaction.atomic():
        _one_import_at_a_time(project)
        for batch, position in _batches(rows, report):
            if not report.errors:
                writer.write(batch)
            on_batch(position)
        if report.errors:
            transaction.set_rollback(True)
    if report.errors:
        return ImportReport(errors=report.errors, more_errors=report.more_errors)
    events.announce(events.project_group(project.pk), {"kind": "import"})
    return report


def _one_import_at_a_time(project: Project) -> None:
    """The same file sent twice at once is imported once. Not a lock on the project's row, for which everybody who judges
    or edits would have to wait."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('import'), %s)", [project.pk])
        # foreign keys are checked as rows come, not all of them at the end: a million checks would wait in memory
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def _batches(
    rows: Iterable[Parsed], report: ImportReport
) -> Iterator[tuple[list[tuple[int, ImportedPrompt]], int]]:
    """The rows that are well formed, with their numbers, some megabytes at a time: a file of any length fits into memory.
    What is wrong with the others goes into the report."""
    seen: dict[str, int] = {}
    batch: list[tuple[int, ImportedPrompt]] = []
    start = position = 0
    asides: Counter[str] = Counter()
    for row in rows:
        position = row.position
        if row.aside:
            asides[row.aside] += 1
        elif row.prompt is None:
            report.add_error(row.number, row.error)
        elif row.named and row.prompt.external_id in seen:
            first = seen[row.prompt.external_id]
            report.add_error(row.number, f"id: {row.prompt.external_id!r} stands in line {first} already")
        else:
            if row.named:
                seen[row.prompt.external_id] = row.number
            batch.append((row.number, row.prompt))
        if position - start >= BATCH_BYTES:
            yield batch, position
            batch, start = [], position
    report.set_aside = dict(asides.most_common())
    if batch:
        yield batch, position
    elif not position or not (seen or asides or report.errors or start):
        report.add_error(1, "the file is empty")


class _Writer:
    """Writes batches of one file into a project."""

    def __init__(self, project: Project, report: ImportReport) -> None:
        self.project = project
        self.report = report
        self.authors: dict[str, int] = {}

    def write(self, rows: list[tuple[int, ImportedPrompt]]) -> None:
        prompts, fresh = self._prompts(rows)
        if self.report.errors:
            return
        old = [prompts[row.external_id] for _, row in rows if row.external_id not in fresh]
        responses_of = self._responses([(prompts[row.external_id], row) for _, row in rows], old)
        standing = _standing_sets(old)
        specs = []
        for (_, row), ids in zip(rows, responses_of, strict=True):
            prompt_id = prompts[row.external_id]
            plan = self._plan(prompt_id, row, ids)
            responses = frozenset(plan.response_ids) if plan else None
            if plan and responses is not None and responses not in standing[prompt_id]:
                standing[prompt_id].add(responses)
                specs.append(plan)
            elif row.external_id not in fresh:
                self.report.unchanged += 1
        self.report.items += len(enqueue(project=self.project, specs=specs))

    def _prompts(self, rows: list[tuple[int, ImportedPrompt]]) -> tuple[dict[str, int], set[str]]:
        """The prompts' ids by their external ones, and which of these are new."""
        known = {
            external_id: (pk, messages)
            for pk, external_id, messages in self.project.prompts.filter(
                external_id__in={row.external_id for _, row in rows}
            ).values_list("pk", "external_id", "messages")
        }
        fresh: dict[str, ImportedPrompt] = {}
        for number, row in rows:
            if row.external_id not in known:
                fresh.setdefault(row.external_id, row)
            elif known[row.external_id][1] != row.messages:
                self.report.add_error(
                    number, f"id: {row.external_id!r} is known already, with another prompt"
                )
        if self.report.errors:
            return {}, set()
        added = bulk_insert.insert(
            Prompt,
            ("project_id", "external_id", "messages", "html", "tags", "split"),
            [
                (
                    self.project.pk,
                    row.external_id,
                    _json(row.messages),
                    _json([render(message["content"]) for message in row.messages]),
                    row.tags,
                    split_of(row.messages),
                )
                for row in fresh.values()
            ],
        )
        self.report.prompts += len(added)
        prompts = {external_id: pk for external_id, (pk, _) in known.items()}
        return prompts | dict(zip(fresh, added, strict=True)), set(fresh)

    def _responses(self, rows: list[tuple[int, ImportedPrompt]], old: list[int]) -> list[list[int]]:
        """The ids of each row's responses; those that are new are added."""
        keys = [
            [(prompt_id, self._author(one.author), digest(one.text)) for one in row.responses]
            for prompt_id, row in rows
        ]
        ids: dict[ResponseKey, int] = {}
        if old:
            held = Response.objects.filter(prompt__in=set(old), author__in=self.authors.values())
            ids = {
                (prompt, author, text): pk
                for pk, prompt, author, text in held.values_list("pk", "prompt", "author", "digest")
            }
        texts = (one.text for _, row in rows for one in row.responses)
        fresh = {key: text for key, text in zip(chain(*keys), texts, strict=True) if key not in ids}
        added = bulk_insert.insert(
            Response,
            ("prompt_id", "author_id", "digest", "text", "html"),
            [(*key, text, render(text)) for key, text in fresh.items()],
        )
        self.report.responses += len(added)
        ids.update(zip(fresh, added, strict=True))
        return [[ids[key] for key in of_row] for of_row in keys]

    def _author(self, name: str) -> int:
        if name not in self.authors:
            author, _ = Author.objects.get_or_create(
                project=self.project, kind=Author.Kind.IMPORTED, name=name
            )
            self.authors[name] = author.pk
        return self.authors[name]

    def _plan(self, prompt_id: int, row: ImportedPrompt, ids: list[int]) -> ItemSpec | None:
        """The item that a row asks for, without the answers that are held back; None for a prompt that waits."""
        if self.project.task == Project.Task.DEMONSTRATIONS:
            return ItemSpec(prompt_id, ids if len(ids) == 1 else [])
        kept = distinct([response.text for response in row.responses])
        self.report.held_back += len(ids) - len(kept)
        if len(kept) < 2:
            return None
        responses = [ids[n] for n in kept]
        ranks = dense([row.gold[n] for n in kept]) if row.gold else []
        gold = dict(zip(responses, ranks, strict=True)) if ranks else None
        return ItemSpec(prompt_id, responses, gold=gold, gold_explanation=row.gold_explanation)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


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


def _standing_sets(prompt_ids: Sequence[int]) -> defaultdict[int, set[frozenset[int]]]:
    """By prompt, the sets of responses that stand in an item already; the empty one of an item without any."""
    standing: defaultdict[int, set[frozenset[int]]] = defaultdict(set)
    if not prompt_ids:
        return standing
    members: dict[tuple[int, int], set[int]] = defaultdict(set)
    rows = Item.objects.filter(prompt__in=set(prompt_ids)).values_list("prompt", "pk", "candidates__response")
    for prompt_id, item_id, response_id in rows:
        members[prompt_id, item_id].update([] if response_id is None else [response_id])
    for (prompt_id, _), responses in members.items():
        standing[prompt_id].add(frozenset(responses))
    return standing
