"""Rejection sampling: the best of K responses to each prompt, by reward, is what the policy is then fine-tuned on.

Touvron et al. 2023 (Llama 2), section 3.2.3: K samples from the newest policy, the best of this round joined by the best of
all earlier ones, which arrive as rows with an `answer` and leave in best.jsonl with the new ones. Left out: choosing the
temperature, which is the caller's to tune each round; responses are learned at temperature 1, as in fine-tuning.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from training.configs import RejectionConfig
from training.core.data import Question, read_questions
from training.core.errors import BadInput
from training.core.events import Events
from training.core.job_directory import Job, publish, write_lines
from training.core.model_loading import save_policy
from training.core.rollout_loop import held_out_reward
from training.core.rollouts import Setup, chunks, prepare, sample, with_answers
from training.core.tokenization import Encoder, Group
from training.core.train_sft import fit
from training.core.training_loop import Loop


class Kept(NamedTuple):
    """A response worth learning from."""

    question: Question
    group: Group
    reward: float | None


def train(job: Job, config: RejectionConfig, events: Events) -> dict[str, Any]:
    """Sample, keep the best, train on it, write the new policy and best.jsonl, and return what to say of it."""
    rows = read_questions(job.data, kept=True)
    questions = [row for row in rows if row.answer is None]
    if not questions:
        raise BadInput("No row of data.jsonl is a prompt without an answer, to be sampled for.")
    setup = prepare(job, config, events, questions, reference=False)
    memory = [remembered(row, setup.encoder) for row in rows if row.answer is not None]
    loop = Loop(job, config, setup.policy, examples=len(setup.training) + len(memory), events=events)
    if setup.held_out and not loop.done:
        events.metrics(0, {"held_out_reward": held_out_reward(setup, loop)})
    best, figures = best_of_k(setup, loop)
    events.metrics(loop.done, figures)

    fit(loop, setup.policy, setup.passes, [*best, *memory], config)
    if setup.held_out:
        figures["held_out_reward"] = held_out_reward(setup, loop)
        events.metrics(loop.done, {"held_out_reward": figures["held_out_reward"]})

    def write(folder: Path) -> None:
        save_policy(setup.policy, setup.tokenizer, folder)
        write_lines(folder / "best.jsonl", [row_of(one, setup.encoder) for one in [*best, *memory]])

    return {
        "output": str(publish(job, write)),
        "prompts": len(best),
        "remembered": len(memory),
        "truncated_prompts": setup.encoder.truncated,
        "metrics": loop.metrics | figures,
    }


def best_of_k(setup: Setup, loop: Loop) -> tuple[list[Kept], dict[str, float | None]]:
    """The best response to every training prompt, in their order, and figures of all.

    What has been found is kept in the checkpoint, so that a run which is stopped does not sample it again, and does not
    sample from a policy that has moved on.
    """
    found: dict[int, Kept] = {}
    totals = torch.zeros(4, dtype=torch.float64)  # rewards, tokens, ended, responses
    places = chunks(setup.training, setup.config)
    for number, chunk in enumerate(places):
        if f"best.{number}.tokens" not in loop.extra:
            loop.extra |= {
                f"best.{number}.{name}": value for name, value in _sampled(setup, chunk, loop).items()
            }
        part = {
            name: loop.extra[f"best.{number}.{name}"] for name in ("tokens", "lengths", "rewards", "totals")
        }
        totals += part["totals"]
        responses = torch.split(part["tokens"], part["lengths"].tolist())
        for place, ids, reward in zip(chunk, responses, part["rewards"].tolist(), strict=True):
            asked = setup.training[place]
            found[place] = Kept(asked.question, Group(asked.ids, [ids.tolist()]), reward)
    rewards, tokens, ended, count = totals.tolist()
    best = [found[place] for place in range(len(setup.training))]
    return best, {
        "reward": rewards / count,
        "reward_best": sum(one.reward or 0.0 for one in best) / len(best),
        "kl_bon": best_of_k_divergence(setup.config.samples),
        "length": tokens / count,
        "ended": ended / count,
    }


def _sampled(setup: Setup, chunk: list[int], loop: Loop) -> dict[str, Tensor]:
    """The best responses to the prompts at the places `chunk`: their tokens, lengths and rewards, and the totals of all."""
    asked = [setup.training[place] for place in chunk]
    sampled = sample(setup, asked, 0, loop)
    answered = with_answers(asked, [one.token_ids for one in sampled], [one.finished for one in sampled])
    rewards = setup.rewards(answered, loop.leave_if_asked)
    chosen = rewards.view(len(asked), -1).argmax(1)
    best = [one.group.responses[place] for one, place in zip(answered, chosen.tolist(), strict=True)]
    tokens, ended = sum(one.tokens for one in answered), sum(one.finished for one in sampled)
    return {
        "tokens": torch.tensor([token for ids in best for token in ids]),
        "lengths": torch.tensor([len(ids) for ids in best]),
        "rewards": rewards.view(len(asked), -1).gather(1, chosen[:, None]).squeeze(1),
        "totals": torch.tensor(
            [float(rewards.double().sum()), tokens, ended, len(rewards)], dtype=torch.float64
        ),
    }


def best_of_k_divergence(samples: int) -> float:
    """log K - (K - 1) / K, nats by which the best of K samples has left the policy (Stiennon et al. 2020)."""
    return math.log(samples) - (samples - 1) / samples


def remembered(row: Question, encoder: Encoder) -> Kept:
    """A response that an earlier round kept, by the ids it was sampled as where they are known and still read the same."""
    group = encoder.group(row.prompt, [row.answer or ""], [row.token_ids], line=row.line)
    return Kept(row, group, row.reward)


def row_of(one: Kept, encoder: Encoder) -> dict[str, Any]:
    """A line of best.jsonl, which is also a row of the next round's data."""
    [ids] = one.group.responses
    text = encoder.text(ids) if one.question.answer is None else one.question.answer
    return {
        "id": one.question.id,
        "prompt": one.question.prompt,
        "answer": text,
        "token_ids": ids,
        "reward": one.reward,
    }
