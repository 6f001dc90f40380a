"""KL of a policy from a reference on the policy's own samples: E[log π - log π_ref], in nats a response.

Unbiased for the policy as it is, however many runs have moved it since; the KLs that those runs reported only add up to an
estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from training.configs import DPOConfig, RolloutConfig
from training.core.attention import unsupported_attention
from training.core.batching import IndexedGroup, Passes, check_layout
from training.core.errors import BadInput
from training.core.logprobs import check_logits, response_logprobs
from training.core.lora import WithoutAdapters
from training.core.model_loading import autocast, freeze, load_policy, max_row_length
from training.core.tokenization import EncodedGroup

PASS_TOKENS = 4096


def load_reference(source: str, policy: Any, length: int, layout: str, precision: str) -> Any:
    """A frozen reference for `policy` on sequences of up to `length` tokens in this layout, in this precision.

    Raises BadInput if its vocabulary differs from the policy's, it has fewer positions than `length`, or its logits or
    attention are not supported.
    """
    reference: Any = load_policy(source, "reference")
    if reference.config.vocab_size != policy.config.vocab_size:
        raise BadInput(
            f"The reference has {reference.config.vocab_size} tokens and the policy {policy.config.vocab_size}; they"
            " must be the same.",
            setting="reference",
        )
    if (limit := max_row_length(reference, length)) < length:
        raise BadInput(
            f"The reference reads at most {limit} tokens, and sequences may have {length}; lower max_length.",
            setting="max_length",
        )
    check_logits(reference, "reference")
    check_layout(reference.base_model, layout, length, "reference")
    return freeze(reference, precision)


def find_reference(
    source: str, start: str, policy: Any, length: int, config: RolloutConfig | DPOConfig
) -> Any:
    """The frozen reference in `source` of a run whose policy starts from the model in `start`.

    If they are the same, a run with LoRA has it already: the policy without its adapters. It must be used before they are merged.
    """
    if config.lora_rank and source == start:
        return WithoutAdapters(policy)
    return load_reference(source, policy, length, config.layout, config.precision)


class Reference:
    """A frozen policy that scores the samples of another. length: the maximum sequence length in tokens."""

    def __init__(self, policy: Any, length: int, precision: str) -> None:
        self.policy, self.precision = policy, precision
        layout = "rows" if unsupported_attention(policy) else "shared"
        self.passes = Passes(policy.base_model, layout, PASS_TOKENS, length)
        freeze(policy, precision)  # afterwards, as the layout is tried without autocast

    @torch.no_grad()
    def logprobs(self, groups: Sequence[EncodedGroup]) -> list[list[float]]:
        """The log-prob of every response at temperature 1, summed over its tokens, group by group."""
        logprobs: list[list[float]] = [[] for _ in groups]
        for micro, inputs in self.passes([IndexedGroup(group, index) for index, group in enumerate(groups)]):
            with autocast(self.precision):
                values = iter(response_logprobs(self.policy, inputs).tolist())
            for group in micro:
                logprobs[group.position] = [next(values) for _ in group.encoded.responses]
        return logprobs
