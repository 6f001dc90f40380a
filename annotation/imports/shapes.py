"""The shapes in which preference data is published, each told by its columns and read by one small function.

What a file says about which answer is better is left aside: a judgment is something that a person here has said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from annotation.imports.readers import Row
from annotation.imports.schema import (
    FIELDS,
    ROLES,
    ImportedPrompt,
    ImportedResponse,
    LineError,
    Message,
    read_messages,
    read_prompt,
    read_text,
)
from annotation.logic.limits import MAX_RESPONSES
from annotation.logic.splits import prompt_digest

Answers = Sequence[tuple[object, object]]


class SetAside(ValueError):
    """Why a row that is well formed cannot become an item, in a few words; the rest of its file can be used."""


@dataclass(frozen=True)
class Shape:
    """`joins`: a row holds one answer, and rows that follow each other with the same prompt belong together."""

    name: str
    title: str
    fits: Callable[[Row], bool]
    read: Callable[[Row], ImportedPrompt]
    joins: bool = False


def recognise(row: Row) -> Shape:
    """The shape of a file, by its first row.

    Raises:
        LineError: it has none of them.
    """
    for shape in SHAPES:
        if shape.fits(row):
            return shape
    named = ", ".join(sorted(str(name) for name in row)[:12]) or "none"
    raise LineError(
        f"no known shape: its columns are {named}. The least that is needed is a column called prompt."
    )


def read(shape: Shape, row: Row, *, fewest: int = 2) -> ImportedPrompt:
    """A row as a prompt with its answers.

    Raises:
        LineError: something is wrong with it.
        SetAside: nothing is wrong with it, but there is nothing to compare.
    """
    if shape is PALATE:
        return read_prompt(row, fewest=fewest)
    return shape.read(row)


def joined(first: ImportedPrompt, second: ImportedPrompt) -> ImportedPrompt:
    """Two rows of one prompt as one, as long as they make one item."""
    return replace(first, responses=[*first.responses, *second.responses])


def join(first: ImportedPrompt, second: ImportedPrompt) -> bool:
    """Whether two rows of a shape that `joins` belong together."""
    return first.messages == second.messages and len(first.responses) < MAX_RESPONSES


# --- what several shapes need ---------------------------------------------------------------------------------


def _prompt(messages: list[Message], answers: Answers) -> ImportedPrompt:
    """Texts with the names of who wrote them, as far as the file says."""
    responses = [
        ImportedResponse(
            read_text(text, f"answer {number}"), _author(author) if author is not None else "imported"
        )
        for number, (text, author) in enumerate(answers, start=1)
    ]
    if len(responses) > MAX_RESPONSES:
        raise LineError(f"{len(responses)} answers, an item has at most {MAX_RESPONSES}")
    return ImportedPrompt(prompt_digest(messages)[:16], messages, responses)


def _author(value: object) -> str:
    return read_text(value, "model", limit=200).strip()


def _has(row: Row, *names: str) -> bool:
    return all(name in row for name in names)


def _conversation(value: object, name: str) -> list[Message]:
    """Messages of any length, with what they carry besides role and content left out."""
    if not isinstance(value, list) or not value:
        raise LineError(f"{name}: not a list of messages")
    messages = []
    for number, message in enumerate(value):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise LineError(f"{name}[{number}]: not a message with the role of {', '.join(ROLES)}")
        content = read_text(message.get("content"), f"{name}[{number}].content")
        messages.append({"role": message["role"], "content": content})
    return messages


def _first_difference(one: list[Message], other: list[Message]) -> tuple[list[Message], str, str]:
    """What two conversations share, and the first answers in which they differ.

    Raises:
        SetAside: they differ elsewhere than in an answer, or not at all.
    """
    shared = 0
    while shared < min(len(one), len(other)) and one[shared] == other[shared]:
        shared += 1
    if shared == len(one) == len(other):
        raise SetAside("the answers are the same")
    if shared in (len(one), len(other)):
        raise SetAside("one conversation is the beginning of the other")
    start, mine, theirs = one[:shared], one[shared], other[shared]
    if not start or start[-1]["role"] != "user" or not mine["role"] == theirs["role"] == "assistant":
        raise SetAside("the conversations differ before the answer")
    return start, mine["content"], theirs["content"]


def _pair_of_conversations(
    one: list[Message], other: list[Message], authors: Answers | None
) -> ImportedPrompt:
    start, mine, theirs = _first_difference(one, other)
    names = [author for _, author in authors] if authors else [None, None]
    return _prompt(start, [(mine, names[0]), (theirs, names[1])])


# --- Anthropic's HH-RLHF --------------------------------------------------------------------------------------

_TURN = re.compile(r"\n\nHuman:|\n\nAssistant:")


def _is_transcript(value: object) -> bool:
    return isinstance(value, str) and value.lstrip().startswith("Human:")


def _transcript(value: object, name: str) -> list[Message]:
    """`"\\n\\nHuman: … \\n\\nAssistant: …"` as messages; turns of one speaker in a row are one."""
    text = "\n\n" + read_text(value, name).lstrip()
    speakers = ["user" if mark.endswith("Human:") else "assistant" for mark in _TURN.findall(text)]
    messages: list[Message] = []
    for role, said in zip(speakers, _TURN.split(text)[1:], strict=True):
        if not said.strip():
            raise SetAside("somebody says nothing in it")
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += "\n\n" + said.strip()
        else:
            messages.append({"role": role, "content": said.strip()})
    return messages


def _hh_rlhf(row: Row) -> ImportedPrompt:
    chosen, rejected = (_transcript(row.get(name), name) for name in ("chosen", "rejected"))
    return _pair_of_conversations(chosen, rejected, None)


# --- UltraFeedback --------------------------------------------------------------------------------------------


def _ultrafeedback(row: Row) -> ImportedPrompt:
    completions = row.get("completions")
    if not isinstance(completions, list):
        raise LineError("completions: not a list")
    answers = []
    for number, completion in enumerate(completions):
        if not isinstance(completion, dict):
            raise LineError(f"completions[{number}]: not an object")
        answers.append((completion.get("response"), completion.get("model")))
    return _prompt(read_messages(row.get("instruction")), answers)


# --- HelpSteer ------------------------------------------------------------------------------------------------


def _helpsteer3(row: Row) -> ImportedPrompt:
    messages = read_messages(_conversation(row.get("context"), "context"))
    return _prompt(messages, [(row.get("response1"), None), (row.get("response2"), None)])


def _helpsteer2_pairs(row: Row) -> ImportedPrompt:
    answers = [(row.get("response_1"), None), (row.get("response_2"), None)]
    return _prompt(read_messages(row.get("prompt")), answers)


def _helpsteer2(row: Row) -> ImportedPrompt:
    return _prompt(read_messages(row.get("prompt")), [(row.get("response"), None)])


# --- Arena ----------------------------------------------------------------------------------------------------


def _arena(row: Row) -> ImportedPrompt:
    one, other = (_conversation(row.get(name), name) for name in ("conversation_a", "conversation_b"))
    return _pair_of_conversations(one, other, [("", row.get("model_a")), ("", row.get("model_b"))])


def _arena_table(row: Row) -> ImportedPrompt:
    """Its columns hold JSON lists with a text for each turn; the first turn is the one that both models answered."""
    turns = [_first_turn(row.get(name), name) for name in ("prompt", "response_a", "response_b")]
    return _prompt(
        [{"role": "user", "content": turns[0]}],
        [(turns[1], row.get("model_a")), (turns[2], row.get("model_b"))],
    )


def _first_turn(value: object, name: str) -> str:
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise LineError(f"{name}: not a JSON list") from None
    if isinstance(value, list):
        if not value or value[0] is None:
            raise SetAside("somebody says nothing in it")
        value = value[0]
    return read_text(value, name)


# --- TRL (huggingface.co/docs/trl/dataset_formats) ------------------------------------------------------------


def _said(value: object, name: str, prompt: list[Message]) -> str:
    """An answer: a text, or messages of which the last is it; those of the prompt may stand before it."""
    if isinstance(value, str):
        return read_text(value, name)
    messages = _conversation(value, name)
    if messages[-1]["role"] != "assistant":
        raise LineError(f"{name}: its last message is not the assistant's")
    if messages[:-1] and messages[:-1] != prompt and messages[:-1] != prompt[1:]:
        raise SetAside("the conversations differ before the answer")
    return messages[-1]["content"]


def _trl(row: Row) -> ImportedPrompt:
    given = row.get("prompt")
    messages = read_messages(given if isinstance(given, str) else _conversation(given, "prompt"))
    return _prompt(
        messages, [(_said(row.get(name), name, messages), None) for name in ("chosen", "rejected")]
    )


def _trl_implicit(row: Row) -> ImportedPrompt:
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if isinstance(chosen, str) and isinstance(rejected, str):
        return _common_beginning(chosen, rejected)
    return _pair_of_conversations(_conversation(chosen, "chosen"), _conversation(rejected, "rejected"), None)


def _common_beginning(chosen: str, rejected: str) -> ImportedPrompt:
    """Two texts that begin alike: the prompt ends at the last blank before they part, as TRL has it."""
    parts = (n for n, (one, other) in enumerate(zip(chosen, rejected, strict=False)) if one != other)
    shared = chosen[: next(parts, min(len(chosen), len(rejected)))]
    end = max(shared.rfind(blank) for blank in " \n")
    if chosen == rejected:
        raise SetAside("the answers are the same")
    if end < 1 or not shared[:end].strip():
        raise SetAside("the texts have no beginning in common")
    if not chosen[end:].strip() or not rejected[end:].strip():
        raise SetAside("one text is the beginning of the other")
    prompt = read_messages(shared[:end].strip())
    return _prompt(prompt, [(chosen[end:].strip(), None), (rejected[end:].strip(), None)])


def _trl_completion(row: Row) -> ImportedPrompt:
    given = row.get("prompt")
    messages = read_messages(given if isinstance(given, str) else _conversation(given, "prompt"))
    return _prompt(messages, [(_said(row.get("completion"), "completion", messages), None)])


# --- a table --------------------------------------------------------------------------------------------------

_ANSWER_COLUMN = re.compile(r"(?:response|answer|completion|output)[ _-]?(?:[1-9]|[a-i])", re.IGNORECASE)


def _answer_columns(row: Row) -> list[str]:
    return sorted(name for name in row if _ANSWER_COLUMN.fullmatch(name))


def _table(row: Row) -> ImportedPrompt:
    names = _answer_columns(row)
    authors = [row.get(re.sub(r"^[a-zA-Z]+", "model", name)) for name in names]
    texts = [row[name] for name in names]
    return _prompt(read_messages(row.get("prompt")), list(zip(texts, authors, strict=True)))


def _is_prompts(row: Row) -> bool:
    return "prompt" in row and not {"chosen", "rejected", "completion", "response"} & row.keys()


def _prompts(row: Row) -> ImportedPrompt:
    given = row.get("prompt")
    return _prompt(read_messages(given if isinstance(given, str) else _conversation(given, "prompt")), [])


PALATE = Shape(
    "palate", "Palate's own", lambda row: "prompt" in row and row.keys() <= set(FIELDS), read_prompt
)

SHAPES: tuple[Shape, ...] = (
    PALATE,
    Shape(
        "ultrafeedback", "UltraFeedback", lambda row: _has(row, "instruction", "completions"), _ultrafeedback
    ),
    Shape(
        "ultrafeedback-binarized",
        "UltraFeedback, binarized",
        lambda row: _has(row, "prompt", "chosen", "rejected", "score_chosen", "score_rejected"),
        _trl,
    ),
    Shape(
        "helpsteer3", "HelpSteer3", lambda row: _has(row, "context", "response1", "response2"), _helpsteer3
    ),
    Shape(
        "helpsteer2-preference",
        "HelpSteer2 preferences",
        lambda row: _has(row, "prompt", "response_1", "response_2", "preference_strength"),
        _helpsteer2_pairs,
    ),
    Shape(
        "helpsteer2",
        "HelpSteer2",
        lambda row: _has(row, "prompt", "response", "helpfulness"),
        _helpsteer2,
        joins=True,
    ),
    Shape("arena", "Chatbot Arena", lambda row: _has(row, "conversation_a", "conversation_b"), _arena),
    Shape(
        "arena-table",
        "Chatbot Arena, as a table",
        lambda row: _has(row, "prompt", "response_a", "response_b", "model_a", "model_b"),
        _arena_table,
    ),
    Shape("trl", "TRL preferences", lambda row: _has(row, "prompt", "chosen", "rejected"), _trl),
    Shape(
        "hh-rlhf",
        "HH-RLHF",
        lambda row: _is_transcript(row.get("chosen")) and _is_transcript(row.get("rejected")),
        _hh_rlhf,
    ),
    Shape(
        "trl-implicit",
        "TRL preferences with the prompt within",
        lambda row: _has(row, "chosen", "rejected"),
        _trl_implicit,
    ),
    Shape(
        "trl-completion",
        "TRL prompts and completions",
        lambda row: _has(row, "prompt", "completion"),
        _trl_completion,
        joins=True,
    ),
    Shape(
        "table",
        "Table of prompts and answers",
        lambda row: "prompt" in row and bool(_answer_columns(row)),
        _table,
    ),
    Shape("prompts", "Prompts", _is_prompts, _prompts),
)

BY_NAME = {shape.name: shape for shape in SHAPES}
