"""Formats with a preferred and a rejected answer in each row."""

from __future__ import annotations

from annotation.imports.dataset_formats.base import (
    Answer,
    DatasetFormat,
    NotComparable,
    build_prompt,
    is_empty,
    is_transcript,
    objects,
    pair_of_conversations,
    read_answer,
    read_conversation,
    read_transcript,
)
from annotation.imports.file_rows import JsonObject
from annotation.imports.preferences import FIRST, Preference
from annotation.imports.prompt_schema import ImportedPrompt, Message, RowError, read_messages, read_text
from annotation.logic.degrees import MARGINS
from annotation.logic.translation import gettext as _
from annotation.logic.translation import gettext_noop


def read_prompt_column(row: JsonObject) -> list[Message]:
    """The column `prompt`: a text, or messages with any further keys."""
    prompt = row.get("prompt")
    return read_messages(prompt if isinstance(prompt, str) else read_conversation(prompt, "prompt"))


def _chosen_and_rejected(row: JsonObject, messages: list[Message]) -> ImportedPrompt:
    names = ("chosen", "rejected")
    return build_prompt(messages, [Answer(read_answer(row.get(name), name, messages)) for name in names])


def _trl(row: JsonObject) -> ImportedPrompt:
    return _chosen_and_rejected(row, read_prompt_column(row))


def _binarized(row: JsonObject) -> ImportedPrompt:
    """The prompt is the beginning of both conversations; the column `prompt` repeats its text."""
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if isinstance(chosen, list) and isinstance(rejected, list) and min(len(chosen), len(rejected)) > 1:
        return pair_of_conversations(
            read_conversation(chosen, "chosen"), read_conversation(rejected, "rejected")
        )
    return _trl(row)


def _trl_implicit(row: JsonObject) -> ImportedPrompt:
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if isinstance(chosen, str) and isinstance(rejected, str):
        return _split_at_common_prefix(chosen, rejected)
    return pair_of_conversations(read_conversation(chosen, "chosen"), read_conversation(rejected, "rejected"))


def _split_at_common_prefix(chosen: str, rejected: str) -> ImportedPrompt:
    """The prompt is the common prefix, up to its last white space, as in TRL's `extract_prompt`."""
    differences = (n for n, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b)
    shared = chosen[: next(differences, min(len(chosen), len(rejected)))]
    end = max(shared.rfind(blank) for blank in " \n")
    if chosen == rejected:
        raise NotComparable(_("the answers are the same"))
    if end < 1 or not shared[:end].strip():
        raise NotComparable(_("the texts have no common prefix"))
    if not chosen[end:].strip() or not rejected[end:].strip():
        raise NotComparable(_("one text is the beginning of the other"))
    prompt = read_messages(shared[:end].strip())
    return build_prompt(prompt, [Answer(chosen[end:].strip()), Answer(rejected[end:].strip())])


def _hh_rlhf(row: JsonObject) -> ImportedPrompt:
    chosen, rejected = (read_transcript(row.get(name), name) for name in ("chosen", "rejected"))
    return pair_of_conversations(chosen, rejected)


def _alpaca(row: JsonObject) -> ImportedPrompt:
    """`instruction`, with `input` below it; `history` is a list of [question, answer]."""
    messages: list[Message] = []
    history = row.get("history") or []
    if not isinstance(history, list) or not all(
        isinstance(turn, list) and len(turn) == 2 for turn in history
    ):
        raise RowError(_("history: not a list of [question, answer]"))
    for n, (question, answer) in enumerate(history):
        messages.append({"role": "user", "content": read_text(question, f"history[{n}][0]")})
        messages.append({"role": "assistant", "content": read_text(answer, f"history[{n}][1]")})
    question = read_text(row.get("instruction"), "instruction")
    if not is_empty(row.get("input")):
        question += "\n\n" + read_text(row.get("input"), "input")
    return _chosen_and_rejected(row, [*messages, {"role": "user", "content": question}])


def _sharegpt(row: JsonObject) -> ImportedPrompt:
    return _chosen_and_rejected(
        row, read_messages(read_conversation(row.get("conversations"), "conversations"))
    )


def _orca(row: JsonObject) -> ImportedPrompt:
    question = read_text(row.get("question"), "question")
    return _chosen_and_rejected(row, [{"role": "user", "content": question}])


def _openai_preference(row: JsonObject) -> ImportedPrompt:
    given = row.get("input")
    if not isinstance(given, dict):
        raise RowError(_("input: not an object with messages"))
    if unknown := {name for name in given if given[name]} - {"messages", "tools", "parallel_tool_calls"}:
        raise RowError(_("input: unknown field %(field)s") % {"field": repr(min(unknown))})
    if given.get("tools"):
        raise RowError(_("input.tools: tools, which cannot be shown"))
    messages = read_messages(read_conversation(given.get("messages"), "input.messages"))
    names = ("preferred_output", "non_preferred_output")
    return build_prompt(
        messages, [Answer(read_answer(objects(row.get(name), name), name, messages)) for name in names]
    )


def _chosen_first(row: JsonObject) -> list[Preference]:
    return [Preference(FIRST)]


def _with_degree(row: JsonObject) -> list[Preference]:
    """The chosen answer first. A margin that only our degrees have is one of them."""
    margin = row.get("margin")
    degree = _DEGREE_OF_MARGIN.get(round(margin, 6)) if isinstance(margin, int | float) else None
    return [Preference(FIRST, degree=degree)]


# a margin of 0 is a ranking's, and one of 1 anybody's
_DEGREE_OF_MARGIN = {round(MARGINS[degree], 6): degree for degree in ("better", "slightly")}

PAIR_FORMATS = (
    DatasetFormat(
        "hh-rlhf",
        "HH-RLHF",
        ("chosen", "rejected"),
        _hh_rlhf,
        condition=lambda row: is_transcript(row["chosen"]) and is_transcript(row["rejected"]),
        judge=_chosen_first,
        judged_by="person",
    ),
    DatasetFormat(
        "ultrafeedback-binarized",
        gettext_noop("UltraFeedback, binarized"),
        ("prompt", "chosen", "rejected", "score_chosen", "score_rejected"),
        _binarized,
        metadata=("prompt_id", "source"),
        about_preferences=("score_chosen", "score_rejected"),
        ignored=("messages",),
        judge=_chosen_first,
        judged_by="machine",
    ),
    DatasetFormat(
        "trl",
        gettext_noop("TRL preferences"),
        ("prompt", "chosen", "rejected"),
        _trl,
        metadata=("id", "prompt_id", "source"),
        about_preferences=("margin", "chosen_score", "rejected_score", "score_chosen", "score_rejected"),
        judge=_with_degree,
    ),
    DatasetFormat(
        "alpaca-ranking",
        gettext_noop("Alpaca preferences"),
        ("instruction", "chosen", "rejected"),
        _alpaca,
        optional=("input", "history"),
        metadata=("id",),
        judge=_chosen_first,
    ),
    DatasetFormat(
        "orca-pairs",
        gettext_noop("Orca pairs"),
        ("question", "chosen", "rejected"),
        _orca,
        metadata=("id", "source"),
        judge=_chosen_first,
        judged_by="machine",
    ),
    DatasetFormat(
        "sharegpt-ranking",
        gettext_noop("ShareGPT preferences"),
        ("conversations", "chosen", "rejected"),
        _sharegpt,
        metadata=("id", "source"),
        judge=_chosen_first,
    ),
    DatasetFormat(
        "openai-preference",
        gettext_noop("OpenAI preference fine-tuning"),
        ("input", "preferred_output", "non_preferred_output"),
        _openai_preference,
        judge=_chosen_first,
    ),
    DatasetFormat(
        "trl-implicit",
        gettext_noop("TRL preferences with an implicit prompt"),
        ("chosen", "rejected"),
        _trl_implicit,
        metadata=("id", "prompt_id", "source"),
        about_preferences=("margin", "chosen_score", "rejected_score", "score_chosen", "score_rejected"),
        judge=_with_degree,
    ),
)
