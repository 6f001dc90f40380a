"""The files that come in and go out: one JSON object per line.

A `Row` is one judgment with all that is known of it; `annotation.exports` makes every format from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypedDict

from annotation.imports.readers import object_of
from annotation.logic import ranking
from annotation.logic.limits import MAX_RESPONSES, MAX_REVIEW_NOTE_CHARS, MAX_TEXT_CHARS
from annotation.logic.splits import prompt_digest
from annotation.logic.storable_text import storage_problem

ROLES = ("system", "user", "assistant")

Message = dict[str, str]


class LineError(ValueError):
    """What is wrong with one line, in a sentence that names the field."""


# --- out ------------------------------------------------------------------------------------------------------


class ResponseRow(TypedDict):
    id: int
    author: str
    text: str
    quality: int | None
    safe: bool | None
    flags: list[str]


class VerdictRow(TypedDict):
    ranks: list[int]
    degree: str | None
    note: str


class Row(TypedDict):
    """One judgment, with all that is known of it; what a snapshot keeps.

    `ranks` follow `responses`, and both are empty where an answer was written instead; `ranking` lists positions from best
    to worst, ties together; `shown_order` holds positions in `responses`, as they stood on the screen; `annotator` is a
    pseudonym; `group` is the same for all rows of one prompt; `agreement` is of all who judged the item.
    """

    judgment: int
    project: str
    group: int
    item: int
    prompt_id: str
    split: str
    tags: list[str]
    probability: float
    round: int | None
    messages: list[Message]
    responses: list[ResponseRow]
    ranks: list[int]
    ranking: list[list[int]]
    degree: str | None
    margin: float
    shown_order: list[int]
    demonstration: str | None
    annotator: str
    account: str
    guideline: int | None
    rationale: str
    seconds: float
    counted: bool
    gold: bool
    control: bool
    agreement: float | None
    verdict: VerdictRow | None
    supersedes: int | None
    created_at: str


# --- in -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImportedResponse:
    text: str
    author: str = "imported"


@dataclass(frozen=True)
class ImportedPrompt:
    """`gold`: the rank of each response, where the right order is known."""

    external_id: str
    messages: list[Message]
    responses: list[ImportedResponse] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    gold: list[int] | None = None
    gold_explanation: str = ""


FIELDS = ("id", "prompt", "responses", "tags", "gold", "gold_explanation")


def parse_prompt(line: str, *, fewest: int = 2) -> ImportedPrompt:
    """One line of an import file in Palate's own shape: see `read_prompt`.

    Raises:
        LineError: with the field and what is wrong with it.
    """
    try:
        data = object_of(line)
    except ValueError as error:
        raise LineError(str(error)) from None
    return read_prompt(data, fewest=fewest)


def read_prompt(data: dict[str, Any], *, fewest: int = 2) -> ImportedPrompt:
    """`{"prompt": text or messages, "id"?: text, "responses"?: [text or {"text", "author"}], "tags"?: [text], "gold"?: [rank
    of each response], "gold_explanation"?: text}`.

    Without an id, a hash of the messages is the id, so that the same file imported twice changes nothing. `fewest` is how
    many responses there must be, where there are any.

    Raises:
        LineError: with the field and what is wrong with it.
    """
    if unknown := set(data) - set(FIELDS):
        raise LineError(f"unknown field {_quoted(min(unknown))}: known are {', '.join(FIELDS)}")
    messages = read_messages(data.get("prompt"))
    responses = [_response(answer, n) for n, answer in enumerate(_list(data, "responses"), start=1)]
    if responses and not fewest <= len(responses) <= MAX_RESPONSES:
        raise LineError(f"responses: {len(responses)} given, an item has {fewest} to {MAX_RESPONSES}")
    tags = [read_text(tag, f"tags[{n}]", limit=60) for n, tag in enumerate(_list(data, "tags"))]
    given = data.get("id")
    if type(given) is int:
        given = str(given)
    external_id = read_text(given, "id", limit=200) if given is not None else prompt_digest(messages)[:16]
    gold = _gold(data, len(responses))
    why = data.get("gold_explanation")
    explanation = "" if why is None else read_text(why, "gold_explanation", limit=MAX_REVIEW_NOTE_CHARS)
    return ImportedPrompt(external_id, messages, responses, tags, gold, explanation)


def _gold(data: dict[str, Any], k: int) -> list[int] | None:
    ranks = data.get("gold")
    if ranks is None:
        return None
    if k < 2 or not isinstance(ranks, list) or len(ranks) != k:
        raise LineError("gold: not a list with a rank for each of two or more responses")
    if not all(type(rank) is int and 1 <= rank <= k for rank in ranks):
        raise LineError(f"gold: a rank is a number from 1 to {k}")
    return ranking.dense(ranks)


def read_messages(value: object) -> list[Message]:
    """A text, as the user's; or a conversation whose last message is the user's.

    Raises:
        LineError: it is neither.
    """
    if isinstance(value, str):
        return [{"role": "user", "content": read_text(value, "prompt")}]
    if not isinstance(value, list) or not value:
        raise LineError("prompt: missing; give a text, or a list of {role, content}")
    messages = []
    for n, message in enumerate(value):
        if not isinstance(message, dict) or set(message) != {"role", "content"}:
            raise LineError(f"prompt[{n}]: not a {{role, content}} object")
        if message["role"] not in ROLES:
            raise LineError(f"prompt[{n}].role: {_quoted(message['role'])} is none of {', '.join(ROLES)}")
        messages.append(
            {"role": message["role"], "content": read_text(message["content"], f"prompt[{n}].content")}
        )
    if messages[-1]["role"] != "user":
        raise LineError("prompt: its last message must be the user's")
    return messages


def _response(value: object, number: int) -> ImportedResponse:
    if isinstance(value, str):
        return ImportedResponse(read_text(value, f"responses[{number}]"))
    if isinstance(value, dict) and "text" in value and set(value) <= {"text", "author"}:
        text = read_text(value["text"], f"responses[{number}].text")
        return ImportedResponse(
            text, read_text(value.get("author", "imported"), f"responses[{number}].author", limit=200)
        )
    raise LineError(f"responses[{number}]: not a text, nor a {{text, author}} object")


def _list(data: dict[str, Any], name: str) -> list[Any]:
    value = data.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise LineError(f"{name}: not a list")
    return value


def read_text(value: object, name: str, *, limit: int = MAX_TEXT_CHARS) -> str:
    """
    Raises:
        LineError: it is no text, or one that cannot be kept.
    """
    if not isinstance(value, str):
        raise LineError(f"{name}: not a text")
    if not value.strip():
        raise LineError(f"{name}: empty")
    if problem := storage_problem(value):
        raise LineError(f"{name}: {problem}")
    if len(value) > limit:
        raise LineError(f"{name}: {len(value):,} characters, at most {limit:,} are taken")
    return value


def _quoted(value: object) -> str:
    return repr(value)[:60]
