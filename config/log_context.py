"""The ids of the request, task and run in which a log line is written, and how they get from one process to the next."""

from __future__ import annotations

import json
import logging
import logging.config
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from celery.signals import before_task_publish, setup_logging, task_postrun, task_prerun
from django.conf import settings

DETAILS = re.compile(r"\n(?:DETAIL|CONTEXT):.*?(?=\n\n(?:The above exception|During handling)|\Z)", re.DOTALL)
SECRET_PARTS = re.compile(r"(?<=/)[^/?\s]{30,}|\?\S+")
_ids: ContextVar[Mapping[str, object]] = ContextVar("log_ids", default=MappingProxyType({}))


@contextmanager
def log_ids(**ids: object) -> Iterator[None]:
    """Add ids to the log lines of a block; empty ones change nothing."""
    token = _ids.set({**_ids.get(), **{name: value for name, value in ids.items() if value}})
    try:
        yield
    finally:
        _ids.reset(token)


def current_ids() -> Mapping[str, object]:
    """The ids that log lines get here."""
    return _ids.get()


def request_id() -> str:
    """`X-Request-ID` of the request that is answered here, or that led to this task; empty for what the clock started."""
    return str(_ids.get().get("request_id", ""))


class HideLinks(logging.Filter):
    """Logging filter for lines about requests: paths without query strings, and without what makes a link a secret, such as that
    of an invitation or a lost password."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith(("django.request", "django.security", "uvicorn.access")):
            record.msg, record.args = SECRET_PARTS.sub("…", record.getMessage()), ()
        return True


class LineFormatter(logging.Formatter):
    """A line of text, with `ids` for the format."""

    def format(self, record: logging.LogRecord) -> str:
        record.ids = "".join(f"[{name}={value}] " for name, value in current_ids().items())
        return super().format(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """The traceback without what PostgreSQL quotes of rows, which can be texts."""
        return DETAILS.sub("", super().formatException(ei))


class JsonFormatter(LineFormatter):
    """An object of JSON. What libraries add to a record is left out: Celery adds the arguments of tasks, such as e-mails, and
    Django the request."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **current_ids(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


@setup_logging.connect
def _log_as_configured(**_: Any) -> None:
    """Have Celery take the site's logging in place of its own."""
    logging.config.dictConfig(settings.LOGGING)


@before_task_publish.connect
def _send_ids(headers: dict[str, Any], **_: Any) -> None:
    headers["request_id"], headers["enqueued_at"] = request_id(), time.time()


@task_prerun.connect
def _receive_ids(task_id: str, task: Any, **_: Any) -> None:
    ids = {"request_id": (task.request.headers or {}).get("request_id"), "task_id": task_id}
    _ids.set({name: value for name, value in ids.items() if value})


@task_postrun.connect
def _drop_ids(**_: Any) -> None:
    _ids.set({})
