"""Requests of OpenAI's chat completions, checked. What a field asks for and this server does not do is refused by name."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from training.core.messages import Message, parse_messages

MAX_TEMPERATURE = 10.0
MAX_SEED = 2**63 - 1
MAX_TOKENS = 10**7
"""A number of tokens beyond every model's."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "top_k": (0, -1),
    "min_p": (0,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "logit_bias": ({},),
    "stop": ([], ""),
    "tools": ([],),
    "response_format": ({"type": "text"},),
    "return_token_ids": (False,),
}
"""Fields of OpenAI and vLLM that are accepted with these values, with which they change nothing."""

LABELS = ("user", "metadata", "store")
"""Fields that change no answer, and are not looked at."""

READ = {
    "model",
    "messages",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "seed",
    "stream",
    "stream_options",
}


class RequestError(Exception):
    """A request is refused. The message is a sentence; param: the field at fault; status: of HTTP."""

    def __init__(self, message: str, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param, self.status = param, status


@dataclass(frozen=True)
class CompletionRequest:
    """max_new_tokens: None for as many as there is room for. limit_field: the field that it is from."""

    model: str
    messages: list[Message]
    temperature: float
    top_p: float
    max_new_tokens: int | None
    limit_field: str
    seed: int
    stream: bool
    include_usage: bool


def parse_request(body: bytes) -> CompletionRequest:
    """The request in a body. Raises RequestError."""
    fields = _parse_object(body)
    for name, value in fields.items():
        if name in NEUTRAL and value not in NEUTRAL[name]:
            raise RequestError(
                f"The field '{name}' is not supported here, but for values that change nothing.", name
            )
        if name not in NEUTRAL and name not in READ and name not in LABELS:
            raise RequestError(f"The field '{name}' is not supported here.", name)
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise RequestError("The field 'model' must be the name of a model.", "model")
    limit_field = "max_completion_tokens" if "max_completion_tokens" in fields else "max_tokens"
    seed = _integer(fields, "seed", 0, MAX_SEED)
    options = fields.get("stream_options", {})
    if not isinstance(options, dict):
        raise RequestError("The field 'stream_options' must be an object.", "stream_options")
    return CompletionRequest(
        model=model,
        messages=_messages(fields.get("messages")),
        temperature=_number(
            fields, "temperature", 1.0, lambda value: 0 <= value <= MAX_TEMPERATURE, "from 0 to 10"
        ),
        top_p=_number(fields, "top_p", 1.0, lambda value: 0 < value <= 1, "above 0 and at most 1"),
        max_new_tokens=_integer(fields, limit_field, 1, MAX_TOKENS),
        limit_field=limit_field,
        seed=secrets.randbits(53) if seed is None else seed,
        stream=_flag(fields, "stream"),
        include_usage=_flag(options, "include_usage", "stream_options"),
    )


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError("The body is not JSON.") from None
    if not isinstance(fields, dict):
        raise RequestError("The body must be a JSON object.")
    return {name: value for name, value in fields.items() if value is not None}


def _messages(value: Any) -> list[Message]:
    try:
        messages = parse_messages(value, "messages")
    except ValueError as error:
        raise RequestError(f"The field 'messages' is refused: {error}.", "messages") from None
    if messages[-1]["role"] not in ("user", "tool"):
        raise RequestError(
            "The last of the 'messages' must be the user's, or a tool's: it is what is answered.", "messages"
        )
    for number, message in enumerate(messages, start=1):
        for text in _texts(message):
            if "\0" in text:
                raise RequestError(f"Message {number} of 'messages' has a NUL character.", "messages")
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise RequestError(
                    f"Message {number} of 'messages' has half of a surrogate pair.", "messages"
                )
    return messages


def _texts(value: Any) -> list[str]:
    """All strings in a JSON value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in _texts(part)]
    return [text for part in value for text in _texts(part)] if isinstance(value, list) else []


def _number(
    fields: dict[str, Any], name: str, default: float, is_allowed: Callable[[float], bool], allowed: str
) -> float:
    value = fields.get(name, default)
    # NaN is within no bounds
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_allowed(value):
        raise RequestError(f"The field '{name}' must be a number {allowed}.", name)
    return float(value)


def _integer(fields: dict[str, Any], name: str, lowest: int, highest: int) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is not int or not lowest <= value <= highest:
        raise RequestError(f"The field '{name}' must be an integer from {lowest} to {highest}.", name)
    return value


def _flag(fields: dict[str, Any], name: str, param: str = "") -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise RequestError(f"The field '{name}' must be true or false.", param or name)
    return value
