"""Simulated annotators: their noise, their ties and their lapses.

Gumbel noise on the utilities makes rankings Plackett-Luce and choices Bradley-Terry distributed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from training.demo.language import Message
from training.demo.preferences import FIRST_TASTE, utility

DEGREE_THRESHOLDS = {"significantly": 4.0, "better": 2.0, "slightly": 0.75, "negligibly": 0.0}
"""The smallest difference of noisy utilities for each degree of preference."""


@dataclass
class Annotator:
    """A simulated annotator.

    noise: scale of the Gumbel noise on every utility.
    tie_within: responses whose noisy utilities are closer than this are tied.
    lapse: probability of a judgment at random.
    weights: of the features of a response (`training.demo.preferences.TASTES`).
    """

    seed: int
    noise: float = 1.8
    tie_within: float = 0.5
    lapse: float = 0.02
    weights: Mapping[str, float] = field(default_factory=lambda: FIRST_TASTE)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def rank(self, prompt: Sequence[Message], responses: Sequence[str]) -> list[int]:
        """Ranks of the responses, 1 best; equal ranks are ties."""
        return self._ranks_from(self._perceive([utility(prompt, text, self.weights) for text in responses]))

    def choose(self, prompt: Sequence[Message], a: str, b: str) -> tuple[int, str]:
        """The index of the better response, 0 or 1, and the degree of preference."""
        noisy = self._perceive([utility(prompt, text, self.weights) for text in (a, b)])
        difference = abs(noisy[0] - noisy[1])
        degree = next(name for name, least in DEGREE_THRESHOLDS.items() if difference >= least)
        return (0 if noisy[0] >= noisy[1] else 1), degree

    def _perceive(self, utilities: Sequence[float]) -> list[float]:
        """The utilities with noise; in a lapse they are shuffled first."""
        if self._rng.random() < self.lapse:
            utilities = self._rng.sample(utilities, len(utilities))
        return [value - self.noise * math.log(-math.log(self._rng.random() or 1e-12)) for value in utilities]

    def _ranks_from(self, noisy: Sequence[float]) -> list[int]:
        """The ranks of noisy utilities; a tie group reaches `tie_within` below its best."""
        ranks = [0] * len(noisy)
        rank, top = 0, math.inf
        for index in sorted(range(len(noisy)), key=lambda index: -noisy[index]):
            if top - noisy[index] > self.tie_within:
                rank, top = rank + 1, noisy[index]
            ranks[index] = rank
        return ranks


class CarelessAnnotator(Annotator):
    """Somebody who does not read: the order on the screen is the ranking, and the first of two is better."""

    def rank(self, prompt: Sequence[Message], responses: Sequence[str]) -> list[int]:
        return list(range(1, len(responses) + 1))

    def choose(self, prompt: Sequence[Message], a: str, b: str) -> tuple[int, str]:
        return 0, "better"
