from __future__ import annotations

import gzip
import json
import os
import re
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx2

from palate_client.errors import PalateError
from palate_client.labeling import Item, Judgment, Skip

Json = dict[str, Any]
Progress = Callable[[int], object]
ATTEMPTS = 6
AT_WORK_S = 600
"""About so long one waits for what the site has begun already."""
OVER = ("done", "cancelled", "awaiting", "held", "failed")
"""States in which a round waits for a person, or is over."""


def _nothing(_: int) -> None:
    pass


class Palate:
    """One site, as one person or script sees it.

    What does not come through, because the connection broke or the site was busy, is sent again; nothing happens twice.

    Args:
        url: of the site; `PALATE_URL` where it is left out.
        token: from the account page; `PALATE_TOKEN` where it is left out.

    Every call raises `PalateError` where the site refuses it.
    """

    def __init__(self, url: str | None = None, token: str | None = None, *, timeout_s: float = 60) -> None:
        url = url or os.environ.get("PALATE_URL") or "http://localhost:8000"
        token = token or os.environ.get("PALATE_TOKEN")
        if not token:
            raise PalateError(0, "No token: make one on your account page, and set PALATE_TOKEN.")
        self._api = url.rstrip("/").removesuffix("/api/v1") + "/api/v1"
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx2.Client(headers=headers, timeout=timeout_s, follow_redirects=False)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Palate:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- projects, and what comes in -----------------------------------------------------------------------

    def projects(self) -> list[Json]:
        return self._list("/projects/")

    def project(self, slug: str) -> Json:
        """One project, with its progress and its guidelines."""
        return self._json("GET", f"/projects/{slug}/")

    def import_prompts(
        self,
        slug: str,
        prompts: Path | str | Iterable[Mapping[str, Any]],
        *,
        on_bytes: Progress = _nothing,
    ) -> Json:
        """Send a file of JSON lines (packed, where its name ends with .gz), or prompts one by one: all are taken or, with
        errors, none. Returns how many are new.

        Sending the same again changes nothing. Iterables are read once: they are sent again only if they are lists.
        """
        headers = {"Content-Type": "application/x-ndjson"}

        def body() -> Iterator[bytes]:
            for chunk in _chunks(prompts):
                on_bytes(len(chunk))
                yield chunk

        again = isinstance(prompts, (Path, str, list, tuple))
        answer = self._send("POST", f"/projects/{slug}/prompts/", content=body, headers=headers, again=again)
        return dict(answer.json())

    def import_file(
        self,
        slug: str,
        path: Path | str,
        *,
        every_s: float = 0.5,
        on_change: Callable[[Json], object] = lambda _: None,
    ) -> Json:
        """Send a file in any shape that the site knows (JSON Lines, a JSON list, CSV, Parquet; packed by gzip or not), and
        wait until a worker has read it: all is taken or, with errors, nothing. Returns what came of it.

        Sending the same again changes nothing.
        """
        place = f"/projects/{slug}/imports/"
        # a boundary of our own: what is sent again must be the same, byte for byte
        headers = {"Content-Type": f"multipart/form-data; boundary={uuid.uuid4().hex}"}
        found: Json = self._send("POST", place, file=Path(path), headers=headers, again=True).json()
        while found["state"] in ("queued", "running"):
            on_change(found)
            time.sleep(every_s)
            found = self._json("GET", f"{place}{found['id']}/")
        on_change(found)
        report: Json = found["report"]
        if found["state"] != "done":
            why = report.get("reason") or f"it was {found['state']}, and nothing of it taken."
            unit = report.get("unit", "line")
            rows = [{"line": row, "unit": unit, "message": said} for row, said in report.get("errors", [])]
            raise PalateError(0, f"{found['name']}: {why}", rows)
        return report

    def prompts(self, slug: str, **filters: str) -> Iterator[Json]:
        """Every prompt with its responses, page by page, or those of a `split`, a `tag`, or with some `text`."""
        return self._pages(f"/projects/{slug}/prompts/", filters)

    def items(self, slug: str, **filters: str) -> Iterator[Json]:
        return self._pages(f"/projects/{slug}/items/", filters)

    # --- what goes out -------------------------------------------------------------------------------------

    def export(
        self,
        slug: str,
        path: Path | str,
        *,
        snapshot: int | None = None,
        on_bytes: Progress = _nothing,
        **selection: Any,
    ) -> Path:
        """Save an export: `format`, `file`, `votes`, `split` and the other filters are those of the API.

        Of a snapshot, a download that broke off goes on where it stopped; of what is there now it begins again. The file is
        there only when it is whole. Returns its path.
        """
        target = Path(path)
        partial = target.with_name(f"{target.name}.part")
        given = {name: _word(value) for name, value in selection.items() if value is not None}
        place = f"/projects/{slug}/" + ("judgments/" if snapshot is None else f"snapshots/{snapshot}/file/")
        for attempt in range(ATTEMPTS):
            try:
                self._download(place, given, partial, on_bytes)
            except (httpx2.TransportError, httpx2.StreamError) as error:
                if attempt + 1 == ATTEMPTS:
                    raise PalateError(0, f"The connection broke: {error}") from error
                time.sleep(min(30, 2**attempt) / 2)
            else:
                partial.rename(target)
                _etag_file(partial).unlink(missing_ok=True)
                return target
        raise AssertionError

    def rows(self, slug: str, *, snapshot: int | None = None, **selection: Any) -> Iterator[Json]:
        """The lines of an export, one by one."""
        given = {name: _word(value) for name, value in selection.items() if value is not None}
        place = f"/projects/{slug}/" + ("judgments/" if snapshot is None else f"snapshots/{snapshot}/file/")
        try:
            with self._http.stream("GET", self._api + place, params=given) as answer:
                _raise_for(answer)
                for line in _lines(answer.iter_bytes()):
                    if line:
                        yield json.loads(line)
        except (httpx2.TransportError, httpx2.StreamError) as error:
            raise PalateError(0, f"The connection broke: {error}") from error

    def snapshots(self, slug: str) -> list[Json]:
        """All of them, newest first."""
        return list(self._pages(f"/projects/{slug}/snapshots/"))

    def freeze(self, slug: str, *, note: str = "", licence: str = "") -> Json:
        """A snapshot of what people have said up to now."""
        return self._json("POST", f"/projects/{slug}/snapshots/", {"note": note, "licence": licence})

    # --- judging -------------------------------------------------------------------------------------------

    def label(
        self,
        slug: str,
        annotator: Callable[[Item], Judgment | Skip],
        *,
        limit: int | None = None,
        on_item: Progress = _nothing,
    ) -> int:
        """Let a function judge items of the people's queue until nothing is left for it, or `limit` are judged. Returns how
        many were judged. The token should be of an account for machines, so that its judgments are marked as such."""
        judged = 0
        while limit is None or judged < limit:
            found = self._send("POST", f"/projects/{slug}/next/", again=True)
            if found.status_code == 204:
                break
            item = Item.of(found.json())
            said = annotator(item)
            if isinstance(said, Skip):
                body = {"ticket": item.ticket, "reason": said.reason, "note": said.note}
                self._send("POST", f"/projects/{slug}/skip/", data=body, again=True)
            else:
                self._send("POST", f"/projects/{slug}/judgments/", data=said.body(item), again=True)
                judged += 1
            on_item(1)
        return judged

    # --- rounds --------------------------------------------------------------------------------------------

    def loops(self, slug: str) -> list[Json]:
        return self._list(f"/projects/{slug}/loops/")

    def rounds(self, loop: int) -> list[Json]:
        """All of them, newest first."""
        return list(self._pages(f"/loops/{loop}/rounds/"))

    def start_round(self, loop: int) -> Json:
        return self._json("POST", f"/loops/{loop}/rounds/", {})

    def round(self, id: int) -> Json:
        return self._json("GET", f"/rounds/{id}/")

    def watch_round(
        self, id: int, *, every_s: float = 2.0, on_change: Callable[[Json], None] = lambda _: None
    ) -> Json:
        """Follow a round until it is over, or waits for a person; returns it as it is then."""
        before: tuple[Any, Any] | None = None
        while True:
            now = self.round(id)
            if (now["state"], now["step"]) != before:
                before = now["state"], now["step"]
                on_change(now)
            if now["state"] in OVER:
                return now
            time.sleep(every_s)

    # --- how it is sent ------------------------------------------------------------------------------------

    def _json(self, method: str, path: str, data: Any = None) -> Json:
        return dict(self._send(method, path, data=data, again=True).json())

    def _list(self, path: str) -> list[Json]:
        return list(self._send("GET", path, again=True).json())

    def _pages(self, path: str, given: Mapping[str, str] | None = None) -> Iterator[Json]:
        address: str | None = str(httpx2.URL(self._api + path, params=dict(given or {})))
        while address:
            page = self._send("GET", address, again=True).json()
            yield from page["results"]
            address = page["next"]

    def _send(
        self,
        method: str,
        path: str,
        *,
        data: Any = None,
        content: Callable[[], Iterator[bytes]] | None = None,
        file: Path | None = None,
        headers: Mapping[str, str] | None = None,
        again: bool,
    ) -> httpx2.Response:
        """Send until an answer comes. A POST carries a key of its own, so that the site does it once."""
        sent = dict(headers or {})
        if method == "POST":
            sent["Idempotency-Key"] = str(uuid.uuid4())
        address = path if path.startswith("http") else self._api + path
        attempt, pauses = 0, _pauses()
        while True:
            last = attempt + 1 == ATTEMPTS or not again
            try:
                with file.open("rb") if file else nullcontext() as opened:
                    answer = self._http.request(
                        method,
                        address,
                        json=data,
                        content=content() if content else None,
                        files={"file": (file.name, opened)} if file and opened else None,
                        headers=sent,
                    )
            except httpx2.TransportError as error:
                if last:
                    raise PalateError(0, f"{self._api} cannot be reached: {error}") from error
                time.sleep(min(30, 2**attempt) / 2)
                attempt += 1
                continue
            if answer.status_code in (429, 503) and not last:
                time.sleep(min(60, _asked_pause(answer) or 2**attempt))
                attempt += 1
                continue
            # the site is still at what was sent before: it can be reached, so that this is no attempt in vain
            at_work = answer.status_code == 409 and "Retry-After" in answer.headers
            if at_work and again and (pause := next(pauses, None)):
                time.sleep(pause)
                continue
            _raise_for(answer)
            return answer

    def _download(self, place: str, given: Mapping[str, str], partial: Path, on_bytes: Progress) -> None:
        """Fetch what of the file is not there yet."""
        etag = _kept_etag(partial)
        have = partial.stat().st_size if etag and partial.exists() else 0
        # the plain form from the first byte on, so that a later range is of the same bytes
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": etag}
        with self._http.stream("GET", self._api + place, params=dict(given), headers=headers) as answer:
            if answer.status_code == 416:  # it was whole already
                return
            _raise_for(answer)
            with partial.open("ab" if answer.status_code == 206 else "wb") as file:
                # opened first: a name must never stand beside bytes of another file
                _keep_etag(partial, answer.headers.get("ETag", ""))
                on_bytes(file.tell())
                for chunk in answer.iter_bytes():
                    file.write(chunk)
                    on_bytes(len(chunk))


def _asked_pause(answer: httpx2.Response) -> float | None:
    """The seconds that the site, or what stands before it, asks for; none where it names a date."""
    asked = answer.headers.get("Retry-After", "")
    return float(asked) if re.fullmatch(r"[0-9]{1,9}", asked) else None


def _pauses() -> Iterator[float]:
    """In seconds, longer and longer, until the time is up that begins with the first."""
    end, pause = time.monotonic() + AT_WORK_S, 1.0
    while time.monotonic() < end:
        yield pause
        pause = min(30, 2 * pause)


def _etag_file(partial: Path) -> Path:
    """Beside what has come of a file: of which file it is."""
    return partial.with_name(f"{partial.name}.etag")


def _kept_etag(partial: Path) -> str:
    kept = _etag_file(partial)
    return kept.read_text() if kept.exists() and partial.exists() else ""


def _keep_etag(partial: Path, etag: str) -> None:
    """Of which file the part is. An export of what is there now has no ETag: what has come of it cannot go on later."""
    if etag:
        _etag_file(partial).write_text(etag)
    else:
        _etag_file(partial).unlink(missing_ok=True)


def _chunks(prompts: Path | str | Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    if isinstance(prompts, (Path, str)):
        with gzip.open(prompts) if str(prompts).endswith(".gz") else Path(prompts).open("rb") as file:
            try:
                while chunk := file.read(2**16):
                    yield chunk
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise PalateError(0, f"{prompts} cannot be unpacked: {error}") from error
    else:
        for prompt in prompts:
            yield json.dumps(prompt, ensure_ascii=False).encode() + b"\n"


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut at newlines alone: what else ends a line, U+2028 for example, may stand in a JSON string."""
    begun: list[bytes] = []
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        begun.append(first)
        for other in others:
            yield b"".join(begun)
            begun = [other]
    yield b"".join(begun)


def _word(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _raise_for(answer: httpx2.Response) -> None:
    if answer.is_success:
        return
    answer.read()
    try:
        said = answer.json()
        detail, errors = str(said["detail"]), said.get("errors")
    except (ValueError, KeyError, TypeError):
        detail, errors = answer.text[:300] or answer.reason_phrase, None
    raise PalateError(answer.status_code, detail, errors)
