"""A watch on rollouts: what a mismatch between sampling and training looks like is said, once."""

from __future__ import annotations

from torch import Tensor

from training.core.events import Events

NEGATIVE_ROLLOUTS = 5
"""So many rollouts in a row with a divergence clearly below zero are no chance."""
MISMATCH = {"float32": 0.01, "bfloat16": 0.1}
"""Nats a token by which log-probs at sampling and in training may differ on average."""


class Watch:
    """Warns, once each, of what a mismatch between sampling and training looks like."""

    def __init__(self, events: Events, precision: str) -> None:
        self.events, self.tolerance = events, MISMATCH[precision]
        self.negative = 0
        self.warned: set[str] = set()

    def logprobs(self, recorded: Tensor, recomputed: Tensor) -> None:
        """Compare (N,) log-probs from sampling with those of the training pass."""
        apart = float((recorded - recomputed).abs().mean())
        if apart > self.tolerance:
            self._warn(
                "mismatch",
                f"Log-probs at sampling and in training differ by {apart:.3g} nats a token on average: the two do not run the"
                " same model.",
            )

    def kl(self, kl: Tensor) -> None:
        """Look at the (K,) divergences of a rollout's responses, whose expectation cannot be negative."""
        error = float(kl.std(correction=0)) / len(kl) ** 0.5
        self.negative = self.negative + 1 if float(kl.mean()) < -2 * error - 1e-6 else 0
        if self.negative >= NEGATIVE_ROLLOUTS:
            self._warn(
                "negative",
                f"The mean KL has been below zero for {self.negative} rollouts in a row, which sampling from the policy"
                " cannot give: sampling and training do not agree.",
            )

    def _warn(self, about: str, message: str) -> None:
        if about not in self.warned:
            self.warned.add(about)
            self.events.warning(message)
