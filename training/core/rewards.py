"""What sampled responses are worth: one reward model or two, as a score or against a stored baseline.

Two reward models are combined as in Llama 2 (Touvron et al. 2023, section 3.2.3): the choice between them is made on the
safety model's probability, what is returned is the raw logit of the one chosen, never a probability. Left out: rewards
from rules or programs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from training.configs import RolloutConfig
from training.core.batching import Passes
from training.core.data import Question
from training.core.errors import BadInput
from training.core.events import Events
from training.core.job_directory import Job
from training.core.model_loading import encoder_for, load_tokenizer, locate
from training.core.reward_metrics import warn_of_truncation
from training.core.reward_model import load_reward_model
from training.core.tokenization import Encoder, Group

UNSAFE = 0.15
"""A response that the safety model gives a lower probability than this is scored by it, whatever the prompt (Llama 2)."""

Between = Callable[[], None]
"""Called between two passes of a model; may raise Stopped."""


class Answered(NamedTuple):
    """A prompt with its sampled responses, as the policy's token ids.

    finished: for each response, whether it ended by itself. first, start: the places of its first response among the K of
    a rollout, and of its first response token among the N.
    """

    question: Question
    group: Group
    finished: list[bool]
    first: int = 0
    start: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of the responses."""
        return sum(map(len, self.group.responses))


def combined(helpful: Tensor, safety: Tensor, asks_for_safety: Tensor) -> Tensor:
    """(K,) raw logits, each the safety model's where the prompt asks for it or its probability is below 0.15, else the
    other's. helpful, safety: (K,) logits. asks_for_safety: (K,) bool."""
    return torch.where(asks_for_safety | (torch.sigmoid(safety) < UNSAFE), safety, helpful)


def against_baseline(rewards: Tensor, baselines: Tensor, *, soft: bool) -> Tensor:
    """(K,) 1 where a response is preferred to its prompt's baseline, else 0, a tie being none; soft: the probability that
    it is, under Bradley-Terry. rewards, baselines: (K,) logits."""
    return torch.sigmoid(rewards - baselines) if soft else (rewards > baselines).to(rewards.dtype)


class Scored(NamedTuple):
    """A prompt with responses on its way through a reward model; `first` is its first response's place."""

    group: Group
    first: int


class Judge:
    """A frozen reward model with its own tokenizer."""

    def __init__(self, source: str, setting: str, config: RolloutConfig, policy: Encoder) -> None:
        tokenizer, _ = load_tokenizer(source, setting)
        self.model: Any = load_reward_model(source, setting, config.precision).requires_grad_(False)
        self.encoder = encoder_for(self.model.trunk, tokenizer, config.max_length, setting)
        self.room = self.encoder.max_length - config.max_new_tokens
        if self.room < 1:
            raise BadInput(
                f"The {setting.replace('_', ' ')} reads at most {self.encoder.max_length} tokens; lower max_new_tokens to"
                " leave room for the prompt.",
                setting="max_new_tokens",
            )
        self.by_ids = (
            same_tokens(tokenizer, policy.tokenizer) and self.encoder.max_length >= policy.max_length
        )
        self.policy = policy
        self.passes = Passes(self.model.trunk, config.layout, config.batch_tokens, self.encoder.max_length)

    def group(self, answered: Answered) -> Group:
        """The responses as this model reads them: the very ids sampled where the tokenizers agree, else their text. One that
        was cut has no end token either way."""
        if self.by_ids:
            return answered.group
        question = answered.question
        texts = [self.policy.text(response) for response in answered.group.responses]
        prompt, responses = self.encoder.group(question.prompt, texts, line=question.line)
        ended = zip(responses, answered.finished, strict=True)
        return Group(prompt, [ids if end or len(ids) == 1 else ids[:-1] for ids, end in ended])

    def warn_of_truncation(self, questions: Sequence[Question], events: Events) -> None:
        """Say how many of the prompts this model may not read whole, where it reads texts of its own."""
        if not self.by_ids:
            for question in questions:
                self.encoder.prompt(question.prompt, room=self.room)
            warn_of_truncation(self.encoder, events)

    def baseline(self, question: Question) -> Group:
        return self.encoder.group(question.prompt, [question.baseline or ""], line=question.line)

    @torch.no_grad()
    def __call__(self, groups: Sequence[Group], between: Between) -> Tensor:
        """(K,) logits of all responses in order, in float32 on the processor."""
        scored, count = [], 0
        for group in groups:
            scored.append(Scored(group, count))
            count += len(group.responses)
        found = torch.empty(count)
        for micro, laid_out in self.passes(scored):
            between()
            places = [one.first + k for one in micro for k in range(len(one.group.responses))]
            found[places] = self.model(laid_out).float().cpu()
        return found


class Rewards:
    """The reward of responses as the job and its config define it."""

    def __init__(
        self, job: Job, config: RolloutConfig, policy: Encoder, questions: Sequence[Question]
    ) -> None:
        """Raises BadInput where there is no reward model, or a prompt lacks the baseline that the reward needs."""
        if job.reward_model is None:
            raise BadInput(
                f"A {job.kind} job needs a reward_model to score responses with.", setting="reward_model"
            )
        self.config = config
        if config.reward != "score":
            for question in questions:
                if question.baseline is None:
                    raise BadInput(
                        f"Line {question.line} of data.jsonl: the reward {config.reward} compares with a 'baseline', and"
                        " this prompt has none.",
                        setting="reward",
                        line=question.line,
                    )
        names = {"reward_model": job.reward_model, "safety_reward_model": job.safety_reward_model}
        self.judges = [
            Judge(locate(path, job.folder, name), name, config, policy)
            for name, path in names.items()
            if path
        ]
        self.questions = questions
        self._baselines: dict[int, Tensor] | None = None

    def __call__(self, answered: Sequence[Answered], between: Between) -> Tensor:
        """(K,) rewards of all responses in order, on the processor."""
        sizes = torch.tensor([len(one.group.responses) for one in answered])
        safety = torch.tensor([one.question.safety for one in answered]).repeat_interleave(sizes)
        rewards = self._combined(
            [[judge.group(one) for one in answered] for judge in self.judges], safety, between
        )
        if self.config.reward != "score":
            baselines = self._of_baselines([one.question for one in answered], between)
            rewards = against_baseline(
                rewards, baselines.repeat_interleave(sizes), soft=self.config.reward == "probability"
            )
        finished = torch.tensor([end for one in answered for end in one.finished])
        return rewards - self.config.missing_end_penalty * (~finished).float()

    def _combined(self, groups: Sequence[Sequence[Group]], safety: Tensor, between: Between) -> Tensor:
        """(K,) logits of the one reward model, or of the two."""
        scores = [judge(those, between) for judge, those in zip(self.judges, groups, strict=True)]
        return combined(scores[0], scores[1], safety) if len(scores) > 1 else scores[0]

    def _of_baselines(self, questions: Sequence[Question], between: Between) -> Tensor:
        """(Q,) logits of the prompts' baselines. All are scored at the first call, always in the same passes, so that a
        run that was stopped goes on with the very same numbers."""
        if self._baselines is None:
            groups = [[judge.baseline(question) for question in self.questions] for judge in self.judges]
            safety = torch.tensor([question.safety for question in self.questions])
            logits = self._combined(groups, safety, between)
            self._baselines = {
                question.line: logit for question, logit in zip(self.questions, logits, strict=True)
            }
        return torch.stack([self._baselines[question.line] for question in questions])


def same_tokens(one: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase) -> bool:
    """Whether two tokenizers give the same ids to the same conversation: the same vocabulary and the same template."""
    return one.get_vocab() == other.get_vocab() and one.chat_template == other.chat_template
