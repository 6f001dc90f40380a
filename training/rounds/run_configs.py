"""A loop's settings for its runs: by kind of run and, under `*`, for all kinds that have the setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from training.configs import KINDS, ConfigError, from_dict
from training.configs.fields import checked
from training.configs.fields import gettext_noop as _
from training.errors import message_of
from training.rounds.recipes import Stage

Configs = Mapping[str, Mapping[str, Any]]


class ConfigsError(ConfigError):
    """A setting of a loop's runs of a `kind`, or of all kinds (`*`)."""

    def __init__(self, kind: str, error: ConfigError) -> None:
        super().__init__(error.field, error.text, **error.values)
        self.kind = kind


def check(configs: Configs, stages: Iterable[Stage]) -> None:
    """Check that every run of the stages can start.

    Raises:
        ConfigsError: a setting is unknown, out of its bounds, or conflicts with another one of a run.
    """
    _check_common(configs.get("*", {}))
    runs = [(stage.kind, stage.config) for stage in stages]
    unused = configs.keys() - {"*"} - {kind for kind, _ in runs}
    for kind, stage_config in [*runs, *((kind, {}) for kind in sorted(unused))]:
        try:
            from_dict(kind, merged(configs, kind, stage_config))
        except ConfigError as error:
            raise _located(configs, kind, error) from error


def _located(configs: Configs, kind: str, error: ConfigError) -> ConfigsError:
    """A run's error, with the kind in the loop's settings where the value comes from."""
    is_common = error.field in configs.get("*", {}) and error.field not in configs.get(kind, {})
    return _common_error(error, kind) if is_common else ConfigsError(kind, error)


def _common_error(error: ConfigError, kind: str) -> ConfigsError:
    text = _("in a %(kind)s run it %(problem)s")
    return ConfigsError("*", ConfigError(error.field, text, kind=kind, problem=message_of(error)))


def merged(configs: Configs, kind: str, stage_config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run: the loop's for all kinds, overridden by the recipe's, then by the loop's for this kind."""
    known = KINDS[kind].__dataclass_fields__ if kind in KINDS else {}
    common = {name: value for name, value in configs.get("*", {}).items() if name in known}
    return common | dict(stage_config) | dict(configs.get(kind, {}))


def _check_common(config: Mapping[str, Any]) -> None:
    for name, value in config.items():
        items = [
            (kind, item)
            for kind, config_class in KINDS.items()
            for item in fields(config_class)
            if item.name == name
        ]
        if not items:
            raise ConfigsError("*", ConfigError(name, _("no kind of run has such a setting.")))
        for kind, item in items:
            try:
                checked(item, value)
            except ConfigError as error:
                raise _common_error(error, kind) from None
