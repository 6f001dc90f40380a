"""Rollouts: prompts answered by the policy as it is now, and what every method that learns from its own answers shares.

A rollout's tokens are those sampled, never read again from text. Its log-probs are computed by the same function, in the
same passes, as the training step will: at the first step on a rollout the ratio is then exactly 1, and at the first step
of a run the divergence from the reference exactly 0. The ones recorded while sampling serve as a check on that.

Left out: sampling again in place of dropped groups. The steps on a rollout are `rollout_loop`'s business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from training.configs import RolloutConfig
from training.core.attention import peculiarity
from training.core.batching import Batch, Passes, token_logprobs
from training.core.data import Question
from training.core.divergence import load_reference
from training.core.errors import BadInput, Stopped
from training.core.events import Events
from training.core.job_directory import Job
from training.core.logprobs import check_logits
from training.core.model_loading import autocast, device, encoder_for, load_policy, load_tokenizer, locate
from training.core.reward_metrics import warn_of_truncation
from training.core.rewards import Answered, Between, Rewards
from training.core.sampling import Sampled, end_tokens, row_seed, sample_responses
from training.core.tokenization import Encoder, Group
from training.core.training_loop import Loop


class Asked(NamedTuple):
    """A prompt with its token ids."""

    question: Question
    ids: list[int]


@dataclass
class Setup:
    """The models and prompts of one run. The reference is None where the run does without."""

    job: Job
    config: RolloutConfig
    events: Events
    tokenizer: PreTrainedTokenizerBase
    encoder: Encoder
    policy: Any
    reference: Any
    passes: Passes
    rewards: Rewards
    training: list[Asked]
    held_out: list[Asked]


def prepare(
    job: Job, config: RolloutConfig, events: Events, questions: Sequence[Question], *, reference: bool
) -> Setup:
    """Load what a run needs. `questions` are those to be answered. Raises BadInput for what cannot work."""
    source = locate(job.model or "", job.folder)
    reference_source = locate(job.reference, job.folder, "reference") if job.reference else source
    tokenizer, warnings = load_tokenizer(source)
    for message in warnings:
        events.warning(message)
    policy: Any = load_policy(source)
    check_logits(policy)
    encoder = encoder_for(policy, tokenizer, config.max_length)
    length = encoder.max_length
    if config.max_new_tokens >= length:
        raise BadInput(
            f"The model reads at most {length} tokens; lower max_new_tokens to leave room for the prompt.",
            setting="max_new_tokens",
        )
    if reason := peculiarity(policy, length):
        raise BadInput(
            f"Models of type {policy.config.model_type} cannot be sampled from yet: they use {reason}.",
            setting="model",
        )
    room = length - config.max_new_tokens
    asked = [Asked(question, encoder.prompt(question.prompt, room=room)) for question in questions]
    warn_of_truncation(encoder, events)
    training = [one for one in asked if not one.question.held_out]
    if not training:
        raise BadInput("No row of data.jsonl is a prompt to train on.")
    rewards = Rewards(job, config, encoder, questions)
    for judge in rewards.judges:
        judge.warn_of_truncation(questions, events)
    return Setup(
        job=job,
        config=config,
        events=events,
        tokenizer=tokenizer,
        encoder=encoder,
        policy=policy,
        reference=load_reference(reference_source, policy, length, config.layout) if reference else None,
        passes=Passes(policy.base_model, config.layout, config.batch_tokens, length),
        rewards=rewards,
        training=training,
        held_out=[one for one in asked if one.question.held_out],
    )


def sample(setup: Setup, asked: Sequence[Asked], draw: int | str, loop: Loop) -> list[Sampled]:
    """The policy's `samples` responses to each of the prompts, prompt after prompt, in their order.

    Seeds are functions of the job's seed, `draw`, the prompt's id and the sample's number. Told to stop, it has the loop
    save its last whole step first.
    """
    config = setup.config
    found: dict[int, list[Sampled]] = {}
    for chunk in chunks(asked, config):
        names = [json.dumps([draw, asked[place].question.id]) for place in chunk]
        try:
            with autocast(config.precision):
                sampled = sample_responses(
                    setup.policy,
                    [asked[place].ids for place in chunk],
                    [
                        row_seed(config.seed, name, number)
                        for name in names
                        for number in range(config.samples)
                    ],
                    samples=config.samples,
                    max_new_tokens=config.max_new_tokens,
                    temperature=config.temperature,
                    end_ids=end_tokens(setup.policy, setup.encoder),
                    events=setup.events,
                )
        except Stopped:
            loop.save()
            raise
        for number, place in enumerate(chunk):
            found[place] = sampled[number * config.samples : (number + 1) * config.samples]
    return [response for place in range(len(asked)) for response in found[place]]


def with_answers(
    asked: Sequence[Asked], responses: Sequence[list[int]], finished: Sequence[bool]
) -> list[Answered]:
    """The prompts with their responses, of which each has as many, prompt after prompt."""
    samples = len(responses) // len(asked)
    found = []
    start = 0
    for order, one in enumerate(asked):
        own = slice(order * samples, (order + 1) * samples)
        group = Group(one.ids, list(responses[own]))
        found.append(Answered(one.question, group, list(finished[own]), own.start, start))
        start += found[-1].tokens
    return found


def chunks(asked: Sequence[Asked], config: RolloutConfig) -> list[list[int]]:
    """Places of the prompts, longest first, in lists whose cache holds at most `sample_tokens` tokens."""
    order = sorted(range(len(asked)), key=lambda place: -len(asked[place].ids))
    found: list[list[int]] = []
    width = 0
    for place in order:
        if not found or (len(found[-1]) + 1) * width > config.sample_tokens:
            found.append([])
            width = len(asked[place].ids) + config.samples * config.max_new_tokens
        found[-1].append(place)
    return found


@dataclass
class Rollout:
    """Q prompts of the training set with G sampled responses each; N response tokens in all.

    tensors: on the processor, by name: questions (Q,), places among the training prompts; lengths (K,) and finished
    (K,), K = QG; tokens and recorded (N,), the ids and their log-probs at sampling; and what a method adds, (N,) each.
    kept: (Q,) prompts to learn from, all unless a method leaves some out. figures: what is reported of it.
    """

    number: int
    tensors: dict[str, Tensor]
    answered: list[Answered]
    figures: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, number: int, setup: Setup, tensors: dict[str, Tensor]) -> Rollout:
        """The rollout that `tensors` hold."""
        asked = [setup.training[place] for place in tensors["questions"].tolist()]
        responses = [part.tolist() for part in torch.split(tensors["tokens"], tensors["lengths"].tolist())]
        return cls(number, tensors, with_answers(asked, responses, tensors["finished"].tolist()))

    def parts(self, count: int) -> list[list[Answered]]:
        """The prompts to learn from in `count` parts of nearly equal size, some of them empty where there are too few."""
        kept = self.tensors["kept"].tolist()
        chosen = [one for one, keep in zip(self.answered, kept, strict=True) if keep]
        return [
            chosen[len(chosen) * part // count : len(chosen) * (part + 1) // count] for part in range(count)
        ]

    def of_tokens(self, name: str, answered: Sequence[Answered]) -> Tensor:
        """(n,) values of the response tokens of some of the prompts, in their order, on the device."""
        return self.tensors[name][token_places(answered)].to(device())

    def per_response(self, name: str) -> Tensor:
        """(K,) sums over each response of a tensor of tokens."""
        lengths = self.tensors["lengths"]
        return (
            self.tensors[name]
            .new_zeros(len(lengths))
            .index_add_(0, torch.repeat_interleave(lengths), self.tensors[name])
        )


def token_places(answered: Sequence[Answered]) -> Tensor:
    """(n,) places of the response tokens of some prompts among the N of their rollout."""
    return torch.cat([torch.arange(one.start, one.start + one.tokens) for one in answered])


def new_rollout(setup: Setup, number: int, questions: Sequence[int], loop: Loop) -> Rollout:
    """Have the policy answer the training prompts at the places `questions`."""
    sampled = sample(setup, [setup.training[place] for place in questions], number, loop)
    return Rollout.of(
        number,
        setup,
        {
            "questions": torch.tensor(questions),
            "kept": torch.ones(len(questions), dtype=torch.bool),
            "lengths": torch.tensor([len(one.token_ids) for one in sampled]),
            "finished": torch.tensor([one.finished for one in sampled]),
            "tokens": torch.tensor([token for one in sampled for token in one.token_ids]),
            "recorded": torch.tensor([logprob for one in sampled for logprob in one.logprobs]),
        },
    )


def describe(rollout: Rollout, rewards: Tensor) -> dict[str, float]:
    """Figures of the responses: mean reward and its deviation, tokens, the share that ended, and the entropy of the policy
    as the samples show it, in nats a token (the mean of -log pi)."""
    tensors = rollout.tensors
    return {
        "reward": float(rewards.mean()),
        "reward_std": float(rewards.std(correction=0)),
        "length": float(tensors["lengths"].float().mean()),
        "ended": float(tensors["finished"].float().mean()),
        "entropy": -float(tensors["recorded"].mean()),
    }


def divergence(kl: Tensor) -> dict[str, float]:
    """Figures of (K,) KL estimates, in nats a response: their mean, and the root of it, which papers plot rewards over."""
    mean = float(kl.mean())
    return {"kl": mean, "kl_root": max(mean, 0.0) ** 0.5}


@torch.no_grad()
def per_token(
    setup: Setup, rollout: Rollout, parts: int, compute: Callable[[Batch], Tensor], between: Between
) -> Tensor:
    """(N,) what `compute` gives for each pass, in float32, in the same passes as the training steps on `parts` parts."""
    found = torch.zeros(len(rollout.tensors["tokens"]))
    for part in rollout.parts(parts):
        for micro, laid_out in setup.passes(part):
            between()
            found[token_places(micro)] = compute(laid_out).float().cpu()
    return found


def logprobs_of(setup: Setup, model: Any, rollout: Rollout, parts: int, between: Between) -> Tensor:
    """(N,) log-probs of the sampled tokens under the policy or the reference, at the sampling temperature."""

    def compute(laid_out: Batch) -> Tensor:
        with autocast(setup.config.precision):
            return token_logprobs(model, laid_out, setup.config.temperature)

    return per_token(setup, rollout, parts, compute, between)
