"""Formats with two answers in columns of their own, and a column that says which one was preferred."""

from __future__ import annotations

import json

from annotation.imports.dataset_formats.base import (
    Answer,
    DatasetFormat,
    NotComparable,
    build_prompt,
    objects,
    pair_of_conversations,
    read_conversation,
)
from annotation.imports.file_rows import JsonObject
from annotation.imports.prompt_schema import ImportedPrompt, RowError, read_messages, read_text


def _helpsteer3(row: JsonObject) -> ImportedPrompt:
    messages = read_messages(read_conversation(row.get("context"), "context"))
    return build_prompt(messages, [Answer(row.get("response1")), Answer(row.get("response2"))])


def _helpsteer2_pairs(row: JsonObject) -> ImportedPrompt:
    answers = [Answer(row.get("response_1")), Answer(row.get("response_2"))]
    return build_prompt(read_messages(row.get("prompt")), answers)


def _arena(row: JsonObject) -> ImportedPrompt:
    a, b = (read_conversation(row.get(name), name) for name in ("conversation_a", "conversation_b"))
    return pair_of_conversations(a, b, (row.get("model_a"), row.get("model_b")))


def _arena_table(row: JsonObject) -> ImportedPrompt:
    """Columns of JSON lists with a text per turn; only the first turn has the same prompt for both models."""
    turns = [_read_turns(row.get(name), name) for name in ("prompt", "response_a", "response_b")]
    prompt, a, b = (of_column[0] for of_column in turns)
    more = ["turns after the first answers that differ"] if len(turns[0]) > 1 else []
    return build_prompt(
        [{"role": "user", "content": read_text(prompt, "prompt")}],
        [Answer(a, row.get("model_a")), Answer(b, row.get("model_b"))],
        left_out=more,
    )


def _read_turns(value: object, name: str) -> list[object]:
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise RowError(f"{name}: not a JSON list") from None
    if not isinstance(value, list):
        return [value]
    if not value or value[0] is None:
        raise NotComparable("a turn is empty")
    return value


def _safe_rlhf(row: JsonObject) -> ImportedPrompt:
    answers = [
        Answer(
            row[f"response_{n}"],
            row.get(f"response_{n}_source"),
            {name: row.get(f"response_{n}_{name}") for name in ("severity_level", "harm_category", "sha256")},
        )
        for n in (0, 1)
    ]
    return build_prompt(read_messages(row["prompt"]), answers)


def _shp(row: JsonObject) -> ImportedPrompt:
    answers = [
        Answer(
            row[f"human_ref_{x}"], metadata={"id": row.get(f"c_root_id_{x}"), "score": row.get(f"score_{x}")}
        )
        for x in "AB"
    ]
    return build_prompt(read_messages(row["history"]), answers)


def _webgpt(row: JsonObject) -> ImportedPrompt:
    question = row["question"]
    text = question.get("full_text") if isinstance(question, dict) else question
    answers = [Answer(row[f"answer_{n}"], metadata={"quotes": row.get(f"quotes_{n}")}) for n in (0, 1)]
    prompt = build_prompt([{"role": "user", "content": read_text(text, "question")}], answers)
    if isinstance(question, dict):
        prompt.metadata.update({name: question[name] for name in question if name != "full_text"})
    return prompt


def _summaries(row: JsonObject) -> ImportedPrompt:
    info = row["info"]
    if not isinstance(info, dict):
        raise RowError("info: not an object")
    name = "post" if info.get("post") else "article"
    answers = [
        Answer(summary.get("text"), summary.get("policy"), {"note": summary.get("note") or None})
        for summary in objects(row["summaries"], "summaries")
    ]
    prompt = build_prompt(read_messages(info.get(name)), answers)
    prompt.metadata.update({key: info[key] for key in info if key != name and info[key] is not None})
    return prompt


def _multipref(row: JsonObject) -> ImportedPrompt:
    return build_prompt(
        read_messages(row["text"]), [Answer(row[f"completion_{x}"], row.get(f"model_{x}")) for x in "ab"]
    )


def _prometheus(row: JsonObject) -> ImportedPrompt:
    return build_prompt(
        read_messages(row["orig_instruction"]), [Answer(row[f"orig_response_{x}"]) for x in "AB"]
    )


_ARENA_METADATA = (
    *("id", "question_id", "judge", "turn", "anony", "language", "tstamp", "timestamp", "is_code"),
    *("evaluation_session_id", "evaluation_order", "category_tag", "conv_metadata", "openai_moderation"),
    *("toxic_chat_tag", "is_refusal", "dedup_tag", "user_id", "session_id", "occupational_tags"),
)

COMPARISON_FORMATS = (
    DatasetFormat(
        "helpsteer3",
        "HelpSteer3",
        ("context", "response1", "response2"),
        _helpsteer3,
        metadata=("domain", "language"),
        preferences=("overall_preference", "individual_preference"),
    ),
    DatasetFormat(
        "helpsteer2-preference",
        "HelpSteer2 preferences",
        ("prompt", "response_1", "response_2", "preference_strength"),
        _helpsteer2_pairs,
        metadata=("split",),
        preferences=(
            *("preference_strength", "preference_statement", "preference_elaboration"),
            *("three_most_similar_preferences", "all_preferences_unprocessed"),
        ),
    ),
    DatasetFormat(
        "arena",
        "Chatbot Arena",
        ("conversation_a", "conversation_b"),
        _arena,
        optional=("model_a", "model_b"),
        metadata=_ARENA_METADATA,
        preferences=("winner",),
        ignored=("full_conversation",),
    ),
    DatasetFormat(
        "arena-table",
        "Chatbot Arena, as a table",
        ("prompt", "response_a", "response_b", "model_a", "model_b"),
        _arena_table,
        metadata=_ARENA_METADATA,
        preferences=("winner_model_a", "winner_model_b", "winner_tie", "winner"),
    ),
    DatasetFormat(
        "safe-rlhf",
        "PKU-SafeRLHF",
        ("prompt", "response_0", "response_1", "better_response_id"),
        _safe_rlhf,
        optional=(
            *("response_0_source", "response_1_source", "response_0_severity_level"),
            *("response_1_severity_level", "response_0_harm_category", "response_1_harm_category"),
            *("response_0_sha256", "response_1_sha256"),
        ),
        metadata=("prompt_source",),
        preferences=(
            *("better_response_id", "safer_response_id", "is_response_0_safe", "is_response_1_safe"),
        ),
    ),
    DatasetFormat(
        "shp",
        "Stanford Human Preferences",
        ("history", "human_ref_A", "human_ref_B"),
        _shp,
        optional=("c_root_id_A", "c_root_id_B", "score_A", "score_B"),
        metadata=(
            *("post_id", "domain", "upvote_ratio", "created_at_utc_A", "created_at_utc_B"),
            *("seconds_difference", "score_ratio"),
        ),
        preferences=("labels",),
    ),
    DatasetFormat(
        "webgpt",
        "WebGPT comparisons",
        ("question", "answer_0", "answer_1"),
        _webgpt,
        optional=("quotes_0", "quotes_1"),
        preferences=("score_0", "score_1"),
        ignored=("tokens_0", "tokens_1"),
    ),
    DatasetFormat(
        "summaries",
        "OpenAI's comparisons of summaries",
        ("info", "summaries"),
        _summaries,
        metadata=("worker", "batch", "split", "extra"),
        preferences=("choice",),
    ),
    DatasetFormat(
        "multipref",
        "MultiPref",
        ("text", "completion_a", "completion_b"),
        _multipref,
        optional=("model_a", "model_b"),
        metadata=(
            *("comparison_id", "prompt_id", "source", "category", "subject_study", "timestamp"),
            *("highest_level_degree", "shuffler_index"),
        ),
        preferences=("normal_worker_annotations", "expert_worker_annotations"),
    ),
    DatasetFormat(
        "prometheus",
        "Prometheus preferences",
        ("orig_instruction", "orig_response_A", "orig_response_B"),
        _prometheus,
        metadata=("orig_criteria", "orig_reference_answer"),
        preferences=(
            "orig_preference",
            "orig_feedback",
            "orig_feedback_A",
            "orig_feedback_B",
            "orig_score_A",
            "orig_score_B",
        ),
        ignored=("instruction", "input", "output", "messages"),
    ),
)
