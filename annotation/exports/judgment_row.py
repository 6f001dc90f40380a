"""One judgment with everything known about it: a row of the `raw` format and a line of a snapshot."""

from __future__ import annotations

from types import NoneType
from typing import Any, TypedDict, get_args, get_origin, get_type_hints, is_typeddict

from annotation.imports.prompt_schema import Message

Type = Any
"""The type of an exported column: `"string"`, `"int64"`, `"float64"`, `"bool"`, `[type]` for a list, or `{name: type}` for
an object. Every column may be null."""

MESSAGE: Type = {"role": "string", "content": "string"}


class RatingRow(TypedDict):
    """A rating by one of the project's own criteria."""

    question: str
    value: int


class CommentRow(TypedDict):
    """A comment on a passage of the response. `start` and `end` count characters of its text; null where the passage does not
    stand in it word for word, or the comment is on all of it."""

    quote: str
    start: int | None
    end: int | None
    text: str


class AnswerRow(TypedDict):
    """A free text that answers one of the project's own questions."""

    question: str
    text: str


class ResponseRow(TypedDict):
    id: int
    author: str
    text: str
    metadata: str
    quality: int | None
    safe: bool | None
    flags: list[str]
    ratings: list[RatingRow]
    comments: list[CommentRow]


class VerdictRow(TypedDict):
    ranks: list[int]
    degree: str | None
    note: str


class JudgmentRow(TypedDict):
    """`ranks` are in the order of `responses`; both are empty where an answer was written instead. `ranking` lists positions
    in `responses` from best to worst, ties together; `shown_order` lists them as they were on the screen. `annotator` is a
    pseudonym, `group` the same for all rows of a prompt, `agreement` that of everybody who judged the item. `metadata` and
    `details` are JSON as a text: as an object, their columns would depend on the rows. `questions` is the version of the
    project's own questions that `ratings`, `comments` and `answers` answer. Of an `imported` judgment, `source` is
    the name of the file and `annotator` a name in it. Of a message of a live chat, `chat` is the chat's id, and `turn` the number
    of the message in its conversation, from 1."""

    judgment: int
    project: str
    group: int
    item: int
    prompt_id: str
    split: str
    tags: list[str]
    metadata: str
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
    imported: bool
    source: str | None
    guideline: int | None
    questions: int | None
    answers: list[AnswerRow]
    rationale: str
    seconds: float | None
    counted: bool
    gold: bool
    control: bool
    agreement: float | None
    verdict: VerdictRow | None
    supersedes: int | None
    details: str | None
    chat: int | None
    turn: int | None
    created_at: str


def column_type(annotation: Any) -> Type:
    """The type of a column, from its annotation in a typed dictionary."""
    if annotation == Message:
        return MESSAGE
    if is_typeddict(annotation):
        return {name: column_type(hint) for name, hint in get_type_hints(annotation).items()}
    arguments = [argument for argument in get_args(annotation) if argument is not NoneType]
    if get_origin(annotation) is list:
        return [column_type(arguments[0])]
    if arguments:
        return column_type(arguments[0])
    return {int: "int64", float: "float64", str: "string", bool: "bool"}[annotation]


ROW_TYPES: dict[str, Type] = column_type(JudgmentRow)
"""The columns of a raw row with their types, in order."""
