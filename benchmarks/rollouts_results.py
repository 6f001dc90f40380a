"""The section of RESULTS.md about rollouts in process and by vLLM."""

from __future__ import annotations

from typing import Any

from benchmarks.report_parts import origin, table

WORDS = """## Rollouts

Sampled in process, and by vLLM on the same processor with the run's LoRA adapter, one thread a side. Speed: four responses of at
most 64 tokens to each of some prompts, once. Learning: from the first policy and reward model of "Learning", with LoRA of rank 8;
wins over the first policy on held-out prompts, by the hidden preferences, with 95% intervals."""
SAMPLERS = ("in process", "vllm-lora")


def rollouts_section(values: dict[str, Any]) -> str:
    speed = [
        [name, *(f"{of[sampler]['tokens']:,} in {of[sampler]['seconds']:.1f}" for sampler in SAMPLERS)]
        for name, of in values["speed"].items()
    ]
    learning = [
        [
            f"{run['method'].upper()}, seed {run['seed']}",
            run["sampler"],
            f"{run['wins']:.1%} [{run['low']:.1%}, {run['high']:.1%}]",
            f"{run['kl']:.1f}",
            f"{run['seconds']:.0f}",
        ]
        for run in values["learning"]
    ]
    parts = [WORDS + "\n", origin(values)]
    if speed:
        parts.append(table(["tokens, seconds", *SAMPLERS], speed))
    if learning:
        parts.append(table(["", "sampler", "wins", "KL", "seconds"], learning))
    return "\n".join(parts)
