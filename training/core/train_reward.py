"""The reward model from rankings: each response goes through the model once, and all pairs come from its k rewards.

A safety reward model learns the labels of safe and unsafe responses beside the preferences (`losses.safety_loss`), from
the same scalar. Left out: a language-model term.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.configs import RewardConfig
from training.core.batching import Passes
from training.core.data import read_rankings
from training.core.early_stopping import EarlyStopping
from training.core.errors import BadInput
from training.core.events import Events
from training.core.job_directory import Job, publish, write_json
from training.core.losses import preference_loss, safety_loss
from training.core.model_loading import REWARD_HEAD, encoder_for, load_tokenizer, load_trunk, locate
from training.core.preference_groups import Judged, encode, pair_share, pairs, safety_labels, unsafe_over_safe
from training.core.reward_metrics import report, warn_of_truncation
from training.core.reward_model import RewardModel, load_reward_model
from training.core.training_loop import Loop

REFERENCE_PROMPTS = 128
"""Prompts with their responses whose mean reward is made 0 at the end."""


def train(job: Job, config: RewardConfig, events: Events) -> dict[str, Any]:
    """Train, write the reward model with its report, and return what to say of it."""
    rankings = read_rankings(job.data)
    source = locate(job.model or "", job.folder)
    tokenizer, warnings = load_tokenizer(source)
    for message in warnings:
        events.warning(message)
    if (Path(source) / REWARD_HEAD).is_file():
        model = load_reward_model(source, precision=config.precision)
    else:
        model = RewardModel(load_trunk(source), config.seed, config.precision)
    encoder = encoder_for(model.trunk, tokenizer, config.max_length)
    judged = encode(rankings, encoder)
    warn_of_truncation(encoder, events)
    passes = Passes(model.trunk, config.layout, config.batch_tokens, encoder.max_length)
    training = [one for one in judged if not one.held_out and teaches(one, config)]
    held_out = [one for one in judged if one.held_out]
    check(training, held_out, config, events)

    loop = Loop(job, config, model, examples=len(training), events=events)
    best = EarlyStopping(loop, config.patience)

    def held_out_figures() -> dict[str, Any]:
        rewards = score(model, held_out, passes, loop.leave_if_asked)
        return report(held_out, rewards, margin=config.margin) | {
            "held_out_loss": held_out_loss(held_out, rewards, config)
        }

    def look() -> None:
        """Check on held-out prompts where that is due; the last weights may be the best, so with patience they count."""
        last = loop.done == loop.total
        due = loop.due(config.evaluate_every) or (last and config.patience)
        if not (held_out and loop.done and due):
            return
        figures = held_out_figures()
        events.metrics(loop.done, headline(figures))
        if config.patience:
            best.note(figures["held_out_loss"])
            if best.exhausted or last:
                best.restore()
                loop.total = loop.done

    look()  # a run that was stopped between a step and its check goes on with the check
    for batch in loop.batches(training):
        count = int(pairs(batch).decided.sum())
        loss, accuracy = 0.0, 0.0 if count else math.nan
        for micro, laid_out in loop.passes(passes, batch):
            loop.leave_if_asked()
            rewards = model(laid_out)
            share = loss_share(rewards, micro, batch, config)
            share.backward()  # type: ignore[no-untyped-call]
            loss += share.item()
            accuracy += correct(rewards.detach(), micro) / max(1, count)
        loop.step({"loss": loss, "accuracy": accuracy}, tokens=sum(one.group.tokens for one in batch))
        look()

    if not config.safety_weight:  # there 0 parts safe from unsafe already, and must stay where it is
        centre(model, training[:REFERENCE_PROMPTS], passes, loop.leave_if_asked)
    figures = held_out_figures() | {"bias": float(model.bias)}
    if (
        held_out and not config.patience
    ):  # with it, these are of an earlier step, whose figures are out already
        events.metrics(loop.done, headline(figures))

    def write(folder: Path) -> None:
        model.save(tokenizer, folder)
        write_json(folder / "report.json", figures)

    return {
        "output": str(publish(job, write)),
        "rankings": sum(sum(map(bool, one.pairs)) for one in training),
        "pairs": sum(sum(one.pairs) for one in training),
        "ties": sum(one.ties for one in training),
        "truncated_prompts": encoder.truncated,
        **({"best_step": best.best_step} if config.patience else {}),
        "metrics": loop.metrics | headline(figures),
        "report": figures,
    }


def teaches(one: Judged, config: RewardConfig) -> bool:
    """Whether the loss has anything to say of a prompt's responses."""
    return any(one.pairs) or bool(config.safety_weight and one.labels)


def check(
    training: Sequence[Judged], held_out: Sequence[Judged], config: RewardConfig, events: Events
) -> None:
    """Raise BadInput where the data lacks what the settings ask for; warn where safety and preference disagree."""
    if not training:
        raise BadInput("No training row of data.jsonl prefers one response to another.")
    if config.patience and not any(teaches(one, config) for one in held_out):
        raise BadInput("There are no held-out judgments to stop by; set patience to 0.", setting="patience")
    if config.safety_weight:
        if not any(one.labels for one in training):
            raise BadInput("No training row of data.jsonl says what is safe.", setting="safety_weight")
        if count := unsafe_over_safe(training):
            events.warning(
                f"{count} pairs prefer an unsafe response to a safe one, against what the safety labels teach; Llama 2"
                " had no such pairs."
            )


def loss_share(
    rewards: Tensor, part: Sequence[Judged], whole: Sequence[Judged], config: RewardConfig
) -> Tensor:
    """What the (K,) rewards of a micro-batch `part` add to the loss of their batch `whole`; a number.

    The mean preference loss, and `safety_weight` times the mean safety loss over all labels of the batch.
    """
    compared = pairs(part, config.margin, rewards.device)
    losses = preference_loss(
        rewards[compared.chosen],
        rewards[compared.rejected],
        margin=compared.margin,
        probability=compared.probability,
    )
    weights = compared.weights(config.reduction) * pair_share(part, whole, config.reduction)
    loss = (losses * weights).sum()
    if config.safety_weight:
        labels = safety_labels(part, rewards.device)
        count = max(1, sum(one.labels for one in whole))
        loss = loss + config.safety_weight * safety_loss(rewards[labels.place], labels.safe).sum() / count
    return loss


def held_out_loss(
    held_out: Sequence[Judged], rewards: Sequence[Sequence[float]], config: RewardConfig
) -> float | None:
    """The training loss, margin and all, on rewards that are known; None where there is nothing to compare them with."""
    if not any(teaches(one, config) for one in held_out):
        return None
    flat = torch.tensor([reward for scores in rewards for reward in scores], dtype=torch.float64)
    return loss_share(flat, held_out, held_out, config).item()


def correct(rewards: Tensor, judged: Sequence[Judged]) -> int:
    """How many pairs the (K,) rewards put the right way round."""
    compared = pairs(judged, device=rewards.device)
    return int((rewards[compared.chosen] > rewards[compared.rejected])[compared.decided].sum())


def headline(figures: dict[str, Any]) -> dict[str, float | None]:
    """A report's figures that are worth a curve."""
    return {
        "held_out_accuracy": figures["accuracy"],
        "held_out_loss": figures["held_out_loss"],
        "ece": figures["ece"],
    }


@torch.no_grad()
def centre(
    model: RewardModel, reference: Sequence[Judged], passes: Passes, between: Callable[[], None]
) -> None:
    """Set the bias so that the reference responses score 0 on average (InstructGPT; Stiennon et al. 2020).

    From a bias of 0, so that doing it again, after an interruption, gives the same number.
    """
    model.bias.zero_()
    flat = [reward for scores in score(model, reference, passes, between) for reward in scores]
    model.bias.fill_(sum(flat) / len(flat))


@torch.no_grad()
def score(
    model: RewardModel, judged: Sequence[Judged], passes: Passes, between: Callable[[], None]
) -> list[list[float]]:
    """The k rewards of every prompt's responses, in order. `between` is called between passes and may raise Stopped."""
    found: dict[int, list[float]] = {}
    for micro, laid_out in passes(judged):
        between()
        rewards = model(laid_out).tolist()
        for one in micro:
            found[one.index], rewards = rewards[: one.k], rewards[one.k :]
    return [found[one.index] for one in judged]
