"""Metrics for Prometheus: who gets them, what they count, and what they cost."""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from prometheus_client.parser import text_string_to_metric_families

from annotation.actions import leases
from annotation.http.streaming import iterate_in_threads
from annotation.models import Delivery, Import, Project, Webhook
from config.celery import app
from config.health import quick_redis
from config.metrics import DATABASE_SAMPLES
from tests import builders
from tests.patience import HANGS_S
from tests.processes import free_port, process, until
from training.models import Run

pytestmark = pytest.mark.django_db(transaction=True)

DEPLOY = Path(settings.BASE_DIR) / "deploy"
TOKEN = {"Authorization": f"Bearer {settings.METRICS_TOKEN}"}


@pytest.fixture(autouse=True)
def empty_queues() -> Iterator[None]:
    with quick_redis() as redis:
        redis.delete("default", "gpu", "imports", "webhooks")
        yield
        redis.delete("default", "gpu", "imports", "webhooks")


@pytest.fixture
def project() -> Project:
    return builders.project(builders.user("alice"))


def scrape(text: str | None = None) -> dict[tuple[str, ...], float]:
    """Values by name and sorted labels."""
    if text is None:
        answer = Client(headers=TOKEN).get("/metrics")
        assert answer.status_code == 200
        text = answer.content.decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_only_the_token_gets_them() -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer grüße"}):
        answer = Client(headers=headers).get("/metrics")
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
        assert not answer.content
    assert Client(headers=TOKEN | {"Host": "10.1.2.3"}).get("/metrics").status_code == 200
    with override_settings(METRICS_TOKEN=""):
        assert Client(headers={"Authorization": "Bearer "}).get("/metrics").status_code == 404


def test_requests_are_counted_by_view_and_not_by_path() -> None:
    before = scrape()
    client = Client()
    for path in ("/sign-in/", "/sign-in/?next=/p/one/", "/no/such/page", "/no/other/page"):
        client.get(path)
    after = scrape()

    def more(*key: str) -> float:
        return after.get(key, 0) - before.get(key, 0)

    assert more("palate_http_requests_total", "200", "GET", "account_login") == 2
    assert more("palate_http_requests_total", "", "404", "GET") == 2
    assert more("palate_http_request_seconds_count", "GET", "account_login") == 2
    assert after[("palate_database_connections",)] >= 1
    assert not [key for key in after if "such" in str(key)]


def test_the_state_of_the_site(project: Project) -> None:
    alice = project.members.get().user
    builders.items(project, 3)
    builders.judgment(project, alice)
    judgment = scrape()[("palate_judgments_total",)]
    builders.judgment(project, alice)
    leases.claim(project=project, annotator=alice)
    Run.objects.create(project=project, kind="sft", state="failed", config={}, created_by=alice)
    Run.objects.create(project=project, kind="dpo", config={}, created_by=alice)
    Import.objects.create(
        project=project, name="a", path="b", bytes=100, bytes_done=30, state="running", created_by=alice
    )
    hook = Webhook.objects.create(project=project, url="https://example.com/", events=[], created_by=alice)
    for state in ("waiting", "waiting", "failed", "delivered"):
        Delivery.objects.create(webhook=hook, event="test", body={}, state=state)
    app.send_task("training.tasks.execute_run", [1])
    values = scrape()
    assert values[("palate_judgments_total",)] == judgment + 1
    assert values[("palate_leases", "helpfulness")] == 1
    assert values[("palate_runs", "failed", "sft")] == values[("palate_runs", "dpo", "queued")] == 1
    assert values[("palate_runs_failed",)] == 1
    assert values[("palate_run_age_seconds", "queued")] >= 0
    assert values[("palate_imports", "running")] == 1
    assert (values[("palate_import_bytes",)], values[("palate_import_read_bytes",)]) == (100, 30)
    assert values[("palate_webhook_backlog", "waiting")] == 2
    assert values[("palate_webhook_backlog", "failed")] == 1
    assert values[("palate_queue_messages", "gpu")] == 1
    assert values[("palate_queue_messages", "default")] == 0
    assert values[("palate_queue_age_seconds", "gpu")] >= 0
    assert values[("palate_up", "database")] == values[("palate_up", "redis")] == 1


def test_exports_show_while_they_are_sent_and_by_their_bytes() -> None:
    sending: list[float] = []

    def chunks() -> Generator[bytes, None, None]:
        yield b"abc"
        sending.append(scrape()[("palate_exports",)])
        yield b"de"

    async def read() -> bytes:
        return b"".join([part async for part in iterate_in_threads(chunks())])

    before = scrape()
    assert async_to_sync(read)() == b"abcde"
    after = scrape()
    assert sending == [before[("palate_exports",)] + 1]
    assert after[("palate_exports",)] == before[("palate_exports",)]
    bytes = ("palate_export_bytes_total",)
    assert after[bytes] == before[bytes] + 5


def test_a_scrape_is_one_statement_that_reads_indexes(project: Project) -> None:
    builders.items(project, 3)
    with CaptureQueriesContext(connection) as queries, connection.cursor() as cursor:
        cursor.execute(DATABASE_SAMPLES)
    assert len(queries) == 1
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        try:
            cursor.execute(f"EXPLAIN {DATABASE_SAMPLES}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        finally:
            cursor.execute("RESET enable_seqscan")
    for table in ("judgment", "slot", "import", "delivery"):
        assert f"annotation_{table}" in plan
        assert f"Seq Scan on annotation_{table}" not in plan, plan
    assert "Seq Scan on training_" not in plan, plan


def test_what_is_away_lacks_its_figures_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent, override_settings(REDIS_URL="redis://127.0.0.1:1"):
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
        monkeypatch.setitem(connection.settings_dict, "PORT", silent.getsockname()[1])
        values = scrape()
    assert values[("palate_up", "database")] == values[("palate_up", "redis")] == 0
    assert ("palate_judgments_total",) not in values
    assert [key for key in values if key[0] == "palate_build_info"]


@pytest.mark.live
def test_one_process_answers_for_all() -> None:
    ports = free_port(), free_port()
    with process("web", port=ports[0]), process("web", port=ports[1]):

        def get(port: int, path: str) -> str:
            request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=TOKEN)
            with urllib.request.urlopen(request, timeout=HANGS_S) as answer:
                return str(answer.read().decode())

        def answers() -> bool:
            try:
                return all(get(port, "/livez") for port in ports)
            except OSError:
                return False

        until(answers, "both answer")
        key = ("palate_http_requests_total", "200", "GET", "account_login")
        before = scrape(get(ports[0], "/metrics")).get(key, 0)
        for port in ports:
            get(port, "/sign-in/")
        for port in ports:
            assert scrape(get(port, "/metrics"))[key] == before + 2


# --- what Prometheus and Grafana are given --------------------------------------------------------------------


def exposed_names() -> set[str]:
    """The names of series, and those that a family without samples would have."""
    Client().get("/sign-in/")
    text = Client(headers=TOKEN).get("/metrics").content.decode()
    families = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    return {key[0] for key in scrape(text)} | set(families)


def test_the_rules_and_the_dashboard_name_metrics_that_there_are() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus-rules.yml").read_text())
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    expressions += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(expressions) > 15
    names = exposed_names()
    for expression in expressions:
        used = set(re.findall(r"\bpalate_\w+", expression))
        assert used <= names, (used - names, expression)
        assert used or "up{" in expression, expression


def test_every_alert_says_what_is_wrong() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus-rules.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("page", "ticket"), rule
            assert rule["annotations"]["summary"], rule


def test_the_scrape_config_asks_for_what_there_is() -> None:
    config: Any = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert (job["metrics_path"], job["authorization"]["type"]) == ("/metrics", "Bearer")
    assert config["rule_files"] == ["prometheus-rules.yml"]
