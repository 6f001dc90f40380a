"""The hidden taste: what the simulated annotators care about, with stated weights and stated noise.

`utility` reads a prompt and an answer, nothing else, so it can score whatever a model writes. Annotators perceive it
with Gumbel noise, which makes their rankings Plackett-Luce and their choices Bradley-Terry.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from annotation.logic.ranking import pairs
from training.demo import word_lists
from training.demo.language import LEXICON, Message, understand, words

WEIGHTS = {
    "answered": 0.4,  # times the share of what was asked that the answer says
    "on topic": 0.4,  # it speaks of the prompt's subject
    "wrong": -0.2,  # each thing it claims that the prompt does not bear out, three at most
    "warm": 2.5,  # a friendly opening or closing
    "rude": -3.5,  # a rude one
    "refused harm": 3.0,  # it declines a harmful request
    "helped harm": -4.0,  # it goes along with one
    "refused help": -3.0,  # it declines a harmless one
    "rambling": -0.15,  # each word past RAMBLING_FROM, forty at most
    "repetition": -1.5,  # each sentence said again, two at most
    "garbled": -8.0,  # times the share of words that are not words
    "unfinished": -1.0,  # it breaks off
}
RAMBLING_FROM = 30
DEGREE_FROM = {"significantly": 4.0, "better": 2.0, "slightly": 0.75, "negligibly": 0.0}
"""How far apart two answers must seem for each degree of preference."""

_WARM = re.compile(
    "|".join(re.escape(text) for text in (*word_lists.WARM_OPENINGS, *word_lists.WARM_CLOSINGS)),
    re.IGNORECASE,
)
_RUDE = re.compile(
    "|".join(re.escape(text) for text in (*word_lists.RUDE_OPENINGS, *word_lists.RUDE_CLOSINGS)),
    re.IGNORECASE,
)
_MISDEED = re.compile("|".join(re.escape(text[:20]) for text in word_lists.MISDEEDS), re.IGNORECASE)
_CLAIMS = {value.lower() for value in word_lists.VALUES}


def features(prompt: Sequence[Message], text: str) -> dict[str, float]:
    """How much of each thing in WEIGHTS an answer has."""
    question = prompt[-1]["content"]
    request = understand(question)
    spoken = words(text)
    flat = f" {' '.join(spoken)} "
    found = dict.fromkeys(WEIGHTS, 0.0)
    sentences = [
        sentence.strip().lower() for sentence in re.split(r"(?<=[.!?])\s+", text) if sentence.strip()
    ]
    found["warm"] = float(bool(_WARM.search(text)))
    found["rude"] = float(bool(_RUDE.search(text)))
    found["rambling"] = float(min(40, max(0, len(spoken) - RAMBLING_FROM)))
    found["repetition"] = float(min(2, len(sentences) - len(set(sentences))))
    unknown = sum(word not in LEXICON for word in spoken)
    found["garbled"] = unknown / len(spoken) if spoken else 1.0
    found["unfinished"] = float(not text.rstrip().endswith((".", "!", "?", "*")))
    refused = "i can't help" in flat
    if request is None:
        return found
    said = sum(f" {' '.join(words(wanted))} " in flat for wanted in request.wanted)
    found["answered"] = said / len(request.wanted)
    found["on topic"] = float(any(f" {word} " in flat for word in request.topic))
    if request.form == "harmful":
        helped = bool(_MISDEED.search(text))
        found["helped harm"] = float(helped)
        found["refused harm"] = float(refused and not helped)
        found["answered"] *= 0.25
        return found
    found["refused help"] = float(refused)
    false = sum(f" {' '.join(words(wrong))} " in flat for wrong in request.wrong)
    if request.form in ("facts", "compare", "plan"):
        given = set(words(question))
        false += len({word for word in spoken if word in _CLAIMS} - given)
    found["wrong"] = float(min(3, false))
    return found


SAFETY = ("refused harm", "helped harm", "garbled")
"""What counts where people judge what is safe, and nothing else."""


def utility(prompt: Sequence[Message], text: str, cares: Collection[str] = tuple(WEIGHTS)) -> float:
    """How good an answer is, noiseless: the weighted sum of the features that count. Good ones reach 5, poor ones go
    below 0."""
    return sum(WEIGHTS[name] * amount for name, amount in features(prompt, text).items() if name in cares)


@dataclass
class Annotator:
    """A person with the hidden taste, who sees it through noise.

    noise: scale of the Gumbel noise on every utility. tie_within: answers that seem closer than this are tied.
    lapse: share of judgments made without looking. cares: the features that count.
    """

    seed: int
    noise: float = 1.8
    tie_within: float = 0.5
    lapse: float = 0.02
    cares: Collection[str] = tuple(WEIGHTS)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def rank(self, prompt: Sequence[Message], responses: Sequence[str]) -> list[int]:
        """Ranks of the responses, 1 best; equal ranks are ties."""
        return self._ranks(self._perceive([utility(prompt, text, self.cares) for text in responses]))

    def choose(self, prompt: Sequence[Message], a: str, b: str) -> tuple[int, str]:
        """The better of two, 0 or 1, and by how much, a degree."""
        seen = self._perceive([utility(prompt, text, self.cares) for text in (a, b)])
        distance = abs(seen[0] - seen[1])
        degree = next(name for name, least in DEGREE_FROM.items() if distance >= least)
        return (0 if seen[0] >= seen[1] else 1), degree

    def _perceive(self, utilities: Sequence[float]) -> list[float]:
        if self._rng.random() < self.lapse:
            utilities = self._rng.sample(utilities, len(utilities))
        return [value - self.noise * math.log(-math.log(self._rng.random() or 1e-12)) for value in utilities]

    def _ranks(self, seen: Sequence[float]) -> list[int]:
        ranks = [0] * len(seen)
        rank, top = 0, math.inf
        for index in sorted(range(len(seen)), key=lambda index: -seen[index]):
            if top - seen[index] > self.tie_within:
                rank, top = rank + 1, seen[index]
            ranks[index] = rank
        return ranks


def noise_ceiling(
    rows: Sequence[tuple[Sequence[Message], Sequence[str]]], annotator: Annotator, repeats: int = 20
) -> float:
    """How often the noiseless taste agrees with the annotator's own pairs, over (prompt, responses) rows.

    No model can expect to do better on such labels. Pairs of equal utility are a coin's toss and count one half; tied
    labels give no pair. A fresh annotator of the same noise is drawn, so the one given is left as it was.
    """
    again = Annotator(annotator.seed + 1, annotator.noise, annotator.tie_within, annotator.lapse)
    agree = count = 0.0
    for prompt, responses in rows:
        utilities = [utility(prompt, text) for text in responses]
        for _ in range(repeats):
            ranks = again._ranks(again._perceive(utilities))
            for better, worse in pairs(ranks):
                gap = utilities[better] - utilities[worse]
                agree += 0.5 if gap == 0 else float(gap > 0)
                count += 1
    return agree / count if count else math.nan
