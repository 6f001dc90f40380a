"""HTTP responses with exports, for pages and the API."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase

from annotation.actions import snapshot_files
from annotation.exports import stream
from annotation.exports.selection import FILES, Selection
from annotation.http.streaming import send_file, stream_response
from annotation.models import Project, Snapshot


def send_live_export(project: Project, selection: Selection) -> HttpResponseBase:
    name = f"{project.slug}-{selection.format}.{selection.file}"
    return stream_response(
        stream.export_project(project, selection), content_type=_content_type(selection), name=name
    )


def send_snapshot_export(request: HttpRequest, snapshot: Snapshot, selection: Selection) -> HttpResponseBase:
    """The snapshot's file must exist."""
    return send_file(
        request,
        snapshot_files.export_file(snapshot, selection),
        etag=snapshot_files.etag(snapshot, selection),
        content_type=_content_type(selection),
        name=f"{snapshot_files.hub_name(snapshot)}-{selection.format}.{selection.file}",
    )


def send_hub_archive(request: HttpRequest, snapshot: Snapshot) -> HttpResponseBase:
    return send_file(
        request,
        snapshot_files.hub_zip(snapshot),
        etag=f'"hub-{snapshot_files.VERSION}-{snapshot.pk}-{snapshot.sha256[:24]}"',
        content_type="application/zip",
        name=f"{snapshot_files.hub_name(snapshot)}.zip",
    )


def _content_type(selection: Selection) -> str:
    return FILES[selection.file] + ("; charset=utf-8" if selection.file == "jsonl" else "")
