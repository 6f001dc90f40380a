"""Write the job directories beside this file: one of each kind, so small that each runs in seconds.

`python -m benchmarks.jobs.write` after the demo's language or the settings have changed. The texts are the demo's and
the rankings its simulated annotators'; models come from the job before, by relative path, so they are run in this order:

    for kind in $(python -m benchmarks.jobs.write --order); do python -m training.core benchmarks/jobs/$kind; done
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from training.demo import language
from training.demo.annotators import Annotator

HERE = Path(__file__).parent
TRAINING: dict[str, Any] = {
    "threads": 1,
    "max_length": 256,
    "log_every": 1,
    "max_steps": 4,
    "checkpoint_every": 2,
}
ROLLOUTS = TRAINING | {"batch_size": 4, "samples": 2, "max_new_tokens": 12}
POLICY = {"model": "../sft/output"}
SCORED = POLICY | {"reward_model": "../reward/output"}

CONFIGS: dict[str, dict[str, Any]] = {
    "pretrain": TRAINING
    | {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "layers": 2, "heads": 2, "kv_heads": 2}
    | {"block_length": 64, "batch_size": 4, "max_steps": 20},
    "sft": TRAINING | {"batch_size": 4, "max_steps": 8},
    "reward": TRAINING | {"batch_size": 4},
    "dpo": TRAINING | {"batch_size": 4},
    "kto": TRAINING | {"batch_size": 4},
    "rejection": ROLLOUTS,
    "rest": ROLLOUTS,
    "hindsight": ROLLOUTS | {"samples": 3},
    "ppo": ROLLOUTS | {"updates": 1},
    "grpo": ROLLOUTS,
    "reinforce": ROLLOUTS,
    "online": ROLLOUTS,
    "judge": {"threads": 1, "max_length": 256, "mode": "comment"},
    "revise": {
        "threads": 1,
        "max_length": 256,
        "mode": "select",
        "samples": 4,
        "max_new_tokens": 24,
        "min_gain": 0.0,
    },
    "generate": {"threads": 1, "max_length": 256, "samples": 2, "max_new_tokens": 12},
    "evaluate": {"threads": 1, "max_length": 256, "split": "all"},
}
"""In the order in which they can be run."""

PRINCIPLES = [
    {
        "key": "kind",
        "compare": "Which answer is kinder, and answers all that was asked?",
        "comment": {"start": "That was", "good": "warm", "bad": "rude", "also": "complete"},
    }
]

MODELS: dict[str, dict[str, Any]] = {
    "pretrain": {},
    "sft": {"model": "../pretrain/output"},
    "reward": POLICY,
    "dpo": POLICY,
    "kto": POLICY,
    "judge": {"model": "../pretrain/output", "principles": PRINCIPLES},
    "revise": POLICY | {"judge": "../pretrain/output", "principles": PRINCIPLES},
    "generate": POLICY,
    "evaluate": {"reward_model": "../reward/output"},
    "rejection": SCORED,
    "rest": SCORED,
    "hindsight": SCORED,
    "ppo": SCORED,
    "grpo": SCORED,
    "reinforce": SCORED,
    "online": SCORED,
}


def rows(kind: str) -> list[dict[str, Any]]:
    """The lines of a kind's data.jsonl."""
    if kind == "pretrain":
        return [{"text": text} for text in language.pretraining_texts(0, 24)]
    if kind == "sft":
        return [{"messages": talk} for talk in language.sft_conversations(0, 16)]
    exchanges = language.take(0, 16, held_out=True)
    if kind in ("reward", "dpo", "kto", "evaluate"):
        return rankings(exchanges)
    if kind == "judge":
        return [{name: row[name] for name in ("id", "prompt", "responses")} for row in rankings(exchanges)]
    return [
        {"id": number, "prompt": one.messages, "split": "held_out" if number % 4 == 3 else "train"}
        for number, one in enumerate(exchanges[:8])
    ]


def rankings(exchanges: list[language.Exchange]) -> list[dict[str, Any]]:
    """Rankings of four and choices of two, by a simulated annotator, some of them held out."""
    rng = random.Random(0)
    person = Annotator(seed=0)
    found = []
    for number, exchange in enumerate(exchanges):
        responses = [
            exchange.any_answer(rng, rng.choice(exchanges)) for _ in range(2 if number % 3 == 0 else 4)
        ]
        degree = None
        if len(responses) == 2:
            better, degree = person.choose(exchange.messages, *responses)
            ranks = [1, 2] if better == 0 else [2, 1]
        else:
            ranks = person.rank(exchange.messages, responses)
        found.append(
            {
                "id": number,
                "prompt": exchange.messages,
                "responses": responses,
                "ranks": ranks,
                "degree": degree,
                "split": "held_out" if number % 4 == 3 else "train",
            }
        )
    return found


def main() -> None:
    for kind, config in CONFIGS.items():
        folder = HERE / kind
        folder.mkdir(exist_ok=True)
        job = {"kind": kind, "config": config} | MODELS[kind]
        (folder / "job.json").write_text(json.dumps(job, indent=2) + "\n")
        with (folder / "data.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(kind))


if __name__ == "__main__":
    if sys.argv[1:] == ["--order"]:
        print("\n".join(CONFIGS))
    else:
        main()
