"""The id of a request, from its header to the response, log lines, runs and webhook messages."""

from __future__ import annotations

import json
import logging
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, connection

from annotation.actions import webhooks
from annotation.models import ApiToken, Delivery, User
from config.celery import app
from config.log_context import HideLinks, JsonFormatter, LineFormatter
from tests import builders
from tests.patience import HANGS_S
from tests.processes import free_port, process, until
from training.models import Run
from training.registry.actions import add_model

pytestmark = [pytest.mark.live, pytest.mark.slow(30), pytest.mark.django_db(transaction=True)]

SECRET = "a text that belongs in no log"


def log_file(name: str) -> Path:
    return Path(settings.VAR) / f"{name}-of-tests.log"


@pytest.fixture(scope="module")
def port(django_db_setup: None) -> Iterator[int]:
    """A web process and a trainer that log JSON; the port of the first."""
    for name in ("web", "trainer"):
        log_file(name).write_text("")
    port = free_port()
    with process("web", port=port, LOG_FORMAT="json"), process("trainer", LOG_FORMAT="json"):
        until(lambda: ask(port, "/livez") is not None, "the web process answers")
        yield port


def ask(port: int, path: str, body: bytes | None = None, **headers: str) -> Any:
    """The response's status and headers; None while nobody listens."""
    url = f"http://127.0.0.1:{port}{path}"
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, names), timeout=HANGS_S) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers
    except OSError:
        return None


def lines(name: str, **ids: Any) -> list[dict[str, Any]]:
    """The log lines of a process that have these ids."""
    rows = [json.loads(line) for line in log_file(name).read_text().splitlines() if line.startswith("{")]
    return [row for row in rows if ids.items() <= row.items()]


@pytest.mark.parametrize("path", ["/no/such/page", "/p/none/work/no-such-page/"])
def test_a_request_has_the_id_that_it_brings(port: int, path: str) -> None:
    """On both ways through the web process."""
    status, headers = ask(port, f"{path}?token={SECRET.replace(' ', '+')}", X_Request_ID="one-1.a_B")
    assert (status, headers["X-Request-ID"]) == (404, "one-1.a_B")
    until(lambda: lines("web", request_id="one-1.a_B", level="WARNING"), "the log line is written")
    assert {"time", "level", "logger", "message"} <= lines("web", request_id="one-1.a_B")[0].keys()


@pytest.mark.parametrize("sent", ["", "a b", "a" * 65, 'x"y', "grüße"])
def test_or_one_of_its_own(port: int, sent: str) -> None:
    _, headers = ask(port, "/livez", X_Request_ID=sent.encode().decode("latin-1"))
    assert len(headers["X-Request-ID"]) == 32
    assert ask(port, "/livez")[1]["X-Request-ID"] != headers["X-Request-ID"]


def test_a_run_leads_back_to_the_request_that_started_it(port: int) -> None:
    alice = builders.user("alice")
    project = builders.project(alice)
    add_model(project=project, kind="policy", name="first", location="hub:somewhere/policy@main")
    project.model_versions.update(location="file:/no/such/model")
    builders.items(project, 1)
    webhooks.add(project=project, url="https://example.com/", events=["run.failed"], creator=alice)
    key = ApiToken.issue(user=alice, name="script", scope=ApiToken.Scope.LEAD)[1]
    body = json.dumps({"kind": "generate"}).encode()
    status, _ = ask(
        port,
        "/api/v1/projects/helpfulness/runs/",
        body,
        Authorization=f"Bearer {key}",
        Content_Type="application/json",
        X_Request_ID="start-the-run",
    )
    assert status == 201
    until(lambda: Run.objects.get().state == Run.State.FAILED, "the run fails")
    run = Run.objects.get()
    assert run.request_id == "start-the-run"
    until(lambda: lines("trainer", run=run.pk, message=f"run {run.pk} is failed"), "the trainer says so")
    for line in lines("trainer", run=run.pk):
        assert line["request_id"] == "start-the-run"
        assert line["task_id"]
    assert Delivery.objects.get().body["request_id"] == "start-the-run"
    connection.close()


@pytest.mark.parametrize("formatter", [LineFormatter(), JsonFormatter()])
def test_a_traceback_quotes_no_row(formatter: logging.Formatter) -> None:
    builders.user("bob")
    try:
        User.objects.create(username="bob")
    except IntegrityError:
        record = logging.LogRecord("a", logging.ERROR, "b", 1, "failed", None, sys.exc_info())
    text = formatter.format(record)
    assert text.count("violates unique constraint") == 2
    assert "The above exception" in text
    assert "(bob)" not in text


def test_paths_are_logged_without_what_makes_them_secret() -> None:
    key = "c" * 32
    for name, message, args, expected in (
        ("uvicorn.access", '%s - "%s %s HTTP/%s" %d', ("1.2.3.4:5", "GET", f"/join/{key}/?a=b", "1.1", 200),
         '1.2.3.4:5 - "GET /join/…/… HTTP/1.1" 200'),
        ("django.request", "Not Found: %s", (f"/password/reset/1-{key}/",), "Not Found: /password/reset/…/"),
        ("training.tasks", "stored %s", (f"/{key}",), f"stored /{key}"),
    ):  # fmt: skip
        record = logging.LogRecord(name, logging.INFO, "b", 1, message, args, None)
        assert HideLinks().filter(record)
        assert record.getMessage() == expected


def test_secrets_and_query_strings_are_in_no_log(port: int) -> None:
    ask(port, f"/sign-in/?next={SECRET.replace(' ', '+')}", b"login=bob&password=" + SECRET.encode())
    ask(port, "/api/v1/projects/", Authorization=f"Bearer {SECRET}")
    app.send_task("annotation.tasks.send_email", [["bob@example.com"], "Subject", SECRET], queue="gpu")
    until(
        lambda: [line for line in lines("trainer") if "send_email" in line["message"] and "task_id" in line],
        "the e-mail is sent",
    )
    text = log_file("web").read_text() + log_file("trainer").read_text()
    assert SECRET not in text
    assert SECRET.replace(" ", "+") not in text
