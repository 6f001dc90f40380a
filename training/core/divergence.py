"""How far a policy's own answers stray from another policy: E[log π - log π_ref] over what π sampled, in nats a response.

Unbiased, whatever was done to π since: where several runs moved it one after another, their own divergences only add up to
a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from training.core.attention import peculiarity
from training.core.encoding import Group
from training.core.models import autocast
from training.core.scoring import Passes, response_logprobs

PASS_TOKENS = 4096


@dataclass(frozen=True)
class Answered:
    """A prompt and the answers sampled to it."""

    group: Group


class Reference:
    """A frozen policy that reads what another one has sampled. `length` is the longest row, in tokens."""

    def __init__(self, policy: Any, length: int, precision: str) -> None:
        self.policy, self.precision = policy, precision
        layout = "rows" if peculiarity(policy, length) else "shared"
        self.passes = Passes(policy.base_model, layout, PASS_TOKENS, length)

    @torch.no_grad()
    def logprobs(self, groups: Sequence[Group]) -> list[list[float]]:
        """The log-prob of every response at temperature 1, summed over its tokens, group by group."""
        found: dict[int, list[float]] = {}
        items = [Answered(group) for group in groups]
        places = {id(item): place for place, item in enumerate(items)}
        for micro, laid_out in self.passes(items):
            with autocast(self.precision):
                values = iter(response_logprobs(self.policy, laid_out).tolist())
            for item in micro:
                found[places[id(item)]] = [next(values) for _ in item.group.responses]
        return [found[place] for place in range(len(items))]
