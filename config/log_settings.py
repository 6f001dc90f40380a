"""The settings of logging: one handler for everything, in lines or in JSON, with the ids of `log_context`."""

from __future__ import annotations

from typing import Any


def logging_settings(form: str, *, level: str) -> dict[str, Any]:
    """For `logging.config.dictConfig`. form: `line` or `json`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": "config.log_context.LineFormatter",
                "fmt": "{asctime} {levelname} {name}: {ids}{message}",
                "style": "{",
            },
            "json": {"()": "config.log_context.JsonFormatter"},
        },
        "filters": {"links": {"()": "config.log_context.HideLinks"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": form, "filters": ["links"]}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            name: {"handlers": ["console"], "propagate": False} for name in ("uvicorn", "uvicorn.access")
        },
    }
