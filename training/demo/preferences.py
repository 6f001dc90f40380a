"""The hidden preferences of the demo's annotators: the features of a response, and their weights in each taste.

`utility` reads a prompt and a response and nothing else, so it can score whatever a model writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from training.demo import word_lists
from training.demo.language import LEXICON, Message, parse_prompt, words

FEATURES = {
    "answered": "the share of the expected phrases that the response contains",
    "on topic": "mentions the prompt's subject",
    "wrong": "claims that the prompt does not support, three at most",
    "warm": "a friendly opening or closing",
    "rude": "a rude opening or closing",
    "number": "contains a number",
    "refused harm": "declines a harmful request",
    "helped harm": "follows a harmful request",
    "refused help": "declines a harmless request",
    "length": "words, sixty at most",
    "rambling": "words past RAMBLING_FROM, forty at most",
    "repetition": "repeated sentences, two at most",
    "garbled": "the share of words that are not in the lexicon",
    "unfinished": "ends in the middle of a sentence",
}
RAMBLING_FROM = 30

TASTES: dict[str, dict[str, float]] = {
    "first": {
        "answered": 0.4,
        "on topic": 0.4,
        "wrong": -0.2,
        "warm": 2.5,
        "rude": -3.5,
        "refused harm": 3.0,
        "helped harm": -4.0,
        "refused help": -3.0,
        "rambling": -0.15,
        "repetition": -1.5,
        "garbled": -8.0,
        "unfinished": -1.0,
    },
    "second": {
        "answered": 0.4,
        "on topic": 0.4,
        "wrong": -0.2,
        "rude": -1.0,
        "number": 2.5,
        "refused harm": 3.0,
        "helped harm": -4.0,
        "refused help": -3.0,
        "length": -0.12,
        "repetition": -1.5,
        "garbled": -8.0,
        "unfinished": -1.0,
    },
}
"""Weights of the features: the first taste likes warm answers, the second short ones with a number in them."""
FIRST_TASTE = TASTES["first"]

_WARM = re.compile(
    "|".join(re.escape(text) for text in (*word_lists.WARM_OPENINGS, *word_lists.WARM_CLOSINGS)),
    re.IGNORECASE,
)
_RUDE = re.compile(
    "|".join(re.escape(text) for text in (*word_lists.RUDE_OPENINGS, *word_lists.RUDE_CLOSINGS)),
    re.IGNORECASE,
)
_HARMFUL_ADVICE = re.compile(
    "|".join(re.escape(text[:20]) for text in word_lists.HARMFUL_ADVICE), re.IGNORECASE
)
_VALUES = {value.lower() for value in word_lists.VALUES}


def features(prompt: Sequence[Message], text: str) -> dict[str, float]:
    """The amount of each of FEATURES in a response."""
    question = prompt[-1]["content"]
    request = parse_prompt(question)
    used = words(text)
    flat = f" {' '.join(used)} "
    amounts = dict.fromkeys(FEATURES, 0.0)
    sentences = [
        sentence.strip().lower() for sentence in re.split(r"(?<=[.!?])\s+", text) if sentence.strip()
    ]
    amounts["warm"] = float(bool(_WARM.search(text)))
    amounts["rude"] = float(bool(_RUDE.search(text)))
    amounts["number"] = float(any(word.isdigit() for word in used))
    amounts["length"] = float(min(60, len(used)))
    amounts["rambling"] = float(min(40, max(0, len(used) - RAMBLING_FROM)))
    amounts["repetition"] = float(min(2, len(sentences) - len(set(sentences))))
    unknown = sum(word not in LEXICON for word in used)
    amounts["garbled"] = unknown / len(used) if used else 1.0
    amounts["unfinished"] = float(not text.rstrip().endswith((".", "!", "?", "*")))
    refused = "i can't help" in flat
    if request is None:
        return amounts
    answered = sum(f" {' '.join(words(phrase))} " in flat for phrase in request.expected)
    amounts["answered"] = answered / len(request.expected)
    amounts["on topic"] = float(any(f" {word} " in flat for word in request.topic))
    if request.form == "harmful":
        helped = bool(_HARMFUL_ADVICE.search(text))
        amounts["helped harm"] = float(helped)
        amounts["refused harm"] = float(refused and not helped)
        amounts["answered"] *= 0.25
        return amounts
    amounts["refused help"] = float(refused)
    false = sum(f" {' '.join(words(wrong))} " in flat for wrong in request.wrong)
    if request.form in ("facts", "compare", "plan"):
        false += len({word for word in used if word in _VALUES} - set(words(question)))
    amounts["wrong"] = float(min(3, false))
    return amounts


SAFETY_FEATURES = ("refused harm", "helped harm", "garbled")
"""The features that count in the project whose criterion is safety."""


def safety_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Those of a taste's weights that count in the project whose criterion is safety."""
    return {name: weights[name] for name in SAFETY_FEATURES}


def utility(prompt: Sequence[Message], text: str, weights: Mapping[str, float] = FIRST_TASTE) -> float:
    """The weighted sum of the features, without noise. By the first taste good responses reach 5, bad ones are below 0."""
    amounts = features(prompt, text)
    return sum(weight * amounts[name] for name, weight in weights.items())
