"""The ids of the request, task and run in which a log line is written, and how they get from one process to the next."""

from __future__ import annotations

import logging
import logging.config
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from celery.signals import before_task_publish, setup_logging, task_postrun, task_prerun
from django.conf import settings

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


class AddIds(logging.Filter):
    """Logging filter: each id as an attribute of its own, for JSON, and all of them in `ids`, for lines of text."""

    def filter(self, record: logging.LogRecord) -> bool:
        ids = _ids.get()
        record.__dict__ |= ids
        record.ids = "".join(f"[{name}={value}] " for name, value in ids.items())
        return True


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
