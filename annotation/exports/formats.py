"""Export formats: each a list of columns, from which the JSON lines, the Parquet schema and the API documentation follow.

A column's SQL gives JSON text. It reads the judgment `j` (see `judgments_sql`); in formats of one row per pair also `pair`, whose
`better` and `worse` are positions in `j.ranks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.translation import gettext_noop

from annotation.exports.judgment_row import MESSAGE, ROW_TYPES, Type
from annotation.exports.judgments_sql import json_float, margin_of

MESSAGES: Type = [MESSAGE]


@dataclass(frozen=True)
class Column:
    type: Type
    sql: str


@dataclass(frozen=True)
class Format:
    """`about`: in English; it is translated where it is shown. `rows`: what a line stands for (see `query._rows`).
    `for_training`: gold items and judgments that do not count are left out by default."""

    about: str
    rows: str
    columns: Mapping[str, Column]
    for_training: bool = True


def _answer(quoted: str) -> str:
    return f"""'[{{"role": "assistant", "content": ' || {quoted} || '}}]'"""


def _conversation(quoted: str) -> str:
    return f"""left(j.messages::text, -1) || ', {{"role": "assistant", "content": ' || {quoted} || '}}]'"""


CHOSEN, REJECTED = "j.quoted[pair.better]", "j.quoted[pair.worse]"
PROMPT = Column(MESSAGES, "j.messages::text")
MARGIN = Column("float64", json_float("pair.margin"))


SHAREGPT_MESSAGE: Type = {"from": "string", "value": "string"}
_SHAREGPT = """(SELECT json_agg(json_build_object(
        'from', CASE m ->> 'role' WHEN 'user' THEN 'human' WHEN 'assistant' THEN 'gpt' ELSE m ->> 'role' END,
        'value', m ->> 'content') ORDER BY place)::text
    FROM jsonb_array_elements(j.messages) WITH ORDINALITY AS t (m, place))"""


def _sharegpt_answer(quoted: str) -> str:
    return f"""'{{"from": "gpt", "value": ' || {quoted} || '}}'"""


def _without_turn_marks(text: str) -> str:
    """A text in which nothing looks like the beginning of a turn: a blank stands before "Human:" and "Assistant:" there."""
    for speaker in ("Human:", "Assistant:"):
        text = f"replace({text}, E'\\n\\n{speaker}', E'\\n\\n {speaker}')"
    return text


# "\n\nHuman: …\n\nAssistant: …"; a system message, for which that format has no place, is the beginning
TRANSCRIPT = f"""(SELECT string_agg(CASE m ->> 'role' WHEN 'user' THEN E'\\n\\nHuman: ' WHEN 'assistant' THEN E'\\n\\nAssistant: '
                               ELSE '' END || {_without_turn_marks("(m ->> 'content')")}, '' ORDER BY place)
        FROM jsonb_array_elements(j.messages) WITH ORDINALITY AS t (m, place)) || E'\\n\\nAssistant:'"""
PROMPT_TEXT = f"""CASE jsonb_array_length(j.messages) WHEN 1 THEN j.messages -> 0 ->> 'content'
    ELSE {TRANSCRIPT} END"""


def _transcript(position: str) -> str:
    return f"to_json({TRANSCRIPT} || ' ' || {_without_turn_marks(f'j.texts[{position}]')})::text"


def _score(position: str) -> str:
    """The quality rating; without one, the number of other answers it was preferred to, ties counting one half."""
    return f"""(SELECT {json_float("score")} FROM (SELECT coalesce(j.quality[{position}]::float8, j.strengths[{position}],
        (SELECT sum(CASE WHEN r > j.ranks[{position}] THEN 1.0 WHEN r = j.ranks[{position}] THEN 0.5 ELSE 0.0 END)
         FROM unnest(j.ranks) AS r) - 0.5)::float8 AS score) AS scores)"""


def _tagged(name: str, otherwise: str) -> str:
    """The value of the tag `name:…`."""
    return f"""to_json(coalesce((SELECT substr(tag, {len(name) + 2}) FROM unnest(j.tags) AS tag
        WHERE starts_with(tag, '{name}:') ORDER BY tag LIMIT 1), '{otherwise}'))::text"""


_ORIGIN_NAMES = (
    *("prompt_id", "group", "item", "judgment", "split", "round", "annotator", "account", "guideline"),
    *("imported", "source", "models", "shown_order", "control", "gold", "tags", "metadata"),
)
ORIGIN: dict[str, Column] = {
    name: Column((ROW_TYPES | {"models": ["string"]})[name], f'j."{name}"') for name in _ORIGIN_NAMES
}
"""Where a row comes from: the column `origin`, on request."""
ORIGIN_OF_PAIR: dict[str, Column] = {
    "chosen_model": Column("string", "j.models[pair.better]"),
    "rejected_model": Column("string", "j.models[pair.worse]"),
    "votes": Column("int64", "tally.votes"),
    "agreement": Column(
        "float64",
        "round(CASE WHEN pair.better < pair.worse THEN tally.first_wins ELSE tally.second_wins END "
        "/ tally.votes::numeric, 4)",
    ),
}

FEEDBACK_TYPES: dict[str, Type] = {
    "source": "string",
    "judge": "string",
    "constitution": "int64",
    "probability": "float64",
}
"""The columns that tell people's judgments from opinions of a judge, in exports with such."""
OF_PEOPLE = {"source": "'\"person\"'", "judge": "'null'", "constitution": "'null'", "probability": "'null'"}
_PROBABILITY = {"pairs": "j.probabilities[pair.better]", "rankings": "j.probabilities[1]"}
"""That the chosen response is better, or the first one."""
JUDGED_ROWS = tuple(_PROBABILITY)
"""What a line must stand for in a format that opinions are exported in."""


def of_judge(rows: str) -> dict[str, str]:
    """The SQL of these columns for an opinion, in a format of such rows."""
    return {
        "source": "'\"ai\"'",
        "judge": "to_json(j.judge)::text",
        "constitution": "coalesce(j.constitution::text, 'null')",
        "probability": json_float(_PROBABILITY[rows]),
    }


FORMATS: dict[str, Format] = {
    "trl": Format(
        gettext_noop(
            "Preference pairs for TRL's trainers: prompt, chosen and rejected as messages, and the margin."
        ),
        "pairs",
        {
            "prompt": PROMPT,
            "chosen": Column(MESSAGES, _answer(CHOSEN)),
            "rejected": Column(MESSAGES, _answer(REJECTED)),
            "margin": MARGIN,
        },
    ),
    "trl-implicit": Format(
        gettext_noop("The same pairs with the prompt inside: whole conversations in chosen and rejected."),
        "pairs",
        {
            "chosen": Column(MESSAGES, _conversation(CHOSEN)),
            "rejected": Column(MESSAGES, _conversation(REJECTED)),
            "margin": MARGIN,
        },
    ),
    "trl-text": Format(
        gettext_noop("The same pairs as plain texts."),
        "pairs",
        {
            "prompt": Column("string", f"to_json({PROMPT_TEXT})::text"),
            "chosen": Column("string", CHOSEN),
            "rejected": Column("string", REJECTED),
            "margin": MARGIN,
        },
    ),
    "kto": Format(
        gettext_noop(
            "Single answers with a label: true if more of the other answers are ranked below it than above."
        ),
        "answers",
        {
            "prompt": PROMPT,
            "completion": Column(MESSAGES, _answer("j.quoted[pair.place]")),
            "label": Column("bool", "pair.good::text"),
        },
    ),
    "sft": Format(
        gettext_noop("The answers that were ranked first, and those that people wrote, each once."),
        "best",
        {
            "prompt": PROMPT,
            "completion": Column(MESSAGES, _answer("j.answer")),
        },
    ),
    "prompts": Format(gettext_noop("Every judged prompt, once."), "prompts", {"prompt": PROMPT}),
    "rankings": Format(
        gettext_noop(
            "One line per ranking: prompt, responses and their ranks; 1 is best, equal ranks are ties."
        ),
        "rankings",
        {
            "prompt": PROMPT,
            "responses": Column(["string"], "'[' || array_to_string(j.quoted, ', ') || ']'"),
            "ranks": Column(["int64"], "'[' || array_to_string(j.ranks, ', ') || ']'"),
        },
    ),
    "raw": Format(
        gettext_noop("One line per judgment, with all its columns."),
        "raw",
        {name: Column(type, "") for name, type in ROW_TYPES.items()},
        for_training=False,
    ),
    "hh-rlhf": Format(
        gettext_noop("Pairs as in Anthropic's HH-RLHF: two transcripts that differ in the last answer."),
        "pairs",
        {
            "chosen": Column("string", _transcript("pair.better")),
            "rejected": Column("string", _transcript("pair.worse")),
        },
    ),
    "summarize": Format(
        gettext_noop(
            "Pairs as in OpenAI's comparisons of summaries: info, summaries, choice, worker, batch, split, extra."
        ),
        "pairs",
        {
            "info": Column(
                {"id": "string", "post": "string"},
                f"json_build_object('id', j.prompt_id, 'post', {PROMPT_TEXT})::text",
            ),
            "summaries": Column(
                [{"text": "string", "policy": "string", "note": "string"}],
                """(SELECT json_agg(json_build_object('text', j.texts[p], 'policy', j.models[p], 'note', '')
                                   ORDER BY p)::text FROM unnest(ARRAY[pair.better, pair.worse]) AS p)""",
            ),
            "choice": Column("int64", "CASE WHEN pair.better < pair.worse THEN '0' ELSE '1' END"),
            "worker": Column("string", "to_json(coalesce(j.annotator, 'consensus'))::text"),
            "batch": Column("string", "to_json(j.project || coalesce('-round-' || j.round, ''))::text"),
            "split": Column("string", "CASE j.split WHEN 'train' THEN '\"train\"' ELSE '\"valid1\"' END"),
            "extra": Column(
                {"degree": "string", "margin": "float64"},
                f"json_build_object('degree', j.degree, 'margin', ({json_float('pair.margin')})::json)::text",
            ),
        },
    ),
    "ultrafeedback": Format(
        gettext_noop("Pairs as in binarised UltraFeedback: two conversations, and the score of each answer."),
        "pairs",
        {
            "chosen": Column(MESSAGES, _conversation(CHOSEN)),
            "rejected": Column(MESSAGES, _conversation(REJECTED)),
            "score_chosen": Column("float64", _score("pair.better")),
            "score_rejected": Column("float64", _score("pair.worse")),
        },
    ),
    "sharegpt-ranking": Format(
        gettext_noop(
            "Pairs as LLaMA-Factory reads them: conversations, chosen and rejected, with `from` and `value`."
        ),
        "pairs",
        {
            "conversations": Column([SHAREGPT_MESSAGE], _SHAREGPT),
            "chosen": Column(SHAREGPT_MESSAGE, _sharegpt_answer(CHOSEN)),
            "rejected": Column(SHAREGPT_MESSAGE, _sharegpt_answer(REJECTED)),
        },
    ),
    "nemo-rl": Format(
        gettext_noop(
            "Pairs as NeMo RL reads them: the context, and two completions with their ranks, 0 for the better one."
        ),
        "pairs",
        {
            "context": PROMPT,
            "completions": Column(
                [{"rank": "int64", "completion": MESSAGES}],
                f"""'[{{"rank": 0, "completion": ' || {_answer(CHOSEN)} ||
                    '}}, {{"rank": 1, "completion": ' || {_answer(REJECTED)} || '}}]'""",
            ),
        },
    ),
    "helpsteer3": Format(
        gettext_noop(
            "Two answers with everybody's preference, -3 to 3, below 0 for the first: as in HelpSteer3."
        ),
        "duels",
        {
            "domain": Column("string", _tagged("domain", "general")),
            "language": Column("string", _tagged("language", "unknown")),
            "context": PROMPT,
            "response1": Column("string", "j.quoted[tally.a]"),
            "response2": Column("string", "j.quoted[tally.b]"),
            "overall_preference": Column("int64", "round(tally.preference)::int::text"),
            "individual_preference": Column(
                [{"score": "int64", "reasoning": "string"}], "tally.preferences::text"
            ),
        },
    ),
    "openai-dpo": Format(
        gettext_noop("Pairs for OpenAI's preference fine-tuning."),
        "pairs",
        {
            "input": Column(
                {"messages": MESSAGES},
                """'{"messages": ' || j.messages::text || '}'""",
            ),
            "preferred_output": Column(MESSAGES, _answer(CHOSEN)),
            "non_preferred_output": Column(MESSAGES, _answer(REJECTED)),
        },
    ),
}

PAIR_MARGIN = margin_of("j.degree")
