"""The loop of the methods that learn from rollouts: which step uses which rollout, and what a checkpoint stores of it.

The present rollout is stored in the checkpoint, so that a run stopped between two steps on it resumes with it. The policy is
evaluated on held-out prompts on the way (`checkpoint_selection`).
Left out: sampling while training (asynchronous rollouts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

from training.configs import GradientConfig
from training.core.checkpoint_selection import CheckpointSelection
from training.core.errors import BadInput
from training.core.rollout_groups import RolloutGroup
from training.core.rollouts import Rollout, Setup, sample_rollout
from training.core.training_loop import TrainingLoop, epoch_order


def build_loop(setup: Setup, config: GradientConfig, model: nn.Module) -> TrainingLoop:
    """The loop of a run that takes `steps_per_rollout` steps on every `batch_size` prompts.

    An epoch is as many whole rollouts as there are prompts for; the prompts left over come up in other epochs.
    """
    if config.patience and not setup.held_out:
        raise BadInput(
            "Early stopping needs held-out prompts, and data.jsonl has none; set patience to 0.",
            setting="patience",
        )
    rollouts = len(setup.training) // min(config.batch_size, len(setup.training))
    steps = rollouts * config.steps_per_rollout
    return TrainingLoop(setup.job, config, model, examples=steps * config.batch_size, events=setup.events)


def mini_batches(
    setup: Setup,
    config: GradientConfig,
    loop: TrainingLoop,
    score_rollout: Callable[[Rollout], None],
    parts: int = 1,
) -> Iterator[tuple[Rollout, list[RolloutGroup]]]:
    """For each step, its rollout and the groups to learn from. The caller takes the step before it asks for the next.

    score_rollout: adds to a new rollout's `tensors` and `metrics` what the steps on it need. What it carries from one
    rollout to the next belongs in `loop.extra`, set last. The policy is evaluated on held-out prompts where due and at the
    end, and with patience the run may end early.
    """
    selection = CheckpointSelection(
        setup, loop, every=config.evaluate_every, patience=config.patience, max_kl=config.max_kl
    )
    if loop.steps_done == loop.total_steps:  # the run was stopped after its last step
        selection.finish()
    rollout: Rollout | None = None
    for _ in loop.batches(range(loop.examples)):
        selection.evaluate_if_due()
        if loop.steps_done == loop.total_steps:
            continue
        number, step = divmod(loop.steps_done, config.steps_per_rollout)
        if rollout is None or rollout.number != number:
            rollout = _stored_rollout(setup, loop, number)
        if rollout is None:
            rollout = sample_rollout(setup, number, choose_prompts(number, setup, config), loop)
            score_rollout(rollout)
            _store_rollout(rollout, loop)
        yield rollout, rollout.mini_batches(parts)[step % parts]
        if loop.steps_done == loop.total_steps:
            selection.finish()


def choose_prompts(number: int, setup: Setup, config: GradientConfig) -> list[int]:
    """The positions of a rollout's training prompts, a function of seed and number alone."""
    count = len(setup.training)
    size = min(config.batch_size, count)
    epoch, index = divmod(number, count // size)
    return epoch_order(count, config.seed, epoch)[index * size : (index + 1) * size]


def _store_rollout(rollout: Rollout, loop: TrainingLoop) -> None:
    """Put the rollout into the loop's `extra`, in place of the previous one."""
    for name in [name for name in loop.extra if name.startswith(("rollout.", "metric."))]:
        del loop.extra[name]
    loop.extra["rollout.number"] = torch.tensor(rollout.number)
    loop.extra |= {f"rollout.{name}": value for name, value in rollout.tensors.items()}
    for name, value in rollout.metrics.items():
        loop.extra[f"metric.{name}"] = torch.tensor(value, dtype=torch.float64)


def _stored_rollout(setup: Setup, loop: TrainingLoop, number: int) -> Rollout | None:
    """The rollout of this number from the checkpoint, or None."""
    extra = loop.extra
    if "rollout.number" not in extra or int(extra["rollout.number"]) != number:
        return None
    tensors = {
        name.removeprefix("rollout."): value
        for name, value in extra.items()
        if name.startswith("rollout.") and name != "rollout.number"
    }
    rollout = Rollout.from_tensors(number, setup, tensors)
    rollout.metrics = {
        name.removeprefix("metric."): float(value)
        for name, value in extra.items()
        if name.startswith("metric.")
    }
    return rollout
