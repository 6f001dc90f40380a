"""Files of prompts: kept when they are uploaded, looked at before anything happens, and taken in by a worker.

The row is the queue: a message only wakes a worker, and a sweep sends again what was lost.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import connections, transaction
from django.db.models import F, Q, QuerySet
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from annotation import audit, events
from annotation.actions import prompts
from annotation.actions.prompts import ImportReport, Parsed
from annotation.imports import decompression, readers, shapes
from annotation.imports.readers import FileError, Read
from annotation.imports.schema import ImportedPrompt, LineError
from annotation.imports.shapes import SetAside, Shape
from annotation.models import Import, Project, User
from config.celery import app

log = logging.getLogger(__name__)

State = Import.State
MAX_ATTEMPTS = 3
FORGOTTEN_AFTER = timedelta(days=1)
HEAD_ROWS = 1000
EXAMPLES = 3


class UploadError(Exception):
    """Why a file was not kept or not started, in a sentence for the lead."""


class Cancelled(Exception):
    """The lead has stopped the import, or it is another worker's by now."""


# --- what a lead asks for -------------------------------------------------------------------------------------


def keep_upload(*, project: Project, name: str, chunks: Iterable[bytes], creator: User) -> Import:
    """Write a file to the disk, as it comes and unpacked, and say what shape its rows have. Nothing is imported yet.

    Raises:
        UploadError: it is empty, too large or of no known shape, or the disk refused it. Nothing of it is kept.
    """
    name = name.replace("\0", "")[-200:]
    path = Path("imports") / uuid.uuid4().hex
    target = Path(settings.ARTIFACTS) / path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        size = _write(target, decompression.unpacked(chunks))
        shape = _shape_of(target, name)
    except BaseException as error:
        with suppress(OSError):
            target.unlink()
        if isinstance(error, OSError):
            raise UploadError(f"The file could not be kept: {error.strerror}.") from error
        if isinstance(error, FileError | LineError):
            sentence = f"{str(error)[:1].upper()}{str(error)[1:]}"
            raise UploadError(f"{name} cannot be imported. {sentence}") from error
        raise
    return Import.objects.create(
        project=project, name=name, path=str(path), bytes=size, shape=shape.name, created_by=creator
    )


def too_large(size: int) -> str:
    return (
        f"The file has {filesizeformat(size)}; at most {filesizeformat(settings.MAX_UPLOAD_BYTES)} are taken at once. "
        "Split it, and import the parts one after the other."
    )


def _write(target: Path, chunks: Iterable[bytes]) -> int:
    size = 0
    with target.open("wb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > settings.MAX_UPLOAD_BYTES:
                raise UploadError(
                    f"There is more than {filesizeformat(settings.MAX_UPLOAD_BYTES)} in the file, the most that is taken at "
                    "once. Split it, and import the parts one after the other."
                )
            file.write(chunk)
    if not size:
        raise UploadError("The file is empty.")
    return size


def _shape_of(path: Path, name: str) -> Shape:
    """
    Raises:
        FileError, LineError: the file cannot be read, or has rows of no known shape.
    """
    errors = []
    kind = readers.kind_of(path, name)
    for read in islice(readers.rows(path, kind), HEAD_ROWS):
        if read.row is not None:
            return shapes.recognise(read.row)
        errors.append(read)
    if errors:
        raise FileError(f"{unit_of(kind).capitalize()} {errors[0].number}: {errors[0].error}")
    raise FileError("There is nothing in it.")


@transaction.atomic
def start(upload: Import) -> None:
    """Queue an uploaded file and wake a worker.

    Raises:
        UploadError: it was started or discarded before.
    """
    if not Import.objects.filter(pk=upload.pk, state=State.UPLOADED).update(state=State.QUEUED):
        raise UploadError(f"{upload.name} was started or discarded before.")
    upload.refresh_from_db()
    transaction.on_commit(lambda: wake_worker(upload.pk))
    _announce(upload)


def cancel(upload: Import) -> None:
    """Stop an import: at once if nobody reads it yet, else within seconds, and nothing of it stays.

    Raises:
        UploadError: it is over already.
    """
    waiting = Import.objects.filter(pk=upload.pk, state__in=[State.UPLOADED, State.QUEUED])
    if waiting.update(state=State.CANCELLED, cancel_requested=True, finished_at=timezone.now()):
        file_of(upload).unlink(missing_ok=True)
    elif not Import.objects.filter(pk=upload.pk, state=State.RUNNING).update(cancel_requested=True):
        raise UploadError(f"The import of {upload.name} is over.")
    upload.refresh_from_db()
    _announce(upload)


def unit_of(kind: str) -> str:
    """What the rows of such a file are called."""
    return readers.UNITS.get(kind, "line")


def file_of(upload: Import) -> Path:
    return Path(settings.ARTIFACTS) / upload.path


# --- looking before it starts ---------------------------------------------------------------------------------


@dataclass
class Look:
    """The first rows of a file: what was made of some, and what is wrong with any. `rows`: how many there are in all,
    where that could be told quickly; `read`: of how many the errors are."""

    shape: str
    kind: str
    rows: int | None = None
    read: int = 0
    examples: list[ImportedPrompt] = field(default_factory=list)
    errors: list[tuple[int, str]] = field(default_factory=list)
    set_aside: int = 0


def look(upload: Import) -> Look:
    """
    Raises:
        UploadError: the file is not there any more.
    """
    path = file_of(upload)
    if not path.exists():
        raise UploadError(f"{upload.name} is not here any more: upload it again.")
    kind = readers.kind_of(path, upload.name)
    seen = Look(shapes.BY_NAME[upload.shape].title, kind)
    try:
        for row in islice(_parsed(upload, kind), HEAD_ROWS):
            seen.read += 1
            if row.error:
                seen.errors.append((row.number, row.error))
            elif row.aside:
                seen.set_aside += 1
            elif row.prompt and len(seen.examples) < EXAMPLES:
                seen.examples.append(row.prompt)
        seen.rows = readers.count(path, kind)
    except FileError as error:
        seen.errors.append((seen.read + 1, str(error)))
    return seen


def _parsed(upload: Import, kind: str) -> Iterator[Parsed]:
    """The rows of a file, as its shape reads them.

    Raises:
        FileError: it cannot be read any further.
    """
    shape = shapes.BY_NAME[upload.shape]
    fewest = prompts.fewest_responses(upload.project)
    rows = (_row(read, shape, fewest) for read in readers.rows(file_of(upload), kind))
    return _joined(rows) if shape.joins else rows


def _row(read: Read, shape: Shape, fewest: int) -> Parsed:
    if read.row is None:
        return Parsed(read.number, read.position, error=read.error)
    try:
        prompt = shapes.read(shape, read.row, fewest=fewest)
    except SetAside as why:
        return Parsed(read.number, read.position, aside=str(why))
    except LineError as error:
        return Parsed(read.number, read.position, error=str(error))
    return Parsed(read.number, read.position, prompt, named=shape is shapes.PALATE)


def _joined(rows: Iterable[Parsed]) -> Iterator[Parsed]:
    """Rows that follow each other with the same prompt, as one."""
    held: Parsed | None = None
    for row in rows:
        if held and held.prompt and row.prompt and shapes.join(held.prompt, row.prompt):
            held = Parsed(held.number, row.position, shapes.joined(held.prompt, row.prompt))
            continue
        if held:
            yield held
        held = row
    if held:
        yield held


# --- what a worker does ---------------------------------------------------------------------------------------


def claim(import_id: int) -> Import | None:
    """Take an import that is queued, or whose worker has been silent for too long; None if another worker has it."""
    now = timezone.now()
    claimed = Import.objects.filter(Q(state=State.QUEUED) | _silent(), pk=import_id).update(
        state=State.RUNNING, claim=uuid.uuid4(), heartbeat_at=now, bytes_done=0, attempt=F("attempt") + 1
    )
    if not claimed:
        return None
    upload = Import.objects.select_related("project", "created_by").get(pk=import_id)
    _announce(upload)
    return upload


def work(upload: Import) -> None:
    """Read a claimed import to its end. Everything of it is in one transaction, its own last word too: a worker that dies
    on the way leaves nothing behind, and the next one begins anew."""
    if upload.attempt > MAX_ATTEMPTS:
        _finish(upload, State.FAILED, reason=f"Its worker died {MAX_ATTEMPTS} times.")
        return
    try:
        with _Pulse(upload) as pulse, transaction.atomic():
            kind = readers.kind_of(file_of(upload), upload.name)
            report = prompts.take(project=upload.project, rows=_parsed(upload, kind), on_batch=pulse.at)
            _close(upload, report, unit_of(kind))
    except Cancelled:
        _finish(upload, State.CANCELLED)
    except FileError as error:
        _finish(upload, State.REFUSED, reason=str(error))
    except Exception as error:
        log.exception("import %s failed", upload.pk)
        _finish(upload, State.FAILED, reason=f"{type(error).__name__}: {error}")


def _close(upload: Import, report: ImportReport, unit: str) -> None:
    """
    Raises:
        Cancelled: the lead has stopped it, or it is another worker's by now.
    """
    state = State.REFUSED if report.errors else State.DONE
    if not _finish(upload, state, unless_cancelled=True, unit=unit, **report.to_dict()):
        raise Cancelled
    if state == State.DONE:
        counts = {name: getattr(report, name) for name in ("prompts", "responses", "items")}
        audit.record(
            "import.done", project=upload.project, actor=upload.created_by, subject=upload.name, **counts
        )


def _finish(upload: Import, state: str, *, unless_cancelled: bool = False, **report: Any) -> bool:
    rows = _of(upload).filter(cancel_requested=False) if unless_cancelled else _of(upload)
    closed = rows.update(
        state=state,
        report=report,
        claim=None,
        finished_at=timezone.now(),
        bytes_done=F("bytes") if state == State.DONE else F("bytes_done"),
    )
    if closed:
        transaction.on_commit(lambda: file_of(upload).unlink(missing_ok=True))
        upload.refresh_from_db()
        _announce(upload)
    return bool(closed)


class _Pulse:
    """Says from a thread of its own, and so outside of the import's transaction, that it is worked on and how far it is;
    and hears there that it is to stop."""

    def __init__(self, upload: Import) -> None:
        self.upload = upload
        self.position = 0
        self.stop = False
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> _Pulse:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.thread.join()

    def at(self, position: int) -> None:
        """
        Raises:
            Cancelled: the lead has stopped it, or another worker has it.
        """
        self.position = position
        if self.stop:
            raise Cancelled

    def _beat(self) -> None:
        try:
            while not self.over.wait(min(1.0, settings.RUN_HEARTBEAT_S)):
                with suppress(Exception):  # a database that is away for a moment is asked again
                    alive = _of(self.upload).filter(cancel_requested=False)
                    self.stop = not alive.update(heartbeat_at=timezone.now(), bytes_done=self.position)
        finally:
            connections.close_all()


def sweep() -> None:
    """Wake workers for imports whose message was lost or whose worker fell silent; and drop what nobody started."""
    now = timezone.now()
    lost = Q(state=State.QUEUED, created_at__lt=now - timedelta(seconds=3))
    for pk in Import.objects.filter(lost | _silent()).order_by("pk").values_list("pk", flat=True):
        if cache.add(f"woken-import-{pk}", 1, timeout=10):
            wake_worker(pk)
    for upload in Import.objects.filter(state=State.UPLOADED, created_at__lt=now - FORGOTTEN_AFTER):
        with suppress(UploadError):
            cancel(upload)


def wake_worker(import_id: int) -> None:
    """Send the message that wakes a worker. If the broker is away nothing is lost: the sweep sends it again."""
    try:
        app.send_task("annotation.tasks.read_import", [import_id], retry=False)
    except Exception:
        log.warning("could not wake a worker for import %s", import_id, exc_info=True)


def _silent() -> Q:
    stale = timezone.now() - timedelta(seconds=settings.RUN_STALE_S)
    return Q(state=State.RUNNING, heartbeat_at__lt=stale)


def _of(upload: Import) -> QuerySet[Import]:
    """The import's row, as long as this worker's claim on it holds."""
    return Import.objects.filter(pk=upload.pk, claim=upload.claim, state=State.RUNNING)


def _announce(upload: Import) -> None:
    event = {"kind": "import", "import": upload.pk, "state": upload.state}
    events.announce(events.project_group(upload.project_id), event)
