"""The reward model from rankings: each response goes through the model once, and all pairs come from its k rewards.

Left out: auxiliary losses (Llama 2's safety classification, a language-model term).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from training.configs import RewardConfig
from training.core.data import read_rankings
from training.core.encoding import Encoder
from training.core.errors import BadInput
from training.core.events import Events
from training.core.jobs import Job, publish, write_json
from training.core.judgments import Judged, encode, pair_share, pairs
from training.core.loop import Loop
from training.core.losses import preference_loss
from training.core.models import REWARD_HEAD, load_tokenizer, load_trunk, locate, longest_row
from training.core.reports import report, warn_of_truncation
from training.core.reward_model import RewardModel, load_reward_model
from training.core.scoring import Passes

REFERENCE_RANKINGS = 128
"""Rankings whose mean reward is made 0 at the end."""


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
    encoder = Encoder(tokenizer, longest_row(model.trunk, config.max_length))
    judged = encode(rankings, encoder)
    warn_of_truncation(encoder, events)
    passes = Passes(model.trunk, config.layout, config.batch_tokens, encoder.max_length)
    training = [one for one in judged if not one.ranking.held_out and one.has_pair]
    held_out = [one for one in judged if one.ranking.held_out]
    if not training:
        raise BadInput("No training row of data.jsonl prefers one response to another.")

    loop = Loop(job, config, model, examples=len(training), events=events)
    for batch in loop.batches(training):
        loss = correct = count = 0.0
        for micro, laid_out in passes(batch):
            loop.leave_if_asked()
            rewards = model(laid_out)
            compared = pairs(micro, config.margin, rewards.device)
            chosen, rejected = rewards[compared.chosen], rewards[compared.rejected]
            losses = preference_loss(chosen, rejected, margin=compared.margin)
            weights = compared.weights(config.reduction) * pair_share(micro, batch, config.reduction)
            share = (losses * weights).sum()
            share.backward()  # type: ignore[no-untyped-call]
            loss += share.item()
            correct += float((chosen > rejected).sum())
            count += len(compared.chosen)
        loop.step({"loss": loss, "accuracy": correct / count}, tokens=sum(one.group.tokens for one in batch))
        if held_out and loop.due(config.evaluate_every):
            figures = report(
                held_out, score(model, held_out, passes, loop.leave_if_asked), margin=config.margin
            )
            events.metrics(loop.done, {"held_out_accuracy": figures["accuracy"], "ece": figures["ece"]})

    reference = training[:REFERENCE_RANKINGS]
    rewards_of_reference = score(model, reference, passes, loop.leave_if_asked)
    flat = [reward for scores in rewards_of_reference for reward in scores]
    with torch.no_grad():
        model.bias += sum(flat) / len(flat)
    figures = report(held_out, score(model, held_out, passes, loop.leave_if_asked), margin=config.margin)
    figures["bias"] = float(model.bias)
    held_out_figures = {"held_out_accuracy": figures["accuracy"], "ece": figures["ece"]}
    if held_out:
        events.metrics(loop.done, held_out_figures)

    def write(folder: Path) -> None:
        model.save(tokenizer, folder)
        write_json(folder / "report.json", figures)

    return {
        "output": str(publish(job, write)),
        "rankings": len(training),
        "pairs": len(pairs(training).chosen),
        "ties": sum(one.ties for one in training),
        "truncated_prompts": encoder.truncated,
        "metrics": loop.metrics | held_out_figures,
        "report": figures,
    }


@torch.no_grad()
def score(
    model: RewardModel, judged: Sequence[Judged], passes: Passes, between: Callable[[], None]
) -> list[list[float]]:
    """The k rewards of every ranking, in order. `between` is called between passes and may raise Stopped."""
    found: dict[int, list[float]] = {}
    for micro, laid_out in passes(judged):
        between()
        rewards = model(laid_out).tolist()
        for one in micro:
            found[one.index], rewards = rewards[: one.k], rewards[one.k :]
    return [found[one.index] for one in judged]
