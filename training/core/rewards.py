"""The reward of sampled responses: by a reward model, a judge or a Python function, perhaps with a second reward model for
safety; as a score or compared with a baseline response.

Two reward models are combined as in Llama 2 (Touvron et al. 2023, section 3.2.3): the safety model's probability decides
which of them counts, and the reward is the raw logit of that one, never a probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from training.configs import RolloutConfig
from training.core.batching import IndexedGroup, Passes
from training.core.data import RolloutPrompt
from training.core.distributed import score_in_parts
from training.core.errors import BadInput
from training.core.events import Events
from training.core.function_reward import FunctionScorer
from training.core.job_directory import Job
from training.core.judge_reward import JudgeScorer
from training.core.model_loading import build_encoder, freeze, load_tokenizer, resolve_source
from training.core.reward_model import load_reward_model
from training.core.rollout_groups import CheckStop, RolloutGroup
from training.core.tokenization import EncodedGroup, Encoder, warn_of_truncation

UNSAFE_PROBABILITY = 0.15
"""A response with a lower probability of being safe gets the safety model's score, whatever the prompt (Llama 2)."""


def combine_rewards(helpful: Tensor, safety: Tensor, is_safety_prompt: Tensor) -> Tensor:
    """(K,) raw logits, each the safety model's if the prompt is a safety prompt or its probability is below 0.15, else the
    helpfulness model's. helpful, safety: (K,) logits. is_safety_prompt: (K,) bool."""
    return torch.where(is_safety_prompt | (torch.sigmoid(safety) < UNSAFE_PROBABILITY), safety, helpful)


def compare_with_baseline(rewards: Tensor, baselines: Tensor, *, soft: bool) -> Tensor:
    """(K,) 1 where a response has a higher reward than its prompt's baseline, else 0; soft: the probability that it is
    preferred, under Bradley-Terry. rewards, baselines: (K,) logits."""
    return torch.sigmoid(rewards - baselines) if soft else (rewards > baselines).to(rewards.dtype)


class Scorer(Protocol):
    """What gives responses their raw rewards, which reads them in a form of its own.

    shares_tokens: whether it reads the policy's token ids as they are.
    """

    shares_tokens: bool

    def encode(self, group: RolloutGroup) -> Any:
        """A prompt's responses as it reads them."""

    def encode_baseline(self, prompt: RolloutPrompt) -> Any:
        """A prompt's baseline, as one response."""

    def warn_of_truncation(self, prompts: Sequence[RolloutPrompt], events: Events) -> None:
        """Report how many of the prompts it cannot read whole."""

    def __call__(self, groups: Sequence[Any], check_stop: CheckStop) -> Tensor:
        """(K,) raw rewards of all responses in order, in float32 on the CPU."""


class RewardScorer:
    """A frozen reward model with its own tokenizer.

    shares_tokens: whether it reads the policy's token ids as they are.
    """

    def __init__(self, source: str, setting: str, config: RolloutConfig, policy: Encoder) -> None:
        tokenizer, _ = load_tokenizer(source, setting)
        self.model: Any = load_reward_model(source, setting, config.precision)
        self.encoder = build_encoder(self.model.trunk, tokenizer, config.max_length, setting)
        self.max_prompt_tokens = self.encoder.max_length - config.max_new_tokens
        if self.max_prompt_tokens < 1:
            raise BadInput(
                f"The {setting.replace('_', ' ')} reads at most {self.encoder.max_length} tokens; lower max_new_tokens to"
                " leave room for the prompt.",
                setting="max_new_tokens",
            )
        self.shares_tokens = (
            tokenize_alike(tokenizer, policy.tokenizer) and self.encoder.max_length >= policy.max_length
        )
        self.policy = policy
        self.passes = Passes(
            self.model.trunk, config.layout, config.batch_tokens, self.encoder.max_length, setting
        )
        freeze(self.model, config.precision)  # afterwards, as the layout is tried without autocast

    def encode(self, group: RolloutGroup) -> EncodedGroup:
        """The responses as this model reads them: the sampled ids if the tokenizers agree, else the ids of their text.

        A response that was cut has no end token either way. An instruction to the policy is no part of the prompt.
        """
        if self.shares_tokens:
            if not self.policy.instruction:
                return group.encoded
            prompt = self.encoder.encode_prompt(
                group.source.prompt, max_tokens=self.max_prompt_tokens, line=group.source.line
            )
            return EncodedGroup(prompt, group.encoded.responses)
        texts = [self.policy.decode(response) for response in group.encoded.responses]
        prompt, responses = self.encoder.encode_group(group.source.prompt, texts, line=group.source.line)
        ended = zip(responses, group.finished, strict=True)
        return EncodedGroup(prompt, [ids if end or len(ids) == 1 else ids[:-1] for ids, end in ended])

    def warn_of_truncation(self, prompts: Sequence[RolloutPrompt], events: Events) -> None:
        """Report how many of the prompts this model cannot read whole, if it does not read the policy's ids. Raises TooLong if it
        cannot read the last turn of one."""
        if not self.shares_tokens:
            for prompt in prompts:
                self.encoder.encode_prompt(prompt.prompt, max_tokens=self.max_prompt_tokens, line=prompt.line)
            warn_of_truncation(self.encoder, events)

    def encode_baseline(self, prompt: RolloutPrompt) -> EncodedGroup:
        return self.encoder.encode_group(prompt.prompt, [prompt.baseline or ""], line=prompt.line)

    @torch.no_grad()
    def __call__(self, groups: Sequence[EncodedGroup], check_stop: CheckStop) -> Tensor:
        """(K,) logits of all responses in order, in float32 on the CPU."""
        indexed, count = [], 0
        for group in groups:
            indexed.append(IndexedGroup(group, count))
            count += len(group.responses)
        logits = torch.empty(count)
        for micro, inputs in self.passes(indexed):
            check_stop()
            places = [item.position + k for item in micro for k in range(len(item.encoded.responses))]
            logits[places] = self.model(inputs).float().cpu()
        return logits


def load_scorer(job: Job, config: RolloutConfig, policy: Encoder) -> Scorer:
    """The job's one source of rewards. Raises BadInput if it names none, or more than one."""
    sources = {
        "reward_model": job.reward_model,
        "judge": job.judge,
        "reward_function": config.reward_function,
    }
    chosen = [name for name, source in sources.items() if source]
    if not chosen:
        raise BadInput(
            f"A {job.kind} job needs a reward_model to score responses with, a judge or a reward_function.",
            setting="reward_model",
        )
    if len(chosen) > 1:
        raise BadInput(
            f"job.json names a {chosen[0]} and a {chosen[1]}; the reward is by one of them.",
            setting=chosen[1],
        )
    if job.judge:
        return JudgeScorer(job, config, policy)
    if config.reward_function:
        return FunctionScorer(config.reward_function, policy)
    return load_reward_scorer(job, "reward_model", config, policy)


def load_reward_scorer(job: Job, name: str, config: RolloutConfig, policy: Encoder) -> RewardScorer:
    """The reward model that job.json has under this name."""
    return RewardScorer(resolve_source(getattr(job, name), job.folder, name), name, config, policy)


class Rewards:
    """The reward of responses as the job and its config define it."""

    def __init__(
        self, job: Job, config: RolloutConfig, policy: Encoder, prompts: Sequence[RolloutPrompt]
    ) -> None:
        """Raises BadInput unless there is one source of rewards, or if a prompt lacks the baseline that the reward needs."""
        self.config = config
        if config.reward != "score":
            for prompt in prompts:
                if prompt.baseline is None:
                    raise BadInput(
                        f"Line {prompt.line} of data.jsonl: the reward {config.reward} compares with a 'baseline', and"
                        " this prompt has none.",
                        setting="reward",
                        line=prompt.line,
                    )
        self.scorers = [load_scorer(job, config, policy)]
        if job.safety_reward_model:
            self.scorers.append(load_reward_scorer(job, "safety_reward_model", config, policy))
        self.prompts = prompts
        self._baselines: dict[int, Tensor] | None = None

    def __call__(self, groups: Sequence[RolloutGroup], check_stop: CheckStop) -> Tensor:
        """(K,) rewards of all responses in order, on the CPU; each process scores a part."""
        return score_in_parts(groups, lambda own: self._score(own, check_stop))

    def _score(self, groups: Sequence[RolloutGroup], check_stop: CheckStop) -> Tensor:
        """(K,) rewards of the responses of `groups`."""
        sizes = torch.tensor([len(group.encoded.responses) for group in groups])
        safety = torch.tensor([group.source.safety for group in groups]).repeat_interleave(sizes)
        rewards = self._logits(
            [[scorer.encode(group) for group in groups] for scorer in self.scorers], safety, check_stop
        )
        if self.config.reward != "score":
            baselines = self._baseline_logits([group.source for group in groups], check_stop)
            rewards = compare_with_baseline(
                rewards, baselines.repeat_interleave(sizes), soft=self.config.reward == "probability"
            )
        finished = torch.tensor([end for group in groups for end in group.finished])
        return rewards - self.config.missing_end_penalty * (~finished).float()

    def _logits(self, groups: Sequence[Sequence[Any]], safety: Tensor, check_stop: CheckStop) -> Tensor:
        """(K,) raw rewards by the one scorer, or by the two combined. groups: as each scorer reads them."""
        logits = [scorer(own, check_stop) for scorer, own in zip(self.scorers, groups, strict=True)]
        return combine_rewards(logits[0], logits[1], safety) if len(logits) > 1 else logits[0]

    def _baseline_logits(self, prompts: Sequence[RolloutPrompt], check_stop: CheckStop) -> Tensor:
        """(Q,) logits of the prompts' baselines. The first call scores those of all prompts, always in the same passes, so
        that a resumed run gets the same numbers to the bit."""
        if self._baselines is None:
            groups = [[scorer.encode_baseline(prompt) for prompt in self.prompts] for scorer in self.scorers]
            safety = torch.tensor([prompt.safety for prompt in self.prompts])
            logits = self._logits(groups, safety, check_stop)
            self._baselines = {prompt.line: logit for prompt, logit in zip(self.prompts, logits, strict=True)}
        return torch.stack([self._baselines[prompt.line] for prompt in prompts])


def tokenize_alike(one: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase) -> bool:
    """Whether two tokenizers give the same ids to the same conversation: they have the same vocabulary and template."""
    return one.get_vocab() == other.get_vocab() and one.chat_template == other.chat_template
