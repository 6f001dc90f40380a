"""The policy's answers to the prompts of held-out judgments, by which a run that learns from judgments chooses its weights.

Such a run reads no prompts apart from its judgments: the prompts are drawn from those, and the answers are as long as theirs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from training.configs import DPOConfig, KTOConfig, RolloutConfig
from training.core.attention import unsupported_attention
from training.core.batching import Passes
from training.core.checkpoint_selection import CheckpointSelection
from training.core.data import RolloutPrompt
from training.core.errors import BadInput
from training.core.events import Events
from training.core.job_directory import Job
from training.core.long_rows import encode_prompts
from training.core.preference_groups import PreferenceGroup
from training.core.rewards import Rewards
from training.core.rollouts import EncodedPrompt, Sampling, load_second_scorer
from training.core.tokenization import Encoder
from training.core.training_loop import TrainingLoop

HELD_OUT_PROMPTS, SAMPLES = 64, 4
"""Prompts that the policy answers at each evaluation, and answers to each."""


def select_by_answers(
    loop: TrainingLoop,
    config: DPOConfig | KTOConfig,
    encoder: Encoder,
    groups: Sequence[PreferenceGroup],
    load_reference: Callable[[], Any],
) -> CheckpointSelection | None:
    """The choice of weights of a run with patience whose policy can answer prompts, else None. load_reference: called where
    there is a KL budget."""
    job, events, policy = loop.job, loop.events, loop.model
    if not config.patience or not can_sample(job, policy, events):
        return None
    reference = load_reference() if config.max_kl else None
    selection = CheckpointSelection(
        held_out_sampling(job, config, events, encoder, policy, reference, groups),
        loop,
        every=config.evaluate_every,
        patience=config.patience,
        max_kl=config.max_kl,
    )
    if loop.steps_done == loop.total_steps:  # the run was stopped after its last step
        selection.finish()
    return selection


def can_sample(job: Job, policy: Any, events: Events) -> bool:
    """Whether the run can let its policy answer prompts; if not, a warning says why. Raises BadInput without a reward model to
    score the answers."""
    if job.reward_model is None and job.second_reward_model is None:
        raise BadInput(
            "Early stopping needs a reward model that scores the policy's answers.", setting="patience"
        )
    reason = unsupported_attention(policy)
    if reason:
        events.warning(
            f"The weights are not compared by the policy's answers ({reason}): the last ones are kept."
        )
    return not reason


def held_out_sampling(
    job: Job,
    config: DPOConfig | KTOConfig,
    events: Events,
    encoder: Encoder,
    policy: Any,
    reference: Any,
    groups: Sequence[PreferenceGroup],
) -> Sampling:
    """What it takes to let the policy answer the prompts of held-out rankings: HELD_OUT_PROMPTS of them at random, with
    answers as long as nearly all of the rankings'. Raises BadInput without any."""
    by_prompt = {tuple(group.encoded.prompt): group.rankings[0] for group in groups if group.held_out}
    first_rankings = list(by_prompt.values())
    if not first_rankings:
        raise BadInput(
            "Early stopping needs held-out judgments, and there are none; set patience to 0.",
            setting="patience",
        )
    lengths = sorted(len(response) for group in groups for response in group.encoded.responses)
    usual = lengths[int(0.95 * (len(lengths) - 1))]
    sampling = RolloutConfig(
        seed=config.seed,
        precision=config.precision,
        max_length=config.max_length,
        batch_tokens=config.batch_tokens,
        layout=config.layout,
        samples=SAMPLES,
        max_new_tokens=min(usual, encoder.max_length // 2),
    )
    rng = random.Random(config.seed)  # noqa: S311 - a draw to be repeated, not a secret
    chosen = rng.sample(first_rankings, min(HELD_OUT_PROMPTS, len(first_rankings)))
    prompts = [
        RolloutPrompt(
            line=ranking.line,
            id=number,
            prompt=ranking.prompt,
            held_out=True,
            safety=False,
            baseline=None,
            answer=None,
            token_ids=None,
            reward=None,
        )
        for number, ranking in enumerate(chosen)
    ]
    max_tokens = encoder.max_length - sampling.max_new_tokens
    return Sampling(
        job=job,
        config=sampling,
        events=events,
        encoder=encoder,
        policy=policy,
        reference=reference,
        passes=Passes(policy.base_model, config.layout, config.batch_tokens, encoder.max_length),
        rewards=Rewards(job, sampling, encoder, []) if job.reward_model else None,
        second=load_second_scorer(job, sampling, encoder),
        held_out=[EncodedPrompt(*pair) for pair in encode_prompts(prompts, encoder, max_tokens, events)],
    )
