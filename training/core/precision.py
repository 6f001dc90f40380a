"""The number format of a run whose precision is `auto`: bfloat16 where this machine is faster in it, by a measurement. On an
accelerator that is the default.

Having the instructions is not enough: some processors compute bfloat16 more slowly than float32. What is timed are products of
the shape of the model's feed-forward layers, with their gradients, as training makes them.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig

from training.core import checkpoints
from training.core.distributed import sum_over_processes
from training.core.events import Events
from training.core.job_directory import Job, write_json
from training.core.model_loading import autocast, device, resolve_source
from training.core.process_rank import is_main_process

OPERATIONS = {"cpu": 1e8, "cuda": 2e11}
"""Multiplications and additions of a timed product with its gradients: milliseconds in float32."""

MAX_WIDTH = 2048
"""Wider layers are timed with this width: where bfloat16 is emulated a product of theirs can take half a minute."""

REPEATS, MAX_SECONDS = 5, 0.3
"""Products that are timed in each precision, fewer if they take longer than this together."""

MIN_SPEEDUP = 1.1
"""How many times as fast bfloat16 must be to make up for its rounding."""


def resolve_precision(job: Job, events: Events) -> Job:
    """The job, with `default` or `auto` replaced by float32 or bfloat16, the same in all processes. Where the choice says so,
    products of float32 are then computed in TF32.

    The choice is stored in the job directory and in the run's checkpoints, so that a resumed run goes on as it began, also on
    another machine. If it was measured, it is reported with both times.
    """
    choice: dict[str, Any] = {}
    if is_main_process():
        choice = stored_choice(job) or new_choice(job)
        unfinished = job.precision_choice.with_suffix(".tmp")
        write_json(unfinished, choice)
        unfinished.rename(job.precision_choice)
        if job.config.precision == "auto" or "float32_ms" in choice:
            events.precision(choice)
    is_bfloat16, is_tf32 = sum_over_processes(
        [float(choice.get("precision") == "bfloat16"), float(choice.get("tf32", False))]
    )
    torch.set_float32_matmul_precision("high" if is_tf32 else "highest")
    return replace(job, config=replace(job.config, precision="bfloat16" if is_bfloat16 else "float32"))


def stored_choice(job: Job) -> dict[str, Any] | None:
    """The choice that this run began with: that of the job directory or, on a machine that has only its checkpoint, of that;
    None for a run that begins."""
    if job.precision_choice.is_file():
        choice: dict[str, Any] = json.loads(job.precision_choice.read_text(encoding="utf-8"))
        return choice
    return checkpoints.stored_value(job.checkpoint, checkpoints.PRECISION)


def new_choice(job: Job) -> dict[str, Any]:
    """`precision`, and whether products of float32 are computed in `tf32`; with the times, where both were measured."""
    is_accelerated = device().type != "cpu"
    choice: dict[str, Any] = {"precision": "float32", "tf32": is_accelerated}
    if job.config.precision == "default" and not is_accelerated:
        return choice
    torch.set_float32_matmul_precision("high" if is_accelerated else "highest")
    shape = layer_shape(job)
    return choice if shape is None else choice | choose_precision(*shape, job.config.batch_tokens)


def layer_shape(job: Job) -> tuple[int, int] | None:
    """The widths of the model's hidden states and feed-forward layers; None without a model that has them on this machine."""
    if job.model is None:
        config: Any = job.config
    else:
        try:
            source = resolve_source(job.model, job.folder)
            config = AutoConfig.from_pretrained(source, trust_remote_code=False).get_text_config()
        except (OSError, ValueError, KeyError):
            return None  # loading the model will say what is wrong with it
    width = getattr(config, "hidden_size", None)
    return None if width is None else (width, getattr(config, "intermediate_size", None) or 4 * width)


def choose_precision(width: int, inner: int, max_tokens: int) -> dict[str, Any]:
    """The choice, and the milliseconds that a product took in each precision."""
    on = device()
    width, inner = min(width, MAX_WIDTH), min(inner, MAX_WIDTH)
    tokens = min(max_tokens, max(16, int(OPERATIONS[on.type] / (6 * width * inner))))
    hidden = torch.ones(tokens, width, device=on, requires_grad=True)
    weight = torch.ones(width, inner, device=on, requires_grad=True)
    times = {name: time_product(hidden, weight, name) for name in ("float32", "bfloat16")}
    is_faster = times["float32"] > MIN_SPEEDUP * times["bfloat16"]
    return {
        "precision": "bfloat16" if is_faster else "float32",
        **{f"{name}_ms": round(1000 * seconds, 3) for name, seconds in times.items()},
    }


def time_product(hidden: Tensor, weight: Tensor, precision: str) -> float:
    """Seconds of a product with its gradients, the fewest of several: the first one also compiles its kernels."""
    seconds: list[float] = []
    while len(seconds) < REPEATS and sum(seconds) < MAX_SECONDS:
        _wait_for_accelerator()
        start = time.perf_counter()
        with autocast(precision):
            product = hidden @ weight
        product.float().sum().backward()  # type: ignore[no-untyped-call]
        _wait_for_accelerator()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _wait_for_accelerator() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
