"""Settings of generation, by a model or a server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from training.configs.base import Config
from training.configs.fields import ConfigError, setting
from training.configs.fields import gettext_noop as _


def server_setting(help: str) -> Any:
    """help: what the server does, a few sentences."""
    return setting("", _("Server URL"), help)


def server_model_setting() -> Any:
    return setting("", _("Server model"), _("The model's name on the server."))


def concurrency_setting() -> Any:
    return setting(
        16, _("Concurrent requests"), _("Requests to the server at a time, one per prompt."), min=1, max=1024
    )


def retries_setting() -> Any:
    return setting(
        5,
        _("Retries"),
        _(
            "How often a request is repeated when the server is busy, fails or cannot be reached; after growing pauses, or those"
            " of its Retry-After header."
        ),
        min=0,
        max=100,
    )


def timeout_setting() -> Any:
    return setting(
        600.0,
        _("Request timeout (s)"),
        _("Seconds that one request to the server may take."),
        min=0.1,
        max=86_400.0,
    )


def check_url(field: str, url: str) -> None:
    """Raise ConfigError for the setting `field` if it is no server's base URL."""
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", url):
        raise ConfigError(
            field, _("must be a URL that starts with http:// or https://, without user name and query.")
        )


def check_server(server: str, server_model: str) -> None:
    """Raise ConfigError if the server's URL is none, or its model is missing."""
    if server:
        check_url("server", server)
    if server and not server_model:
        raise ConfigError("server_model", _("is required with a server: the name of one of its models."))


@dataclass(frozen=True, kw_only=True)
class GenerateConfig(Config):
    """k responses to every prompt."""

    kind: ClassVar[str] = "generate"
    title: ClassVar[str] = "Generation"

    samples: int = setting(
        4, _("Responses per prompt"), _("How many responses each prompt gets."), min=1, max=64
    )
    max_new_tokens: int = setting(
        256,
        _("Max new tokens"),
        _("Maximum tokens of a response; longer ones are cut."),
        min=1,
        max=65_536,
    )
    temperature: float = setting(
        1.0,
        _("Temperature"),
        _(
            "1 samples from the model's own distribution, lower values favour likely tokens, 0 always takes the most likely one."
        ),
        min=0.0,
        max=10.0,
    )
    batch_tokens: int = setting(
        131_072,
        _("Tokens per batch"),
        _("Maximum tokens of prompts and responses in memory at a time; lower it if memory runs out."),
        min=64,
        max=16_777_216,
    )

    server: str = server_setting(
        _(
            "Base URL of an OpenAI-compatible server, such as vLLM, that generates instead of a model of this site, for example"
            " http://localhost:8000/v1. Its API key is PALATE_API_KEY in the worker's environment, sent only to the base URL in"
            " PALATE_API_SERVER. Empty: sample from the model."
        )
    )
    server_model: str = server_model_setting()
    concurrency: int = concurrency_setting()
    retries: int = retries_setting()
    timeout_s: float = timeout_setting()

    def _check_relations(self) -> None:
        check_server(self.server, self.server_model)
        if not self.server and self.max_new_tokens >= self.max_length:
            raise ConfigError(
                "max_new_tokens",
                _("must be below the maximum sequence length, %(limit)s, to leave room for the prompt."),
                limit=self.max_length,
            )
        if self.temperature == 0 and self.samples > 1:
            raise ConfigError(
                "temperature", _("must be above 0 for several responses per prompt, which would be equal.")
            )
