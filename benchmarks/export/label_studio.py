"""Label Studio from PyPI, in an environment of its own: its importer, and its export of ranking tasks."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import environments
from benchmarks.export.site import Meter
from benchmarks.export.tasks import BATCH, make_task
from benchmarks.workloads import PLACE

PORT = 18792
TOKEN = "d6f8a2ab7f0f4cb3a5e6a6b8f2d1c0e9a7b5c3d1"
DATA = PLACE / "label-studio-data"
CONFIG = """<View><Text name="prompt" value="$prompt"/><List name="answers" value="$answers" title="Answers"/>
<Ranker name="rank" toName="answers"/></View>"""


def measure(tasks: int) -> dict[str, Any]:
    """Rows a second of its importer and of its JSON export, the first byte, and its memory."""
    with server() as pid:
        project = _call("POST", "/api/projects/", {"title": "ranking", "label_config": CONFIG})["id"]
        start = time.perf_counter()
        for first in range(0, tasks, BATCH):
            _call(
                "POST",
                f"/api/projects/{project}/import",
                [_import_row(n, False) for n in range(first, min(tasks, first + BATCH))],
            )
        import_s = time.perf_counter() - start
        annotated = _call("POST", "/api/projects/", {"title": "annotated", "label_config": CONFIG})["id"]
        for first in range(0, tasks, BATCH):
            _call(
                "POST",
                f"/api/projects/{annotated}/import",
                [_import_row(n, True) for n in range(first, min(tasks, first + BATCH))],
            )
        start = time.perf_counter()
        first_byte, rows = _export(annotated)
        export_s = time.perf_counter() - start
        figures = {
            "tasks": rows,
            "import_per_s": round(tasks / import_s, 1),
            "export_rows_per_s": round(rows / export_s, 1),
            "first_byte_s": round(first_byte, 2),
            "peak_mb": round(Meter([pid]).peak_mb()),
        }
    print(f"label-studio: {figures}", flush=True)
    return figures


@contextmanager
def server() -> Iterator[int]:
    python = environments.label_studio()
    shutil.rmtree(DATA, ignore_errors=True)
    DATA.mkdir(parents=True)
    # our settings module is not its
    inherited = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment = inherited | {
        "LABEL_STUDIO_BASE_DATA_DIR": str(DATA),
        "LABEL_STUDIO_USERNAME": "bench@example.com",
        "LABEL_STUDIO_PASSWORD": "benchmark-1",
        "LABEL_STUDIO_USER_TOKEN": TOKEN,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
    log = (PLACE / "label-studio.log").open("w")
    child = subprocess.Popen(
        [Path(python).with_name("label-studio"), "start", "--no-browser", "--port", str(PORT)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    try:
        _wait(child)
        yield child.pid
    finally:
        child.terminate()
        child.wait(20)


def _wait(child: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 900
    while time.monotonic() < end:
        if child.poll() is not None:
            raise RuntimeError(f"Label Studio ended at once: see {PLACE}/label-studio.log")
        try:
            _call("GET", "/api/projects/")
            return
        except (OSError, http.client.HTTPException):
            time.sleep(1)
    raise RuntimeError(f"Label Studio does not answer: see {PLACE}/label-studio.log")


def _call(method: str, path: str, body: Any = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=1200)
    headers = {"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    if answer.status >= 400:
        raise RuntimeError(f"Label Studio: {method} {path} answered {answer.status}: {data[:300]!r}")
    return json.loads(data)


def _export(project: int) -> tuple[float, int]:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=3600)
    start = time.perf_counter()
    headers = {"Authorization": f"Token {TOKEN}"}
    connection.request("GET", f"/api/projects/{project}/export?exportType=JSON", headers=headers)
    answer = connection.getresponse()
    first = answer.read(1)
    first_byte = time.perf_counter() - start
    return first_byte, len(json.loads(first + answer.read()))


def _import_row(number: int, annotated: bool) -> dict[str, Any]:
    task = make_task(number, "x")
    answers = [
        {"id": str(place), "title": f"Answer {place}", "body": text}
        for place, text in enumerate(task["responses"])
    ]
    row: dict[str, Any] = {"data": {"prompt": task["prompt"], "answers": answers}}
    if annotated:
        ranked = {
            "type": "ranker",
            "from_name": "rank",
            "to_name": "answers",
            "value": {"ranker": {"rank": ["1", "0", "3", "2"]}},
        }
        row["annotations"] = [{"result": [ranked], "lead_time": 31.5}]
    return row
