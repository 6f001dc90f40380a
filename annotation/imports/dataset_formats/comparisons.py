"""Formats with two answers in columns of their own, and a column that says which one was preferred."""

from __future__ import annotations

import json
from dataclasses import replace

from annotation.imports.dataset_formats.base import (
    LATER_TURNS,
    Answer,
    DatasetFormat,
    NotComparable,
    build_prompt,
    objects,
    pair_of_conversations,
    read_answer,
    read_conversation,
)
from annotation.imports.file_rows import JsonObject
from annotation.imports.preferences import (
    FIRST,
    SECOND,
    TIE,
    NoPreference,
    Preference,
    as_number,
    as_text,
    choose,
    from_strength,
    ranks_by_score,
    read_time,
)
from annotation.imports.prompt_schema import ImportedPrompt, Message, RowError, read_messages, read_text
from annotation.logic.translation import gettext as _
from annotation.logic.translation import gettext_noop


def _helpsteer3(row: JsonObject) -> ImportedPrompt:
    messages = read_messages(read_conversation(row.get("context"), "context"))
    return build_prompt(messages, [Answer(row.get("response1")), Answer(row.get("response2"))])


def _nemo_rl(row: JsonObject) -> ImportedPrompt:
    messages = read_messages(read_conversation(row["context"], "context"))
    answers = [
        Answer(read_answer(one.get("completion"), "completions.completion", messages))
        for one in objects(row["completions"], "completions")
    ]
    return build_prompt(messages, answers)


def _helpsteer2_pairs(row: JsonObject) -> ImportedPrompt:
    answers = [Answer(row.get("response_1")), Answer(row.get("response_2"))]
    return build_prompt(read_messages(row.get("prompt")), answers)


def _arena(row: JsonObject) -> ImportedPrompt:
    a, b = (read_conversation(row.get(name), name) for name in ("conversation_a", "conversation_b"))
    return pair_of_conversations(a, b, (row.get("model_a"), row.get("model_b")))


def _arena_table(row: JsonObject) -> ImportedPrompt:
    """Columns of JSON lists with a text per turn. The prompt is the conversation up to the first answers that differ."""
    turns = [_read_turns(row.get(name), name) for name in ("prompt", "response_a", "response_b")]
    length = min(map(len, turns))
    last = next((n for n in range(length) if turns[1][n] != turns[2][n]), None)
    if last is None:
        raise NotComparable(_("the answers are the same"))
    messages: list[Message] = []
    for n in range(last + 1):
        messages.append({"role": "user", "content": read_text(turns[0][n], f"prompt[{n}]")})
        if n < last:
            messages.append({"role": "assistant", "content": read_text(turns[1][n], f"response_a[{n}]")})
    return build_prompt(
        messages,
        [Answer(turns[1][last], row.get("model_a")), Answer(turns[2][last], row.get("model_b"))],
        left_out=[_(LATER_TURNS)] if max(map(len, turns)) > last + 1 else [],
    )


def _read_turns(value: object, name: str) -> list[object]:
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise RowError(_("%(name)s: not a JSON list") % {"name": name}) from None
    if not isinstance(value, list):
        return [value]
    if not value or value[0] is None:
        raise NotComparable(_("a turn is empty"))
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
        raise RowError(_("info: not an object"))
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


# --- who prefers which answer -------------------------------------------------------------------------------------


def _judge_helpsteer3(row: JsonObject) -> list[Preference]:
    """Each annotator's preference, or the overall one where the row has no other."""
    individual = row.get("individual_preference") or []
    if not isinstance(individual, list) or not all(isinstance(one, dict) for one in individual):
        raise NoPreference(_("individual preferences that are not a list of objects"))
    if not individual:
        return [from_strength(row.get("overall_preference"))]
    overall = {"overall_preference": row.get("overall_preference")}
    return [
        replace(
            from_strength(one.get("score")),
            rationale=as_text(one.get("reasoning")),
            details={name: one[name] for name in one if name not in ("score", "reasoning")} | overall,
        )
        for one in individual
    ]


def _judge_nemo_rl(row: JsonObject) -> list[Preference]:
    ranks = [as_number(one.get("rank")) for one in objects(row["completions"], "completions")]
    return [Preference(ranks_by_score([-rank for rank in ranks]))]


def _judge_helpsteer2(row: JsonObject) -> list[Preference]:
    statements = (as_text(row.get(f"preference_{name}")) for name in ("statement", "elaboration"))
    rationale = "\n\n".join(filter(None, statements))
    return [replace(from_strength(row.get("preference_strength")), rationale=rationale)]


_WINNERS: dict[object, list[int]] = {
    "model_a": FIRST,
    "model_b": SECOND,
    "tie": TIE,
    "both_bad": TIE,
    "tie (bothbad)": TIE,
}


def _judge_arena(row: JsonObject) -> list[Preference]:
    winner = row.get("winner")
    details = {"winner": winner} if winner in ("both_bad", "tie (bothbad)") else {}
    return [
        Preference(
            choose(winner, _WINNERS),
            annotator=as_text(row.get("judge"))[:200],
            judged_at=read_time(row.get("tstamp", row.get("timestamp"))),
            details=details,
        )
    ]


def _judge_arena_table(row: JsonObject) -> list[Preference]:
    if row.get("winner") is not None:
        return _judge_arena(row)
    winners = [name for name in ("model_a", "model_b", "tie") if as_number(row.get(f"winner_{name}"))]
    if len(winners) != 1:
        raise NoPreference(_("rows without one winner"))
    return [Preference(choose(winners[0], _WINNERS))]


def _judge_safe_rlhf(row: JsonObject) -> list[Preference]:
    safe = [row.get(f"is_response_{n}_safe") for n in (0, 1)]
    has_labels = all(isinstance(label, bool) for label in safe)
    ranks = choose(row["better_response_id"], {0: FIRST, 1: SECOND})
    return [Preference(ranks, safe=safe if has_labels else None)]


def _judge_shp(row: JsonObject) -> list[Preference]:
    return [Preference(choose(row.get("labels"), {1: FIRST, 0: SECOND}))]


def _judge_webgpt(row: JsonObject) -> list[Preference]:
    return [Preference(ranks_by_score([row.get("score_0"), row.get("score_1")]))]


def _judge_summaries(row: JsonObject) -> list[Preference]:
    return [
        Preference(
            choose(row.get("choice"), {0: FIRST, 1: SECOND}), annotator=as_text(row.get("worker"))[:200]
        )
    ]


_MULTIPREF: dict[object, tuple[list[int], str]] = {
    "a-is-clearly-better": (FIRST, "significantly"),
    "a-is-slightly-better": (FIRST, "slightly"),
    "tie": (TIE, "negligibly"),
    "b-is-slightly-better": (SECOND, "slightly"),
    "b-is-clearly-better": (SECOND, "significantly"),
}


def _judge_multipref(row: JsonObject) -> list[Preference]:
    """Each worker's overall preference; what they say of single qualities is in the details."""
    preferences = []
    for name in ("normal_worker_annotations", "expert_worker_annotations"):
        for one in objects(row.get(name) or [], name):
            said = as_text(one.get("overall_pref")).lower()
            if said not in _MULTIPREF:
                raise NoPreference(_("rows whose preference is %(value)s") % {"value": repr(said[:30])})
            ranks, degree = _MULTIPREF[said]
            details = {key: one[key] for key in one if key not in ("overall_pref", "evaluator")}
            preferences.append(
                Preference(
                    ranks,
                    annotator=as_text(one.get("evaluator"))[:200],
                    degree=degree,
                    details=details | {"kind": name.partition("_")[0]},
                )
            )
    return preferences


def _judge_prometheus(row: JsonObject) -> list[Preference]:
    ranks = choose(row.get("orig_preference"), {"A": FIRST, "B": SECOND})
    return [Preference(ranks, rationale=as_text(row.get("orig_feedback")))]


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
        judge=_judge_helpsteer3,
        judged_by="person",
    ),
    DatasetFormat(
        "nemo-rl",
        gettext_noop("NeMo RL preferences"),
        ("context", "completions"),
        _nemo_rl,
        condition=lambda row: isinstance(row["context"], list),
        judge=_judge_nemo_rl,
    ),
    DatasetFormat(
        "helpsteer2-preference",
        gettext_noop("HelpSteer2 preferences"),
        ("prompt", "response_1", "response_2", "preference_strength"),
        _helpsteer2_pairs,
        metadata=("split",),
        preferences=("preference_strength", "preference_statement", "preference_elaboration"),
        about_preferences=("three_most_similar_preferences", "all_preferences_unprocessed"),
        judge=_judge_helpsteer2,
        judged_by="person",
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
        judge=_judge_arena,
    ),
    DatasetFormat(
        "arena-table",
        gettext_noop("Chatbot Arena, as a table"),
        ("prompt", "response_a", "response_b", "model_a", "model_b"),
        _arena_table,
        metadata=_ARENA_METADATA,
        preferences=("winner_model_a", "winner_model_b", "winner_tie", "winner"),
        judge=_judge_arena_table,
        judged_by="person",
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
        preferences=("better_response_id", "is_response_0_safe", "is_response_1_safe"),
        about_preferences=("safer_response_id",),
        judge=_judge_safe_rlhf,
        judged_by="person",
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
        judge=_judge_shp,
        judged_by="person",
    ),
    DatasetFormat(
        "webgpt",
        gettext_noop("WebGPT comparisons"),
        ("question", "answer_0", "answer_1"),
        _webgpt,
        optional=("quotes_0", "quotes_1"),
        about_preferences=("score_0", "score_1"),
        ignored=("tokens_0", "tokens_1"),
        judge=_judge_webgpt,
        judged_by="person",
    ),
    DatasetFormat(
        "summaries",
        gettext_noop("OpenAI's comparisons of summaries"),
        ("info", "summaries"),
        _summaries,
        metadata=("worker", "batch", "split"),
        preferences=("choice",),
        about_preferences=("extra",),
        judge=_judge_summaries,
        judged_by="person",
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
        judge=_judge_multipref,
        judged_by="person",
    ),
    DatasetFormat(
        "prometheus",
        gettext_noop("Prometheus preferences"),
        ("orig_instruction", "orig_response_A", "orig_response_B"),
        _prometheus,
        metadata=("orig_criteria", "orig_reference_answer"),
        preferences=("orig_preference", "orig_feedback"),
        about_preferences=("orig_feedback_A", "orig_feedback_B", "orig_score_A", "orig_score_B"),
        judge=_judge_prometheus,
        judged_by="machine",
        ignored=("instruction", "input", "output", "messages"),
    ),
)
