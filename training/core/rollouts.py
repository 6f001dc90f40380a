"""Rollouts: the policy's responses to a batch of prompts, and what all methods that learn from their own samples share.

A rollout's tokens are the sampled ones; they are never tokenized again from text. Its log-probs are computed by the same
function, in the same passes, as in the training step: at the first step on a rollout the ratio is then exactly 1, and at
the first step of a run the KL from the reference exactly 0. The log-probs recorded while sampling are a check on that.

Left out: sampling again in place of dropped groups. The steps on a rollout are in `rollout_loop`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from training.configs import ClippedConfig, ReinforceConfig, RolloutConfig
from training.core.batching import Batch, Passes
from training.core.data import RolloutPrompt
from training.core.diagnostics import count_equal_samples, warn_of_equal_samples
from training.core.distributed import exchange, partition, sum_tensors
from training.core.divergence import find_reference
from training.core.errors import BadInput, Stopped
from training.core.events import Events
from training.core.job_directory import Job
from training.core.logprobs import check_logits, token_logprobs
from training.core.long_rows import encode_prompts
from training.core.model_loading import (
    autocast,
    build_encoder,
    device,
    load_policy,
    load_tokenizer,
    read_instruction,
    resolve_source,
)
from training.core.process_rank import world_size
from training.core.rewards import Rewards, RewardScorer, load_reward_scorer
from training.core.rollout_groups import RolloutGroup
from training.core.sampling import (
    SampledResponse,
    check_shared_cache,
    end_token_ids,
    response_seed,
    sample_responses,
)
from training.core.serving.agreement import compare, importance_weights
from training.core.serving.engine import Continuation
from training.core.serving.served_policy import ServedPolicy, serve_policy
from training.core.tokenization import EncodedGroup, Encoder, warn_of_truncation
from training.core.training_loop import TrainingLoop


class EncodedPrompt(NamedTuple):
    """A prompt with its token ids."""

    source: RolloutPrompt
    ids: list[int]


@dataclass
class Sampling:
    """What it takes to sample from the policy of a run and to evaluate it on held-out prompts. reference: None for a run without.
    second: a reward model that trains nothing, if there is one."""

    job: Job
    config: RolloutConfig
    events: Events
    encoder: Encoder
    policy: Any
    reference: Any
    passes: Passes
    rewards: Rewards | None
    second: RewardScorer | None
    held_out: list[EncodedPrompt]


@dataclass
class Setup(Sampling):
    """The models and prompts of a run that learns from its own samples. served: the policy on a server that samples from it, or
    None where the run does."""

    rewards: Rewards
    tokenizer: PreTrainedTokenizerBase
    training: list[EncodedPrompt]
    served: ServedPolicy | None


def load_setup(
    job: Job,
    config: RolloutConfig,
    events: Events,
    prompts: Sequence[RolloutPrompt],
    *,
    reference: bool,
    instruction: str | None = None,
) -> Setup:
    """Load the models of a run and encode the prompts to sample for. Raises BadInput for what is not supported.

    instruction: what the policy's prompts begin with, in place of the model's own.
    """
    source = resolve_source(job.model or "", job.folder)
    reference_source = resolve_source(job.reference, job.folder, "reference") if job.reference else source
    tokenizer, warnings = load_tokenizer(source)
    for message in warnings:
        events.warning(message)
    policy: Any = load_policy(source)
    check_logits(policy)
    own_instruction = read_instruction(source)
    if instruction is None:
        instruction = own_instruction
    elif own_instruction not in ("", instruction):
        events.warning(f"The model's instruction, “{own_instruction}”, is replaced with “{instruction}”.")
    encoder = build_encoder(policy, tokenizer, config.max_length, instruction=instruction)
    length = encoder.max_length
    if config.max_new_tokens >= length:
        raise BadInput(
            f"The model reads at most {length} tokens; lower max_new_tokens to leave room for the prompt.",
            setting="max_new_tokens",
        )
    check_shared_cache(policy, length)
    max_tokens = length - config.max_new_tokens
    encoded = [EncodedPrompt(*pair) for pair in encode_prompts(prompts, encoder, max_tokens, events)]
    prompts = [prompt.source for prompt in encoded]
    warn_of_truncation(encoder, events)
    training = [prompt for prompt in encoded if not prompt.source.held_out]
    if not training:
        raise BadInput("No row of data.jsonl is a prompt to train on.")
    rewards = Rewards(job, config, encoder, prompts)
    for scorer in rewards.scorers:
        scorer.warn_of_truncation(prompts, events)
    return Setup(
        job=job,
        config=config,
        events=events,
        tokenizer=tokenizer,
        encoder=encoder,
        policy=policy,
        reference=find_reference(reference_source, source, policy, length, config) if reference else None,
        passes=Passes(policy.base_model, config.layout, config.batch_tokens, length),
        rewards=rewards,
        second=load_second_scorer(job, config, encoder),
        training=training,
        served=serve_policy(job, config, policy, tokenizer, encoder, events),
        held_out=[prompt for prompt in encoded if prompt.source.held_out],
    )


def load_second_scorer(job: Job, config: RolloutConfig, encoder: Encoder) -> RewardScorer | None:
    """The second reward model of the job, if it has one."""
    if job.second_reward_model is None:
        return None
    return load_reward_scorer(job, "second_reward_model", config, encoder)


def sample_policy(
    setup: Sampling, prompts: Sequence[EncodedPrompt], draw: int | str, loop: TrainingLoop
) -> list[SampledResponse]:
    """The policy's `samples` responses to each of the prompts, prompt after prompt, in their order; each process samples a part.

    Seeds are functions of the job's seed, `draw`, the prompt's id and the sample's number. If told to stop, it saves the
    last completed step and raises Stopped; of several processes all do so together, once each has sampled its part.
    """
    config = setup.config
    sizes = [len(prompt.ids) + config.samples * config.max_new_tokens for prompt in prompts]
    own = partition(range(len(prompts)), sizes)
    responses: dict[int, list[SampledResponse]] = {}
    with loop.whole(setup.policy):
        for chunk in chunk_prompts([prompts[place] for place in own], config):
            responses |= _sample_chunk(setup, prompts, [own[number] for number in chunk], draw, loop)
    everyones = {place: sampled for part in exchange(responses) for place, sampled in part.items()}
    if world_size() > 1:
        loop.stop_together()
    return [response for place in range(len(prompts)) for response in everyones[place]]


def _sample_chunk(
    setup: Sampling,
    prompts: Sequence[EncodedPrompt],
    chunk: Sequence[int],
    draw: int | str,
    loop: TrainingLoop,
) -> dict[int, list[SampledResponse]]:
    """The responses to the prompts at the positions `chunk`, by position."""
    config = setup.config
    try:
        with autocast(config.precision):
            sampled = sample_responses(
                setup.policy,
                [prompts[place].ids for place in chunk],
                [seed for place in chunk for seed in response_seeds(config, draw, prompts[place])],
                samples=config.samples,
                max_new_tokens=config.max_new_tokens,
                temperature=config.temperature,
                end_ids=end_token_ids(setup.policy, setup.encoder),
                events=setup.events if world_size() == 1 else None,
            )
    except Stopped:
        loop.save()
        raise
    return {
        place: sampled[number * config.samples : (number + 1) * config.samples]
        for number, place in enumerate(chunk)
    }


def response_seeds(config: RolloutConfig, draw: int | str, prompt: EncodedPrompt) -> list[int]:
    """A seed for each of the prompt's responses."""
    name = json.dumps([draw, prompt.source.id])
    return [response_seed(config.seed, name, number) for number in range(config.samples)]


def sample_to_learn(
    setup: Setup, prompts: Sequence[EncodedPrompt], draw: int | str, loop: TrainingLoop
) -> list[SampledResponse]:
    """As `sample_policy`, by the sampler that the run has. What a server samples is compared with the policy's own log-probs.

    Raises BadInput if the server did not sample from the present weights, or is not available.
    """
    if setup.served is None:
        return sample_policy(setup, prompts, draw, loop)
    requests = [Continuation(prompt.ids, response_seeds(setup.config, draw, prompt)) for prompt in prompts]
    sampled = setup.served.sample(requests, loop)
    groups = group_responses(
        prompts,
        [response.token_ids for response in sampled],
        [response.finished for response in sampled],
    )
    current = group_logprobs(setup, groups, loop)
    with setup.served.previous_weights():
        previous = group_logprobs(setup, groups, loop)
    recorded = torch.tensor([value for response in sampled for value in response.logprobs])
    agreement = compare(recorded, current, previous)
    setup.served.check(agreement, loop)
    figures = {"sampler_gap": agreement.gap, "sampler_ratio": agreement.ratio}
    if (cap := importance_cap(setup.config)) is not None:
        figures["sampler_capped"] = float((torch.exp(current - recorded) > cap).float().mean())
    loop.metrics |= figures
    setup.events.metrics(loop.steps_done, figures)
    own = torch.split(current, [len(response.token_ids) for response in sampled])
    for response, values in zip(sampled, own, strict=True):
        response.recomputed = values.tolist()
    return sampled


def importance_cap(config: RolloutConfig) -> float | None:
    """The cap of importance weights, for the kinds that learn by a policy gradient."""
    return config.importance_cap if isinstance(config, ClippedConfig | ReinforceConfig) else None


def group_responses(
    prompts: Sequence[EncodedPrompt], responses: Sequence[list[int]], finished: Sequence[bool]
) -> list[RolloutGroup]:
    """The prompts with their responses. responses: equally many for each prompt, prompt after prompt."""
    samples = len(responses) // len(prompts)
    groups = []
    start = 0
    for number, prompt in enumerate(prompts):
        own = slice(number * samples, (number + 1) * samples)
        encoded = EncodedGroup(prompt.ids, list(responses[own]))
        groups.append(RolloutGroup(prompt.source, encoded, list(finished[own]), own.start, start))
        start += groups[-1].response_tokens
    return groups


def chunk_prompts(prompts: Sequence[EncodedPrompt], config: RolloutConfig) -> list[list[int]]:
    """Positions of the prompts, longest first, in lists whose cache holds at most `sample_tokens` tokens."""
    order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place].ids))
    chunks: list[list[int]] = []
    width = 0
    for place in order:
        if not chunks or (len(chunks[-1]) + 1) * width > config.sample_tokens:
            chunks.append([])
            width = len(prompts[place].ids) + config.samples * config.max_new_tokens
        chunks[-1].append(place)
    return chunks


@dataclass
class Rollout:
    """Q training prompts with G sampled responses each; N response tokens in all.

    tensors: on the CPU, by name: prompts (Q,), positions among the training prompts; lengths (K,) and finished (K,),
    K = QG; tokens and recorded (N,), the ids and their log-probs at sampling; included (Q,), the prompts to learn from, all
    unless a method drops some; of a server's samples for a method that corrects for it, importance (N,); and what a method adds,
    (N,) each. metrics: what is reported of the rollout.
    """

    number: int
    tensors: dict[str, Tensor]
    groups: list[RolloutGroup]
    metrics: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_tensors(cls, number: int, setup: Setup, tensors: dict[str, Tensor]) -> Rollout:
        prompts = [setup.training[place] for place in tensors["prompts"].tolist()]
        responses = [part.tolist() for part in torch.split(tensors["tokens"], tensors["lengths"].tolist())]
        return cls(number, tensors, group_responses(prompts, responses, tensors["finished"].tolist()))

    def mini_batches(self, count: int) -> list[list[RolloutGroup]]:
        """The included groups in `count` parts of nearly equal size, some of them empty if there are too few groups."""
        included = [
            group
            for group, is_included in zip(self.groups, self.tensors["included"].tolist(), strict=True)
            if is_included
        ]
        return [
            included[len(included) * part // count : len(included) * (part + 1) // count]
            for part in range(count)
        ]

    def token_values(self, name: str, groups: Sequence[RolloutGroup]) -> Tensor:
        """(n,) values of the response tokens of some of the groups, in their order, on the device."""
        return self.tensors[name][token_indices(groups)].to(device())

    def importance_weights(self, groups: Sequence[RolloutGroup]) -> Tensor | float:
        """(n,) what the losses of some groups' tokens are multiplied by, as a server sampled them; 1 where the run did."""
        return self.token_values("importance", groups) if "importance" in self.tensors else 1.0

    def sum_per_response(self, name: str) -> Tensor:
        """(K,) sums over each response of an (N,) tensor."""
        lengths = self.tensors["lengths"]
        return (
            self.tensors[name]
            .new_zeros(len(lengths))
            .index_add_(0, torch.repeat_interleave(lengths), self.tensors[name])
        )


def token_indices(groups: Sequence[RolloutGroup]) -> Tensor:
    """(n,) indices of the response tokens of some groups among the N of their rollout."""
    spans = [torch.arange(group.start, group.start + group.response_tokens) for group in groups]
    return torch.cat(spans) if spans else torch.empty(0, dtype=torch.long)


def sample_rollout(setup: Setup, number: int, prompts: Sequence[int], loop: TrainingLoop) -> Rollout:
    """Sample the policy's responses to the training prompts at the positions `prompts`, with a warning if most are equal."""
    sampled = sample_to_learn(setup, [setup.training[place] for place in prompts], number, loop)
    tensors = {
        "prompts": torch.tensor(prompts),
        "included": torch.ones(len(prompts), dtype=torch.bool),
        "lengths": torch.tensor([len(response.token_ids) for response in sampled]),
        "finished": torch.tensor([response.finished for response in sampled]),
        "tokens": torch.tensor([token for response in sampled for token in response.token_ids]),
        "recorded": torch.tensor([logprob for response in sampled for logprob in response.logprobs]),
    }
    if setup.served is not None and (cap := importance_cap(setup.config)) is not None:
        own = torch.tensor([value for response in sampled for value in response.recomputed or ()])
        tensors["importance"] = importance_weights(tensors["recorded"], own, cap)
    rollout = Rollout.from_tensors(number, setup, tensors)
    equal = count_equal_samples(group.encoded.responses for group in rollout.groups)
    warn_of_equal_samples(equal, len(prompts), setup.config.temperature, setup.events)
    return rollout


def response_metrics(rollout: Rollout, rewards: Tensor) -> dict[str, float]:
    """Mean and deviation of the (K,) rewards, mean tokens, the fraction that ended, and the entropy of the policy as
    estimated from the samples, in nats a token (the mean of -log pi)."""
    tensors = rollout.tensors
    return {
        "reward": float(rewards.mean()),
        "reward_std": float(rewards.std(correction=0)),
        "length": float(tensors["lengths"].float().mean()),
        "ended": float(tensors["finished"].float().mean()),
        "entropy": -float(tensors["recorded"].mean()),
    }


def all_divergences(divergences: Sequence[Tensor]) -> Tensor:
    """(K,) KL estimates on the CPU of the responses of a step, from those of each pass of all processes."""
    return torch.cat([kl for part in exchange(list(divergences)) for kl in part])


def kl_metrics(kl: Tensor) -> dict[str, float]:
    """The mean of (K,) KL estimates, in nats a response, and its square root, over which papers plot rewards."""
    mean = float(kl.mean())
    return {"kl": mean, "kl_root": max(mean, 0.0) ** 0.5}


@torch.no_grad()
def compute_per_token(
    setup: Setup, rollout: Rollout, parts: int, compute: Callable[[Batch], Tensor], loop: TrainingLoop
) -> Tensor:
    """(N,) what `compute` returns for the tokens of each pass, in float32, in the passes of training steps on `parts`
    mini-batches; each process computes those of its passes."""
    values = torch.zeros(len(rollout.tensors["tokens"]))
    for part in rollout.mini_batches(parts):
        for micro, inputs in loop.passes(setup.passes, part):
            loop.raise_if_stopped()
            values[token_indices(micro)] = compute(inputs).float().cpu()
    return sum_tensors(values)


def rollout_logprobs(setup: Setup, model: Any, rollout: Rollout, parts: int, loop: TrainingLoop) -> Tensor:
    """(N,) log-probs of the sampled tokens under the policy or the reference, at the sampling temperature."""
    return compute_per_token(setup, rollout, parts, partial(_sampling_logprobs, setup, model), loop)


@torch.no_grad()
def group_logprobs(setup: Setup, groups: Sequence[RolloutGroup], loop: TrainingLoop) -> Tensor:
    """(N,) the same under the policy, of the response tokens of all groups of a rollout, in one process.

    It does not stop on the way: the policy may have other weights meanwhile, which must not get into a checkpoint.
    """
    values = torch.zeros(sum(group.response_tokens for group in groups))
    for micro, inputs in loop.passes(setup.passes, groups):
        values[token_indices(micro)] = _sampling_logprobs(setup, setup.policy, inputs).float().cpu()
    return values


def _sampling_logprobs(setup: Setup, model: Any, inputs: Batch) -> Tensor:
    with autocast(setup.config.precision):
        return token_logprobs(model, inputs, setup.config.temperature)
