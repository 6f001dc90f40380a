"""The loop of every method that learns from rollouts: which step is on which rollout, and what the next checkpoint keeps.

The rollout at hand is kept in the checkpoint, so that a run stopped between two steps on it goes on with it. Held-out
prompts are answered on the way, and end the run where patience with their reward runs out.
Left out: sampling while training (asynchronous rollouts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

from training.configs import GradientConfig
from training.core.early_stopping import EarlyStopping
from training.core.errors import BadInput
from training.core.rewards import Answered
from training.core.rollouts import Rollout, Setup, new_rollout, sample, with_answers
from training.core.training_loop import Loop, epoch_order


def open_loop(setup: Setup, config: GradientConfig, model: nn.Module) -> Loop:
    """The loop of a run that takes `steps_per_rollout` steps on every `batch_size` prompts.

    An epoch is as many whole rollouts as there are prompts for; those left over have their turn in another epoch.
    """
    if config.patience and not setup.held_out:
        raise BadInput(
            "No row of data.jsonl is held out, so there is nothing to have patience with.", setting="patience"
        )
    rollouts = len(setup.training) // min(config.batch_size, len(setup.training))
    steps = rollouts * config.steps_per_rollout
    return Loop(setup.job, config, model, examples=steps * config.batch_size, events=setup.events)


def mini_batches(
    setup: Setup, config: GradientConfig, loop: Loop, appraise: Callable[[Rollout], None], parts: int = 1
) -> Iterator[tuple[Rollout, list[Answered]]]:
    """The rollout and those of its prompts that each step learns from; the step is to be taken before the next is asked
    for.

    appraise: gives a new rollout what the steps on it need, in `tensors` and `figures`. What it keeps from one rollout to
    the next belongs in `loop.extra`, to be set last. The held-out prompts are checked on the way and at the end, and end
    the run where patience with them runs out.
    """
    best = EarlyStopping(loop, config.patience)
    if loop.done == loop.total:  # the run was stopped between its last step and its end
        settle(setup, loop, best)
    rollout: Rollout | None = None
    for _ in loop.batches(range(loop.examples)):
        if setup.held_out and loop.due(config.evaluate_every):
            check(setup, loop, best)
            if config.patience and best.exhausted:
                loop.events.warning(
                    f"Stopped at step {loop.done} of {loop.total}: the reward on held-out prompts had not risen for"
                    f" {config.patience} checks."
                )
                loop.total = loop.done
                settle(setup, loop, best)
                continue
        number, step = divmod(loop.done, config.steps_per_rollout)
        if rollout is None or rollout.number != number:
            rollout = _kept_rollout(setup, loop, number)
        if rollout is None:
            rollout = new_rollout(setup, number, prompts_of(number, setup, config), loop)
            appraise(rollout)
            _keep(rollout, loop)
        yield rollout, rollout.parts(parts)[step % parts]
        if loop.done == loop.total:
            settle(setup, loop, best)


def prompts_of(number: int, setup: Setup, config: GradientConfig) -> list[int]:
    """The training prompts of a rollout, a function of seed and number alone."""
    count = len(setup.training)
    size = min(config.batch_size, count)
    epoch, index = divmod(number, count // size)
    return epoch_order(count, config.seed, epoch)[index * size : (index + 1) * size]


def _keep(rollout: Rollout, loop: Loop) -> None:
    """Put the rollout where the next checkpoint finds it, in place of the one before."""
    for name in [name for name in loop.extra if name.startswith(("rollout.", "figure."))]:
        del loop.extra[name]
    loop.extra["rollout.number"] = torch.tensor(rollout.number)
    loop.extra |= {f"rollout.{name}": value for name, value in rollout.tensors.items()}
    for name, value in rollout.figures.items():
        loop.extra[f"figure.{name}"] = torch.tensor(value, dtype=torch.float64)


def _kept_rollout(setup: Setup, loop: Loop, number: int) -> Rollout | None:
    """The rollout of this number from the checkpoint, where it was made before the run stopped."""
    extra = loop.extra
    if "rollout.number" not in extra or int(extra["rollout.number"]) != number:
        return None
    tensors = {
        name.removeprefix("rollout."): value
        for name, value in extra.items()
        if name.startswith("rollout.") and name != "rollout.number"
    }
    rollout = Rollout.of(number, setup, tensors)
    rollout.figures = {
        name.removeprefix("figure."): float(value)
        for name, value in extra.items()
        if name.startswith("figure.")
    }
    return rollout


def held_out_reward(setup: Setup, loop: Loop) -> float:
    """The mean reward of the policy's responses to held-out prompts, the same draws at every check."""
    sampled = sample(setup, setup.held_out, "held out", loop)
    answered = with_answers(
        setup.held_out, [one.token_ids for one in sampled], [one.finished for one in sampled]
    )
    return float(setup.rewards(answered, loop.leave_if_asked).mean())


def check(setup: Setup, loop: Loop, best: EarlyStopping) -> None:
    """Report the reward on held-out prompts; with patience, keep the weights where they are the best so far."""
    if best.patience and best.noted:
        return
    reward = held_out_reward(setup, loop)
    loop.metrics["held_out_reward"] = reward
    loop.events.metrics(loop.done, {"held_out_reward": reward})
    if best.patience:
        best.note(-reward)


def settle(setup: Setup, loop: Loop, best: EarlyStopping) -> None:
    """The last check on held-out prompts; with patience, the best weights are put back."""
    if not setup.held_out:
        return
    check(setup, loop, best)
    if best.patience:
        best.restore()
        loop.metrics["held_out_reward"] = -best.loss
        loop.events.metrics(loop.done, {"held_out_reward": -best.loss})
