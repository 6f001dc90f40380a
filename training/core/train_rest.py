"""ReST: the policy samples once, then it is fine-tuned step by step on ever fewer of these responses, the best ones.

Gulcehre et al. 2023 (arXiv 2308.08998): a Grow step samples and scores; Improve step j learns from the responses whose reward,
normalised to [0, 1] over all samples, exceeds the threshold t_j, with a learning rate below that of the step before. The
policy answers held-out prompts before the first Improve step and after each; once they score no higher, the run ends and keeps
the best weights (`checkpoint_selection`).
Left out: joining the samples with the data of the fine-tuning before. A further Grow step is a further run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from training.configs import ReSTConfig
from training.core.checkpoint_selection import CheckpointSelection
from training.core.data import read_rollout_prompts
from training.core.events import Events
from training.core.job_directory import Job
from training.core.model_loading import save_policy
from training.core.rollouts import Setup, load_setup
from training.core.scored_samples import ScoredResponse, sample_scored
from training.core.train_sft import take_step
from training.core.training_loop import TrainingLoop, epoch_order


class ImproveStep(NamedTuple):
    """The responses above a threshold, and the optimizer steps from `start` to `end` that learn from them."""

    threshold: float
    responses: list[ScoredResponse]
    start: int
    end: int


def train(job: Job, config: ReSTConfig, events: Events) -> dict[str, Any]:
    """Grow, take the Improve steps, write the new policy, and return the job's result."""
    prompts = read_rollout_prompts(job.data)
    has_held_out = any(prompt.held_out for prompt in prompts)
    setup = load_setup(job, config, events, prompts, reference=has_held_out)
    if config.patience and not has_held_out:
        events.warning(
            "There are no held-out prompts to evaluate the policy on: all Improve steps are taken and the last weights saved."
        )
    most = len(setup.training) * config.samples * len(config.threshold_values)
    loop = TrainingLoop(job, config, setup.policy, examples=most, events=events)
    responses, metrics = sample_responses(setup, loop)
    events.metrics(loop.steps_done, metrics)
    steps, unmet = plan_improve_steps(responses, config)
    planned = steps[-1].end if steps else 0
    loop.set_steps(planned)
    selection = CheckpointSelection(setup, loop, every=0, patience=config.patience, max_kl=config.max_kl)
    improve(setup, config, loop, steps, selection)
    if unmet is not None and loop.steps_done == planned:
        events.warning(
            f"No response has a reward above the threshold {unmet:g}: the run ends after {len(steps)} Improve"
            f" {'step' if len(steps) == 1 else 'steps'}."
        )
    loop.write_output(
        lambda folder: save_policy(
            setup.policy, setup.tokenizer, folder, instruction=setup.encoder.instruction
        ),
    )
    return {
        "prompts": len(setup.training),
        "responses": len(responses),
        "improve_steps": sum(step.start < loop.steps_done for step in steps),
        "truncated_prompts": setup.encoder.truncated,
        "metrics": loop.metrics | metrics,
    }


def sample_responses(
    setup: Setup, loop: TrainingLoop
) -> tuple[list[ScoredResponse], dict[str, float | None]]:
    """All responses of the Grow step with their rewards, and metrics of them."""
    return sample_scored(setup, loop, lambda rewards: torch.arange(rewards.shape[1]).expand_as(rewards))


def improve(
    setup: Setup,
    config: ReSTConfig,
    loop: TrainingLoop,
    steps: Sequence[ImproveStep],
    selection: CheckpointSelection,
) -> None:
    """Take the optimizer steps of all Improve steps, until held-out prompts score no higher."""
    if loop.steps_done == loop.total_steps:  # stopped after the last step, or there is nothing to learn from
        selection.finish()
    for _ in loop.batches(range(loop.examples)):
        number = next(number for number, step in enumerate(steps) if loop.steps_done < step.end)
        step = steps[number]
        if loop.steps_done == step.start:
            selection.evaluate_or_stop()
            if loop.steps_done == loop.total_steps:
                continue
            figures = {"threshold": step.threshold, "selected": len(step.responses)}
            loop.events.metrics(loop.steps_done, figures)
        loop.rate_factor = config.lr_decay**number
        batch = choose_batch(step, loop.steps_done, first_epoch=number * config.epochs, config=config)
        take_step(loop, setup.policy, setup.passes, batch, config)
        if loop.steps_done == loop.total_steps:
            selection.finish()


def plan_improve_steps(
    responses: Sequence[ScoredResponse], config: ReSTConfig
) -> tuple[list[ImproveStep], float | None]:
    """The Improve steps, and the threshold that no response exceeds, if there is one; none follow it.

    The first threshold is the mean normalised reward if that is higher, and no later one is below it. Equal rewards are
    normalised to 0.
    """
    rewards = torch.tensor([response.reward for response in responses], dtype=torch.float64)
    lowest, highest = rewards.min(), rewards.max()
    normalised = (rewards - lowest) / (highest - lowest) if highest > lowest else torch.zeros_like(rewards)
    first, *later = config.threshold_values
    first = max(first, float(normalised.mean()))
    steps: list[ImproveStep] = []
    start = 0
    for threshold in (first, *(value for value in later if value > first)):
        selected = [
            response
            for response, reward in zip(responses, normalised.tolist(), strict=True)
            if reward > threshold
        ]
        if not selected:
            return steps, threshold
        end = start + config.epochs * math.ceil(len(selected) / config.batch_size)
        steps.append(ImproveStep(threshold, selected, start, end))
        start = end
    return steps, None


def choose_batch(
    step: ImproveStep, steps_done: int, *, first_epoch: int, config: ReSTConfig
) -> list[ScoredResponse]:
    """The responses of the next optimizer step, a function of the seed and the step. first_epoch: the number of its first epoch
    among those of the run."""
    count = len(step.responses)
    epoch, index = divmod(steps_done - step.start, math.ceil(count / config.batch_size))
    order = epoch_order(count, config.seed, first_epoch + epoch)
    chosen = order[index * config.batch_size : (index + 1) * config.batch_size]
    return [step.responses[place] for place in chosen]
