"""The error of an action on runs, models or rounds, and how errors are shown."""

from __future__ import annotations

from django.utils.translation import gettext

from training.configs import ConfigError


class RunError(Exception):
    """An action is not possible; the message is shown to the user. `field` is the input to correct."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class LimitReached(RunError):
    """A run ended at its own limit, the setting `field`, before it had made anything."""


def message_of(error: ConfigError) -> str:
    """The reason of a setting's error, in the reader's language."""
    text = gettext(error.text)
    return text % error.values if error.values else text


def describe_error(error: Exception) -> str:
    """What went wrong, in the reader's language; of a setting's error, after the name of the setting."""
    return f"{error.field}: {message_of(error)}" if isinstance(error, ConfigError) else str(error)
