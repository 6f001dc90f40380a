"""DPO from rankings: each response's log-prob is computed once, and all pairs come from the k of them.

Soft labels, margins and label smoothing are those of the reward model's loss, on implicit rewards. The reference's
log-probs never change, so they are computed once, before the first step, and kept in the checkpoint.
Left out: mixing in of new samples while training (online DPO); a round of the loop does that between runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from training.configs import DPOConfig
from training.core.batching import Batch, Passes, response_logprobs
from training.core.data import read_rankings
from training.core.divergence import load_reference
from training.core.errors import BadInput
from training.core.events import Events
from training.core.job_directory import Job, publish
from training.core.logprobs import check_logits
from training.core.losses import implicit_reward, ipo_loss, preference_loss
from training.core.model_loading import (
    autocast,
    device,
    encoder_for,
    load_policy,
    load_tokenizer,
    locate,
    save_policy,
)
from training.core.preference_groups import Judged, encode, pair_share, pairs, placed
from training.core.rankings import Pairs, comparisons
from training.core.reward_metrics import warn_of_truncation
from training.core.training_loop import Loop


def train(job: Job, config: DPOConfig, events: Events) -> dict[str, Any]:
    """Train, write the new policy, and return what to say of it."""
    rankings = read_rankings(job.data)
    source = locate(job.model or "", job.folder)
    reference_source = locate(job.reference, job.folder, "reference") if job.reference else source
    tokenizer, warnings = load_tokenizer(source)
    for message in warnings:
        events.warning(message)
    policy = load_policy(source)
    check_logits(policy)
    encoder = encoder_for(policy, tokenizer, config.max_length)
    judged = encode(rankings, encoder)
    warn_of_truncation(encoder, events)
    passes = Passes(policy.base_model, config.layout, config.batch_tokens, encoder.max_length)
    training = [one for one in judged if not one.held_out and any(one.pairs)]
    held_out = [one for one in judged if one.held_out and int(pairs([one]).decided.sum())]
    if not training:
        raise BadInput("No training row of data.jsonl prefers one response to another.")

    loop = Loop(job, config, policy, examples=len(training), events=events)
    if "reference" not in loop.extra:
        frozen = policy
        if loop.done or reference_source != source:
            frozen = load_reference(reference_source, policy, encoder.max_length, config.layout)
        loop.extra["reference"] = logprobs_of(frozen, judged, passes, config.precision, loop.leave_if_asked)
        del frozen
    starts = first_responses(judged)
    reference = loop.extra["reference"].to(device())

    def reference_of(micro: Sequence[Judged]) -> Tensor:
        return reference[[starts[one.index] + offset for one in micro for offset in range(one.k)]]

    def rewards_of(micro: Sequence[Judged], laid_out: Batch) -> tuple[Tensor, Tensor]:
        """(K,) implicit rewards, of the mean log-prob per token where the loss is of that, and summed log-probs."""
        with autocast(config.precision):
            logprobs = response_logprobs(policy, laid_out)
        rewards = implicit_reward(logprobs, reference_of(micro), beta=config.beta)
        return rewards / laid_out.lengths if config.loss == "ipo_mean" else rewards, logprobs

    for batch in loop.batches(training):
        everything = pairs(batch)
        decided, responses = int(everything.decided.sum()), sum(one.k for one in batch)
        sums = dict.fromkeys(("loss", "accuracy", "reward_chosen", "reward_rejected", "kl"), 0.0)
        sums["accuracy"] = 0.0 if decided else math.nan
        for micro, laid_out in loop.passes(passes, batch):
            loop.leave_if_asked()
            rewards, logprobs = rewards_of(micro, laid_out)
            compared = pairs(micro, config.margin, rewards.device)
            chosen, rejected = rewards[compared.chosen], rewards[compared.rejected]
            weights = compared.weights(config.reduction) * pair_share(micro, batch, config.reduction)
            share = (pair_losses(chosen, rejected, compared, config) * weights).sum()
            if config.nll_weight:
                best = best_places(micro)
                likelihoods = logprobs[best] / laid_out.lengths[best]
                share = share - config.nll_weight * likelihoods.sum() / len(best_places(batch))
            share.backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                sums["loss"] += share.item()
                sums["accuracy"] += float((chosen > rejected)[compared.decided].sum()) / max(1, decided)
                sums["reward_chosen"] += float(chosen.sum()) / len(everything.chosen)
                sums["reward_rejected"] += float(rejected.sum()) / len(everything.chosen)
                sums["kl"] += float((reference_of(micro) - logprobs).sum()) / responses
        sums["reward_margin"] = sums["reward_chosen"] - sums["reward_rejected"]
        loop.step(sums, tokens=sum(one.group.tokens for one in batch))
        if held_out and loop.due(config.evaluate_every):
            accuracy = held_out_accuracy(held_out, rewards_of, passes, loop.leave_if_asked)
            events.metrics(loop.done, {"held_out_accuracy": accuracy})

    if held_out:
        loop.metrics["held_out_accuracy"] = held_out_accuracy(
            held_out, rewards_of, passes, loop.leave_if_asked
        )
        events.metrics(loop.done, {"held_out_accuracy": loop.metrics["held_out_accuracy"]})
    output = publish(job, lambda folder: save_policy(policy, tokenizer, folder))
    return {
        "output": str(output),
        "rankings": sum(sum(map(bool, one.pairs)) for one in training),
        "pairs": sum(sum(one.pairs) for one in training),
        "ties": sum(one.ties for one in training),
        "truncated_prompts": encoder.truncated,
        "metrics": loop.metrics,
    }


def pair_losses(chosen: Tensor, rejected: Tensor, compared: Pairs, config: DPOConfig) -> Tensor:
    """(N,) losses of pairs by their implicit rewards. Label smoothing turns a share p of people into p + e (1 - 2p)."""
    probability = compared.probability
    if config.loss == "sigmoid":
        probability = probability + config.label_smoothing * (1 - 2 * probability)
        return preference_loss(chosen, rejected, margin=compared.margin, probability=probability)
    return ipo_loss(chosen, rejected, beta=config.beta, probability=probability)


def best_places(judged: Sequence[Judged]) -> list[int]:
    """Where each ranking's best responses stand among all responses of `judged`; one may be the best of several rankings,
    and where all are equal none is."""
    return [
        place
        for ranking, places in placed(judged)
        if comparisons(ranking.ranks or [], ranking.probability)
        for place, rank in zip(places, ranking.ranks or [], strict=True)
        if rank == min(ranking.ranks or [])
    ]


def first_responses(judged: Sequence[Judged]) -> list[int]:
    """Where the first response of each group stands among all responses of the job."""
    starts, count = [], 0
    for one in judged:
        starts.append(count)
        count += one.k
    return starts


@torch.no_grad()
def logprobs_of(
    policy: Any, judged: Sequence[Judged], passes: Passes, precision: str, between: Callable[[], None]
) -> Tensor:
    """(K,) summed log-probs of all responses of all groups, in order."""
    starts = first_responses(judged)
    found = torch.empty(sum(one.k for one in judged))
    for micro, laid_out in passes(judged):
        between()
        with autocast(precision):
            logprobs = response_logprobs(policy, laid_out)
        places = [starts[one.index] + offset for one in micro for offset in range(one.k)]
        found[places] = logprobs.cpu()
    return found


@torch.no_grad()
def held_out_accuracy(
    judged: Sequence[Judged], rewards_of: Callable[..., Any], passes: Passes, between: Callable[[], None]
) -> float:
    """How often the policy's implicit reward agrees with people on held-out prompts, over pairs."""
    correct = count = 0
    for micro, laid_out in passes(judged):
        between()
        rewards, _ = rewards_of(micro, laid_out)
        compared = pairs(micro, device=rewards.device)
        correct += int((rewards[compared.chosen] > rewards[compared.rejected])[compared.decided].sum())
        count += int(compared.decided.sum())
    return correct / count
