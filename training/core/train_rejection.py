"""Rejection sampling: the policy is fine-tuned on the best of K responses to each prompt, by reward.

Touvron et al. 2023 (Llama 2), section 3.2.3: K samples from the newest policy, the best of this round joined by the best of
all earlier ones, which arrive as rows with an `answer` and are written to best.jsonl with the new ones. Left out: choosing
the temperature, which the caller may tune each round; responses are learned at temperature 1, as in fine-tuning.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from training.configs import RejectionConfig
from training.core.checkpoint_selection import evaluate_held_out
from training.core.data import RolloutPrompt, read_rollout_prompts
from training.core.errors import BadInput
from training.core.events import Events
from training.core.job_directory import Job, write_lines
from training.core.model_loading import save_policy
from training.core.rollouts import Setup, load_setup
from training.core.scored_samples import ScoredResponse, sample_scored
from training.core.tokenization import Encoder
from training.core.train_sft import fit
from training.core.training_loop import TrainingLoop


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
        save_policy(setup.policy, setup.tokenizer, folder, instruction=setup.encoder.instruction)
        rows = [to_row(response, setup.encoder) for response in [*best, *earlier]]
        write_lines(folder / "best.jsonl", rows)

    loop.write_output(write)
    return {
        "prompts": len(best),
        "remembered": len(earlier),
        "truncated_prompts": setup.encoder.truncated,
        "metrics": loop.metrics | metrics,
    }


def best_of_k(setup: Setup, loop: TrainingLoop) -> tuple[list[ScoredResponse], dict[str, float | None]]:
    """The best response to every training prompt, in their order, and metrics of all samples."""
    best, metrics = sample_scored(setup, loop, lambda rewards: rewards.argmax(1, keepdim=True))
    return best, metrics | {
        "reward_best": sum(response.reward or 0.0 for response in best) / len(best),
        "kl_bon": best_of_k_divergence(setup.config.samples),
    }


def best_of_k_divergence(samples: int) -> float:
    """log K - (K - 1) / K, the KL in nats of the best of K samples from the policy (Stiennon et al. 2020)."""
    return math.log(samples) - (samples - 1) / samples


def from_earlier_round(row: RolloutPrompt, encoder: Encoder) -> ScoredResponse:
    """The best response of an earlier round, by its sampled ids if the row has them and they still decode to its text."""
    encoded = encoder.encode_group(row.prompt, [row.answer or ""], [row.token_ids], line=row.line)
    return ScoredResponse(row, encoded, row.reward)


def to_row(response: ScoredResponse, encoder: Encoder) -> dict[str, Any]:
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
