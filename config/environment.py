"""Settings from the environment, or from files that it names."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured


class Environment(environ.Env):
    """The value of `NAME`, or the content of the file that `NAME_FILE` names, such as a mounted secret. One of the two may be
    empty, as Compose passes what is not set.

    Numbers are written as in Python: `0.5`, `1e-3`. An empty one counts as not set.

    Raises:
        ImproperlyConfigured: both are set, the file has no value, or what should be a number is none.
    """

    def get_value(
        self, var: str, cast: Any = None, default: Any = environ.Env.NOTSET, parse_default: bool = False
    ) -> Any:
        if cast in (int, float):
            # django-environ reads "1.5e3" as 1.53, and does not say which variable is no number
            text = self.get_value(var, str, default="")
            return _number(var, text, cast) if text.strip() or default is self.NOTSET else default
        path = self.ENVIRON.get(f"{var}_FILE")
        if not path:
            return super().get_value(var, cast, default, parse_default)
        if self.ENVIRON.get(var):
            raise ImproperlyConfigured(f"{var} and {var}_FILE are both set; set one of them.")
        return self.parse_value(_read(f"{var}_FILE", Path(path)), cast)

    def export(self, *names: str) -> None:
        """Put values from files into the environment, for libraries that read it themselves."""
        for name in names:
            if value := self.str(name, default=""):
                os.environ[name] = value
                os.environ.pop(f"{name}_FILE", None)


def _number(name: str, text: str, kind: type[int | float]) -> int | float:
    try:
        number = kind(text)
        if math.isfinite(number):
            return number
    except (ValueError, OverflowError):
        pass
    raise ImproperlyConfigured(f"{name} is {text!r}, which is no {'whole ' if kind is int else ''}number.")


def _read(name: str, path: Path) -> str:
    """The one line of a file, without the newline that most editors add."""
    try:
        value = path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ImproperlyConfigured(f"{name} is {path}, which cannot be read: {reason}.") from None
    if not value.strip():
        raise ImproperlyConfigured(f"{name} is {path}, which is empty.")
    if "\n" in value:
        raise ImproperlyConfigured(f"{name} is {path}, which has more than one line.")
    return value
