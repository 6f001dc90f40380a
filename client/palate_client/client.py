"""The client of the HTTP API."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import httpx2

from palate_client.chats import Chats
from palate_client.errors import PalateError
from palate_client.json_lines import cut_lines, prompt_chunks
from palate_client.labeling import Item, Judgment, Skip
from palate_client.resources import Json

Progress = Callable[[int], object]
ATTEMPTS = 6
IN_PROGRESS_S = 600
"""How long to wait for a request that the site is still executing."""


def _ignore_progress(_: int) -> None:
    pass


class Palate(Chats):
    """A client of one site, with one user's token.

    Requests that fail because the connection broke or the site was busy are repeated; nothing is executed twice.

    Args:
        url: of the site; `PALATE_URL` by default.
        token: from the account page; `PALATE_TOKEN` by default.

    Every method raises `PalateError` if the site refuses the request.
    """

    def __init__(self, url: str | None = None, token: str | None = None, *, timeout_s: float = 60) -> None:
        url = url or os.environ.get("PALATE_URL") or "http://localhost:8000"
        token = token or os.environ.get("PALATE_TOKEN")
        if not token:
            raise PalateError(0, "No token: create one on your account page, and set PALATE_TOKEN.")
        self._api = url.rstrip("/").removesuffix("/api/v1") + "/api/v1"
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx2.Client(headers=headers, timeout=timeout_s, follow_redirects=False)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Palate:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- imports --------------------------------------------------------------------------------------------

    def import_prompts(
        self,
        slug: str,
        prompts: Path | str | Iterable[Mapping[str, Any]],
        *,
        on_bytes: Progress = _ignore_progress,
    ) -> Json:
        """Import a file of JSON Lines (gzip, if its name ends with .gz), or an iterable of prompts. If one is invalid, nothing
        is imported. Returns how many are new.

        Repeating an import changes nothing. After a broken connection, iterables are sent again only if they are lists.
        """
        headers = {"Content-Type": "application/x-ndjson"}

        def body() -> Iterator[bytes]:
            for chunk in prompt_chunks(prompts):
                on_bytes(len(chunk))
                yield chunk

        retry = isinstance(prompts, (Path, str, list, tuple))
        answer = self._send("POST", f"/projects/{slug}/prompts/", content=body, headers=headers, retry=retry)
        return dict(answer.json())

    def import_file(
        self,
        slug: str,
        path: Path | str,
        *,
        mapping: Mapping[str, str] | None = None,
        other_columns: Literal["stop", "metadata", "leave out"] = "stop",
        set_aside_share: float = 0.0,
        judgments: Literal["leave out", "import", "queue"] = "leave out",
        judged_by: Literal["", "person", "machine"] = "",
        every_s: float = 0.5,
        on_change: Callable[[Json], object] = lambda _: None,
    ) -> Json:
        """Upload a file in any format that the site knows (JSON Lines, a JSON list, CSV, Parquet, also with gzip), and wait
        until a worker has imported it. Returns the import's report, which accounts for every row and column.

        Repeating an import changes nothing.

        Args:
            mapping: the role of each column of a file of no known format: prompt, answer, system, context, id, tag, metadata
                or "left out".
            other_columns: what becomes of columns that the format does not have: by default, they stop the import.
            set_aside_share: the share of invalid rows up to which they are set aside; beyond it nothing is imported.
            judgments: what becomes of the preferences in the file. `import` stores them as imported judgments, `queue` gives
                the items to annotators, too.
            judged_by: who made them, where neither the rows nor the format say it.

        Raises:
            PalateError: nothing was imported; its `errors` name the rows.
        """
        place = f"/projects/{slug}/imports/"
        # a fixed boundary: a repeated request must have the same bytes
        headers = {"Content-Type": f"multipart/form-data; boundary={uuid.uuid4().hex}"}
        form = {
            "mapping": json.dumps(mapping or {}),
            "other_columns": other_columns,
            "set_aside_share": str(set_aside_share),
            "judgments": judgments,
            "judged_by": judged_by,
        }
        upload: Json = self._send(
            "POST", place, file=Path(path), form=form, headers=headers, retry=True
        ).json()
        while upload["state"] in ("queued", "running"):
            on_change(upload)
            time.sleep(every_s)
            upload = self._json("GET", f"{place}{upload['id']}/")
        on_change(upload)
        report: Json = upload["report"]
        if upload["state"] != "done":
            why = report.get("reason") or f"it was {upload['state']}, and nothing was imported."
            unit = report.get("unit", "line")
            rows = [
                {"line": row, "unit": unit, "message": sentence} for row, sentence in report.get("errors", [])
            ]
            raise PalateError(0, f"{upload['name']}: {why}", rows)
        return report

    def prompts(self, slug: str, **filters: str) -> Iterator[Json]:
        """Every prompt with its responses, page by page, or those of a `split`, a `tag`, or with some `text`."""
        return self._pages(f"/projects/{slug}/prompts/", filters)

    def items(self, slug: str, **filters: str) -> Iterator[Json]:
        """Every item, or those in a `state` or by the filters of `prompts`. `ordering`: `item` or `agreement`, with a `-` before
        it the highest first."""
        return self._pages(f"/projects/{slug}/items/", filters)

    # --- exports and snapshots ------------------------------------------------------------------------------

    def export(
        self,
        slug: str,
        path: Path | str,
        *,
        snapshot: int | None = None,
        on_bytes: Progress = _ignore_progress,
        **selection: Any,
    ) -> Path:
        """Save an export: `format`, `file`, `votes`, `split` and the other filters are those of the API.

        An interrupted download is resumed for a snapshot, and restarted for a live export. The file appears when it is
        complete. Returns its path.
        """
        parameters = {name: _parameter_text(value) for name, value in selection.items() if value is not None}
        place = f"/projects/{slug}/" + ("judgments/" if snapshot is None else f"snapshots/{snapshot}/file/")
        return self._save(place, parameters, Path(path), on_bytes)

    def push_to_hub(self, slug: str, repo_id: str, *, snapshot: int, private: bool = True) -> str:
        """Upload a snapshot to a dataset repository of the Hugging Face hub: Parquet files in several formats, the dataset card
        and the manifest. A new repository is private unless `private` is false. Returns the commit's URL.

        Needs `palate-client[hub]`, and a token of the hub in HF_TOKEN or from `hf auth login`.

        Raises:
            PalateError: the site or the hub refused.
        """
        try:
            from huggingface_hub import HfApi
            from huggingface_hub.errors import HfHubHTTPError
        except ImportError as error:
            raise PalateError(0, "This needs huggingface_hub: pip install 'palate-client[hub]'") from error

        hub = HfApi()
        with tempfile.TemporaryDirectory() as temporary:
            archive = self._save(
                f"/projects/{slug}/snapshots/{snapshot}/hub/",
                {},
                Path(temporary, "hub.zip"),
                _ignore_progress,
            )
            with zipfile.ZipFile(archive) as files:
                files.extractall(temporary)
            archive.unlink()
            (folder,) = Path(temporary).iterdir()
            try:
                hub.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
                commit = hub.upload_folder(
                    repo_id=repo_id,
                    repo_type="dataset",
                    folder_path=folder,
                    commit_message=f"Upload snapshot {snapshot} of {slug}",
                    # a format that an earlier snapshot had and this one has not
                    delete_patterns="data/*",
                )
            except HfHubHTTPError as error:
                raise PalateError(error.response.status_code, f"The hub refused: {error}") from error
        return str(commit.commit_url)

    def to_datasets(self, slug: str, *, snapshot: int | None = None, **selection: Any) -> Any:
        """An export as a `datasets.Dataset`, with the types of its Parquet file. Needs `palate-client[datasets]`."""
        from datasets import Dataset

        with tempfile.TemporaryDirectory() as folder:
            path = self.export(
                slug, Path(folder) / "export.parquet", snapshot=snapshot, file="parquet", **selection
            )
            return Dataset.from_parquet(str(path), cache_dir=folder, keep_in_memory=True)

    def rows(self, slug: str, *, snapshot: int | None = None, **selection: Any) -> Iterator[Json]:
        """The lines of an export, one by one."""
        parameters = {name: _parameter_text(value) for name, value in selection.items() if value is not None}
        place = f"/projects/{slug}/" + ("judgments/" if snapshot is None else f"snapshots/{snapshot}/file/")
        for line in self._lines_of(place, parameters):
            if line:
                yield json.loads(line)

    # --- judging -------------------------------------------------------------------------------------------

    def label(
        self,
        slug: str,
        annotator: Callable[[Item], Judgment | Skip],
        *,
        limit: int | None = None,
        on_item: Progress = _ignore_progress,
    ) -> int:
        """Let a function judge items of the queue until none is left for it, or `limit` are judged. Returns how many were
        judged. Use the token of a machine's account, so that exports mark its judgments."""
        judged = 0
        while limit is None or judged < limit:
            response = self._send("POST", f"/projects/{slug}/next/", retry=True)
            if response.status_code == 204:
                break
            item = Item.from_json(response.json())
            result = annotator(item)
            if isinstance(result, Skip):
                body = {"ticket": item.ticket, "reason": result.reason, "note": result.note}
                self._send("POST", f"/projects/{slug}/skip/", data=body, retry=True)
            else:
                self._send("POST", f"/projects/{slug}/judgments/", data=result.body(item.ticket), retry=True)
                judged += 1
            on_item(1)
        return judged

    # --- HTTP -----------------------------------------------------------------------------------------------

    def _json(self, method: str, path: str, data: Any = None) -> Json:
        return dict(self._send(method, path, data=data, retry=True).json())

    def _delete(self, path: str) -> None:
        self._send("DELETE", path, retry=False)

    def _list(self, path: str) -> list[Json]:
        return list(self._send("GET", path, retry=True).json())

    def _pages(self, path: str, parameters: Mapping[str, str] | None = None) -> Iterator[Json]:
        url: str | None = str(httpx2.URL(self._api + path, params=dict(parameters or {})))
        while url:
            page = self._send("GET", url, retry=True).json()
            yield from page["results"]
            url = page["next"]

    def _lines_of(
        self,
        path: str,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[bytes]:
        try:
            with self._http.stream("GET", self._api + path, params=parameters, headers=headers) as answer:
                _raise_for(answer)
                yield from cut_lines(answer.iter_bytes())
        except (httpx2.TransportError, httpx2.StreamError) as error:
            raise PalateError(0, f"The connection broke: {error}") from error

    def _send(
        self,
        method: str,
        path: str,
        *,
        data: Any = None,
        content: Callable[[], Iterator[bytes]] | None = None,
        file: Path | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        retry: bool,
    ) -> httpx2.Response:
        """Send a request, repeatedly if needed. A POST has an idempotency key, so that the site executes it once."""
        all_headers = dict(headers or {})
        if method == "POST":
            all_headers["Idempotency-Key"] = str(uuid.uuid4())
        url = path if path.startswith("http") else self._api + path
        attempt, pauses = 0, _pauses()
        while True:
            last = attempt + 1 == ATTEMPTS or not retry
            try:
                with file.open("rb") if file else nullcontext() as opened:
                    answer = self._http.request(
                        method,
                        url,
                        json=data,
                        data=form,
                        content=content() if content else None,
                        files={"file": (file.name, opened)} if file and opened else None,
                        headers=all_headers,
                    )
            except httpx2.TransportError as error:
                if last:
                    raise PalateError(0, f"{self._api} cannot be reached: {error}") from error
                time.sleep(min(30, 2**attempt) / 2)
                attempt += 1
                continue
            if answer.status_code in (429, 503) and not last:
                time.sleep(min(60, _retry_after(answer) or 2**attempt))
                attempt += 1
                continue
            # the site is still executing the first request; since it can be reached, this does not count as an attempt
            in_progress = answer.status_code == 409 and "Retry-After" in answer.headers
            if in_progress and retry and (pause := next(pauses, None)):
                time.sleep(pause)
                continue
            _raise_for(answer)
            return answer

    def _save(self, place: str, parameters: Mapping[str, str], target: Path, on_bytes: Progress) -> Path:
        """Download a file, resumed where a connection broke. It appears when it is complete."""
        partial = target.with_name(f"{target.name}.part")
        for attempt in range(ATTEMPTS):
            try:
                self._download(place, parameters, partial, on_bytes)
            except (httpx2.TransportError, httpx2.StreamError) as error:
                if attempt + 1 == ATTEMPTS:
                    raise PalateError(0, f"The connection broke: {error}") from error
                time.sleep(min(30, 2**attempt) / 2)
            else:
                partial.rename(target)
                _etag_file(partial).unlink(missing_ok=True)
                return target
        raise AssertionError

    def _download(self, place: str, parameters: Mapping[str, str], partial: Path, on_bytes: Progress) -> None:
        """Download the missing part of the file."""
        etag = _read_etag(partial)
        have = partial.stat().st_size if etag and partial.exists() else 0
        # uncompressed, so that a later range has the same bytes
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": etag}
        url = self._api + place
        # to a bucket, where the site has its files there; httpx2 sends no token to another host
        with self._http.stream(
            "GET", url, params=dict(parameters), headers=headers, follow_redirects=True
        ) as answer:
            if answer.status_code == 416:  # it was complete already
                return
            _raise_for(answer)
            with partial.open("ab" if answer.status_code == 206 else "wb") as file:
                # after opening, which truncates: the ETag must never belong to other bytes
                _write_etag(partial, answer.headers.get("ETag", ""))
                on_bytes(file.tell())
                for chunk in answer.iter_bytes():
                    file.write(chunk)
                    on_bytes(len(chunk))


def _retry_after(answer: httpx2.Response) -> float | None:
    """The seconds in the header Retry-After, from the site or a proxy; None if it is a date."""
    seconds = answer.headers.get("Retry-After", "")
    return float(seconds) if re.fullmatch(r"[0-9]{1,9}", seconds) else None


def _pauses() -> Iterator[float]:
    """Growing pauses in seconds, until `IN_PROGRESS_S` have passed since the first."""
    end, pause = time.monotonic() + IN_PROGRESS_S, 1.0
    while time.monotonic() < end:
        yield pause
        pause = min(30, 2 * pause)


def _etag_file(partial: Path) -> Path:
    """The file with the ETag of a partial download."""
    return partial.with_name(f"{partial.name}.etag")


def _read_etag(partial: Path) -> str:
    file = _etag_file(partial)
    return file.read_text() if file.exists() and partial.exists() else ""


def _write_etag(partial: Path, etag: str) -> None:
    """Store the ETag of the partial download. A live export has none: its download cannot be resumed."""
    if etag:
        _etag_file(partial).write_text(etag)
    else:
        _etag_file(partial).unlink(missing_ok=True)


def _parameter_text(value: Any) -> str:
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
