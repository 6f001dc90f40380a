"""Exports as answers to a request: what pages and the API send alike."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase

from annotation.actions import snapshot_files
from annotation.exports import stream
from annotation.exports.selection import FILES, Selection
from annotation.http.streaming import send_file
from annotation.http.streaming import stream as streamed
from annotation.models import Project, Snapshot


def send_live(project: Project, selection: Selection) -> HttpResponseBase:
    name = f"{project.slug}-{selection.format}.{selection.file}"
    return streamed(stream.live(project, selection), content_type=_type(selection), name=name)


def send_snapshot(request: HttpRequest, snapshot: Snapshot, selection: Selection) -> HttpResponseBase:
    """Its file must be there: see `freeze.file_of`."""
    return send_file(
        request,
        snapshot_files.export_file(snapshot, selection),
        etag=snapshot_files.etag(snapshot, selection),
        content_type=_type(selection),
        name=f"{snapshot_files.hub_name(snapshot)}-{selection.format}.{selection.file}",
    )


def send_hub(request: HttpRequest, snapshot: Snapshot) -> HttpResponseBase:
    return send_file(
        request,
        snapshot_files.hub_zip(snapshot),
        etag=f'"hub-{snapshot_files.VERSION}-{snapshot.pk}-{snapshot.sha256[:24]}"',
        content_type="application/zip",
        name=f"{snapshot_files.hub_name(snapshot)}.zip",
    )


def _type(selection: Selection) -> str:
    return FILES[selection.file] + ("; charset=utf-8" if selection.file == "jsonl" else "")
