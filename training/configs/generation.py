"""Sampling of responses, by a model or a server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from training.configs.base import Config
from training.configs.fields import ConfigError, setting


@dataclass(frozen=True, kw_only=True)
class GenerateConfig(Config):
    """Sampling of k responses for every prompt."""

    kind: ClassVar[str] = "generate"
    title: ClassVar[str] = "Generation"

    samples: int = setting(4, "Responses a prompt", "How many responses each prompt gets.", min=1, max=64)
    max_new_tokens: int = setting(
        256,
        "Longest response",
        "Most tokens of a response; one that is not finished by then is cut.",
        min=1,
        max=65_536,
    )
    temperature: float = setting(
        1.0,
        "Temperature",
        "1 samples from the model's own distribution, lower is more cautious, 0 always takes the likeliest token.",
        min=0.0,
        max=10.0,
    )
    batch_tokens: int = setting(
        131_072,
        "Tokens at once",
        "Most tokens, prompts and responses together, kept in memory at once; lower it when memory runs out.",
        min=64,
        max=16_777_216,
    )

    server: str = setting(
        "",
        "Server",
        "Base URL of an OpenAI-compatible server (vLLM and the like) that answers instead of a model of ours, as in"
        " http://localhost:8000/v1. Its API key comes from the worker's environment: PALATE_API_KEY, sent only to the base"
        " URL in PALATE_API_SERVER. Empty: sample here.",
    )
    server_model: str = setting("", "Server's model", "What the server calls the model that is to answer.")
    concurrency: int = setting(
        16, "Requests at once", "Prompts under way at the server at once.", min=1, max=1024
    )
    retries: int = setting(
        5,
        "Retries",
        "How often a request is made again that met a busy or failing server, or none; with growing pauses, or those that"
        " the server asks for.",
        min=0,
        max=100,
    )
    timeout_s: float = setting(
        600.0, "Patience", "Seconds that one request to the server may take.", min=0.1, max=86_400.0
    )

    def _check_relations(self) -> None:
        if self.server and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", self.server):
            raise ConfigError(
                "server", "must be a URL that begins with http:// or https://, without a user or query."
            )
        if self.server and not self.server_model:
            raise ConfigError("server_model", "say which of the server's models is to answer.")
        if not self.server and self.max_new_tokens >= self.max_length:
            raise ConfigError(
                "max_new_tokens",
                f"the longest row, {self.max_length}, must leave room for at least a token of prompt.",
            )
        if self.temperature == 0 and self.samples > 1:
            raise ConfigError(
                "temperature", "at 0 every response of a prompt would be the same; ask for one."
            )
