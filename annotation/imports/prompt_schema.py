"""Palate's own format of imported prompts: a JSON object with a prompt, responses, tags, metadata and gold ranks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from annotation.imports.file_rows import JsonObject, parse_json_object
from annotation.imports.preferences import Preference, read_time
from annotation.logic import degrees, ranking
from annotation.logic.limits import MAX_RESPONSES, MAX_REVIEW_NOTE_CHARS, MAX_TEXT_CHARS
from annotation.logic.questions import KEY, MAX_SCALE
from annotation.logic.similarity import distinct
from annotation.logic.splits import prompt_digest
from annotation.logic.storable_text import UnstorableError, dump_json, storage_problem
from annotation.logic.translation import format_number, gettext_noop
from annotation.logic.translation import gettext as _

MAX_DEPTH = 50
"""Of metadata: deeper values cannot be written as JSON everywhere."""
ROLES = ("system", "user", "assistant")

Message = dict[str, str]


class RowError(ValueError):
    """What is wrong with one row, in a sentence that names the field."""


@dataclass(frozen=True)
class ImportedResponse:
    """A response, the name of the model or person who wrote it, and what its user keeps with it."""

    text: str
    author: str = "imported"
    metadata: JsonObject = field(default_factory=dict)


@dataclass(frozen=True)
class ImportedPrompt:
    """A prompt with its responses.

    gold: the rank of each response, where the correct order is known. judgments: how somebody ordered the responses. judge:
    who judged the row, as our exports name them: the annotator, the kind of account, and the judgment's id.
    answer_count, positions: how many answers the row has, and which of these the responses are. left_out: what its row has
    besides, an entry for each time, which is not imported. rows: how many rows of the file it is made from.
    """

    external_id: str
    messages: list[Message]
    responses: list[ImportedResponse] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    gold: list[int] | None = None
    gold_explanation: str = ""
    metadata: JsonObject = field(default_factory=dict)
    judgments: list[Preference] = field(default_factory=list)
    judge: tuple[str, str, str] = ("", "", "")
    answer_count: int = 0
    positions: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()
    rows: int = 1

    @cached_property
    def distinct(self) -> list[int]:
        """The positions of the responses that are not near-duplicates of an earlier one."""
        return distinct([response.text for response in self.responses])

    def with_messages(self, messages: list[Message]) -> ImportedPrompt:
        """The same with another prompt; its id, where it is the hash of the messages, follows."""
        id = self.external_id
        if id == prompt_digest(self.messages)[:16]:
            id = prompt_digest(messages)[:16]
        return replace(self, messages=messages, external_id=id)


FIELDS = ("id", "prompt", "responses", "tags", "gold", "gold_explanation", "metadata", "judgments")


def parse_prompt(line: str, *, min_responses: int = 2) -> ImportedPrompt:
    """One line of a file in Palate's own format: see `read_prompt`.

    Raises:
        RowError: with the field and what is wrong with it.
    """
    try:
        data = parse_json_object(line)
    except ValueError as error:
        raise RowError(str(error)) from None
    return read_prompt(data, min_responses=min_responses)


def read_prompt(data: JsonObject, *, min_responses: int = 2) -> ImportedPrompt:
    """`{"prompt": text or messages, "id"?: text, "responses"?: [text or {"text", "author"?, "metadata"?}], "tags"?: [text],
    "gold"?: [rank of each response], "gold_explanation"?: text, "metadata"?: object, "judgments"?: [{"ranks",
    "annotator"?, "account"?, "degree"?, "quality"?, "safe"?, "flags"?, "ratings"?, "comments"?,
    "rationale"?, "shown_order"?, "judged_at"?, "details"?}]}`.

    Without an id, a hash of the messages is the id, so that the same file imported twice changes nothing. Where there
    are responses, there must be at least `min_responses`.

    Raises:
        RowError: with the field and what is wrong with it.
    """
    if unknown := set(data) - set(FIELDS):
        raise RowError(
            _("unknown field %(field)s: the fields are %(fields)s")
            % {"field": _quoted(min(unknown)), "fields": ", ".join(FIELDS)}
        )
    messages = read_messages(data.get("prompt"))
    responses = [
        _read_response(response, n) for n, response in enumerate(_read_list(data, "responses"), start=1)
    ]
    if responses and not min_responses <= len(responses) <= MAX_RESPONSES:
        raise RowError(
            _("responses: %(n)s given, an item has %(min_responses)s to %(most)s")
            % {"n": len(responses), "min_responses": min_responses, "most": MAX_RESPONSES}
        )
    tags = [read_text(tag, f"tags[{n}]", limit=60) for n, tag in enumerate(_read_list(data, "tags"))]
    id = data.get("id")
    external_id = read_id(id, "id") if id is not None else prompt_digest(messages)[:16]
    gold = _read_gold(data, len(responses))
    explanation = data.get("gold_explanation")
    if explanation is not None:
        explanation = read_text(explanation, "gold_explanation", limit=MAX_REVIEW_NOTE_CHARS)
    metadata = _read_metadata(data, "metadata")
    judgments = [
        read_judgment(judgment, f"judgments[{n}]", len(responses))
        for n, judgment in enumerate(_read_list(data, "judgments"), start=1)
    ]
    return ImportedPrompt(
        external_id,
        messages,
        responses,
        tags,
        gold,
        explanation or "",
        metadata,
        judgments,
        answer_count=len(responses),
        positions=tuple(range(len(responses))),
    )


def read_id(value: object, name: str) -> str:
    """An id of at most 200 characters, from a text or a whole number.

    Raises:
        RowError: it is neither.
    """
    if type(value) is float and value.is_integer():
        value = int(value)  # where ids are missing in other rows, pandas turns numbers into floats
    return read_text(str(value) if type(value) is int else value, name, limit=200)


def _read_metadata(data: JsonObject, name: str) -> JsonObject:
    value = data.get("metadata")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RowError(_("%(name)s: not an object") % {"name": name})
    return check_metadata(value, name)


def check_metadata(metadata: JsonObject, name: str = "metadata") -> JsonObject:
    """The metadata, with what JSON lacks (dates, bytes) as texts.

    Raises:
        RowError: it cannot be stored.
    """
    if not metadata:
        return metadata
    if _is_deep(metadata):
        raise RowError(
            _("%(name)s: nested more than %(most)s levels deep") % {"name": name, "most": MAX_DEPTH}
        )
    try:
        text = dump_json(json.loads(json.dumps(metadata, default=str), parse_constant=lambda name: None))
    except UnstorableError as error:
        raise RowError(f"{name}: {str(error)[:1].lower()}{str(error)[1:-1]}") from None
    if len(text) > MAX_TEXT_CHARS:
        raise RowError(
            _("%(name)s: %(n)s characters as JSON, at most %(most)s are taken")
            % {"name": name, "n": format_number(len(text)), "most": format_number(MAX_TEXT_CHARS)}
        )
    value: JsonObject = json.loads(text)
    return value


def _read_gold(data: JsonObject, k: int) -> list[int] | None:
    return None if data.get("gold") is None else _read_ranks(data["gold"], "gold", k)


def _is_deep(value: object) -> bool:
    level = [value]
    for _level in range(MAX_DEPTH):
        level = [
            part
            for value in level
            if isinstance(value, dict | list)
            for part in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return False
    return True


def _read_ranks(ranks: object, name: str, k: int) -> list[int]:
    if k < 2 or not isinstance(ranks, list) or len(ranks) != k:
        raise RowError(
            _("%(name)s: not a list with a rank for each of two or more responses") % {"name": name}
        )
    if not all(type(rank) is int and 1 <= rank <= k for rank in ranks):
        raise RowError(_("%(name)s: a rank is a number from 1 to %(k)s") % {"name": name, "k": k})
    return ranking.dense(ranks)


JUDGMENT_FIELDS = tuple(field.name for field in fields(Preference))


def read_judgment(value: object, name: str, k: int) -> Preference:
    """A judgment of k responses, in Palate's own format; of none, it is a written answer, the `demonstration` in its details.

    Raises:
        RowError: with the field and what is wrong with it.
    """
    if not isinstance(value, dict):
        raise RowError(_("%(name)s: not an object") % {"name": name})
    if unknown := set(value) - set(JUDGMENT_FIELDS):
        raise RowError(
            _("%(name)s: unknown field %(field)s: the fields are %(fields)s")
            % {"name": name, "field": _quoted(min(unknown)), "fields": ", ".join(JUDGMENT_FIELDS)}
        )

    def each(field: str, problem: str, is_valid: Callable[[Any], bool]) -> Any:
        """A list with an entry for each response. problem: what is wrong otherwise."""
        entries = value.get(field)
        if entries is None:
            return None
        if not isinstance(entries, list) or len(entries) != k or not all(map(is_valid, entries)):
            raise RowError(_(problem) % {"name": f"{name}.{field}"})
        return entries

    def one_of(field: str, known: Iterable[str]) -> Any:
        choice = value.get(field)
        if choice is not None and (not isinstance(choice, str) or choice not in known):
            raise RowError(
                _("%(name)s.%(field)s: %(value)s is none of %(known)s")
                % {"name": name, "field": field, "value": _quoted(choice), "known": ", ".join(known)}
            )
        return choice

    def text(field: str, limit: int) -> str:
        given = value.get(field)
        return read_text(given, f"{name}.{field}", limit=limit) if given not in (None, "") else ""

    shown = each(
        "shown_order",
        gettext_noop("%(name)s: not a list with a position for each response"),
        lambda position: type(position) is int,
    )
    if shown is not None and sorted(shown) != list(range(k)):
        raise RowError(
            _("%(name)s.shown_order: not the positions 0 to %(last)s, each once")
            % {"name": name, "last": k - 1}
        )
    details = _read_metadata({"metadata": value.get("details")}, f"{name}.details")
    is_written = k == 0 and not value.get("ranks") and isinstance(details.get("demonstration"), str)
    return Preference(
        ranks=[] if is_written else _read_ranks(value.get("ranks"), f"{name}.ranks", k),
        annotator=text("annotator", 200),
        account=one_of("account", ("person", "machine")) or "",
        degree=one_of("degree", degrees.LABELS),
        quality=each(
            "quality",
            gettext_noop("%(name)s: not a list with a number from 1 to 7, or null, for each response"),
            lambda q: q is None or (type(q) is int and 1 <= q <= 7),
        ),
        safe=each(
            "safe",
            gettext_noop("%(name)s: not a list with true, false or null for each response"),
            lambda safe: safe is None or isinstance(safe, bool),
        ),
        flags=each(
            "flags",
            gettext_noop(
                "%(name)s: not a list with a list of flags, each of small letters, digits and underscores, for each"
                " response"
            ),
            lambda f: (
                isinstance(f, list) and all(isinstance(flag, str) and KEY.fullmatch(flag) for flag in f)
            ),
        ),
        ratings=each(
            "ratings",
            gettext_noop('%(name)s: not a list with a list of {"question", "value"} for each response'),
            _are_ratings,
        ),
        comments=each(
            "comments",
            gettext_noop(
                '%(name)s: not a list with a list of {"text", "quote"?, "start"?, "end"?} for each response'
            ),
            _are_comments,
        ),
        rationale=text("rationale", MAX_TEXT_CHARS),
        shown_order=shown,
        judged_at=_read_time(value.get("judged_at"), f"{name}.judged_at"),
        details=details,
    )


def _are_ratings(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(rating, dict)
        and set(rating) == {"question", "value"}
        and isinstance(rating["question"], str)
        and KEY.fullmatch(rating["question"]) is not None
        and type(rating["value"]) is int
        and 1 <= rating["value"] <= MAX_SCALE
        for rating in value
    )


def _are_comments(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(comment, dict)
        and set(comment) <= {"text", "quote", "start", "end"}
        and isinstance(comment.get("text"), str)
        and isinstance(comment.get("quote", ""), str)
        and all(
            comment.get(end) is None or (type(comment[end]) is int and 0 <= comment[end] <= MAX_TEXT_CHARS)
            for end in ("start", "end")
        )
        for comment in value
    )


def _read_time(value: object, name: str) -> str | None:
    if value is None:
        return None
    if (time := read_time(value)) is None:
        raise RowError(_("%(name)s: not a time: give 2026-01-31T12:00:00Z") % {"name": name})
    return time


def read_messages(value: object) -> list[Message]:
    """A text as one user message; or a conversation whose last message is the user's.

    Raises:
        RowError: it is neither.
    """
    if isinstance(value, str):
        return [{"role": "user", "content": read_text(value, "prompt")}]
    if not isinstance(value, list) or not value:
        raise RowError(_("prompt: missing; give a text, or a list of {role, content}"))
    messages = []
    for n, message in enumerate(value):
        if not isinstance(message, dict) or set(message) != {"role", "content"}:
            raise RowError(_("prompt[%(n)s]: not a {role, content} object") % {"n": n})
        if message["role"] not in ROLES:
            raise RowError(
                _("prompt[%(n)s].role: %(role)s is none of %(roles)s")
                % {"n": n, "role": _quoted(message["role"]), "roles": ", ".join(ROLES)}
            )
        messages.append(
            {"role": message["role"], "content": read_text(message["content"], f"prompt[{n}].content")}
        )
    if messages[-1]["role"] != "user":
        raise RowError(_("prompt: its last message must be the user's"))
    return messages


def _read_response(value: object, number: int) -> ImportedResponse:
    if isinstance(value, str):
        return ImportedResponse(read_text(value, f"responses[{number}]"))
    if isinstance(value, dict) and "text" in value and set(value) <= {"text", "author", "metadata"}:
        return ImportedResponse(
            read_text(value["text"], f"responses[{number}].text"),
            read_text(value.get("author", "imported"), f"responses[{number}].author", limit=200),
            _read_metadata(value, f"responses[{number}].metadata"),
        )
    raise RowError(_("responses[%(n)s]: not a text, nor a {text, author, metadata} object") % {"n": number})


def _read_list(data: JsonObject, name: str) -> list[Any]:
    value = data.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise RowError(_("%(name)s: not a list") % {"name": name})
    return value


def read_text(value: object, name: str, *, limit: int = MAX_TEXT_CHARS) -> str:
    """A text of at most `limit` characters.

    Raises:
        RowError: it is not a text, or one that cannot be stored.
    """
    if not isinstance(value, str):
        raise RowError(_("%(name)s: not a text") % {"name": name})
    if not value.strip():
        raise RowError(_("%(name)s: empty") % {"name": name})
    if problem := storage_problem(value):
        raise RowError(f"{name}: {problem}")
    if len(value) > limit:
        raise RowError(
            _("%(name)s: %(n)s characters, at most %(limit)s are taken")
            % {"name": name, "n": format_number(len(value)), "limit": format_number(limit)}
        )
    return value


def _quoted(value: object) -> str:
    return repr(value)[:60]
