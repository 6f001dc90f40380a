"""Imports of uploaded files: preview, start, and reading by a worker."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import chain, islice
from typing import Any

from django.db import transaction
from django.db.models import F
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotation import audit, events
from annotation.actions import import_rows, notifications, worker_jobs
from annotation.actions.import_rows import ImportReport, ParsedRow
from annotation.actions.uploads import (
    UploadError,
    delete_file,
    existing_path,
    format_of,
    row_unit,
    upload_path,
)
from annotation.actions.worker_jobs import MAX_ATTEMPTS, Cancelled, Heartbeat, WorkerStops
from annotation.imports import conversion, file_types
from annotation.imports.conversion import Converter, UnknownJudge
from annotation.imports.dataset_formats import NotComparable
from annotation.imports.file_rows import FileError, FileRow
from annotation.imports.prompt_schema import ImportedPrompt, RowError
from annotation.models import Import, Notification, Project
from annotation.store import StoreError

log = logging.getLogger(__name__)

State = Import.State
TASK = "annotation.tasks.read_import"
DISCARDED_AFTER = timedelta(days=1)
"""Uploads that nobody started are deleted then."""
PREVIEW_ROWS = 1000
UNKNOWN = "unknown"
UNKNOWN_JUDGE = gettext_noop(
    "It is not known who made the preferences, people or models: say so (judged_by)."
)
EXAMPLES = 3


# --- for pages and the API ------------------------------------------------------------------------------------


@transaction.atomic
def start(
    upload: Import,
    *,
    other_columns: str = Import.OtherColumns.STOP,
    set_aside_share: float = 0.0,
    judgments: str = Import.Judgments.LEAVE_OUT,
    judged_by: str = "",
) -> None:
    """Queue an uploaded file and wake a worker. The choices are those of `Import`.

    Raises:
        UploadError: it was started or discarded already, its format is unknown, or it has no preferences to import.
    """
    format = format_of(upload)
    if format is None:
        raise UploadError(_("%(file)s is of unknown format: map its columns first.") % {"file": upload.name})
    if judgments != Import.Judgments.LEAVE_OUT and not format.has_preferences:
        raise UploadError(
            _("Files of the format %(format)s have no preferences: there are no judgments to import.")
            % {"format": _(format.title)}
        )
    uploaded = Import.objects.filter(pk=upload.pk, state=State.UPLOADED)
    if not uploaded.update(
        state=State.QUEUED,
        other_columns=other_columns,
        set_aside_share=set_aside_share,
        judgments=judgments,
        judged_by=judged_by,
    ):
        raise UploadError(_("%(file)s was started or discarded already.") % {"file": upload.name})
    if upload.mapping:  # the project's next file of unknown format may have the same columns
        Project.objects.filter(pk=upload.project_id).update(column_mapping=upload.mapping)
    upload.refresh_from_db()
    transaction.on_commit(lambda: worker_jobs.wake_worker(TASK, upload.pk))
    _announce(upload)


def cancel(upload: Import) -> None:
    """Cancel an import: at once if no worker reads it yet, else within seconds. Nothing of it is imported.

    Raises:
        UploadError: it has ended already.
    """
    if not worker_jobs.request_cancel(upload, waiting=[State.UPLOADED, State.QUEUED]):
        raise UploadError(_("The import of %(file)s has ended already.") % {"file": upload.name})
    if upload.state == State.CANCELLED:
        delete_file(upload)
    _announce(upload)


# --- preview --------------------------------------------------------------------------------------------------


@dataclass
class ImportPreview:
    """The first rows of a file: some as examples, what becomes of each column, and every error among the first `rows_read`.
    `total_rows` is None where counting would take long; `undecided`: the columns that stop the import unless the lead decides
    about them; `judgments`: how many preferences the rows have; `judged_by`: whose, if the format says it, and
    `asks_judged_by`: whether the lead may say it, as the rows do not; `is_readable`: whether the file can be read to its end."""

    format: str
    file_type: str
    total_rows: int | None = None
    rows_read: int = 0
    examples: list[ImportedPrompt] = field(default_factory=list)
    errors: list[tuple[int, str]] = field(default_factory=list)
    not_comparable: int = 0
    columns: dict[str, str] = field(default_factory=dict)
    undecided: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    judgments: int = 0
    judged_by: str = ""
    asks_judged_by: bool = False
    is_readable: bool = True


def preview_upload(upload: Import) -> ImportPreview:
    """
    Raises:
        UploadError: the file is missing.
    """
    path = existing_path(upload)
    file_type = file_types.detect_file_type(path, upload.name)
    converter = _converter(upload)
    # the lead has not chosen yet what becomes of preferences, and who made them
    converter.with_judgments, converter.judged_by = True, converter.format.judged_by or UNKNOWN
    preview = ImportPreview(_(converter.format.title), file_type, judged_by=converter.format.judged_by)
    left_out: Counter[str] = Counter()
    try:
        for row in islice(_parse_rows(upload, file_type, converter), PREVIEW_ROWS):
            preview.rows_read += 1
            judgments = row.prompt.judgments if row.prompt else []
            preview.judgments += len(judgments)
            preview.asks_judged_by |= any(j.account in (UNKNOWN, preview.judged_by) for j in judgments)
            left_out.update(row.prompt.left_out if row.prompt else ())
            if row.error:
                preview.errors.append((row.number, row.error))
            elif row.not_comparable:
                preview.not_comparable += 1
            elif row.prompt and len(preview.examples) < EXAMPLES:
                preview.examples.append(row.prompt)
        preview.total_rows = file_types.count_rows(path, file_type)
    except FileError as error:
        preview.errors.append((preview.rows_read + 1, str(error)))
        preview.is_readable = False
    preview.columns, preview.undecided = converter.columns, converter.undecided
    preview.left_out = dict(left_out.most_common())  # a template would look up `items` in a Counter
    return preview


def _converter(upload: Import) -> Converter:
    min_responses = import_rows.min_responses(upload.project)
    format = format_of(upload)
    assert format is not None, "such a file cannot be started"
    return Converter(
        format,
        min_responses,
        upload.other_columns,  # type: ignore[arg-type]
        with_judgments=upload.judgments != Import.Judgments.LEAVE_OUT,
        judged_by=upload.judged_by,
    )


def _parse_rows(upload: Import, file_type: str, converter: Converter) -> Iterator[ParsedRow]:
    """The rows of a file, converted from its format.

    Raises:
        FileError: it cannot be read any further.
    """
    file_rows = file_types.read_rows(upload_path(upload), file_type)
    if converter.format.join:
        file_rows = converter.format.join(file_rows)
    rows = chain.from_iterable(_parse_row(row, converter) for row in file_rows)
    return _merge_rows(rows, converter) if converter.format.one_response_per_row else rows


def _parse_row(row: FileRow, converter: Converter) -> list[ParsedRow]:
    """A row's prompts, of which the first stands for the row in all counts.

    Raises:
        FileError: it is not known who made its preferences.
    """
    count = len(row.members) or 1
    if row.values is None:
        return [ParsedRow(row.number, row.position, error=row.error, rows=count)]
    try:
        converted = converter.convert_all(row.values, row.members)
    except NotComparable as reason:
        return [ParsedRow(row.number, row.position, not_comparable=str(reason), rows=count)]
    except UnknownJudge:
        raise FileError(_(UNKNOWN_JUDGE)) from None
    except RowError as error:
        return [ParsedRow(row.number, row.position, error=str(error), rows=count)]
    return [
        ParsedRow(
            row.number,
            row.position,
            replace(prompt, rows=0 if n else count),
            unique_id=converter.has_unique_ids,
        )
        for n, prompt in enumerate(converted)
    ]


def _stop_at_undecided_columns(rows: Iterable[ParsedRow], converter: Converter) -> Iterator[ParsedRow]:
    """
    Raises:
        FileError: a row has columns about which the lead has to decide.
    """
    for row in rows:
        if converter.undecided:
            names = ", ".join(map(repr, converter.undecided))
            raise FileError(
                _(
                    "The format %(format)s has no column %(names)s: say whether to keep it as metadata or to leave it"
                    " out (other_columns)."
                )
                % {"format": _(converter.format.title), "names": names}
            )
        yield row


def _merge_rows(rows: Iterable[ParsedRow], converter: Converter) -> Iterator[ParsedRow]:
    """Consecutive rows with the same prompt, merged."""
    pending: ParsedRow | None = None
    for row in rows:
        if pending and pending.prompt and row.prompt and conversion.can_merge(pending.prompt, row.prompt):
            merged = conversion.merge(pending.prompt, row.prompt)
            pending = ParsedRow(pending.number, row.position, merged)
            continue
        if pending:
            yield _judge_merged(pending, converter)
        pending = row
    if pending:
        yield _judge_merged(pending, converter)


def _judge_merged(row: ParsedRow, converter: Converter) -> ParsedRow:
    """
    Raises:
        FileError: see `_parse_row`.
    """
    if row.prompt is None:
        return row
    try:
        return replace(row, prompt=converter.judge_merged(row.prompt))
    except UnknownJudge:
        raise FileError(_(UNKNOWN_JUDGE)) from None


# --- for workers ----------------------------------------------------------------------------------------------


def claim(import_id: int) -> Import | None:
    """See `worker_jobs.claim`."""
    upload = worker_jobs.claim(Import.objects.select_related("project", "created_by"), import_id)
    if upload is not None:
        _announce(upload)
    return upload


def run_import(upload: Import) -> None:
    """Read a claimed import to its end. Its rows and its final state are written in one transaction: a worker that dies
    leaves nothing behind, and the next one starts from the beginning."""
    if upload.attempt > MAX_ATTEMPTS:
        _finish(upload, State.FAILED, reason=_("Its worker died %(n)s times.") % {"n": MAX_ATTEMPTS})
        return
    try:
        with Heartbeat(upload) as heartbeat, transaction.atomic():
            file_type = file_types.detect_file_type(upload_path(upload), upload.name)
            converter = _converter(upload)
            rows = _parse_rows(upload, file_type, converter)
            report = import_rows.import_rows(
                project=upload.project,
                rows=_followed(_stop_at_undecided_columns(rows, converter), heartbeat),
                set_aside_share=upload.set_aside_share,
                source=upload,
                into_queue=upload.judgments != Import.Judgments.IMPORT,
            )
            report.columns = converter.columns
            _complete(upload, report, row_unit(file_type))
    except Cancelled:
        _finish(upload, State.CANCELLED)
    except WorkerStops:
        worker_jobs.requeue(upload, TASK)
    except FileError as error:
        _finish(upload, State.REFUSED, reason=str(error))
    except StoreError as error:
        _finish(upload, State.FAILED, reason=str(error))
    except Exception as error:
        log.exception("import %s failed", upload.pk)
        _finish(upload, State.FAILED, reason=f"{type(error).__name__}: {error}")


def _followed(rows: Iterable[ParsedRow], heartbeat: Heartbeat) -> Iterator[ParsedRow]:
    """The rows; the progress follows them.

    Raises:
        Cancelled, WorkerStops: see there.
    """
    for row in rows:
        heartbeat.advance(row.position)
        yield row


def _complete(upload: Import, report: ImportReport, unit: str) -> None:
    """
    Raises:
        Cancelled: the lead cancelled it, or another worker has claimed it.
    """
    state = State.REFUSED if report.refused else State.DONE
    if not _finish(upload, state, unless_cancelled=True, unit=unit, **report.to_dict()):
        raise Cancelled
    if state == State.DONE:
        counts = {name: getattr(report, name) for name in ("prompts", "responses", "items", "judgments")}
        audit.record(
            "import.done", project=upload.project, actor=upload.created_by, subject=upload.name, **counts
        )


@transaction.atomic
def _finish(upload: Import, state: str, *, unless_cancelled: bool = False, **report: Any) -> bool:
    bytes_done = F("bytes") if state == State.DONE else F("bytes_done")
    finished = worker_jobs.finish(
        upload, state, unless_cancelled=unless_cancelled, report=report, bytes_done=bytes_done
    )
    if finished:
        _notify(upload)
        transaction.on_commit(lambda: delete_file(upload))
        _announce(upload)
    return finished


def _notify(upload: Import) -> None:
    kind = Notification.Kind.IMPORT_DONE if upload.state == State.DONE else Notification.Kind.IMPORT_FAILED
    if upload.state != State.CANCELLED:
        url = reverse("import-preview", args=[upload.project.slug, upload.pk])
        notifications.notify_of_job(job=upload, kind=kind, url=url, subject=upload.name)


def sweep() -> None:
    """Wake workers for imports whose message was lost or whose worker died; and discard uploads that nobody started."""
    worker_jobs.wake_lost(Import.objects.all(), TASK)
    old = timezone.now() - DISCARDED_AFTER
    for upload in Import.objects.filter(state=State.UPLOADED, created_at__lt=old):
        with suppress(UploadError):
            cancel(upload)


def _announce(upload: Import) -> None:
    event = {"kind": "import", "import": upload.pk, "state": upload.state}
    events.announce(events.project_group(upload.project_id), event)
