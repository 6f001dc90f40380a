"""A judge's score as the reward of sampled responses, in place of a reward model (direct RLAIF, Lee et al. 2023, section 3.2.2).

The judge reads text: responses are decoded with the policy's tokenizer and encoded with its own. Left out: choices, which
compare two responses and give none a score of its own; and a server as the judge.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.configs import RolloutConfig
from training.configs.judging import ALSO_WEIGHT, JUDGE_NEEDS
from training.core.data import RolloutPrompt
from training.core.events import Events
from training.core.job_directory import Job
from training.core.judge_local import LocalJudge
from training.core.judge_prompts import SCORES, Frame
from training.core.messages import Message
from training.core.model_loading import resolve_source
from training.core.principles import Constitution
from training.core.rollout_groups import CheckStop, RolloutGroup
from training.core.tokenization import Encoder
from training.core.word_logprobs import Texts

NO_OPINION = 0.0
"""The score of a response that the judge has no opinion on: the middle of its scale."""


class JudgeScorer:
    """A frozen judge as a scorer of responses. shares_tokens: it never reads the policy's token ids."""

    shares_tokens = False

    def __init__(self, job: Job, config: RolloutConfig, policy: Encoder) -> None:
        self.judge = LocalJudge(resolve_source(job.judge or "", job.folder, "judge"), "judge", config)
        self.constitution = Constitution(job.principles, JUDGE_NEEDS[config.judge_mode], config.seed)
        self.mode, self.max_new_tokens, self.policy = config.judge_mode, config.max_new_tokens, policy

    def encode(self, group: RolloutGroup) -> Texts:
        """What the judge reads of a prompt's responses."""
        texts = [self.policy.decode(response) for response in group.encoded.responses]
        return self._encode(group.source, texts)

    def encode_baseline(self, prompt: RolloutPrompt) -> Texts:
        return self._encode(prompt, [prompt.baseline or ""])

    def _encode(self, prompt: RolloutPrompt, responses: Sequence[str], room: int = 0) -> Texts:
        """The responses with the prompt, which may lose its oldest turns, alike for all of them. Raises TooLong."""
        principle = self.constitution.draw(prompt.tags, prompt.line, prompt.id)

        def encode(messages: list[Message]) -> Texts:
            if self.mode == "comment":
                assert principle.comment is not None
                return self.judge.encode_comments(messages, responses, principle.comment, prompt.line, room)
            # a frame for each: its mark must not depend on the other responses, or a score would
            frames = [Frame(messages, [response], self.judge.special) for response in responses]
            requests = [[{"role": "user", "content": frame.score(0, principle.compare)}] for frame in frames]
            return self.judge.encode_requests(requests, SCORES, prompt.line, room)

        return self.judge.longest_fit(prompt.prompt, encode)

    def warn_of_truncation(self, prompts: Sequence[RolloutPrompt], events: Events) -> None:
        """Report how many prompts the judge cannot read whole beside a response of `max_new_tokens`. Raises BadInput for one that
        no principle applies to, or whose last turn alone is too long."""
        for prompt in prompts:
            self._encode(prompt, [""], room=self.max_new_tokens)
        self.judge.warn_of_long_texts(events)

    def __call__(self, groups: Sequence[Texts], check_stop: CheckStop) -> Tensor:
        """(K,) scores of all responses in order, in float32 on the CPU."""
        if self.mode == "comment":
            scores = self.judge.comments(groups, ALSO_WEIGHT, check_stop)
        else:
            scores = self.judge.ratings(groups, check_stop)
        return torch.nan_to_num(torch.cat(scores).float(), nan=NO_OPINION)
