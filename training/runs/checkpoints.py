"""Checkpoints of runs in the store, where workers do not share their job folders: whichever worker resumes a run continues
from the last one that was uploaded."""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from annotation.store import StoreError, folder_files, get_folder, holds_job_folders, put_folder, store
from training.models import Run
from training.runs.actions import record_file, record_warning

State = frozenset[tuple[str, int, int]]
"""What is in a checkpoint: path, time of change and size of each file."""


def restore_checkpoint(run: Run) -> None:
    """Put the run's checkpoint of the store into the job folder, unless that has this one or a later one of its own.

    Raises:
        StoreError: the store is not available, or lacks a file.
    """
    uri = run.files.get("checkpoint")
    if holds_job_folders() or uri is None or _continues(run, uri):
        return
    # copied: the program appends to files of a checkpoint
    get_folder(uri, run.folder / "checkpoint", transfer="copy")
    shutil.rmtree(run.folder / "checkpoint.old", ignore_errors=True)
    _marker(run).write_text(uri)


def delete_checkpoint(run: Run) -> None:
    """Delete what the store has of the checkpoints of a run that is done, and the job folder, where its files are in the
    store."""
    if holds_job_folders():
        return
    run.files.pop("checkpoint", None)
    Run.objects.filter(pk=run.pk).update(files=run.files)
    with suppress(StoreError):  # it is out of reach: nothing refers to them any more
        store().delete_scope(_scope(run))
    shutil.rmtree(run.folder, ignore_errors=True)


class CheckpointUploads:
    """Uploads of a run's checkpoints while it trains: one at a time, in a thread of their own, and not more often than
    CHECKPOINT_UPLOAD_S. Only the caller's thread writes to the row."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.folder = run.folder / "checkpoint"
        self.links = run.folder / "checkpoint.upload"
        self.uploaded = _state(self.folder)
        self.uploading: State = self.uploaded
        self.next_at = time.monotonic()
        self.pool = ThreadPoolExecutor(1)
        self.upload: Future[str] | None = None

    def poll(self) -> None:
        """Record an upload that has ended, and start the next one if there is a new checkpoint."""
        if holds_job_folders():
            return
        if self.upload is not None and self.upload.done():
            self._record(self.upload)
            self.upload = None
        if self.upload is None and time.monotonic() >= self.next_at:
            self._start()

    def finish(self, *, with_last: bool) -> None:
        """Wait for the upload; with_last: then upload the checkpoint that the program has left, if it has left one."""
        if self.upload is not None:
            self._record(self.upload)
        self.upload = None
        if with_last and not holds_job_folders():
            self._start()
            if self.upload is not None:
                self._record(self.upload)
        self.pool.shutdown()

    def _start(self) -> None:
        state = _state(self.folder)
        if state and state != self.uploaded and self._link():
            self.uploading = state
            self.next_at = time.monotonic() + settings.CHECKPOINT_UPLOAD_S
            self.upload = self.pool.submit(put_folder, self.links, _scope(self.run), "copy")

    def _link(self) -> bool:
        """Give the files of the checkpoint second names, since the program replaces the folder. False if it just did."""
        shutil.rmtree(self.links, ignore_errors=True)
        try:
            before = self.folder.stat().st_ino
            for path in self.folder.rglob("*"):
                if path.is_file():
                    link = self.links / path.relative_to(self.folder)
                    link.parent.mkdir(parents=True, exist_ok=True)
                    os.link(path, link)
            return self.folder.stat().st_ino == before
        except FileNotFoundError:
            return False

    def _record(self, upload: Future[str]) -> None:
        previous = self.run.files.get("checkpoint")
        try:
            uri = upload.result()
            if not record_file(self.run, "checkpoint", uri):
                return
            self.uploaded = self.uploading
            _marker(self.run).write_text(uri)
            if previous is not None and previous != uri:
                kept = {uri, *(file.uri for file in folder_files(uri).values())}
                for old in {previous, *(file.uri for file in folder_files(previous).values())} - kept:
                    store().delete(old)
        except OSError as error:
            record_warning(self.run, _("A checkpoint could not be stored. %(reason)s") % {"reason": error})
        finally:
            shutil.rmtree(self.links, ignore_errors=True)


def _scope(run: Run) -> str:
    return f"checkpoints/{run.pk}"


def _marker(run: Run) -> Path:
    """A file with the URI of the stored checkpoint that the job folder's own is, or was continued from."""
    return run.folder / "checkpoint.uri"


def _continues(run: Run, uri: str) -> bool:
    with suppress(FileNotFoundError):
        return _marker(run).read_text() == uri
    return False


def _state(folder: Path) -> State:
    try:
        stats = [(path, path.stat()) for path in folder.rglob("*") if path.is_file()]
    except FileNotFoundError:  # it is being replaced
        return frozenset()
    return frozenset((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in stats)
