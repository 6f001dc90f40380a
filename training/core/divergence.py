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
from training.core.batching import Passes, check_sharing, response_logprobs
from training.core.errors import BadInput
from training.core.logprobs import check_logits
from training.core.model_loading import autocast, load_policy, longest_row
from training.core.tokenization import Group

PASS_TOKENS = 4096


def load_reference(source: str, policy: Any, length: int, layout: str) -> Any:
    """The frozen policy that another one is measured against, on rows of up to `length` tokens in this layout.

    Raises BadInput where it reads other tokens than the policy does, or fewer, or in a way not known here.
    """
    reference: Any = load_policy(source, "reference")
    if reference.config.vocab_size != policy.config.vocab_size:
        raise BadInput(
            f"The reference has {reference.config.vocab_size} tokens and the policy {policy.config.vocab_size}; they must"
            " be the same.",
            setting="reference",
        )
    if (most := longest_row(reference, length)) < length:
        raise BadInput(
            f"The reference reads at most {most} tokens, and rows may have {length}; lower max_length.",
            setting="max_length",
        )
    check_logits(reference, "reference")
    if layout == "shared":
        check_sharing(reference.base_model, length)
    return reference.requires_grad_(False)


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
