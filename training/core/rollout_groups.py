"""Prompts with their sampled responses, as policies, reward models and judges read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from training.core.data import RolloutPrompt
from training.core.tokenization import EncodedGroup

CheckStop = Callable[[], None]
"""Called between two passes of a model; may raise Stopped."""


class RolloutGroup(NamedTuple):
    """A prompt with its sampled responses, as the policy's token ids.

    finished: for each response, whether it ended with an end token. first, start: the positions of its first response among
    the K of a rollout, and of its first response token among the N.
    """

    source: RolloutPrompt
    encoded: EncodedGroup
    finished: list[bool]
    first: int = 0
    start: int = 0

    @property
    def response_tokens(self) -> int:
        """Number of tokens of the responses."""
        return sum(map(len, self.encoded.responses))
