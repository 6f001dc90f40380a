"""Warnings about samples: those that are all equal, and those whose log-probs at sampling and in training do not agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from training.core.events import Events

NEGATIVE_ROLLOUTS = 5
"""Rollouts in a row with a mean KL clearly below zero before a warning; fewer may be chance."""
MAX_LOGPROB_DIFFERENCE = {"float32": 0.01, "bfloat16": 0.1}
"""Mean absolute difference between sampling and training, in nats a token, above which there is a warning, by precision."""


def count_equal_samples(groups: Iterable[Sequence[str] | Sequence[list[int]]]) -> int:
    """The number of prompts whose samples, two or more, are all equal. groups: the samples of each prompt."""
    return sum(len(group) > 1 and all(sample == group[0] for sample in group) for group in groups)


def warn_of_equal_samples(
    equal: int, prompts: int, temperature: float, events: Events, *, served: bool = False
) -> None:
    """Warn, once a run, if the samples of more than half of the prompts are all equal. served: a server made them."""
    if 2 * equal <= prompts:
        return
    cause = (
        "the server seems to ignore the temperature, or it is too low"
        if served
        else "the temperature is too low, or the policy has only one response left"
    )
    message = (
        f"More than half of the prompts got equal samples only, at the temperature {temperature:g}: {cause}."
    )
    if message not in events.warnings:
        events.warning(message)


class RolloutDiagnostics:
    """Warns, once for each kind, of signs that sampling and training do not run the same model."""

    def __init__(self, events: Events, precision: str) -> None:
        self.events, self.tolerance = events, MAX_LOGPROB_DIFFERENCE[precision]
        self.negative_rollouts = 0
        self.warned: set[str] = set()

    def check_logprobs(self, recorded: Tensor, recomputed: Tensor) -> None:
        """Compare (N,) log-probs recorded while sampling with those of the training pass."""
        difference = float((recorded - recomputed).abs().mean())
        if difference > self.tolerance:
            self._warn(
                "logprobs",
                f"Log-probs at sampling and in training differ by {difference:.3g} nats a token on average: the two do"
                " not run the same model, or not in the same precision.",
            )

    def check_kl(self, kl: Tensor) -> None:
        """Check the (K,) KL estimates of a rollout's responses, whose expectation cannot be negative."""
        standard_error = float(kl.std(correction=0)) / len(kl) ** 0.5
        is_negative = float(kl.mean()) < -2 * standard_error - 1e-6
        self.negative_rollouts = self.negative_rollouts + 1 if is_negative else 0
        if self.negative_rollouts >= NEGATIVE_ROLLOUTS:
            self._warn(
                "negative",
                f"The mean KL has been below zero for {self.negative_rollouts} rollouts in a row, which sampling from"
                " the policy cannot give: sampling and training do not agree.",
            )

    def _warn(self, kind: str, message: str) -> None:
        if kind not in self.warned:
            self.warned.add(kind)
            self.events.warning(message)
