"""What a loop says of its runs' settings: those of each kind of run and, under `*`, of all kinds that have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from training.configs import KINDS, ConfigError, from_dict
from training.configs.fields import checked
from training.recipes import Stage

Configs = Mapping[str, Mapping[str, Any]]


class ConfigsError(ConfigError):
    """A setting of a loop's runs of a `kind`, or of all kinds (`*`)."""

    def __init__(self, kind: str, error: ConfigError) -> None:
        super().__init__(error.field, error.message)
        self.kind = kind


def check(configs: Configs, stages: Iterable[Stage]) -> None:
    """Whether every run of the stages could start.

    Raises:
        ConfigsError: a setting is unknown, out of its bounds, or not to be had with another one that a run would have.
    """
    runs = [(stage.kind, stage.config) for stage in stages]
    others = configs.keys() - {"*"} - {kind for kind, _ in runs}
    with _named("*"):
        _check_common(configs.get("*", {}))
    for kind, of_stage in [*runs, *((kind, {}) for kind in sorted(others))]:
        with _named(kind):
            from_dict(kind, merged(configs, kind, of_stage) if kind in KINDS else {})


@contextmanager
def _named(kind: str) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigsError(kind, error) from error


def merged(configs: Configs, kind: str, of_stage: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run: the loop's for all kinds, the recipe's, the loop's for this kind."""
    known = KINDS[kind].__dataclass_fields__
    common = {name: value for name, value in configs.get("*", {}).items() if name in known}
    return common | dict(of_stage) | dict(configs.get(kind, {}))


def _check_common(config: Mapping[str, Any]) -> None:
    for name, value in config.items():
        having = [(kind, item) for kind, one in KINDS.items() for item in fields(one) if item.name == name]
        if not having:
            raise ConfigError(name, "no kind of run has such a setting.")
        for kind, item in having:
            try:
                checked(item, value)
            except ConfigError as error:
                raise ConfigError(name, f"in a {kind} run it {error.message}") from None
