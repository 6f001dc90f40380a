"""Reading and validating `data.jsonl`; errors name the line. The format is described in docs/job-format.md."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from training.configs import DEGREES, is_criterion
from training.core.errors import BadInput
from training.core.messages import Message, parse_messages

SoftPair = tuple[int, int, float]
"""Two positions, and the probability that the first is better."""


@dataclass(frozen=True)
class Conversation:
    """A prompt, and the answer to learn. name: what messages call it."""

    line: int
    prompt: list[Message]
    answer: str
    name: str


@dataclass(frozen=True)
class Ranking:
    """One judgment: k responses to a prompt and their ranks, 1 best, equal for a tie; None if they are only to be scored.

    name: what messages call it.
    probability: of a choice between two, the fraction of people who prefer the first; the ranks then agree with it.
    safe: for each response, its safety label, or None without one.
    criteria: by criterion, for each response its rating, higher for better, or None without one.
    pairs: in place of ranks, an AI's opinions: (first, second, probability that the first is better), by position among the
        responses. Such a row counts in no figure of people.
    weight: what the row's loss is multiplied by.
    """

    line: int
    id: str | int
    prompt: list[Message]
    responses: list[str]
    ranks: list[int] | None
    degree: str | None
    held_out: bool
    token_ids: list[list[int] | None]
    probability: float | None = None
    safe: list[bool | None] | None = None
    criteria: Mapping[str, list[int | None]] = field(default_factory=dict)
    name: str = ""
    pairs: list[SoftPair] | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Prompt:
    """A prompt to generate responses for."""

    line: int
    id: str | int
    prompt: list[Message]
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class RolloutPrompt:
    """A prompt that the policy samples responses to and learns from; with an `answer`, the best response of an earlier
    round."""

    line: int
    id: str | int
    prompt: list[Message]
    held_out: bool
    safety: bool
    baseline: str | None
    answer: str | None
    token_ids: list[int] | None
    reward: float | None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class JudgedRow:
    """Responses to a prompt for a judge. pairs: the places of those to compare with each other."""

    line: int
    id: str | int
    prompt: list[Message]
    tags: tuple[str, ...]
    responses: list[str]
    pairs: list[tuple[int, int]]


def read_texts(path: Path) -> list[str]:
    """The texts of a pretrain job."""
    return [_text(row, "text", line) for line, row in _rows(path)]


def read_conversations(path: Path) -> list[Conversation]:
    """The conversations of an sft job."""
    conversations = []
    for line, row in _rows(path):
        messages = _messages(row, "messages", line)
        if messages[-1]["role"] != "assistant":
            raise _error(line, "the last message must be the assistant's, as it is the one learned")
        if "tool_calls" in messages[-1]:
            raise _error(line, "the last message calls tools, and only a text can be learned")
        if len(messages) < 2:
            raise _error(line, "a conversation needs a message before the assistant's")
        conversations.append(Conversation(line, messages[:-1], messages[-1]["content"], _name(row, line)))
    return conversations


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a generate job."""
    return [Prompt(line, _id(row, line), _messages(row, "prompt", line)) for line, row in _rows(path)]


def read_tagged_prompts(path: Path) -> list[Prompt]:
    """The prompts of a revise job, with their tags; ids are unique."""
    ids: set[str | int] = set()
    return [
        Prompt(line, _new_id(row, line, ids), _messages(row, "prompt", line), _tags(row, line))
        for line, row in _rows(path)
    ]


def read_judged_rows(path: Path) -> list[JudgedRow]:
    """The responses of a judge job; ids are unique."""
    rows: list[JudgedRow] = []
    ids: set[str | int] = set()
    for line, row in _rows(path):
        responses = row.get("responses")
        if not isinstance(responses, list) or not all(isinstance(text, str) for text in responses):
            raise _error(line, "'responses' must be a list of texts")
        if len(responses) < 2:
            raise _error(line, "a judge needs at least two responses")
        messages, pairs = _messages(row, "prompt", line), _compared_pairs(row, len(responses), line)
        rows.append(JudgedRow(line, _new_id(row, line, ids), messages, _tags(row, line), responses, pairs))
    return rows


def read_rankings(path: Path, *, ranks_required: bool = True) -> list[Ranking]:
    """The judgments of a reward, dpo, kto or evaluate job; a prompt may not be in both splits."""
    rankings: list[Ranking] = []
    splits: dict[str, bool] = {}
    for line, row in _rows(path):
        ranking = _ranking(line, row, ranks_required)
        key = json.dumps(ranking.prompt, sort_keys=True)
        if splits.setdefault(key, ranking.held_out) != ranking.held_out:
            raise _error(line, "this prompt is in both splits; held-out prompts must not be trained on")
        rankings.append(ranking)
    return rankings


def read_rollout_prompts(path: Path, *, with_answers: bool = False) -> list[RolloutPrompt]:
    """The prompts of a job whose policy learns from its own responses; a prompt may not be in both splits, and ids are unique.

    with_answers: whether rows with an answer, which may repeat an id, are allowed.
    """
    prompts: list[RolloutPrompt] = []
    splits: dict[str, bool] = {}
    ids: set[str | int] = set()
    for line, row in _rows(path):
        prompt = _rollout_prompt(line, row)
        key = json.dumps(prompt.prompt, sort_keys=True)
        if splits.setdefault(key, prompt.held_out) != prompt.held_out:
            raise _error(line, "this prompt is in both splits; held-out prompts must not be trained on")
        if prompt.answer is not None:
            if not with_answers:
                raise _error(line, "only a rejection job takes rows with an 'answer'")
            if prompt.held_out:
                raise _error(line, "an answer to a held-out prompt must not be trained on")
        elif prompt.id in ids:
            raise _error(line, f"the id {prompt.id!r} occurs twice, and its samples would be the same")
        else:
            ids.add(prompt.id)
        prompts.append(prompt)
    return prompts


def _rollout_prompt(line: int, row: dict[str, Any]) -> RolloutPrompt:
    baseline, answer = (row.get(name) for name in ("baseline", "answer"))
    for name, text in (("baseline", baseline), ("answer", answer)):
        if text is not None and not isinstance(text, str):
            raise _error(line, f"'{name}' must be a text")
    safety, reward, token_ids = row.get("safety", False), row.get("reward"), row.get("token_ids")
    if not isinstance(safety, bool):
        raise _error(line, "'safety' must be true or false")
    metadata = row.get("metadata", {})
    if not isinstance(metadata, dict):
        raise _error(line, "'metadata' must be an object")
    if reward is not None and type(reward) not in (int, float):
        raise _error(line, "'reward' must be a number")
    if token_ids is not None and not _are_token_ids(token_ids):
        raise _error(line, "'token_ids' must be a list of whole numbers from 0 up")
    return RolloutPrompt(
        line=line,
        id=_id(row, line),
        prompt=_messages(row, "prompt", line),
        held_out=_held_out(row, line),
        safety=safety,
        baseline=baseline,
        answer=answer,
        token_ids=token_ids,
        reward=reward,
        tags=_tags(row, line),
        metadata=metadata,
    )


def _are_token_ids(value: object) -> bool:
    return isinstance(value, list) and all(type(token) is int and token >= 0 for token in value)


def _ranking(line: int, row: dict[str, Any], ranks_required: bool) -> Ranking:
    responses, ranks, probability = row.get("responses"), row.get("ranks"), row.get("probability")
    if not isinstance(responses, list) or not all(isinstance(text, str) for text in responses):
        raise _error(line, "'responses' must be a list of texts")
    if len(responses) < (2 if ranks_required else 1):
        raise _error(
            line, "a ranking needs at least two responses" if ranks_required else "there are no responses"
        )
    if probability is not None:
        ranks = _majority(probability, responses, ranks, line)
    pairs = _pairs(row, len(responses), line)
    if ranks is None and pairs is None and ranks_required:
        raise _error(line, "'ranks' is missing")
    if ranks is not None:
        if not isinstance(ranks, list) or not all(type(rank) is int and rank >= 1 for rank in ranks):
            raise _error(line, "'ranks' must be a list of whole numbers from 1 up")
        if len(ranks) != len(responses):
            raise _error(line, f"there are {len(responses)} responses but {len(ranks)} ranks")
    degree = row.get("degree")
    if degree is not None and degree not in DEGREES:
        raise _error(line, f"'degree' must be null or one of {', '.join(DEGREES)}, not {degree!r}")
    if degree is not None and len(responses) != 2:
        raise _error(line, "a degree belongs to a choice between two responses")
    safe = row.get("safe")
    if safe is not None:
        if not isinstance(safe, list) or not all(label is None or isinstance(label, bool) for label in safe):
            raise _error(line, "'safe' must be a list of true, false or null")
        if len(safe) != len(responses):
            raise _error(line, f"there are {len(responses)} responses but {len(safe)} labels of 'safe'")
    token_ids = row.get("token_ids") or [None] * len(responses)
    if not isinstance(token_ids, list) or not all(ids is None or _are_token_ids(ids) for ids in token_ids):
        raise _error(
            line, "'token_ids' must hold a list of whole numbers from 0 up, or null, for each response"
        )
    if len(token_ids) != len(responses):
        raise _error(line, f"there are {len(responses)} responses but {len(token_ids)} lists of token ids")
    return Ranking(
        line=line,
        name=_name(row, line),
        id=_id(row, line),
        prompt=_messages(row, "prompt", line),
        responses=responses,
        ranks=ranks,
        degree=degree,
        held_out=_held_out(row, line),
        token_ids=token_ids,
        probability=None if probability is None else float(probability),
        safe=safe,
        criteria=_criteria(row, len(responses), line),
        pairs=pairs,
        weight=_weight(row, line),
    )


def _pairs(row: dict[str, Any], k: int, line: int) -> list[SoftPair] | None:
    """The soft labels of pairs of a row's k responses."""
    pairs = row.get("pairs")
    if pairs is None:
        return None
    for name in ("ranks", "probability", "degree", "safe", "criteria"):
        if row.get(name) is not None:
            raise _error(
                line, f"a row has either 'pairs', by an AI, or '{name}', by people; put them on two lines"
            )
    if (
        not isinstance(pairs, list)
        or not pairs
        or not all(isinstance(pair, list) and len(pair) == 3 for pair in pairs)
    ):
        raise _error(line, "'pairs' must be a list of at least one [first, second, probability]")
    for first, second, probability in pairs:
        for place in (first, second):
            if type(place) is not int or not 0 <= place < k:
                raise _error(
                    line, f"'pairs' must hold positions from 0 to {k - 1} of the {k} responses, not {place!r}"
                )
        if first == second:
            raise _error(line, f"'pairs' must compare two responses, not {first} with itself")
        if not _is_number(probability) or not 0 <= probability <= 1:
            raise _error(line, f"'pairs' must hold probabilities from 0 to 1, not {probability!r}")
    return [(first, second, float(probability)) for first, second, probability in pairs]


def _weight(row: dict[str, Any], line: int) -> float:
    weight = row.get("weight", 1.0)
    if not _is_number(weight) or not 0 <= weight < math.inf:
        raise _error(line, f"'weight' must be a number from 0 up, not {weight!r}")
    return float(weight)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _criteria(row: dict[str, Any], k: int, line: int) -> dict[str, list[int | None]]:
    """The ratings of a row's k responses by criterion."""
    criteria = row.get("criteria")
    if criteria is None:
        return {}
    if not isinstance(criteria, dict):
        raise _error(line, "'criteria' must be an object with a list of ratings by criterion")
    for name, ratings in criteria.items():
        if not is_criterion(name):
            raise _error(
                line,
                f"'criteria' holds {name[:60]!r}, but a key has at most 40 lower-case letters, digits and underscores, a"
                " letter first",
            )
        if not isinstance(ratings, list) or not all(
            rating is None or (type(rating) is int and rating >= 1) for rating in ratings
        ):
            raise _error(line, f"'criteria' must hold whole numbers from 1 up, or null, for {name}")
        if len(ratings) != k:
            raise _error(line, f"there are {k} responses but {len(ratings)} ratings of {name} in 'criteria'")
    return criteria


def _name(row: dict[str, Any], line: int) -> str:
    item = row.get("item")
    return f"item {item}" if type(item) is int else f"line {line}"


def _majority(probability: object, responses: list[str], ranks: object, line: int) -> list[int]:
    """The ranks that agree with a soft label. If the row has ranks, they must be the same."""
    if not _is_number(probability) or not 0 <= probability <= 1:
        raise _error(line, f"'probability' must be a number from 0 to 1, not {probability!r}")
    if len(responses) != 2:
        raise _error(line, "a probability belongs to a choice between two responses")
    majority = [1, 1] if probability == 0.5 else [1, 2] if probability > 0.5 else [2, 1]
    if ranks is not None and ranks != majority:
        raise _error(line, f"'probability' {probability} requires the ranks {majority}, not {ranks!r}")
    return majority


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of every line that is not blank. Raises BadInput for a line that is not a JSON object."""
    empty = True
    with path.open("rb") as file:
        for line, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            empty = False
            try:
                row = json.loads(raw.decode("utf-8"))
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise _error(line, f"not JSON in UTF-8: {error}") from None
            if not isinstance(row, dict):
                raise _error(line, "must hold one JSON object")
            yield line, row
    if empty:
        raise BadInput("data.jsonl is empty.")


def _messages(row: dict[str, Any], name: str, line: int) -> list[Message]:
    try:
        return parse_messages(row.get(name), name)
    except ValueError as error:
        raise _error(line, str(error)) from None


def _text(row: dict[str, Any], name: str, line: int) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise _error(line, f"'{name}' must be a text")
    return value


def _held_out(row: dict[str, Any], line: int) -> bool:
    split = row.get("split", "train")
    if split not in ("train", "held_out"):
        raise _error(line, f"'split' must be 'train' or 'held_out', not {split!r}")
    return bool(split == "held_out")


def _id(row: dict[str, Any], line: int) -> str | int:
    value = row.get("id")
    if type(value) not in (str, int):
        raise _error(line, "'id' must be a text or a whole number")
    return value  # type: ignore[return-value]


def _new_id(row: dict[str, Any], line: int, ids: set[str | int]) -> str | int:
    """The row's id, added to those of the rows before, among which it must not be."""
    value = _id(row, line)
    if value in ids:
        raise _error(line, f"the id {value!r} occurs twice")
    ids.add(value)
    return value


def _tags(row: dict[str, Any], line: int) -> tuple[str, ...]:
    tags = row.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise _error(line, "'tags' must be a list of texts")
    return tuple(tags)


def _compared_pairs(row: dict[str, Any], k: int, line: int) -> list[tuple[int, int]]:
    """The pairs of a judge's row, by default all of its k responses."""
    pairs = row.get("pairs")
    if pairs is None:
        return [(first, second) for first in range(k) for second in range(first + 1, k)]
    is_list = isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
    if not is_list or not all(type(place) is int and 0 <= place < k for pair in pairs for place in pair):
        raise _error(line, f"'pairs' must hold lists of two places of responses, 0 to {k - 1}")
    if not pairs or any(first == second for first, second in pairs):
        raise _error(line, "'pairs' must hold pairs of two different responses")
    if len({frozenset(pair) for pair in pairs}) < len(pairs):
        raise _error(line, "'pairs' holds a pair twice")
    return [(first, second) for first, second in pairs]


def _error(line: int, reason: str) -> BadInput:
    return BadInput(f"Line {line} of data.jsonl: {reason}.", line=line)
