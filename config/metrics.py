"""Metrics for Prometheus: requests of all web processes, and the state of the site from its database and its broker."""

from __future__ import annotations

import hmac
import json
import os
import platform
import time
import tomllib
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import django
import psycopg
from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from config.health import ask_parts, database_parameters, quick_redis

SECONDS = Histogram(
    "palate_http_request_seconds",
    "Time to the response, or to the start of one that is streamed",
    ["view", "method"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
REQUESTS = Counter("palate_http_requests", "Requests answered", ["view", "method", "status"])
POOL = {
    "pool_size": Gauge(
        "palate_database_connections", "Connections of web processes", multiprocess_mode="livesum"
    ),
    "pool_available": Gauge(
        "palate_database_connections_idle", "Connections that nobody uses", multiprocess_mode="livesum"
    ),
    "requests_waiting": Gauge(
        "palate_database_waiting",
        "Threads of web processes that wait for a connection",
        multiprocess_mode="livesum",
    ),
}
EXPORTS = Gauge("palate_exports", "Exports that are being sent", multiprocess_mode="livesum")
EXPORT_BYTES = Counter("palate_export_bytes", "What has been sent of exports")
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Metrics:
    """HTTP middleware: measures requests, and answers `/metrics` to whoever has `METRICS_TOKEN`; without one it is not used."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        if not settings.METRICS_TOKEN:
            raise MiddlewareNotUsed
        self.get_response = get_response
        self.pool_read_at = 0.0

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info == "/metrics":
            return _scrape(request)
        start = time.perf_counter()
        response = self.get_response(request)
        seconds = time.perf_counter() - start
        # not the path, whose values have no end
        view = request.resolver_match.view_name if request.resolver_match else ""
        method = request.method if request.method in METHODS else "other"
        SECONDS.labels(view, method).observe(seconds)
        REQUESTS.labels(view, method, response.status_code).inc()
        if start > self.pool_read_at + 1:
            self.pool_read_at = start
            stats = connection.pool.get_stats()  # type: ignore[attr-defined]
            for name, gauge in POOL.items():
                gauge.set(stats.get(name, 0))
        return response


def _scrape(request: HttpRequest) -> HttpResponse:
    wanted = f"Bearer {settings.METRICS_TOKEN}".encode()
    if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), wanted):
        return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})
    registry = CollectorRegistry()
    _forget_ended_processes()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    registry.register(SiteCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _forget_ended_processes() -> None:
    """Drop the gauges of processes that have ended; what they counted stays."""
    for path in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


# --- the site -------------------------------------------------------------------------------------------------

FAMILIES = {
    "palate_judgments": (CounterMetricFamily, "Judgments and revisions (the newest id)", ()),
    "palate_leases": (GaugeMetricFamily, "Items that annotators hold", ("project",)),
    "palate_runs": (GaugeMetricFamily, "Runs", ("kind", "state")),
    "palate_run_age_seconds": (GaugeMetricFamily, "Since the oldest open run was started", ("state",)),
    "palate_runs_failed": (GaugeMetricFamily, "Runs that failed and were not resumed", ()),
    "palate_runs_stuck": (GaugeMetricFamily, "Open runs that were reported to be stuck", ()),
    "palate_rounds": (GaugeMetricFamily, "Open rounds", ("state",)),
    "palate_imports": (GaugeMetricFamily, "Open imports", ("state",)),
    "palate_import_bytes": (GaugeMetricFamily, "Size of the files of open imports", ()),
    "palate_import_read_bytes": (GaugeMetricFamily, "What has been read of them", ()),
    "palate_webhook_deliveries": (CounterMetricFamily, "Webhook messages written (the newest id)", ()),
    "palate_webhook_backlog": (GaugeMetricFamily, "Webhook messages that were not delivered", ("state",)),
    "palate_webhook_overdue_seconds": (GaugeMetricFamily, "Since the oldest message was due", ()),
    "palate_queue_messages": (GaugeMetricFamily, "Messages in a queue of Celery", ("queue",)),
    "palate_queue_age_seconds": (GaugeMetricFamily, "Since its oldest message was sent", ("queue",)),
    "palate_up": (GaugeMetricFamily, "Whether the figures of this part could be read", ("part",)),
    "palate_build_info": (GaugeMetricFamily, "What is running", ("version", "release", "python", "django")),
}
"""By name: type, help and labels."""

# each part reads an index with the rows that it counts, or its last entry
DATABASE_SAMPLES = """
SELECT 'palate_judgments' AS name, '{}'::text[] AS labels, coalesce(max(id), 0)::float8 AS value FROM annotation_judgment
UNION ALL SELECT 'palate_leases', ARRAY[project.slug]::text[], held.slots FROM annotation_project AS project JOIN (
    SELECT project_id, count(*) AS slots FROM annotation_slot
    WHERE state = 'leased' AND leased_until > now() GROUP BY project_id
) AS held ON held.project_id = project.id
UNION ALL SELECT 'palate_runs', ARRAY[kind, state]::text[], count(*) FROM training_run GROUP BY kind, state
UNION ALL SELECT 'palate_run_age_seconds', ARRAY[state]::text[], extract(epoch FROM now() - min(created_at))
    FROM training_run WHERE state IN ('queued', 'running') GROUP BY state
UNION ALL SELECT 'palate_runs_failed', '{}', count(*) FROM training_run WHERE state = 'failed'
UNION ALL SELECT 'palate_runs_stuck', '{}', count(*) FROM training_run
    WHERE state IN ('queued', 'running') AND stuck_at IS NOT NULL
UNION ALL SELECT 'palate_rounds', ARRAY[state]::text[], count(*) FROM training_round
    WHERE state IN ('working', 'held', 'failed', 'awaiting') GROUP BY state
UNION ALL SELECT 'palate_imports', ARRAY[state]::text[], count(*) FROM annotation_import
    WHERE state IN ('queued', 'running') GROUP BY state
UNION ALL SELECT 'palate_import_bytes', '{}', coalesce(sum(bytes), 0) FROM annotation_import WHERE state IN ('queued', 'running')
UNION ALL SELECT 'palate_import_read_bytes', '{}', coalesce(sum(bytes_done), 0) FROM annotation_import
    WHERE state IN ('queued', 'running')
UNION ALL SELECT 'palate_webhook_deliveries', '{}', coalesce(max(id), 0) FROM annotation_delivery
UNION ALL SELECT 'palate_webhook_backlog', ARRAY['waiting'], count(*) FROM annotation_delivery WHERE state = 'waiting'
UNION ALL SELECT 'palate_webhook_backlog', ARRAY['failed'], count(*) FROM annotation_delivery WHERE state = 'failed'
UNION ALL SELECT 'palate_webhook_overdue_seconds', '{}',
    greatest(0, coalesce(extract(epoch FROM now() - min(next_at)), 0)) FROM annotation_delivery WHERE state = 'waiting'
"""

Sample = tuple[str, list[str], float]


class SiteCollector(Collector):
    """The state of the site: one statement to the database and one round trip to the broker. A part that does not answer in
    time lacks its figures."""

    def collect(self) -> Iterator[Metric]:
        families = {name: make(name, help, labels=labels) for name, (make, help, labels) in FAMILIES.items()}
        for name, labels, value in self._samples():
            families[name].add_metric([str(label) for label in labels], float(value))
        return iter(families.values())

    def _samples(self) -> Iterator[Sample]:
        yield "palate_build_info", _build(), 1
        answers = ask_parts(database=partial(read_database, database_parameters()), redis=read_queues)
        for part in ("database", "redis"):
            yield "palate_up", [part], part in answers
            yield from answers.get(part, ())


def read_database(connect: dict[str, Any]) -> list[Sample]:
    """The samples of the database."""
    with psycopg.connect(**connect) as database:
        return database.execute(DATABASE_SAMPLES).fetchall()


def read_queues() -> list[Sample]:
    """The samples of Celery's queues, which are lists in Redis whose last element is the oldest message."""
    queues = sorted(
        {settings.CELERY_TASK_DEFAULT_QUEUE, *(r["queue"] for r in settings.CELERY_TASK_ROUTES.values())}
    )
    with quick_redis() as redis, redis.pipeline(transaction=False) as pipeline:
        for queue in queues:
            pipeline.llen(queue)
            pipeline.lindex(queue, -1)
        answers = pipeline.execute()
    samples: list[Sample] = []
    for queue, length, oldest in zip(queues, answers[::2], answers[1::2], strict=True):
        sent = json.loads(oldest)["headers"].get("enqueued_at") if oldest else None
        samples.append(("palate_queue_messages", [queue], length))
        samples.append(("palate_queue_age_seconds", [queue], max(0.0, time.time() - sent) if sent else 0.0))
    return samples


@cache
def _build() -> list[str]:
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())["project"]
    return [project["version"], settings.RELEASE, platform.python_version(), django.get_version()]
