"""Reports of errors to the Sentry server of `SENTRY_DSN`, without what people and models write, and without secrets."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config.log_context import current_ids

REPORTED = (
    *("event_id", "timestamp", "level", "platform", "logger", "transaction", "release", "environment"),
    *("server_name", "sdk", "fingerprint"),
)
"""The fields of an event that are sent as they are."""


def start(dsn: str, release: str) -> None:
    """
    Raises:
        ImproperlyConfigured: sentry-sdk is not installed, or the DSN is invalid.
    """
    try:
        import sentry_sdk
    except ImportError:
        raise ImproperlyConfigured("SENTRY_DSN needs sentry-sdk: install palate[sentry].") from None
    try:
        sentry_sdk.init(
            dsn,
            release=release or None,
            before_send=scrub,
            send_default_pii=False,
            include_local_variables=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
            auto_session_tracking=False,
        )
    except ValueError as error:  # BadDsn
        raise ImproperlyConfigured(f"SENTRY_DSN is invalid: {error}") from None


def scrub(event: Any, hint: dict[str, Any]) -> Any:
    """An event with what is known to be harmless: where an error was raised and of which type, and the ids of its log lines. An
    error's message can quote texts, and a URL can be the link of a password."""
    scrubbed = {name: event[name] for name in REPORTED if name in event}
    scrubbed["tags"] = {name: str(value) for name, value in current_ids().items()}
    if "request" in event:
        scrubbed["request"] = {"method": event["request"].get("method")}
    if "exception" in event:
        scrubbed["exception"] = {"values": [_scrub_exception(e) for e in event["exception"]["values"]]}
    if "logentry" in event:
        scrubbed["logentry"] = {"message": event["logentry"].get("message")}  # without its arguments
    return scrubbed


def _scrub_exception(exception: dict[str, Any]) -> dict[str, Any]:
    return {
        name: exception[name] for name in ("type", "module", "mechanism", "stacktrace") if name in exception
    }
