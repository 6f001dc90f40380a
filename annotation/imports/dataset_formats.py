"""Formats of public preference datasets, each recognised by its columns and converted by one small function.

Preferences in the file are ignored: judgments come from this site's annotators only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from annotation.imports.file_rows import JsonObject
from annotation.imports.prompt_schema import (
    FIELDS,
    ROLES,
    ImportedPrompt,
    ImportedResponse,
    Message,
    RowError,
    read_messages,
    read_prompt,
    read_text,
)
from annotation.logic.limits import MAX_RESPONSES
from annotation.logic.splits import prompt_digest

AuthoredTexts = Sequence[tuple[object, object]]
"""(text, author) of each answer, as the file has them, not yet validated."""


class NotComparable(ValueError):
    """Why a valid row cannot become an item, in a few words; the other rows of its file are imported."""


@dataclass(frozen=True)
class DatasetFormat:
    """A dataset's format. `one_response_per_row`: consecutive rows with the same prompt are merged into one."""

    name: str
    title: str
    matches: Callable[[JsonObject], bool]
    convert: Callable[[JsonObject], ImportedPrompt]
    one_response_per_row: bool = False


def detect_format(row: JsonObject) -> DatasetFormat:
    """The format of a file, by its first row.

    Raises:
        RowError: the columns match no format.
    """
    for format in DATASET_FORMATS.values():
        if format.matches(row):
            return format
    columns = ", ".join(sorted(str(name) for name in row)[:12]) or "none"
    raise RowError(f"unknown format: its columns are {columns}. At least a column called prompt is needed.")


def convert_row(format: DatasetFormat, row: JsonObject, *, min_responses: int = 2) -> ImportedPrompt:
    """A row as a prompt with its responses.

    Raises:
        RowError: the row is invalid.
        NotComparable: the row is valid, but there is nothing to compare.
    """
    if format is PALATE:
        return read_prompt(row, min_responses=min_responses)
    return format.convert(row)


def can_merge(first: ImportedPrompt, second: ImportedPrompt) -> bool:
    """Whether two rows have the same prompt, and their responses fit into one item."""
    return first.messages == second.messages and len(first.responses) < MAX_RESPONSES


def merge(first: ImportedPrompt, second: ImportedPrompt) -> ImportedPrompt:
    """Two rows of one prompt as one."""
    return replace(first, responses=[*first.responses, *second.responses])


# --- shared by several formats ---------------------------------------------------------------------------------


def _build_prompt(messages: list[Message], answers: AuthoredTexts) -> ImportedPrompt:
    """A prompt with its answers; authors that the file does not name are "imported"."""
    responses = [
        ImportedResponse(
            read_text(text, f"answer {number}"), _read_author(author) if author is not None else "imported"
        )
        for number, (text, author) in enumerate(answers, start=1)
    ]
    if len(responses) > MAX_RESPONSES:
        raise RowError(f"{len(responses)} answers, an item has at most {MAX_RESPONSES}")
    return ImportedPrompt(prompt_digest(messages)[:16], messages, responses)


def _read_author(value: object) -> str:
    return read_text(value, "model", limit=200).strip()


def _has(row: JsonObject, *names: str) -> bool:
    return all(name in row for name in names)


def _read_conversation(value: object, name: str) -> list[Message]:
    """A list of messages, reduced to role and content."""
    if not isinstance(value, list) or not value:
        raise RowError(f"{name}: not a list of messages")
    messages = []
    for number, message in enumerate(value):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise RowError(f"{name}[{number}]: not a message with the role of {', '.join(ROLES)}")
        content = read_text(message.get("content"), f"{name}[{number}].content")
        messages.append({"role": message["role"], "content": content})
    return messages


def _split_at_difference(first: list[Message], second: list[Message]) -> tuple[list[Message], str, str]:
    """The turns that two conversations share, and the first answers in which they differ.

    Raises:
        NotComparable: they differ elsewhere than in an answer, or not at all.
    """
    shared = 0
    while shared < min(len(first), len(second)) and first[shared] == second[shared]:
        shared += 1
    if shared == len(first) == len(second):
        raise NotComparable("the answers are the same")
    if shared in (len(first), len(second)):
        raise NotComparable("one conversation is the beginning of the other")
    start, a, b = first[:shared], first[shared], second[shared]
    if not start or start[-1]["role"] != "user" or not a["role"] == b["role"] == "assistant":
        raise NotComparable("the conversations differ before the answer")
    return start, a["content"], b["content"]


def _read_prompt(row: JsonObject) -> list[Message]:
    """The column `prompt`: a text, or messages with any further keys."""
    prompt = row.get("prompt")
    return read_messages(prompt if isinstance(prompt, str) else _read_conversation(prompt, "prompt"))


def _pair_of_conversations(
    first: list[Message], second: list[Message], authors: tuple[object, object] = (None, None)
) -> ImportedPrompt:
    start, *texts = _split_at_difference(first, second)
    return _build_prompt(start, list(zip(texts, authors, strict=True)))


# --- Anthropic's HH-RLHF --------------------------------------------------------------------------------------

_TURN = re.compile(r"\n\nHuman:|\n\nAssistant:")


def _is_transcript(value: object) -> bool:
    return isinstance(value, str) and value.lstrip().startswith("Human:")


def _read_transcript(value: object, name: str) -> list[Message]:
    """`"\\n\\nHuman: … \\n\\nAssistant: …"` as messages; consecutive turns of one speaker are merged."""
    text = "\n\n" + read_text(value, name).lstrip()
    speakers = ["user" if mark.endswith("Human:") else "assistant" for mark in _TURN.findall(text)]
    messages: list[Message] = []
    for role, turn in zip(speakers, _TURN.split(text)[1:], strict=True):
        if not turn.strip():
            raise NotComparable("a turn is empty")
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += "\n\n" + turn.strip()
        else:
            messages.append({"role": role, "content": turn.strip()})
    return messages


def _hh_rlhf(row: JsonObject) -> ImportedPrompt:
    chosen, rejected = (_read_transcript(row.get(name), name) for name in ("chosen", "rejected"))
    return _pair_of_conversations(chosen, rejected)


# --- UltraFeedback --------------------------------------------------------------------------------------------


def _ultrafeedback(row: JsonObject) -> ImportedPrompt:
    completions = row.get("completions")
    if not isinstance(completions, list):
        raise RowError("completions: not a list")
    answers = []
    for number, completion in enumerate(completions):
        if not isinstance(completion, dict):
            raise RowError(f"completions[{number}]: not an object")
        answers.append((completion.get("response"), completion.get("model")))
    return _build_prompt(read_messages(row.get("instruction")), answers)


# --- HelpSteer ------------------------------------------------------------------------------------------------


def _helpsteer3(row: JsonObject) -> ImportedPrompt:
    messages = read_messages(_read_conversation(row.get("context"), "context"))
    return _build_prompt(messages, [(row.get("response1"), None), (row.get("response2"), None)])


def _helpsteer2_pairs(row: JsonObject) -> ImportedPrompt:
    answers = [(row.get("response_1"), None), (row.get("response_2"), None)]
    return _build_prompt(read_messages(row.get("prompt")), answers)


def _helpsteer2(row: JsonObject) -> ImportedPrompt:
    return _build_prompt(read_messages(row.get("prompt")), [(row.get("response"), None)])


# --- Arena ----------------------------------------------------------------------------------------------------


def _arena(row: JsonObject) -> ImportedPrompt:
    a, b = (_read_conversation(row.get(name), name) for name in ("conversation_a", "conversation_b"))
    return _pair_of_conversations(a, b, (row.get("model_a"), row.get("model_b")))


def _arena_table(row: JsonObject) -> ImportedPrompt:
    """Columns of JSON lists with a text per turn; only the first turn has the same prompt for both models."""
    turns = [_read_first_turn(row.get(name), name) for name in ("prompt", "response_a", "response_b")]
    return _build_prompt(
        [{"role": "user", "content": turns[0]}],
        [(turns[1], row.get("model_a")), (turns[2], row.get("model_b"))],
    )


def _read_first_turn(value: object, name: str) -> str:
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise RowError(f"{name}: not a JSON list") from None
    if isinstance(value, list):
        if not value or value[0] is None:
            raise NotComparable("a turn is empty")
        value = value[0]
    return read_text(value, name)


# --- TRL (huggingface.co/docs/trl/dataset_formats) ------------------------------------------------------------


def _read_answer(value: object, name: str, prompt: list[Message]) -> str:
    """An answer: a text, or messages that end with it and may begin with the prompt's."""
    if isinstance(value, str):
        return read_text(value, name)
    messages = _read_conversation(value, name)
    if messages[-1]["role"] != "assistant":
        raise RowError(f"{name}: its last message is not the assistant's")
    if messages[:-1] and messages[:-1] != prompt and messages[:-1] != prompt[1:]:
        raise NotComparable("the conversations differ before the answer")
    return messages[-1]["content"]


def _trl(row: JsonObject) -> ImportedPrompt:
    messages = _read_prompt(row)
    return _build_prompt(
        messages, [(_read_answer(row.get(name), name, messages), None) for name in ("chosen", "rejected")]
    )


def _trl_implicit(row: JsonObject) -> ImportedPrompt:
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if isinstance(chosen, str) and isinstance(rejected, str):
        return _split_at_common_prefix(chosen, rejected)
    return _pair_of_conversations(
        _read_conversation(chosen, "chosen"), _read_conversation(rejected, "rejected")
    )


def _split_at_common_prefix(chosen: str, rejected: str) -> ImportedPrompt:
    """The prompt is the common prefix, up to its last white space, as in TRL's `extract_prompt`."""
    differences = (n for n, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b)
    shared = chosen[: next(differences, min(len(chosen), len(rejected)))]
    end = max(shared.rfind(blank) for blank in " \n")
    if chosen == rejected:
        raise NotComparable("the answers are the same")
    if end < 1 or not shared[:end].strip():
        raise NotComparable("the texts have no common prefix")
    if not chosen[end:].strip() or not rejected[end:].strip():
        raise NotComparable("one text is the beginning of the other")
    prompt = read_messages(shared[:end].strip())
    return _build_prompt(prompt, [(chosen[end:].strip(), None), (rejected[end:].strip(), None)])


def _trl_completion(row: JsonObject) -> ImportedPrompt:
    messages = _read_prompt(row)
    return _build_prompt(messages, [(_read_answer(row.get("completion"), "completion", messages), None)])


# --- tables --------------------------------------------------------------------------------------------------

_ANSWER_COLUMN = re.compile(r"(?:response|answer|completion|output)[ _-]?(?:[1-9]|[a-i])", re.IGNORECASE)


def _answer_columns(row: JsonObject) -> list[str]:
    return sorted(name for name in row if _ANSWER_COLUMN.fullmatch(name))


def _table(row: JsonObject) -> ImportedPrompt:
    names = _answer_columns(row)
    authors = [row.get(re.sub(r"^[a-zA-Z]+", "model", name)) for name in names]
    texts = [row[name] for name in names]
    return _build_prompt(read_messages(row.get("prompt")), list(zip(texts, authors, strict=True)))


def _is_prompts(row: JsonObject) -> bool:
    return "prompt" in row and not {"chosen", "rejected", "completion", "response"} & row.keys()


def _prompts(row: JsonObject) -> ImportedPrompt:
    return _build_prompt(_read_prompt(row), [])


PALATE = DatasetFormat(
    "palate",
    "Palate (prompt + responses)",
    lambda row: "prompt" in row and row.keys() <= set(FIELDS),
    read_prompt,
)

# in this order: the first format that matches is taken
DATASET_FORMATS: dict[str, DatasetFormat] = {
    format.name: format
    for format in (
        PALATE,
        DatasetFormat(
            "ultrafeedback",
            "UltraFeedback",
            lambda row: _has(row, "instruction", "completions"),
            _ultrafeedback,
        ),
        DatasetFormat(
            "ultrafeedback-binarized",
            "UltraFeedback, binarized",
            lambda row: _has(row, "prompt", "chosen", "rejected", "score_chosen", "score_rejected"),
            _trl,
        ),
        DatasetFormat(
            "helpsteer3",
            "HelpSteer3",
            lambda row: _has(row, "context", "response1", "response2"),
            _helpsteer3,
        ),
        DatasetFormat(
            "helpsteer2-preference",
            "HelpSteer2 preferences",
            lambda row: _has(row, "prompt", "response_1", "response_2", "preference_strength"),
            _helpsteer2_pairs,
        ),
        DatasetFormat(
            "helpsteer2",
            "HelpSteer2",
            lambda row: _has(row, "prompt", "response", "helpfulness"),
            _helpsteer2,
            one_response_per_row=True,
        ),
        DatasetFormat(
            "arena", "Chatbot Arena", lambda row: _has(row, "conversation_a", "conversation_b"), _arena
        ),
        DatasetFormat(
            "arena-table",
            "Chatbot Arena, as a table",
            lambda row: _has(row, "prompt", "response_a", "response_b", "model_a", "model_b"),
            _arena_table,
        ),
        DatasetFormat("trl", "TRL preferences", lambda row: _has(row, "prompt", "chosen", "rejected"), _trl),
        DatasetFormat(
            "hh-rlhf",
            "HH-RLHF",
            lambda row: _is_transcript(row.get("chosen")) and _is_transcript(row.get("rejected")),
            _hh_rlhf,
        ),
        DatasetFormat(
            "trl-implicit",
            "TRL preferences with an implicit prompt",
            lambda row: _has(row, "chosen", "rejected"),
            _trl_implicit,
        ),
        DatasetFormat(
            "trl-completion",
            "TRL prompts and completions",
            lambda row: _has(row, "prompt", "completion"),
            _trl_completion,
            one_response_per_row=True,
        ),
        DatasetFormat(
            "table",
            "Table of prompts and answers",
            lambda row: "prompt" in row and bool(_answer_columns(row)),
            _table,
        ),
        DatasetFormat("prompts", "Prompts", _is_prompts, _prompts),
    )
}
