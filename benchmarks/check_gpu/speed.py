"""How fast and how large training is on this machine: model FLOPs utilisation, tokens a second, memory, and the ratio to TRL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.check_gpu.arithmetic import forward_flops, peak_flops, training_bytes, work_of
from benchmarks.check_gpu.outcomes import Figure, Skipped, around, measured
from benchmarks.check_gpu.setup import Recorder, Setup, run_steps
from benchmarks.environments import NEWEST, peer
from benchmarks.gate import Server, Worker
from benchmarks.workloads import PLACE, ROOT, Case
from training.core.memory import MEBIBYTE, peak_mb

WARM_UP = 2
"""Steps before those that are timed: the first ones compile kernels and create the optimizer's moments."""

MEMORY = (0.7, 1.3)
"""Peak memory over that of the arithmetic, which knows neither the allocator's rounding nor short-lived buffers."""

TURNS = 5
"""Steps of each side of a comparison, in turns, after one that is not timed."""


def check_reward(setup: Setup) -> list[Figure]:
    """Steps of a reward model: rate, and peak memory against the arithmetic."""
    size = setup.size
    recorder = run_steps(setup.job("reward", size.reward), WARM_UP + size.steps)
    work = work_of(setup.groups(size.reward), policy=False)
    figures = rates(setup, recorder, work.tokens, 3 * forward_flops(size.shape, work))
    peak, expected = peak_mb(), training_bytes(size.shape, size.batch_tokens) / MEBIBYTE
    figures.append(measured("peak_mb", "peak memory", peak, f"{peak:,.0f} MiB"))
    if setup.device == "cpu":  # that of the process, with all libraries
        return figures
    return [
        *figures,
        around("peak_over_arithmetic", "the same over the arithmetic", peak / expected, *MEMORY),
    ]


def check_grpo(setup: Setup) -> list[Figure]:
    """Steps of GRPO: sampling, the reward model's scores, the reference's log-probs and one update."""
    size = setup.size
    job = setup.job(
        "grpo", size.grpo, samples=size.grpo.k, max_new_tokens=size.grpo.response, updates=1, beta=0.04
    )
    recorder = run_steps(job, WARM_UP + size.steps)
    groups = [
        group._replace(responses=[[0] * size.grpo.response] * size.grpo.k)
        for group in setup.groups(size.grpo)
    ]
    policy = forward_flops(size.shape, work_of(groups, policy=True))
    scores = forward_flops(size.shape, work_of(groups, policy=False))
    sampled = (
        size.grpo.groups * size.grpo.k * size.grpo.response
    )  # with random weights hardly any response ends before
    return rates(
        setup, recorder, sampled, 5 * policy + scores
    )  # sampled, read by the reference, and trained on


def rates(setup: Setup, recorder: Recorder, tokens: int, flops: float) -> list[Figure]:
    """Seconds of a step, tokens and model FLOPs a second, and MFU. tokens, flops: of a step."""
    steps = recorder.seconds[WARM_UP:]
    seconds = median(steps)
    peak = peak_flops(torch.cuda.get_device_name()) if setup.device == "cuda" else None
    mfu = None if peak is None else flops / seconds / peak
    return [
        measured(
            "step_seconds", "a step", seconds, f"{seconds:.3f} s ({min(steps):.3f} to {max(steps):.3f})"
        ),
        measured("tokens_per_s", "tokens", tokens / seconds, f"{tokens / seconds:,.0f}/s"),
        measured("flops", "model FLOPs", flops / seconds, f"{flops / seconds / 1e12:.3g} TFLOP/s"),
        measured("mfu", "MFU in bfloat16", mfu, "" if mfu is None else f"{mfu:.1%}"),
    ]


def check_trl(setup: Setup) -> list[Figure]:
    """Steps beside TRL's trainers on the same work, in turns; TRL at the faster one of two batch sizes."""
    theirs = trl_python()
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    servers: list[Server] = []
    try:
        for python, module in ((theirs, "benchmarks.peer_trl"), (sys.executable, "benchmarks.ours")):
            servers.append(Server(python, module, PLACE, environment))
        grpo = {"builder": "rollouts", "kind": "grpo", "config": {"beta": 0.04, "updates": 1}}
        return [
            *ratio(setup, servers, setup.size.reward, {"builder": "reward"}, {"builder": "reward"}),
            *ratio(setup, servers, setup.size.grpo, {"builder": "grpo"}, grpo),
        ]
    finally:
        for server in servers:
            server.stop()


def trl_python() -> Path:
    """The Python of TRL's environment, which is made where it is missing."""
    try:
        return peer("trl-new", NEWEST)
    except (subprocess.CalledProcessError, RuntimeError) as error:
        raise Skipped(f"TRL's environment could not be made, which needs a network. {error}") from None


def ratio(
    setup: Setup, servers: list[Server], case: Case, their_spec: dict[str, Any], our_spec: dict[str, Any]
) -> list[Figure]:
    """TRL's seconds of a step over ours: the median of the ratios of turns."""

    def worker(server: Server, spec: dict[str, Any]) -> Worker:
        started = server.worker(case=case.to_dict(), **setup.spec | spec)
        started.ready()
        started.step()
        return started

    trials = {}
    for batch in (case.k, 4 * case.k):
        trial = worker(servers[0], their_spec | {"batch": batch})
        trials[batch] = trial.step()["wall"]
        trial.close()
    sides = [
        worker(servers[0], their_spec | {"batch": min(trials, key=trials.__getitem__)}),
        worker(servers[1], our_spec),
    ]
    turns = [[side.step()["wall"] for side in sides] for _ in range(TURNS)]
    for side in sides:
        side.close()
    ratios = [theirs / ours for theirs, ours in turns]
    found = median(ratios)
    label = f"{case.family}, TRL's time over ours"
    return [
        measured(
            f"{case.family}_ratio", label, found, f"{found:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    ]
