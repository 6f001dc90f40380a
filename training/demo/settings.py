"""What the demo runs with: sizes, steps and rates of every stage, as the config fields of its run.

They were measured on two processor cores; a stage's learning rate is what a model of a few million parameters wants,
far above what the papers used on billions.
"""

from __future__ import annotations

from training.configs import Value

PRETRAINING_TEXTS = 3_500
SFT_CONVERSATIONS = 8_000
PROMPTS_PER_ROUND = 300
RESPONSES_PER_PROMPT = 4
HELD_OUT_PROMPTS = 60
"""Held-out prompts ranked each round, for the reward model's report."""
EVALUATION_PROMPTS = 400
"""Held-out prompts on which policies are compared, other than those."""

PRETRAIN: dict[str, Value] = {
    "precision": "bfloat16",
    "vocab_size": 1024,
    "hidden_size": 192,
    "intermediate_size": 528,
    "layers": 4,
    "heads": 4,
    "kv_heads": 4,
    "max_length": 256,
    "block_length": 128,
    "batch_size": 6,
    "batch_tokens": 1024,
    "learning_rate": 3e-3,
    "warmup_min_steps": 30,
    "weight_decay": 0.0,
    "checkpoint_every": 0,
}
SFT: dict[str, Value] = {
    "precision": "bfloat16",
    "max_length": 256,
    "batch_size": 12,
    "batch_tokens": 512,
    "learning_rate": 2.5e-3,
    "schedule": "linear",
    "final_lr_ratio": 0.03,
    "warmup_min_steps": 20,
    "weight_decay": 0.0,
    "epochs": 1,
    "checkpoint_every": 0,
}
GENERATE: dict[str, Value] = {
    "max_length": 256,
    "samples": RESPONSES_PER_PROMPT,
    "max_new_tokens": 96,
    "temperature": 1.0,
}
REWARD: dict[str, Value] = {
    "precision": "bfloat16",
    "max_length": 256,
    "batch_size": 8,
    "batch_tokens": 1024,
    "learning_rate": 6e-4,
    "warmup_min_steps": 10,
    "epochs": 2,
    "checkpoint_every": 0,
}
DPO: dict[str, Value] = {
    "precision": "bfloat16",
    "max_length": 256,
    "batch_size": 8,
    "batch_tokens": 1024,
    "learning_rate": 2e-4,
    "beta": 0.1,
    "epochs": 2,
    "checkpoint_every": 0,
}
