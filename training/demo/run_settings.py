"""The demo's settings: sizes, steps and learning rates of every stage, as the config fields of its runs.

They were measured on two processor cores; the learning rates suit a model of a few million parameters and are far above
those of papers on billions.
"""

from __future__ import annotations

from training.configs import Value
from training.rounds.recipes import Judge, Recipe, SafetyReward

PRETRAINING_TEXTS = 3_500
SFT_CONVERSATIONS = 6_000
PROMPTS_PER_ROUND = 600
RESPONSES_PER_PROMPT = 4
HELD_OUT_PROMPTS = 120
"""Held-out prompts in each round's queue, for the reward model's evaluation."""
EVALUATION_PROMPTS = 320
"""Held-out prompts on which policies are compared, those of the queue included."""


# One thread each: on a busy machine a second one slows such small models. Reward model and policy train at the same time.
_CPU: dict[str, Value] = {
    "precision": "auto",
    "threads": 1,
    "max_length": 256,
    "checkpoint_every": 0,
}

PRETRAIN: dict[str, Value] = _CPU | {
    "vocab_size": 1024,
    "hidden_size": 192,
    "intermediate_size": 528,
    "layers": 4,
    "heads": 4,
    "kv_heads": 4,
    "block_length": 128,
    "batch_size": 6,
    "batch_tokens": 1024,
    "learning_rate": 3e-3,
    "warmup_min_steps": 30,
    "weight_decay": 0.0,
}
SFT: dict[str, Value] = _CPU | {
    "batch_size": 12,
    "batch_tokens": 512,
    "learning_rate": 2.5e-3,
    "schedule": "linear",
    "final_lr_ratio": 0.03,
    "warmup_min_steps": 20,
    "weight_decay": 0.0,
    "epochs": 1,
}
GENERATE: dict[str, Value] = {
    "max_length": 256,
    "samples": RESPONSES_PER_PROMPT,
    "max_new_tokens": 96,
    "temperature": 1.0,
}
REWARD: dict[str, Value] = _CPU | {
    "batch_size": 4,
    "batch_tokens": 1024,
    "learning_rate": 5e-4,
    "warmup_min_steps": 10,
    "epochs": 2,
}
DPO: dict[str, Value] = _CPU | {
    "batch_size": 4,
    "batch_tokens": 1024,
    "learning_rate": 2.5e-4,
    "warmup_min_steps": 10,
    "beta": 0.1,
}
KTO: dict[str, Value] = DPO
# --- the loop -------------------------------------------------------------------------------------------------

LEARN_PROMPTS = 500
"""Prompts that the policy is trained on in a round, in recipes that sample responses."""
SAFETY_SHARE = 0.2
"""The share of a round's judgments that go to the safety project, in the recipe with a safety reward model."""

_ROLLOUTS: dict[str, Value] = {
    "threads": 1,
    "max_length": 256,
    "checkpoint_every": 10,
    "samples": 4,
    "max_new_tokens": 96,
    "batch_size": 20,
    "learning_rate": 3e-4,
    "weight_decay": 0.0,
}
REJECTION: dict[str, Value] = _ROLLOUTS | {"learning_rate": 2.5e-4, "batch_size": 8}
REST: dict[str, Value] = REJECTION | {"samples": 8}
HINDSIGHT: dict[str, Value] = _ROLLOUTS | {"samples": 6, "updates": 5, "reuse": 4}
PPO: dict[str, Value] = _ROLLOUTS | {"beta": 0.1}
GRPO: dict[str, Value] = _ROLLOUTS | {"judge_mode": "comment"}
"""As `JUDGE`: its judge is a small model."""
REINFORCE: dict[str, Value] = _ROLLOUTS
ONLINE: dict[str, Value] = _ROLLOUTS


JUDGE: dict[str, Value] = {"threads": 1, "max_length": 256, "mode": "comment"}
REVISE: dict[str, Value] = {
    "threads": 1,
    "max_length": 256,
    "mode": "select",
    "samples": 8,
    "max_new_tokens": 96,
}
PROMPTS_WITH_AI = 80
"""Training prompts that annotators judge in a round where an AI judge compares many more."""


CHAT_JUDGMENTS = 400
"""Choices in chats that a round waits for, and rankings of the round beside it."""
CHAT_NEW_TOKENS = 96


def chat_options(options: dict[str, Value], source: str) -> dict[str, Value]:
    """The settings of one of the two rounds that are compared. source: `chats`, which need no items, or `rankings`."""
    own = {"budget": CHAT_JUDGMENTS + 60 if source == "rankings" else 40}
    return options | {"judgments": CHAT_JUDGMENTS} | own


def people_prompts(recipe: Recipe) -> int:
    """Training prompts that annotators judge in a round. Where the judge compares answers to harmful prompts only, annotators do
    not get these and judge as many others as without AI."""
    spares_people = recipe.stages_of(Judge) and not recipe.ai_judges_safety
    return PROMPTS_WITH_AI if spares_people else PROMPTS_PER_ROUND


def configs() -> dict[str, dict[str, Value]]:
    """The settings of a round's runs, by kind; `*` is for every kind."""
    return {
        "*": {"threads": 1, "max_length": 256},
        "generate": GENERATE,
        "reward": REWARD,
        "dpo": DPO,
        "kto": KTO,
        "rejection": REJECTION,
        "rest": REST,
        "hindsight": HINDSIGHT,
        "ppo": PPO,
        "grpo": GRPO,
        "reinforce": REINFORCE,
        "online": ONLINE,
        "judge": JUDGE,
        "revise": REVISE,
    }


def options(recipe: Recipe, *, unjudged: int) -> dict[str, Value]:
    """A round's settings: its budget, and thresholds of gates for a model of two million weights. unjudged: items of the round
    that the simulated annotators leave."""
    items = people_prompts(recipe) + HELD_OUT_PROMPTS
    # two people measure an AI judge; where it judges harm alone, no person does
    measures_judge = bool(recipe.stages_of(Judge)) and not recipe.ai_judges_safety
    budget = 2 * items if measures_judge else items
    return {
        "judgments": budget - unjudged,
        "budget": budget,
        "held_out_share": HELD_OUT_PROMPTS / items,
        "comparisons": 0.15,
        "learn_from": "new",
        "reward_start": "base",
        "strategy": "uniform",  # here as good as uncertainty sampling, with half of the responses and without scoring them
        "evaluation_prompts": EVALUATION_PROMPTS,
        "learn_prompts": LEARN_PROMPTS,
        "promote_alone": True,
        "min_accuracy": 0.5,  # from the second round on responses are so similar that noise leaves little more
        "max_kl": 20.0,
        "max_length_drift": 2.0,
        "safety_tag": "harmful",
        **({"safety_share": SAFETY_SHARE} if recipe.stages_of(SafetyReward) else {}),
        **({"repeat_share": 1.0} if measures_judge else {}),
    }
