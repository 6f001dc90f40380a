"""Which weights of a policy a run keeps: the best by held-out prompts, not the last.

A policy that is trained on a reward model scores ever higher by it, and at some point no longer by anybody else (Gao et al.
2023). The second reward model, trained on other judgments, notices: on the way the policy answers held-out prompts, and the run
keeps the weights whose answers the second reward model scores highest, among those within the KL budget. Without a second one
the reward itself decides. The policy before the first step is among them. While none are within the budget, the run goes on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

import torch

from training.core.distributed import score_in_parts, sum_over_processes
from training.core.early_stopping import EarlyStopping
from training.core.logprobs import token_logprobs
from training.core.model_loading import autocast
from training.core.process_rank import is_main_process
from training.core.rollout_groups import RolloutGroup
from training.core.rollouts import Sampling, group_responses, sample_policy
from training.core.sampling import SampledResponse
from training.core.training_loop import TrainingLoop


class HeldOutFigures(NamedTuple):
    """Means over the policy's responses to held-out prompts. reward, second_reward: in logits. kl: from the reference, in nats.
    None where there is no such model."""

    reward: float | None
    second_reward: float | None
    kl: float | None

    def metrics(self) -> dict[str, float]:
        named = zip(("held_out_reward", "held_out_second_reward", "held_out_kl"), self, strict=True)
        return {name: value for name, value in named if value is not None}


def evaluate_held_out(setup: Sampling, loop: TrainingLoop) -> HeldOutFigures:
    """The policy on the held-out prompts, with the same seeds at every evaluation."""
    sampled = sample_policy(setup, setup.held_out, "held out", loop)
    groups = group_responses(
        setup.held_out,
        [response.token_ids for response in sampled],
        [response.finished for response in sampled],
    )
    check_stop = loop.raise_if_stopped
    second = None
    if (scorer := setup.second) is not None:
        scores = score_in_parts(
            groups, lambda own: scorer([scorer.encode(group) for group in own], check_stop)
        )
        unfinished = fmean(not response.finished for response in sampled)
        second = float(scores.mean()) - setup.config.missing_end_penalty * unfinished
    return HeldOutFigures(
        float(setup.rewards(groups, check_stop).mean()) if setup.rewards else None,
        second,
        reference_kl(setup, sampled, groups, loop) if setup.reference is not None else None,
    )


@torch.no_grad()
def reference_kl(
    setup: Sampling, sampled: Sequence[SampledResponse], groups: Sequence[RolloutGroup], loop: TrainingLoop
) -> float:
    """The mean over responses of log pi - log pi_ref at the sampling temperature, in nats."""
    total = sum(sum(response.logprobs) for response in sampled) if is_main_process() else 0.0
    for _, inputs in loop.passes(setup.passes, groups):
        loop.raise_if_stopped()
        with autocast(setup.config.precision):
            total -= float(token_logprobs(setup.reference, inputs, setup.config.temperature).sum())
    return sum_over_processes([total])[0] / len(sampled)


class CheckpointSelection:
    """The evaluations of a run and, with patience, the choice among its weights.

    every: steps between two evaluations, or below 1 a share of the run. patience: evaluations without a better one after which
    the run is `exhausted`; 0: the last weights are kept. max_kl: nats a response; weights beyond it are not kept; 0: no limit.
    """

    def __init__(
        self, setup: Sampling, loop: TrainingLoop, *, every: float, patience: int, max_kl: float
    ) -> None:
        self.setup, self.loop, self.every, self.max_kl = setup, loop, every, max_kl
        self.patience = patience
        self.best = EarlyStopping(loop, patience)

    def evaluate_if_due(self) -> None:
        """Call it before every step: `evaluate_or_stop` where due."""
        if self.loop.is_due(self.every):
            self.evaluate_or_stop()

    def evaluate_or_stop(self) -> None:
        """Evaluate the present weights; end the run that is then out of patience, with a warning."""
        loop = self.loop
        if not self.setup.held_out:
            return
        self.evaluate()
        if self.patience and self.best.exhausted:
            loop.events.warning(
                f"Stopped early at step {loop.steps_done} of {loop.total_steps}: the"
                f" {'second reward' if self.setup.second else 'reward'} on held-out prompts did not rise"
                f"{' within the KL budget' if self.max_kl else ''} in {self.patience}"
                f" evaluation{'' if self.patience == 1 else 's'}."
            )
            loop.total_steps = loop.steps_done
            self.finish()

    def evaluate(self) -> None:
        """Report the figures of the present weights; with patience, record them, unless they are known from before an
        interruption."""
        if self.patience and self.best.is_recorded:
            return
        figures = evaluate_held_out(self.setup, self.loop)
        self._report(figures.metrics())
        if self.patience:
            is_within = not self.max_kl or figures.kl is None or figures.kl <= self.max_kl
            score = figures.reward if figures.second_reward is None else figures.second_reward
            assert score is not None
            if is_within or self.best.loss < math.inf:
                self.best.record(-score if is_within else math.inf, figures.metrics())

    def finish(self) -> None:
        """The last evaluation, called before the loop ends; with patience, then restore the best weights, whose figures are the
        run's last."""
        if not self.setup.held_out:
            return
        self.evaluate()
        if not self.patience:
            return
        if self.best.loss == math.inf:
            self.loop.events.warning(
                f"At no evaluation were the weights within {self.max_kl:g} nats of the reference: the last are kept."
            )
            return
        self.best.restore()
        self.loop.metrics |= self.best.figures | {"best_step": self.best.best_step}

    def _report(self, metrics: dict[str, float]) -> None:
        self.loop.metrics |= metrics
        self.loop.events.metrics(self.loop.steps_done, metrics)
