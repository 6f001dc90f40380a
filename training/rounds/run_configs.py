"""What a loop says of its runs' settings: those of each kind of run and, under `*`, of all kinds that have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from training.configs import KINDS, ConfigError, from_dict
from training.configs.fields import checked
from training.rounds.recipes import Stage

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
    _check_common(configs.get("*", {}))
    runs = [(stage.kind, stage.config) for stage in stages]
    others = configs.keys() - {"*"} - {kind for kind, _ in runs}
    for kind, of_stage in [*runs, *((kind, {}) for kind in sorted(others))]:
        try:
            from_dict(kind, merged(configs, kind, of_stage))
        except ConfigError as error:
            raise _where_it_stands(configs, kind, error) from error


def _where_it_stands(configs: Configs, kind: str, error: ConfigError) -> ConfigsError:
    """A run's error, at the place in the loop's settings where it can be mended."""
    is_common = error.field in configs.get("*", {}) and error.field not in configs.get(kind, {})
    return _of_all(error, kind) if is_common else ConfigsError(kind, error)


def _of_all(error: ConfigError, kind: str) -> ConfigsError:
    return ConfigsError("*", ConfigError(error.field, f"in a {kind} run it {error.message}"))


def merged(configs: Configs, kind: str, of_stage: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run: the loop's for all kinds, the recipe's, the loop's for this kind."""
    known = KINDS[kind].__dataclass_fields__ if kind in KINDS else {}
    common = {name: value for name, value in configs.get("*", {}).items() if name in known}
    return common | dict(of_stage) | dict(configs.get(kind, {}))


def _check_common(config: Mapping[str, Any]) -> None:
    for name, value in config.items():
        having = [(kind, item) for kind, one in KINDS.items() for item in fields(one) if item.name == name]
        if not having:
            raise ConfigsError("*", ConfigError(name, "no kind of run has such a setting."))
        for kind, item in having:
            try:
                checked(item, value)
            except ConfigError as error:
                raise _of_all(error, kind) from None
