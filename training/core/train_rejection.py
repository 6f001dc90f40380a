"""Rejection sampling: the policy is fine-tuned on the best of K responses to each prompt, by reward.

Touvron et al. 2023 (Llama 2), section 3.2.3: K samples from the newest policy, the best of this round joined by the best of
all earlier ones, which arrive as rows with an `answer` and are written to best.jsonl with the new ones. Left out: choosing
the temperature, which the caller may tune each round; responses are learned at temperature 1, as in fine-tuning.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from training.configs import RejectionConfig
from training.core.checkpoint_selection import evaluate_held_out
from training.core.data import RolloutPrompt, read_rollout_prompts
from training.core.errors import BadInput
from training.core.events import Events
from training.core.job_directory import Job, write_lines, write_output
from training.core.model_loading import save_policy
from training.core.rollouts import Setup, chunk_prompts, group_responses, load_setup, sample_policy
from training.core.tokenization import EncodedGroup, Encoder
from training.core.train_sft import fit
from training.core.training_loop import TrainingLoop


class BestResponse(NamedTuple):
    """A response to learn from. encoded: its prompt and that one response. reward: None if an earlier round gave none."""

    source: RolloutPrompt
    encoded: EncodedGroup
    reward: float | None


def train(job: Job, config: RejectionConfig, events: Events) -> dict[str, Any]:
    """Sample, select the best, train on them, write the new policy and best.jsonl, and return the job's result."""
    rows = read_rollout_prompts(job.data, with_answers=True)
    prompts = [row for row in rows if row.answer is None]
    if not prompts:
        raise BadInput("No row of data.jsonl is a prompt without an answer, to be sampled for.")
    setup = load_setup(job, config, events, prompts, reference=False)
    earlier = [from_earlier_round(row, setup.encoder) for row in rows if row.answer is not None]
    loop = TrainingLoop(job, config, setup.policy, examples=len(setup.training) + len(earlier), events=events)
    if setup.held_out and not loop.steps_done:
        events.metrics(0, evaluate_held_out(setup, loop).metrics())
    best, metrics = best_of_k(setup, loop)
    events.metrics(loop.steps_done, metrics)

    fit(loop, setup.policy, setup.passes, [*best, *earlier], config)
    if setup.held_out:
        figures = evaluate_held_out(setup, loop).metrics()
        metrics |= figures
        events.metrics(loop.steps_done, figures)

    def write(folder: Path) -> None:
        save_policy(setup.policy, setup.tokenizer, folder)
        rows = [to_row(response, setup.encoder) for response in [*best, *earlier]]
        write_lines(folder / "best.jsonl", rows)

    write_output(job, write)
    return {
        "prompts": len(best),
        "remembered": len(earlier),
        "truncated_prompts": setup.encoder.truncated,
        "metrics": loop.metrics | metrics,
    }


def best_of_k(setup: Setup, loop: TrainingLoop) -> tuple[list[BestResponse], dict[str, float | None]]:
    """The best response to every training prompt, in their order, and metrics of all samples.

    Results are stored in the checkpoint, so that a resumed run does not sample them again from a policy that has changed.
    """
    best: dict[int, BestResponse] = {}
    totals = torch.zeros(4, dtype=torch.float64)  # rewards, tokens, ended, responses
    for number, chunk in enumerate(chunk_prompts(setup.training, setup.config)):
        if f"best.{number}.tokens" not in loop.extra:
            loop.extra |= {
                f"best.{number}.{name}": value for name, value in _sample_best(setup, chunk, loop).items()
            }
        part = {
            name: loop.extra[f"best.{number}.{name}"] for name in ("tokens", "lengths", "rewards", "totals")
        }
        totals += part["totals"]
        responses = torch.split(part["tokens"], part["lengths"].tolist())
        for place, ids, reward in zip(chunk, responses, part["rewards"].tolist(), strict=True):
            prompt = setup.training[place]
            best[place] = BestResponse(prompt.source, EncodedGroup(prompt.ids, [ids.tolist()]), reward)
    rewards, tokens, ended, count = totals.tolist()
    in_order = [best[place] for place in range(len(setup.training))]
    return in_order, {
        "reward": rewards / count,
        "reward_best": sum(response.reward or 0.0 for response in in_order) / len(in_order),
        "kl_bon": best_of_k_divergence(setup.config.samples),
        "length": tokens / count,
        "ended": ended / count,
    }


def _sample_best(setup: Setup, chunk: list[int], loop: TrainingLoop) -> dict[str, Tensor]:
    """The best responses to the training prompts at the positions `chunk`, as tokens, lengths and rewards, and the totals
    of all samples."""
    prompts = [setup.training[place] for place in chunk]
    sampled = sample_policy(setup, prompts, 0, loop)
    groups = group_responses(
        prompts,
        [response.token_ids for response in sampled],
        [response.finished for response in sampled],
    )
    rewards = setup.rewards(groups, loop.raise_if_stopped)
    chosen = rewards.view(len(prompts), -1).argmax(1)
    best = [group.encoded.responses[k] for group, k in zip(groups, chosen.tolist(), strict=True)]
    tokens = sum(group.response_tokens for group in groups)
    ended = sum(response.finished for response in sampled)
    return {
        "tokens": torch.tensor([token for ids in best for token in ids]),
        "lengths": torch.tensor([len(ids) for ids in best]),
        "rewards": rewards.view(len(prompts), -1).gather(1, chosen[:, None]).squeeze(1),
        "totals": torch.tensor(
            [float(rewards.double().sum()), tokens, ended, len(rewards)], dtype=torch.float64
        ),
    }


def best_of_k_divergence(samples: int) -> float:
    """log K - (K - 1) / K, the KL in nats of the best of K samples from the policy (Stiennon et al. 2020)."""
    return math.log(samples) - (samples - 1) / samples


def from_earlier_round(row: RolloutPrompt, encoder: Encoder) -> BestResponse:
    """The best response of an earlier round, by its sampled ids if the row has them and they still decode to its text."""
    encoded = encoder.encode_group(row.prompt, [row.answer or ""], [row.token_ids], line=row.line)
    return BestResponse(row, encoded, row.reward)


def to_row(response: BestResponse, encoder: Encoder) -> dict[str, Any]:
    """A line of best.jsonl, which is also a row of the next round's data."""
    [ids] = response.encoded.responses
    text = encoder.decode(ids) if response.source.answer is None else response.source.answer
    return {
        "id": response.source.id,
        "prompt": response.source.prompt,
        "answer": text,
        "token_ids": ids,
        "reward": response.reward,
    }
