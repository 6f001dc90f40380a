"""Import of prompts and responses, from files or from a policy."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

from django.db import connection, transaction
from django.utils.translation import get_language, gettext_noop, override
from django.utils.translation import gettext as _

from annotation import audit, events
from annotation.actions.imported_judgments import JudgedItem, store_judgments
from annotation.actions.queue import ItemSpec, enqueue
from annotation.db import bulk_insert
from annotation.imports.conversion import add_account
from annotation.imports.prompt_schema import ImportedPrompt, RowError, parse_prompt
from annotation.logic.ranking import dense
from annotation.logic.splits import digest, split_of
from annotation.models import Author, Import, Item, Project, Prompt, Response, User

ResponseKey = tuple[int, int, str]
"""Prompt id, author id and digest of the text: two authors may write the same text."""
ItemKey = tuple[int, frozenset[int]]
"""Prompt id and the ids of the responses."""

MAX_ERRORS = 100
BATCH_ROWS, BATCH_BYTES = 1000, 2**21
"""A batch ends with the row that reaches one of them."""
BELONG = gettext_noop("rows that belong to an invalid one")
BESIDE_QUEUE = gettext_noop("It was imported beside the queue.")


@dataclass
class ImportReport:
    """What an import did, or why it did nothing. It accounts for every row: `rows` are those that were `kept`, those in
    `set_aside` and those with an error.

    `kept`: rows whose prompt is in the project now, `unchanged` of them without anything new. `set_aside`: how many rows were
    not comparable, by reason. `errors`: the invalid rows, with their numbers, and `more_errors` beyond `MAX_ERRORS`: if they
    are more than may be set aside, nothing was imported. `held_back`: answers left out of their item because they nearly equal
    another one. `judgments`: how many came with the rows. `left_out`: what rows that were kept had besides, and how often.
    `columns`: what became of each column.
    """

    rows: int = 0
    kept: int = 0
    prompts: int = 0
    responses: int = 0
    items: int = 0
    judgments: int = 0
    unchanged: int = 0
    held_back: int = 0
    set_aside: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    errors: list[tuple[int, str]] = field(default_factory=list)
    more_errors: int = 0
    refused: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def add_error(self, number: int, sentence: str) -> None:
        if len(self.errors) < MAX_ERRORS:
            self.errors.append((number, sentence))
        else:
            self.more_errors += 1

    @property
    def error_count(self) -> int:
        return len(self.errors) + self.more_errors


@dataclass(frozen=True)
class ParsedRow:
    """One row of a file: its prompt, or what is wrong with it, or why it is not comparable. `number` is its line, `position`
    how many bytes of the file end with it. `unique_id`: no other row of the file may have the prompt's id. `rows`: how many
    of the file it stands for, if it has no prompt."""

    number: int
    position: int
    prompt: ImportedPrompt | None = None
    error: str = ""
    not_comparable: str = ""
    unique_id: bool = False
    rows: int = 1


@dataclass(frozen=True)
class SampledResponse:
    """One response of a policy, with its sampling parameters."""

    prompt_id: int
    text: str
    sampling: dict[str, Any] = field(default_factory=dict)


def min_responses(project: Project) -> int:
    """How many responses a row with any needs: one suffices where annotators write answers, and improve it."""
    return 1 if project.task == Project.Task.DEMONSTRATIONS else 2


@transaction.atomic
def import_lines(*, project: Project, lines: Iterable[bytes], actor: User | None = None) -> ImportReport:
    """Import JSON Lines in Palate's own format: see `import_rows`. What is new is recorded as imported by `actor`."""
    report = import_rows(project=project, rows=_parse_lines(lines, min_responses(project)))
    counts = {name: getattr(report, name) for name in ("prompts", "responses", "items", "judgments")}
    if actor is not None and any(counts.values()):
        audit.record("import.done", project=project, actor=actor, subject="through the API", **counts)
    return report


def _parse_lines(lines: Iterable[bytes], min_responses: int) -> Iterator[ParsedRow]:
    position = 0
    for number, line in enumerate(lines, start=1):
        position += len(line)
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if text:
                prompt = parse_prompt(text, min_responses=min_responses)
                yield ParsedRow(number, position, add_account(prompt), unique_id=True)
        except UnicodeDecodeError:
            yield ParsedRow(number, position, error=_("not UTF-8 text"))
        except RowError as error:
            yield ParsedRow(number, position, error=str(error))


def import_rows(
    *,
    project: Project,
    rows: Iterable[ParsedRow],
    set_aside_share: float = 0.0,
    source: Import | None = None,
    into_queue: bool = True,
) -> ImportReport:
    """Import the rows of a file; none of them if more than `set_aside_share` of them are invalid.

    A prompt whose id exists already is not changed, so that the same file can be imported again; new responses are added to
    it. Every set of two or more responses becomes an item of the queue, once; in a project of demonstrations, every prompt
    does.

    Args:
        source: what the judgments in the rows come from.
        into_queue: give items to annotators; otherwise, items are retired until a lead reopens them.
    """
    report = ImportReport()
    writer = _Writer(project, report, source, into_queue=into_queue)
    with transaction.atomic():
        _lock_imports(project)
        is_compared = project.task != Project.Task.DEMONSTRATIONS
        for batch in _read_ahead(_batches(rows, is_compared=is_compared)):
            valid = writer.check(batch)
            if not report.errors or set_aside_share:
                writer.write(valid)
        if not report.rows:
            report.add_error(1, _("the file is empty"))
        report.set_aside = dict(writer.set_aside.most_common())
        report.left_out = dict(writer.left_out.most_common())
        if report.error_count > set_aside_share * report.rows or not report.rows:
            transaction.set_rollback(True)
            report.refused = True
    if report.refused:
        return ImportReport(
            rows=report.rows, errors=report.errors, more_errors=report.more_errors, refused=True
        )
    events.announce(events.project_group(project.pk), {"kind": "import"})
    return report


def _lock_imports(project: Project) -> None:
    """One import at a time in a project, so that a file sent twice at once is imported once. An advisory lock: with one on
    the project's row, everybody who judges would wait."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('import'), %s)", [project.pk])
        # foreign keys are checked row by row: a million checks deferred to the commit would fill the memory
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def _batches(rows: Iterable[ParsedRow], *, is_compared: bool) -> Iterator[list[ParsedRow]]:
    batch: list[ParsedRow] = []
    start = 0
    for row in rows:
        if row.prompt and is_compared:
            row.prompt.distinct  # noqa: B018 computed now, in the thread that reads, and stored in the prompt
        batch.append(row)
        if len(batch) == BATCH_ROWS or row.position - start >= BATCH_BYTES:
            yield batch
            batch, start = [], row.position
    if batch:
        yield batch


def _read_ahead(batches: Iterator[list[ParsedRow]]) -> Iterator[list[ParsedRow]]:
    """The batches, each read by a thread while the one before is written, for which Python mostly waits for PostgreSQL."""
    language = get_language()

    def read() -> list[ParsedRow] | None:
        with override(language):
            return next(batches, None)

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(read)
        while batch := coming.result():
            coming = pool.submit(read)
            yield batch


class _Writer:
    """Writes the batches of one file into a project."""

    def __init__(
        self, project: Project, report: ImportReport, source: Import | None, *, into_queue: bool
    ) -> None:
        self.project = project
        self.report = report
        self.source = source
        self.into_queue = into_queue
        self.authors: dict[str, int] = {}
        self.line_of_id: dict[str, int] = {}
        self.set_aside: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()

    def check(self, batch: list[ParsedRow]) -> list[tuple[int, ImportedPrompt]]:
        """The valid rows with their numbers; the others go into the report."""
        valid = []
        for row in batch:
            self.report.rows += row.prompt.rows if row.prompt else row.rows
            if row.not_comparable:
                self.set_aside[row.not_comparable] += row.rows
            elif row.prompt is None:
                self._add_error(row.number, row.error, row.rows)
            elif row.unique_id and row.prompt.external_id in self.line_of_id:
                first = self.line_of_id[row.prompt.external_id]
                sentence = _("id: %(id)s is the id of line %(first)s already")
                self.report.add_error(
                    row.number, sentence % {"id": repr(row.prompt.external_id), "first": first}
                )
            else:
                if row.unique_id:
                    self.line_of_id[row.prompt.external_id] = row.number
                self.left_out.update(row.prompt.left_out)
                valid.append((row.number, row.prompt))
        return valid

    def _add_error(self, number: int, sentence: str, rows: int) -> None:
        self.report.add_error(number, sentence)
        if rows > 1:
            self.set_aside[_(BELONG)] += rows - 1

    def write(self, rows: list[tuple[int, ImportedPrompt]]) -> None:
        rows, prompts, new = self._write_prompts(rows)
        self.report.kept += sum(row.rows for _, row in rows)
        known = [prompts[row.external_id] for _, row in rows if row.external_id not in new]
        responses_of = self._write_responses([(prompts[row.external_id], row) for _, row in rows], known)
        items = _existing_items(known)
        new_items: dict[ItemKey, ItemSpec] = {}
        judged: list[tuple[ItemKey, list[int], ImportedPrompt]] = []
        for (_number, row), ids in zip(rows, responses_of, strict=True):
            prompt_id = prompts[row.external_id]
            spec = self._item_spec(prompt_id, row, ids)
            key = (prompt_id, frozenset(spec.response_ids if spec else ()))
            if spec and key not in items and key not in new_items:
                new_items[key] = spec
            elif row.external_id not in new:
                self.report.unchanged += row.rows
            if spec and row.judgments:
                judged.append((key, ids, row))
            for judgment in row.judgments if not spec else ():
                self.left_out[
                    _("judgments of answers that are nearly the same")
                    if judgment.ranks
                    else _("written answers, for which the project does not ask")
                ] += 1
        retired_reason = "" if self.into_queue else _(BESIDE_QUEUE)
        added = enqueue(project=self.project, specs=new_items.values(), retired_reason=retired_reason)
        self.report.items += len(added)
        items |= zip(new_items, added, strict=True)
        stored, left_out = store_judgments(
            self.project,
            (JudgedItem(items[key], key[1], ids, row.judgments) for key, ids, row in judged),
            self.source,
        )
        self.report.judgments += stored
        self.left_out.update(left_out)

    def _write_prompts(
        self, rows: list[tuple[int, ImportedPrompt]]
    ) -> tuple[list[tuple[int, ImportedPrompt]], dict[str, int], set[str]]:
        """The rows without conflicts, the prompts' ids by external id, and which external ids are new."""
        known = {
            external_id: (pk, messages, turn is not None)
            for pk, external_id, messages, turn in self.project.prompts.filter(
                external_id__in={row.external_id for _, row in rows}
            ).values_list("pk", "external_id", "messages", "turn")
        }
        new: dict[str, ImportedPrompt] = {}
        valid = []
        for number, row in rows:
            if row.external_id in known and known[row.external_id][1] != row.messages:
                self._refuse(
                    number,
                    row,
                    _("id: %(id)s exists already, with another prompt") % {"id": repr(row.external_id)},
                )
                continue
            if row.external_id in new and new[row.external_id].messages != row.messages:
                self._refuse(
                    number,
                    row,
                    _("id: %(id)s is the id of another prompt in the file") % {"id": repr(row.external_id)},
                )
                continue
            if row.gold and row.external_id in known and known[row.external_id][2]:
                sentence = _(
                    "gold: the prompt %(id)s is from a live chat, and gold items are shown to everybody"
                )
                self._refuse(number, row, sentence % {"id": repr(row.external_id)})
                continue
            valid.append((number, row))
            if row.external_id not in known:
                new.setdefault(row.external_id, row)
        added = bulk_insert.insert(
            Prompt,
            ("project_id", "external_id", "messages", "tags", "metadata", "split"),
            [
                (
                    self.project.pk,
                    row.external_id,
                    _json(row.messages),
                    row.tags,
                    _json(row.metadata),
                    split_of(row.messages),
                )
                for row in new.values()
            ],
        )
        self.report.prompts += len(added)
        prompts = {external_id: pk for external_id, (pk, *_) in known.items()}
        return valid, prompts | dict(zip(new, added, strict=True)), set(new)

    def _refuse(self, number: int, row: ImportedPrompt, sentence: str) -> None:
        if not row.rows:  # a further prompt of a row that is counted already
            self.left_out[_("prompts with the id of another one")] += 1
            return
        self._add_error(number, sentence, row.rows)

    def _write_responses(
        self, rows: list[tuple[int, ImportedPrompt]], known_prompts: list[int]
    ) -> list[list[int]]:
        """The ids of each row's responses; new ones are inserted."""
        keys = [
            [(prompt_id, self._author(response.author), digest(response.text)) for response in row.responses]
            for prompt_id, row in rows
        ]
        ids: dict[ResponseKey, int] = {}
        if known_prompts:
            known = Response.objects.filter(prompt__in=set(known_prompts), author__in=self.authors.values())
            ids = {
                (prompt, author, text): pk
                for pk, prompt, author, text in known.values_list("pk", "prompt", "author", "digest")
            }
        responses = (response for _, row in rows for response in row.responses)
        new = {key: response for key, response in zip(chain(*keys), responses, strict=True) if key not in ids}
        added = bulk_insert.insert(
            Response,
            ("prompt_id", "author_id", "digest", "text", "metadata"),
            [(*key, response.text, _json(response.metadata)) for key, response in new.items()],
        )
        self.report.responses += len(added)
        ids.update(zip(new, added, strict=True))
        return [[ids[key] for key in of_row] for of_row in keys]

    def _author(self, name: str) -> int:
        if name not in self.authors:
            author, _created = Author.objects.get_or_create(
                project=self.project, kind=Author.Kind.IMPORTED, name=name
            )
            self.authors[name] = author.pk
        return self.authors[name]

    def _item_spec(self, prompt_id: int, row: ImportedPrompt, ids: list[int]) -> ItemSpec | None:
        """The item to make from a row, without near-identical answers; None where there are too few to compare."""
        if self.project.task == Project.Task.DEMONSTRATIONS:
            return ItemSpec(prompt_id, ids if len(ids) == 1 else [])
        self.report.held_back += len(ids) - len(row.distinct)
        if len(row.distinct) < 2:
            return None
        responses = [ids[n] for n in row.distinct]
        ranks = dense([row.gold[n] for n in row.distinct]) if row.gold else []
        gold = dict(zip(responses, ranks, strict=True)) if ranks else None
        return ItemSpec(prompt_id, responses, gold=gold, gold_explanation=row.gold_explanation)


_encode = json.JSONEncoder(ensure_ascii=False).encode


def _json(value: Any) -> str:
    return _encode(value) if value else "{}"  # most metadata is empty; messages never are


def add_responses(*, author: Author, samples: Sequence[SampledResponse]) -> tuple[list[Response], int]:
    """Store responses, each text once per prompt and author. Returns the responses without duplicates, and how many of them
    are new."""
    rows = {(s.prompt_id, digest(s.text)): s for s in samples}
    known = {
        (r.prompt_id, r.digest): r
        for r in Response.objects.filter(author=author, prompt_id__in={s.prompt_id for s in samples})
    }
    new = Response.objects.bulk_create(
        (
            Response(
                prompt_id=prompt_id,
                author=author,
                text=sample.text,
                digest=text_digest,
                sampling=sample.sampling,
            )
            for (prompt_id, text_digest), sample in rows.items()
            if (prompt_id, text_digest) not in known
        ),
        batch_size=2000,
    )
    return [known[key] for key in rows if key in known] + new, len(new)


def _existing_items(prompt_ids: Sequence[int]) -> dict[ItemKey, int]:
    """The ids of the existing items, by prompt and responses (none for a demonstration)."""
    if not prompt_ids:
        return {}
    members: dict[tuple[int, int], set[int]] = defaultdict(set)
    rows = Item.objects.filter(prompt__in=set(prompt_ids)).values_list("prompt", "pk", "candidates__response")
    for prompt_id, item_id, response_id in rows.order_by("pk"):
        members[prompt_id, item_id].update([] if response_id is None else [response_id])
    return {(prompt, frozenset(responses)): item for (prompt, item), responses in members.items()}
