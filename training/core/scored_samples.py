"""The policy's responses to all training prompts, scored: what the methods that fine-tune on the best of them select from.

They are sampled once, before the first step, and stored in the checkpoint: a resumed run does not sample them again from a
policy that has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from training.core.data import RolloutPrompt
from training.core.diagnostics import count_equal_samples, warn_of_equal_samples
from training.core.rollouts import Setup, chunk_prompts, group_responses, sample_to_learn
from training.core.tokenization import EncodedGroup
from training.core.training_loop import TrainingLoop


class ScoredResponse(NamedTuple):
    """A response to learn from. encoded: its prompt and that one response. reward: None if an earlier round gave none."""

    source: RolloutPrompt
    encoded: EncodedGroup
    reward: float | None


Choose = Callable[[Tensor], Tensor]
"""From (Q, G) rewards of G responses to each of Q prompts to (Q, k), the numbers of those to keep."""


def sample_scored(
    setup: Setup, loop: TrainingLoop, choose: Choose
) -> tuple[list[ScoredResponse], dict[str, float | None]]:
    """The chosen responses, prompt after prompt in the order of the training prompts, and metrics of all samples. Warns if most
    samples are equal."""
    by_prompt: dict[int, list[ScoredResponse]] = {}
    totals = torch.zeros(5, dtype=torch.float64)  # rewards, tokens, ended, responses, prompts with equal ones
    for number, chunk in enumerate(chunk_prompts(setup.training, setup.config)):
        if f"sampled.{number}.tokens" not in loop.extra:
            tensors = _sample_chunk(setup, chunk, loop, choose)
            loop.extra |= {f"sampled.{number}.{name}": value for name, value in tensors.items()}
        part = {
            name: loop.extra[f"sampled.{number}.{name}"]
            for name in ("tokens", "lengths", "rewards", "totals")
        }
        totals += part["totals"]
        responses = torch.split(part["tokens"], part["lengths"].tolist())
        scored = list(zip(responses, part["rewards"].tolist(), strict=True))
        k = len(scored) // len(chunk)
        for row, place in enumerate(chunk):
            prompt = setup.training[place]
            by_prompt[place] = [
                ScoredResponse(prompt.source, EncodedGroup(prompt.ids, [ids.tolist()]), reward)
                for ids, reward in scored[row * k : (row + 1) * k]
            ]
    rewards, tokens, ended, count, equal = totals.tolist()
    warn_of_equal_samples(int(equal), len(setup.training), setup.config.temperature, setup.events)
    in_order = [response for place in range(len(setup.training)) for response in by_prompt[place]]
    return in_order, {"reward": rewards / count, "length": tokens / count, "ended": ended / count}


def _sample_chunk(setup: Setup, chunk: list[int], loop: TrainingLoop, choose: Choose) -> dict[str, Tensor]:
    """The chosen responses to the training prompts at the positions `chunk`, as tokens, lengths and rewards, and the totals
    of all samples."""
    prompts = [setup.training[place] for place in chunk]
    sampled = sample_to_learn(setup, prompts, 0, loop)
    groups = group_responses(
        prompts,
        [response.token_ids for response in sampled],
        [response.finished for response in sampled],
    )
    rewards = setup.rewards(groups, loop.raise_if_stopped)
    table = rewards.view(len(prompts), -1)
    chosen = choose(table)
    responses = [
        group.encoded.responses[k] for group, own in zip(groups, chosen.tolist(), strict=True) for k in own
    ]
    tokens = sum(group.response_tokens for group in groups)
    ended = sum(response.finished for response in sampled)
    equal = count_equal_samples(group.encoded.responses for group in groups)
    return {
        "tokens": torch.tensor([token for ids in responses for token in ids]),
        "lengths": torch.tensor([len(ids) for ids in responses]),
        "rewards": table.gather(1, chosen).flatten(),
        "totals": torch.tensor(
            [float(rewards.double().sum()), tokens, ended, len(rewards), equal], dtype=torch.float64
        ),
    }
