"""HTTP responses with exports, for pages and the API."""

from __future__ import annotations

import hashlib
import json

from django.db.models import Max
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect

from annotation.actions import export_files
from annotation.exports import stream
from annotation.exports.selection import FILES, Selection
from annotation.http.streaming import accepts_gzip, compress, etag_matches, send_file, stream_response
from annotation.models import AuditEntry, ImportedJudgment, Judgment, Project, Snapshot, Verdict
from annotation.store import store


def send_live_export(request: HttpRequest, project: Project, selection: Selection) -> HttpResponseBase:
    """The current judgments, compressed if the client takes it; 304 if nothing was judged, decided or changed since."""
    etag = live_etag(project, selection)
    if etag_matches(request, etag):
        return HttpResponse(status=304, headers={"ETag": f"W/{etag}"})
    chunks = stream.export_project(project, selection)
    headers = {"ETag": f"W/{etag}", "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding"}
    if selection.file == "jsonl" and accepts_gzip(request):
        chunks, headers["Content-Encoding"] = compress(chunks), "gzip"
    return stream_response(
        chunks,
        content_type=_content_type(selection),
        name=f"{project.slug}-{selection.format}.{selection.file}",
        headers=headers,
    )


def live_etag(project: Project, selection: Selection) -> str:
    """A hash of the selection and of the newest judgment, verdict and audit entry on the site: what else an export has does
    not change, or leaves an audit entry."""
    newest = [
        table.objects.aggregate(newest=Max("id"))["newest"]
        for table in (Judgment, ImportedJudgment, Verdict, AuditEntry)
    ]
    key = json.dumps(
        [export_files.VERSION, project.pk, newest, selection.values()], sort_keys=True, default=str
    )
    return f'"{hashlib.sha256(key.encode()).hexdigest()[:40]}"'


def send_snapshot_export(request: HttpRequest, snapshot: Snapshot, selection: Selection) -> HttpResponseBase:
    """The snapshot's file must exist."""
    return _send_stored(
        request,
        export_files.export_file(snapshot, selection),
        etag=export_files.etag(snapshot, selection),
        content_type=_content_type(selection),
        name=export_files.export_name(snapshot, selection),
    )


def send_hub_archive(request: HttpRequest, snapshot: Snapshot) -> HttpResponseBase:
    return _send_stored(
        request,
        export_files.hub_zip(snapshot),
        etag=export_files.hub_etag(snapshot),
        content_type="application/zip",
        name=f"{export_files.hub_name(snapshot)}.zip",
    )


def _send_stored(
    request: HttpRequest, uri: str, *, etag: str, content_type: str, name: str
) -> HttpResponseBase:
    """A file of the store: by a link, where that has links."""
    if link := store().link(uri):
        return HttpResponseRedirect(link)
    return send_file(request, store().path(uri), etag=etag, content_type=content_type, name=name)


def _content_type(selection: Selection) -> str:
    return FILES[selection.file] + ("; charset=utf-8" if selection.file == "jsonl" else "")
