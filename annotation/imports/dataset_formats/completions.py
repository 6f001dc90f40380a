"""Formats with any number of answers to a prompt: as a list in one row, or one answer a row."""

from __future__ import annotations

from annotation.imports.dataset_formats.base import (
    Answer,
    DatasetFormat,
    build_prompt,
    is_transcript,
    objects,
    read_answer,
    read_conversation,
    read_transcript,
)
from annotation.imports.dataset_formats.pairs import read_prompt_column
from annotation.imports.file_rows import JsonObject
from annotation.imports.preferences import NoPreference, Preference, as_number, ranks_by_score
from annotation.imports.prompt_schema import ImportedPrompt, RowError, read_messages
from annotation.logic.translation import gettext as _
from annotation.logic.translation import gettext_noop


def _without(values: JsonObject, *names: str) -> JsonObject:
    return {name: value for name, value in values.items() if name not in names}


def _ultrafeedback(row: JsonObject) -> ImportedPrompt:
    answers = [
        Answer(completion.get("response"), completion.get("model"), _without(completion, "response", "model"))
        for completion in objects(row["completions"], "completions")
    ]
    return build_prompt(read_messages(row.get("instruction")), answers)


def _nectar(row: JsonObject) -> ImportedPrompt:
    """The prompt is a transcript that ends with "Assistant:"."""
    prompt = row["prompt"]
    if is_transcript(prompt):
        prompt = read_transcript(prompt.rstrip().removesuffix("Assistant:"), "prompt")
    messages = read_messages(prompt)
    answers = [
        Answer(answer.get("answer"), answer.get("model"), _without(answer, "answer", "model", "rank"))
        for answer in objects(row["answers"], "answers")
    ]
    return build_prompt(messages, answers)


def _distilabel(row: JsonObject) -> ImportedPrompt:
    """Lists beside `generations` have an entry for each of them."""
    generations = row["generations"]
    if not isinstance(generations, list):
        raise RowError(_("generations: not a list"))

    def beside(*names: str) -> list[object]:
        for name in names:
            value = row.get(name)
            if value is None:
                continue
            if not isinstance(value, list) or len(value) != len(generations):
                raise RowError(
                    _("%(name)s: not a list with an entry for each of the generations") % {"name": name}
                )
            return value
        return [None] * len(generations)

    models = beside("generation_models", "generation_model", "models")
    rationales = beside("rationales")
    answers = [
        Answer(text, model, {"rationale": rationale})
        for text, model, rationale in zip(generations, models, rationales, strict=True)
    ]
    return build_prompt(read_messages(row["instruction"]), answers)


_HELPSTEER_SCORES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")


def _helpsteer2(row: JsonObject) -> ImportedPrompt:
    scores = {name: row.get(name) for name in _HELPSTEER_SCORES}
    return build_prompt(read_messages(row.get("prompt")), [Answer(row.get("response"), None, scores)])


def _trl_completion(row: JsonObject) -> ImportedPrompt:
    messages = read_prompt_column(row)
    answer = Answer(
        read_answer(row.get("completion"), "completion", messages), None, {"label": row.get("label")}
    )
    return build_prompt(messages, [answer])


def _messages(row: JsonObject) -> ImportedPrompt:
    """A conversation, whose last message is the user's, or an answer to the ones before it."""
    messages = read_conversation(row["messages"], "messages")
    if messages[-1]["role"] != "assistant":
        return build_prompt(read_messages(messages), [])
    return build_prompt(read_messages(messages[:-1]), [Answer(messages[-1]["content"])])


def _judge_ultrafeedback(row: JsonObject) -> list[Preference]:
    """By the completions' overall scores, or else by the means of their ratings."""
    completions = objects(row["completions"], "completions")
    scores = [completion.get("overall_score") for completion in completions]
    if None in scores:
        scores = [_mean_rating(completion.get("annotations")) for completion in completions]
    return [Preference(ranks_by_score(scores))]


def _mean_rating(annotations: object) -> float | None:
    """The mean of `{aspect: {"Rating": "1" to "5" or "N/A"}}`."""
    if not isinstance(annotations, dict):
        return None
    ratings = [a.get("Rating") for a in annotations.values() if isinstance(a, dict)]
    numbers = [as_number(rating) for rating in ratings if rating not in (None, "N/A")]
    return sum(numbers) / len(numbers) if numbers else None


def _judge_nectar(row: JsonObject) -> list[Preference]:
    ranks = [as_number(answer.get("rank")) for answer in objects(row["answers"], "answers")]
    return [Preference(ranks_by_score([-rank for rank in ranks]))]


def _judge_distilabel(row: JsonObject) -> list[Preference]:
    ratings = row.get("ratings")
    if not isinstance(ratings, list):
        raise NoPreference(_("rows without a preference"))
    return [Preference(ranks_by_score(ratings))]


COMPLETION_FORMATS = (
    DatasetFormat(
        "ultrafeedback",
        "UltraFeedback",
        ("instruction", "completions"),
        _ultrafeedback,
        metadata=("id", "source", "correct_answers", "incorrect_answers"),
        ignored=("models",),
        judge=_judge_ultrafeedback,
        judged_by="machine",
    ),
    DatasetFormat(
        "nectar",
        "Nectar",
        ("prompt", "answers"),
        _nectar,
        metadata=("source", "turns", "num_responses", "good_natured"),
        judge=_judge_nectar,
        judged_by="machine",
    ),
    DatasetFormat(
        "distilabel",
        "distilabel",
        ("instruction", "generations"),
        _distilabel,
        optional=("generation_models", "generation_model", "models", "rationales"),
        metadata=("model_name", "distilabel_metadata"),
        about_preferences=("ratings",),
        judge=_judge_distilabel,
        judged_by="machine",
    ),
    DatasetFormat(
        "helpsteer2",
        "HelpSteer2",
        ("prompt", "response", "helpfulness"),
        _helpsteer2,
        optional=_HELPSTEER_SCORES,
        one_response_per_row=True,
        score="helpfulness",
        judged_by="person",
    ),
    DatasetFormat(
        "trl-completion",
        gettext_noop("TRL prompts and completions"),
        ("prompt", "completion"),
        _trl_completion,
        optional=("label",),
        metadata=("id", "source"),
        one_response_per_row=True,
        score="label",
    ),
    DatasetFormat(
        "messages",
        gettext_noop("OpenAI messages"),
        ("messages",),
        _messages,
        metadata=("id", "source"),
        one_response_per_row=True,
    ),
)
