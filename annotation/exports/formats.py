"""The formats: each a list of columns, from which come the JSON of a line, the schema of a Parquet file and the docs.

A column's SQL gives JSON text. Formats of one row per judgment read `said`; of one row per pair, `pair` as well, whose
`better` and `worse` are positions in `said.ranks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annotation.exports.sources import margin_of

Type = Any
"""`"string"`, `"int64"`, `"float64"`, `"bool"`, `[type]` for a list, or `{name: type}` for an object."""

MESSAGES: Type = [{"role": "string", "content": "string"}]


@dataclass(frozen=True)
class Column:
    type: Type
    sql: str


@dataclass(frozen=True)
class Format:
    """`rows`: what one line is of (a key of `query.ROWS`). `trains`: gold items and what does not count are left out."""

    about: str
    rows: str
    columns: Mapping[str, Column]
    trains: bool = True


def _answer(quoted: str) -> str:
    return f"""'[{{"role": "assistant", "content": ' || {quoted} || '}}]'"""


def _conversation(quoted: str) -> str:
    return f"""left(said.messages::text, -1) || ', {{"role": "assistant", "content": ' || {quoted} || '}}]'"""


CHOSEN, REJECTED = "said.quoted[pair.better]", "said.quoted[pair.worse]"
PROMPT = Column(MESSAGES, "said.messages::text")
MARGIN = Column("float64", "pair.margin::text")

# "\n\nHuman: …\n\nAssistant: …", with a system message, which that format does not know, at the very beginning
TRANSCRIPT = """(SELECT string_agg(CASE m ->> 'role' WHEN 'user' THEN E'\\n\\nHuman: ' WHEN 'assistant' THEN E'\\n\\nAssistant: '
                               ELSE '' END || (m ->> 'content'), '' ORDER BY place)
        FROM jsonb_array_elements(said.messages) WITH ORDINALITY AS t (m, place)) || E'\\n\\nAssistant:'"""
PROMPT_TEXT = f"""CASE jsonb_array_length(said.messages) WHEN 1 THEN said.messages -> 0 ->> 'content'
    ELSE {TRANSCRIPT} END"""


def _transcript(position: str) -> str:
    return f"to_json({TRANSCRIPT} || ' ' || said.texts[{position}])::text"


def _score(position: str) -> str:
    """The quality that was given or, where none was asked for, by how many of the others it was preferred, ties half."""
    return f"""coalesce(said.quality[{position}]::float8, said.strengths[{position}],
        (SELECT sum(CASE WHEN r > said.ranks[{position}] THEN 1.0 WHEN r = said.ranks[{position}] THEN 0.5 ELSE 0.0 END)
         FROM unnest(said.ranks) AS r) - 0.5)::float8::text"""


def _tagged(name: str, otherwise: str) -> str:
    """The rest of the tag `name:…`."""
    return f"""to_json(coalesce((SELECT substr(tag, {len(name) + 2}) FROM unnest(said.tags) AS tag
        WHERE starts_with(tag, '{name}:') ORDER BY tag LIMIT 1), '{otherwise}'))::text"""


_ANSWER_TYPE: Type = {
    "id": "int64",
    "author": "string",
    "text": "string",
    "quality": "int64",
    "safe": "bool",
    "flags": ["string"],
}
RAW_TYPE: dict[str, Type] = {
    "judgment": "int64",
    "project": "string",
    "group": "int64",
    "item": "int64",
    "prompt_id": "string",
    "split": "string",
    "tags": ["string"],
    "probability": "float64",
    "round": "int64",
    "messages": MESSAGES,
    "responses": [_ANSWER_TYPE],
    "ranks": ["int64"],
    "ranking": [["int64"]],
    "degree": "string",
    "margin": "float64",
    "shown_order": ["int64"],
    "demonstration": "string",
    "annotator": "string",
    "account": "string",
    "guideline": "int64",
    "rationale": "string",
    "seconds": "float64",
    "counted": "bool",
    "gold": "bool",
    "control": "bool",
    "agreement": "float64",
    "verdict": {"ranks": ["int64"], "degree": "string", "note": "string"},
    "supersedes": "int64",
    "created_at": "string",
}

# where a row comes from, on request
ORIGIN: dict[str, tuple[Type, str]] = {
    "prompt_id": ("string", "said.prompt_id"),
    "group": ("int64", "said.prompt"),
    "item": ("int64", "said.item"),
    "judgment": ("int64", "said.judgment"),
    "split": ("string", "said.split"),
    "round": ("int64", "said.round"),
    "annotator": ("string", "said.annotator"),
    "account": ("string", "said.account"),
    "guideline": ("int64", "said.guideline"),
    "models": (["string"], "said.models"),
    "shown_order": (["int64"], "said.shown"),
    "control": ("bool", "said.control"),
    "gold": ("bool", "said.gold"),
}
ORIGIN_OF_PAIR: dict[str, tuple[Type, str]] = {
    "chosen_model": ("string", "said.models[pair.better]"),
    "rejected_model": ("string", "said.models[pair.worse]"),
    "votes": ("int64", "tally.votes"),
    "agreement": (
        "float64",
        "round(CASE WHEN pair.better < pair.worse THEN tally.one ELSE tally.two END / tally.votes::numeric, 4)",
    ),
}

FORMATS: dict[str, Format] = {
    "trl": Format(
        "Preference pairs as TRL's trainers take them: prompt, chosen and rejected as messages, and the margin.",
        "pairs",
        {
            "prompt": PROMPT,
            "chosen": Column(MESSAGES, _answer(CHOSEN)),
            "rejected": Column(MESSAGES, _answer(REJECTED)),
            "margin": MARGIN,
        },
    ),
    "trl-implicit": Format(
        "The same pairs with the prompt inside: whole conversations in chosen and rejected.",
        "pairs",
        {
            "chosen": Column(MESSAGES, _conversation(CHOSEN)),
            "rejected": Column(MESSAGES, _conversation(REJECTED)),
            "margin": MARGIN,
        },
    ),
    "trl-text": Format(
        "The same pairs as plain texts.",
        "pairs",
        {
            "prompt": Column("string", f"to_json({PROMPT_TEXT})::text"),
            "chosen": Column("string", CHOSEN),
            "rejected": Column("string", REJECTED),
            "margin": MARGIN,
        },
    ),
    "kto": Format(
        "Single answers with a label: true if more of the others stand below it than above.",
        "answers",
        {
            "prompt": PROMPT,
            "completion": Column(MESSAGES, _answer("said.quoted[pair.place]")),
            "label": Column("bool", "pair.good::text"),
        },
    ),
    "sft": Format(
        "The answers that were put first, and those that people wrote, each once.",
        "best",
        {
            "prompt": PROMPT,
            "completion": Column(MESSAGES, _answer("said.answer")),
        },
    ),
    "prompts": Format("Every judged prompt, once.", "prompts", {"prompt": PROMPT}),
    "rankings": Format(
        "One line per ranking: prompt, responses and their ranks; 1 is best, equal ranks are ties.",
        "rankings",
        {
            "prompt": PROMPT,
            "responses": Column(["string"], "'[' || array_to_string(said.quoted, ', ') || ']'"),
            "ranks": Column(["int64"], "'[' || array_to_string(said.ranks, ', ') || ']'"),
        },
    ),
    "raw": Format(
        "One line per judgment, with everything known of it.",
        "raw",
        {name: Column(type, "") for name, type in RAW_TYPE.items()},
        trains=False,
    ),
    "hh-rlhf": Format(
        "Pairs as in Anthropic's HH-RLHF: two transcripts that differ in the last answer.",
        "pairs",
        {
            "chosen": Column("string", _transcript("pair.better")),
            "rejected": Column("string", _transcript("pair.worse")),
        },
    ),
    "summarize": Format(
        "Pairs as in OpenAI's comparisons of summaries: info, summaries, choice, worker, batch, split, extra.",
        "pairs",
        {
            "info": Column(
                {"id": "string", "post": "string"},
                f"json_build_object('id', said.prompt_id, 'post', {PROMPT_TEXT})::text",
            ),
            "summaries": Column(
                [{"text": "string", "policy": "string", "note": "string"}],
                """(SELECT json_agg(json_build_object('text', said.texts[p], 'policy', said.models[p], 'note', '')
                                   ORDER BY p)::text FROM unnest(ARRAY[pair.better, pair.worse]) AS p)""",
            ),
            "choice": Column("int64", "CASE WHEN pair.better < pair.worse THEN '0' ELSE '1' END"),
            "worker": Column("string", "to_json(coalesce(said.annotator, 'consensus'))::text"),
            "batch": Column("string", "to_json(said.project || coalesce('-round-' || said.round, ''))::text"),
            "split": Column("string", "CASE said.split WHEN 'train' THEN '\"train\"' ELSE '\"valid1\"' END"),
            "extra": Column(
                {"degree": "string", "margin": "float64"},
                "json_build_object('degree', said.degree, 'margin', pair.margin)::text",
            ),
        },
    ),
    "ultrafeedback": Format(
        "Pairs as in binarised UltraFeedback: the prompt's text, two conversations, and the score of each answer.",
        "pairs",
        {
            "prompt": Column("string", f"to_json({PROMPT_TEXT})::text"),
            "chosen": Column(MESSAGES, _conversation(CHOSEN)),
            "rejected": Column(MESSAGES, _conversation(REJECTED)),
            "score_chosen": Column("float64", _score("pair.better")),
            "score_rejected": Column("float64", _score("pair.worse")),
        },
    ),
    "helpsteer3": Format(
        "Two answers with everybody's preference, -3 to 3, below 0 for the first: as in HelpSteer3.",
        "duels",
        {
            "domain": Column("string", _tagged("domain", "general")),
            "language": Column("string", _tagged("language", "unknown")),
            "context": PROMPT,
            "response1": Column("string", "said.quoted[tally.a]"),
            "response2": Column("string", "said.quoted[tally.b]"),
            "overall_preference": Column("int64", "round(tally.preference)::int::text"),
            "individual_preference": Column(
                [{"score": "int64", "reasoning": "string"}], "tally.preferences::text"
            ),
        },
    ),
    "openai-dpo": Format(
        "Pairs as OpenAI's preference fine-tuning takes them.",
        "pairs",
        {
            "input": Column(
                {"messages": MESSAGES},
                """'{"messages": ' || said.messages::text || '}'""",
            ),
            "preferred_output": Column(MESSAGES, _answer(CHOSEN)),
            "non_preferred_output": Column(MESSAGES, _answer(REJECTED)),
        },
    ),
}

PAIR_MARGIN = margin_of("said.degree")
