"""What a dataset format is: its columns, and how one of its rows becomes a prompt with responses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from annotation.imports.file_rows import FileRow, JsonObject, decode_json
from annotation.imports.preferences import Preference
from annotation.imports.prompt_schema import (
    ROLES,
    ImportedPrompt,
    ImportedResponse,
    Message,
    RowError,
    read_text,
)
from annotation.logic.limits import MAX_RESPONSES
from annotation.logic.splits import prompt_digest
from annotation.logic.translation import gettext as _
from annotation.logic.translation import gettext_noop


class NotComparable(ValueError):
    """Why a valid row cannot become an item, in a few words; the other rows of its file are imported."""


@dataclass(frozen=True)
class DatasetFormat:
    """A dataset's format. Every column that it may have is declared, so that none is left out in silence.

    Args:
        title: in English; it is translated where it is shown.
        required: columns without which a row is not of this format.
        optional: further columns that `convert` reads.
        metadata: columns that are kept as the prompt's metadata.
        preferences: columns that say which response is better; `judge` reads them.
        about_preferences: columns that say more about it, which judgments keep as they are.
        ignored: columns that repeat others.
        is_column: whether `convert` reads a column of this name, where their number varies; `varying` are examples of them.
        condition: what a row must fulfil besides.
        one_response_per_row: consecutive rows with the same prompt are merged into one.
        join: joins rows of the file to one where they belong together, before anything is converted.
        split: the parts of a row that become a prompt each; `convert` and `judge` get a part.
        judge: the preferences of a row, between its answers in their order.
        judged_by: whose preferences these are, `person` or `machine`; empty if that depends on the file.
        score: where one row has one response: the response's metadata by which they are ordered.
    """

    name: str
    title: str
    required: tuple[str, ...]
    convert: Callable[[JsonObject], ImportedPrompt]
    optional: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    preferences: tuple[str, ...] = ()
    about_preferences: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    is_column: Callable[[str], bool] = lambda name: False
    varying: tuple[str, ...] = ()
    condition: Callable[[JsonObject], bool] = lambda row: True
    one_response_per_row: bool = False
    join: Callable[[Iterator[FileRow]], Iterator[FileRow]] | None = None
    split: Callable[[JsonObject], list[JsonObject]] | None = None
    judge: Callable[[JsonObject], list[Preference]] | None = None
    judged_by: str = ""
    score: str = ""

    @property
    def has_preferences(self) -> bool:
        return self.judge is not None or bool(self.score or self.preferences)

    def matches(self, row: JsonObject) -> bool:
        return all(name in row for name in self.required) and self.condition(row)

    def use_of(self, column: str) -> str:
        """What becomes of a column: `read`, `metadata`, `preference`, `ignored`; `other` where it is not declared."""
        if column in self.preferences or column in self.about_preferences:
            return "preference"
        if column in self.required or column in self.optional or self.is_column(column):
            return "read"
        if column in self.metadata:
            return "metadata"
        return "ignored" if column in self.ignored else "other"


class Answer(NamedTuple):
    """A response as the file has it, not yet validated."""

    text: object
    author: object = None
    metadata: Mapping[str, object] = {}


def build_prompt(
    messages: list[Message], answers: Sequence[Answer], *, left_out: Sequence[str] = ()
) -> ImportedPrompt:
    """A prompt with its responses; authors that the file does not name are "imported". Of three or more answers, empty ones
    are left out.

    left_out: what of the row is left out already.

    Raises:
        RowError: an answer is invalid, or there are too many.
        NotComparable: too many of them are empty.
    """
    filled = [(n, answer) for n, answer in enumerate(answers, start=1) if not is_empty(answer.text)]
    if len(answers) > 1 and len(filled) < 2:
        raise NotComparable(_("fewer than two of the answers have a text"))
    if answers and not filled:
        raise NotComparable(_("the answer is empty"))
    if len(filled) > MAX_RESPONSES:
        raise RowError(
            _("%(n)s answers, an item has at most %(most)s") % {"n": len(filled), "most": MAX_RESPONSES}
        )
    responses = [
        ImportedResponse(
            read_text(answer.text, _("answer %(n)s") % {"n": number}),
            read_author(answer.author),
            {name: value for name, value in answer.metadata.items() if value is not None},
        )
        for number, answer in filled
    ]
    empty = [_("empty answers")] * (len(answers) - len(filled))
    return ImportedPrompt(
        prompt_digest(messages)[:16],
        messages,
        responses,
        answer_count=len(answers),
        positions=tuple(number - 1 for number, _ in filled),
        left_out=(*left_out, *empty),
    )


def is_empty(text: object) -> bool:
    return text is None or (isinstance(text, str) and not text.strip())


def read_author(value: object) -> str:
    return "imported" if is_empty(value) else read_text(value, "model", limit=200).strip()


def objects(value: object, name: str) -> list[JsonObject]:
    """A list of objects.

    Raises:
        RowError: it is not.
    """
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
        raise RowError(_("%(name)s: not a list of objects") % {"name": name})
    return value


def read_json_text(value: object, name: str) -> object:
    """A JSON value that is written as a text; None for none.

    Raises:
        RowError: it is not JSON.
    """
    if value is None:
        return None
    try:
        return decode_json(read_text(value, name))
    except (json.JSONDecodeError, RecursionError):
        raise RowError(_("%(name)s: not JSON") % {"name": name}) from None


LATER_TURNS = gettext_noop("turns after the first answers that differ")
_ROLE_OF = {"human": "user", "gpt": "assistant", "prompter": "user", "bot": "assistant"}


def read_conversation(value: object, name: str) -> list[Message]:
    """A list of messages, `{role, content}` or ShareGPT's `{from, value}`, reduced to role and content.

    A content may be a list of parts of text, which are joined.

    Raises:
        RowError: it is not, or has what cannot be shown: calls of tools, images.
    """
    if not isinstance(value, list) or not value:
        raise RowError(_("%(name)s: not a list of messages") % {"name": name})
    messages = []
    for n, message in enumerate(value):
        if not isinstance(message, dict):
            raise RowError(_("%(name)s[%(n)s]: not a message") % {"name": name, "n": n})
        role = message.get("role", message.get("from"))
        if message.get("tool_calls") or message.get("function_call") or role in TOOL_ROLES:
            raise RowError(
                _("%(name)s[%(n)s]: a call of a tool, which cannot be shown") % {"name": name, "n": n}
            )
        role = _ROLE_OF.get(role, role) if isinstance(role, str) else role
        if role not in ROLES:
            raise RowError(
                _("%(name)s[%(n)s]: not a message with the role of %(roles)s")
                % {"name": name, "n": n, "roles": ", ".join(ROLES)}
            )
        content = message["content"] if "content" in message else message.get("value")
        messages.append({"role": role, "content": read_content(content, f"{name}[{n}].content")})
    return messages


TOOL_ROLES = ("tool", "function", "function_call", "observation")


def read_content(value: object, name: str) -> str:
    """A message's text, or its parts of text joined.

    Raises:
        RowError: it is neither, or has parts of another type.
    """
    if not isinstance(value, list):
        return read_text(value, name)
    texts = []
    for n, part in enumerate(value):
        if not isinstance(part, dict) or part.get("type") != "text":
            type = part.get("type") if isinstance(part, dict) else None
            raise RowError(
                _("%(name)s[%(n)s]: a part of type %(type)s, only text can be shown")
                % {"name": name, "n": n, "type": repr(str(type)[:20])}
            )
        texts.append(read_text(part.get("text"), f"{name}[{n}].text"))
    return read_text("\n\n".join(texts), name)


def read_answer(value: object, name: str, prompt: list[Message]) -> str:
    """An answer: a text, one message, or messages that end with it and may begin with the prompt's.

    Raises:
        RowError: it is none of these.
        NotComparable: its messages before the last are not the prompt's.
    """
    if isinstance(value, str):
        return value
    messages = read_conversation([value] if isinstance(value, dict) else value, name)
    if messages[-1]["role"] != "assistant":
        raise RowError(_("%(name)s: its last message is not the assistant's") % {"name": name})
    if messages[:-1] and messages[:-1] != prompt and messages[:-1] != prompt[1:]:
        raise NotComparable(_("the conversations differ before the answer"))
    return messages[-1]["content"]


def pair_of_conversations(
    first: list[Message], second: list[Message], authors: tuple[object, object] = (None, None)
) -> ImportedPrompt:
    """The turns that two conversations share, and the first answers in which they differ.

    Raises:
        NotComparable: they differ elsewhere than in an answer, or not at all.
    """
    shared = 0
    while shared < min(len(first), len(second)) and first[shared] == second[shared]:
        shared += 1
    if shared == len(first) == len(second):
        raise NotComparable(_("the answers are the same"))
    if shared in (len(first), len(second)):
        raise NotComparable(_("one conversation is the beginning of the other"))
    start, a, b = first[:shared], first[shared], second[shared]
    if not start or start[-1]["role"] != "user" or not a["role"] == b["role"] == "assistant":
        raise NotComparable(_("the conversations differ before the answer"))
    more = len(first) > shared + 1 or len(second) > shared + 1
    return build_prompt(
        start,
        [Answer(a["content"], authors[0]), Answer(b["content"], authors[1])],
        left_out=[_(LATER_TURNS)] if more else [],
    )


_TURN = re.compile(r"\n\nHuman:|\n\nAssistant:")


def is_transcript(value: object) -> bool:
    return isinstance(value, str) and value.lstrip().startswith("Human:")


def read_transcript(value: object, name: str) -> list[Message]:
    """`"\\n\\nHuman: … \\n\\nAssistant: …"` as messages; consecutive turns of one speaker are merged.

    Raises:
        RowError: it is not a text.
        NotComparable: a turn is empty.
    """
    text = "\n\n" + read_text(value, name).lstrip()
    speakers = ["user" if mark.endswith("Human:") else "assistant" for mark in _TURN.findall(text)]
    messages: list[Message] = []
    for role, turn in zip(speakers, _TURN.split(text)[1:], strict=True):
        if not turn.strip():
            raise NotComparable(_("a turn is empty"))
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += "\n\n" + turn.strip()
        else:
            messages.append({"role": role, "content": turn.strip()})
    return messages
