"""The files that come in and go out: one JSON object per line.

A `Row` is one judgment with all that is known of it; every export format is a function from a row to lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypedDict

from annotation.logic import ranking
from annotation.logic.sampling import prompt_digest

MAX_ANSWER_CHARS = 100_000
ROLES = ("system", "user", "assistant")
_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can spell them, UTF-8 and the database cannot hold them

Message = dict[str, str]


class LineError(ValueError):
    """What is wrong with one line, in a sentence that names the field."""


# --- out ------------------------------------------------------------------------------------------------------


class ResponseRow(TypedDict):
    id: int
    author: str
    text: str


class Row(TypedDict):
    """One judgment. `ranks` follow `responses`; `shown_order` holds positions in `responses`, as they stood on the
    screen; `annotator` is a pseudonym."""

    judgment: int
    project: str
    item: int
    prompt_id: str
    split: str
    tags: list[str]
    probability: float
    messages: list[Message]
    responses: list[ResponseRow]
    ranks: list[int]
    degree: str | None
    shown_order: list[int]
    annotator: str
    guideline: int | None
    rationale: str
    seconds: float
    counted: bool
    created_at: str


Line = dict[str, Any]


def raw(row: Row) -> Iterator[Line]:
    """One line per judgment, with everything known; `ranking` lists positions from best to worst, ties together."""
    yield {**row, "ranking": ranking.levels(row["ranks"]), "margin": ranking.margin(row["degree"])}


def trl(row: Row) -> Iterator[Line]:
    """One line per pair, as TRL's conversational preference format has it (huggingface.co/docs/trl/dataset_formats)."""
    for better, worse in ranking.pairs(row["ranks"]):
        yield {
            "prompt": row["messages"],
            "chosen": [{"role": "assistant", "content": row["responses"][better]["text"]}],
            "rejected": [{"role": "assistant", "content": row["responses"][worse]["text"]}],
            "margin": ranking.margin(row["degree"]),
        }


def rankings(row: Row) -> Iterator[Line]:
    """One line per ranking."""
    yield {
        "prompt": row["messages"],
        "responses": [response["text"] for response in row["responses"]],
        "ranks": row["ranks"],
    }


FORMATS: dict[str, Callable[[Row], Iterator[Line]]] = {"raw": raw, "trl": trl, "rankings": rankings}


def export(rows: Iterable[Row], format: str) -> Generator[str, None, None]:
    """Lines of JSON, each with its newline. Memory stays flat however many rows there are.

    A judgment that does not count towards the overlap stands in `raw` only, where its row says so.
    """
    lines = FORMATS[format]
    for row in rows:
        if row["counted"] or format == "raw":
            for line in lines(row):
                yield json.dumps(line, ensure_ascii=False) + "\n"


# --- in -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImportedResponse:
    text: str
    author: str = "imported"


@dataclass(frozen=True)
class ImportedPrompt:
    external_id: str
    messages: list[Message]
    responses: list[ImportedResponse] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


def parse_prompt(line: str) -> ImportedPrompt:
    """One line of an import file.

    `{"prompt": text or messages, "id"?: text, "responses"?: [text or {"text", "author"}], "tags"?: [text]}`.
    Without an id, a hash of the messages is the id, so that the same file imported twice changes nothing.

    Raises:
        LineError: with the field and what is wrong with it.
    """
    try:
        data = json.loads(line)
    except ValueError as error:
        raise LineError(f"not JSON: {error}") from None
    except RecursionError:
        raise LineError("not JSON: nested too deeply") from None
    if not isinstance(data, dict):
        raise LineError("not a JSON object: each line is {…}")
    if unknown := set(data) - {"id", "prompt", "responses", "tags"}:
        raise LineError(f"unknown field {_quoted(min(unknown))}: known are id, prompt, responses, tags")
    messages = _messages(data.get("prompt"))
    responses = [_response(answer, n) for n, answer in enumerate(_list(data, "responses"), start=1)]
    texts = [response.text for response in responses]
    if len(set(texts)) < len(texts):
        raise LineError("responses: two of them are identical")
    if responses and not 2 <= len(responses) <= 9:
        raise LineError(f"responses: {len(responses)} given, an item has 2 to 9")
    tags = [_text(tag, f"tags[{n}]", limit=60) for n, tag in enumerate(_list(data, "tags"))]
    given = data.get("id")
    if type(given) is int:
        given = str(given)
    external_id = _text(given, "id", limit=200) if given is not None else prompt_digest(messages)[:16]
    return ImportedPrompt(external_id, messages, responses, tags)


def _messages(value: object) -> list[Message]:
    if isinstance(value, str):
        return [{"role": "user", "content": _text(value, "prompt")}]
    if not isinstance(value, list) or not value:
        raise LineError("prompt: missing; give a text, or a list of {role, content}")
    messages = []
    for n, message in enumerate(value):
        if not isinstance(message, dict) or set(message) != {"role", "content"}:
            raise LineError(f"prompt[{n}]: not a {{role, content}} object")
        if message["role"] not in ROLES:
            raise LineError(f"prompt[{n}].role: {_quoted(message['role'])} is none of {', '.join(ROLES)}")
        messages.append(
            {"role": message["role"], "content": _text(message["content"], f"prompt[{n}].content")}
        )
    if messages[-1]["role"] != "user":
        raise LineError("prompt: its last message must be the user's")
    return messages


def _response(value: object, number: int) -> ImportedResponse:
    if isinstance(value, str):
        return ImportedResponse(_text(value, f"responses[{number}]"))
    if isinstance(value, dict) and "text" in value and set(value) <= {"text", "author"}:
        text = _text(value["text"], f"responses[{number}].text")
        return ImportedResponse(
            text, _text(value.get("author", "imported"), f"responses[{number}].author", limit=200)
        )
    raise LineError(f"responses[{number}]: not a text, nor a {{text, author}} object")


def _list(data: dict[str, Any], name: str) -> list[Any]:
    value = data.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise LineError(f"{name}: not a list")
    return value


def _text(value: object, name: str, *, limit: int = MAX_ANSWER_CHARS) -> str:
    if not isinstance(value, str):
        raise LineError(f"{name}: not a text")
    if not value.strip():
        raise LineError(f"{name}: empty")
    if "\0" in value:
        raise LineError(f"{name}: holds a null byte")
    if _SURROGATE.search(value):
        raise LineError(f"{name}: holds half of a character (a lone \\ud800 to \\udfff)")
    if len(value) > limit:
        raise LineError(f"{name}: {len(value):,} characters, at most {limit:,} are taken")
    return value


def _quoted(value: object) -> str:
    return repr(value)[:60]
