"""Whether training is right on this machine: precision, layouts, a run that is resumed, and several processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.check_gpu.outcomes import Figure, Skipped, above, at_most, equal, measured
from benchmarks.check_gpu.setup import Recorder, Setup, run_steps, training_metrics
from benchmarks.gate import wait_for_accelerator
from benchmarks.parity import leaking_mask, wrong_positions
from benchmarks.workloads import rankings
from training.core import batching
from training.core.distributed import exchange, init_process_group
from training.core.job_directory import Job
from training.core.losses import preference_loss
from training.core.model_loading import device
from training.core.precision import MIN_SPEEDUP, resolve_precision
from training.core.process_rank import rank
from training.core.rankings import Pairs, batch_pairs
from training.core.reward_model import RewardModel, load_reward_model

LOSS, GRADIENTS = 1e-5, 1e-3
"""Most that the layouts may differ by in float32, relative. On a processor they differ by 1e-7 and 1e-6, and a kernel that sums
in another order does not round a hundred times worse; a wrong mask or wrong positions, which are tried too, give far more."""

NARROW = 2.0
"""Most that gradients in bfloat16 may differ by from those of `rows` in float32, as a multiple of what `rows` in bfloat16 differs
by: the measure of FlashAttention's own tests (Dao et al. 2022)."""

RESUMED = 4.0
"""Most that a resumed run may differ from an uninterrupted one, as a multiple of what two equal runs differ by, where kernels
that add up in no fixed order make them differ."""

PROCESSES = 1e-4
"""Most that losses and gradient norms of several processes may differ by from those of one, relative: sums have another order."""

SUMMED = {"cpu": 2**20, "cuda": 2**26}
"""Float32 numbers in the tensor that processes add up, by device."""

EXACT = 1e-5
"""Error of a product of float32, relative: below it in float32, above it in TF32, which has 3 digits."""


def check_precision(setup: Setup) -> list[Figure]:
    """What the default stands for on this machine, and that products of float32 are rounded to TF32 only where it says so."""
    figures = [at_most("float32_error", "error of a product, float32", product_error(), EXACT)]
    try:
        choice = resolved(setup, "default")
        error = product_error()
        times = choice if "float32_ms" in choice else resolved(setup, "auto")
    finally:
        torch.set_float32_matmul_precision("highest")
    is_faster = times["float32_ms"] > MIN_SPEEDUP * times["bfloat16_ms"]
    faster = "bfloat16" if is_faster else "float32"
    expected = "float32" if setup.device == "cpu" else faster
    is_rounded = setup.device != "cpu" and torch.cuda.get_device_capability() >= (8, 0)
    return [
        *figures,
        (above if is_rounded else at_most)("default_error", "the same by default", error, EXACT),
        equal("default", "precision by default", choice["precision"], expected),
        measured("auto", "precision by auto", times["precision"]),
        *(
            measured(f"{name}_ms", f"time in {name}", times[f"{name}_ms"], f"{times[f'{name}_ms']:.3f} ms")
            for name in ("float32", "bfloat16")
        ),
    ]


def resolved(setup: Setup, precision: str) -> dict[str, Any]:
    """What a run takes this precision for."""
    job = setup.job("reward", setup.size.resume, precision=precision)
    resolve_precision(job, Recorder())
    choice: dict[str, Any] = json.loads(job.precision_choice.read_text())
    return choice


def product_error(size: int = 512) -> float:
    """The relative error of a product of float32 matrices on the device."""
    random = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, size, size, generator=random).to(device())
    exact = a.double() @ b.double()
    return float(((a @ b).double() - exact).norm() / exact.norm())


class Gradients(NamedTuple):
    """A loss, its gradients by parameter, and how the attention of their batch is computed."""

    loss: float
    of: list[Tensor]
    attention: str

    def distance(self, other: Gradients) -> float:
        """How far the gradients are from those of `other`, relative to the latter."""
        difference = sum(squared(a - b) for a, b in zip(self.of, other.of, strict=True))
        return (difference / sum(map(squared, other.of))) ** 0.5

    def loss_distance(self, other: Gradients) -> float:
        return abs(self.loss - other.loss) / abs(other.loss)


def squared(tensor: Tensor) -> float:
    """The sum of its squares."""
    return float(tensor.double().square().sum())


def check_layouts(setup: Setup) -> list[Figure]:
    """The layout `shared`, on an accelerator by FlexAttention, against `rows`; and broken on purpose, in two ways."""
    model = load_reward_model(str(setup.models / "reward"))
    groups = setup.groups(setup.size.layouts)
    ranks = [row["ranks"] for row in rankings(setup.size.layouts, setup.size.shape.vocabulary)]
    pairs = batch_pairs(ranks, device=device())

    def gradients(layout: str, precision: str = "float32") -> Gradients:
        model.precision = precision
        batch = getattr(batching, f"{layout}_layout")(groups, device())
        return reward_gradients(model, batch, pairs)

    rows, shared = gradients("rows"), gradients("shared")
    expected = "dense kernels" if setup.device == "cpu" else "FlexAttention"
    figures = [
        equal("attention", "attention of shared", shared.attention, expected),
        at_most("loss", "loss in float32, shared against rows", shared.loss_distance(rows), LOSS),
        at_most("gradients", "gradients in float32, shared against rows", shared.distance(rows), GRADIENTS),
    ]
    for name, breaking in (("leaking mask", leaking_mask), ("wrong positions", wrong_positions)):
        with breaking():
            distance = gradients("shared").distance(rows)
        figures.append(above(name.replace(" ", "_"), f"the same, {name}", distance, GRADIENTS))
    distance = gradients("shared", "bfloat16").distance(rows)
    bound = NARROW * gradients("rows", "bfloat16").distance(rows)
    label = "gradients in bfloat16, shared against rows in float32"
    return [*figures, at_most("gradients_bfloat16", label, distance, bound)]


def reward_gradients(model: RewardModel, batch: batching.Batch, pairs: Pairs) -> Gradients:
    """Those of the mean preference loss over the pairs."""
    rewards = model(batch)
    loss = preference_loss(rewards[pairs.chosen], rewards[pairs.rejected]).mean()
    of = torch.autograd.grad(loss, list(model.parameters()))
    has_mask = batch.tree is not None and batch.tree.mask is not None
    return Gradients(loss.item(), list(of), "FlexAttention" if has_mask else "dense kernels")


INTERRUPTED, LAST = 2, 4
"""The steps after which a run is interrupted, and after which runs are compared."""


def check_resume(setup: Setup) -> list[Figure]:
    """A run that is interrupted and resumed, against one that is not: weights, moments and random state after the same step."""
    job = setup.job("reward", setup.size.resume, learning_rate=1e-4)
    run_steps(job, INTERRUPTED, gently=True)
    interrupted = job.checkpoint.rename(job.folder / "interrupted")
    run_steps(job, LAST, gently=True)
    whole = read_checkpoint(job.checkpoint)
    resumed_at, resumed = resume(job, interrupted)
    figures = [equal("resumed_at", "step that the run resumed at", resumed_at, INTERRUPTED)]
    distance = checkpoint_distance(resumed, whole)
    if not distance:
        return [*figures, equal("difference", "resumed against uninterrupted", "equal", "equal")]
    _, again = resume(job, interrupted)
    label = "resumed against uninterrupted, where equal runs differ"
    return [*figures, at_most("difference", label, distance, RESUMED * checkpoint_distance(again, resumed))]


def resume(job: Job, checkpoint: Path) -> tuple[int, dict[str, Tensor]]:
    """Resume a job from a copy of a checkpoint. Returns the step that it resumed at, and its tensors after step LAST."""
    shutil.rmtree(job.checkpoint)
    shutil.copytree(
        checkpoint, job.checkpoint, copy_function=os.link
    )  # a run replaces these files as a whole
    [start] = [event for event in run_steps(job, LAST, gently=True).seen if event["event"] == "start"]
    return start["resumed_from"], read_checkpoint(job.checkpoint)


def read_checkpoint(folder: Path) -> dict[str, Tensor]:
    """All tensors, by name."""
    return {name: value for path in folder.glob("*.safetensors") for name, value in load_file(path).items()}


def checkpoint_distance(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """The distance of all tensors together, relative to the size of the latter; infinite where they are not the same ones."""
    if ours.keys() != theirs.keys():
        return float("inf")
    difference = sum(squared(ours[name].double() - value.double()) for name, value in theirs.items())
    return (difference / sum(map(squared, theirs.values()))) ** 0.5


def check_processes(setup: Setup) -> list[Figure]:
    """Several processes, each with a GPU, or two on a processor: a sum over all, and two steps against those of one process."""
    count = 2 if setup.device == "cpu" else torch.cuda.device_count()
    if count < 2:
        raise Skipped("NCCL needs two GPUs, and there is one.")
    context = multiprocessing.get_context("fork")
    config = {
        "max_steps": 2,
        "learning_rate": 1e-3,
        "precision": "float32",
        "batch_tokens": 64,
        "log_every": 1,
    }
    one, several = (setup.job("reward", setup.size.resume, **config) for _ in range(2))
    receiver, sender = context.Pipe(duplex=False)
    port = free_port()
    started = [
        context.Process(target=run_process, args=(number, count, port, several, sender))
        for number in range(count)
    ]
    for process in started:
        process.start()
    sender.close()
    reduced, together = receiver.recv(), receiver.recv()
    for process in started:
        process.join()
    alone = training_metrics(run_steps(one).seen)  # afterwards, as this initialises CUDA
    error = max(abs(value - count * (count + 1) / 2) for value in reduced["sums"])
    rate = reduced["bytes_per_s"]
    return [
        measured("processes", "processes", count),
        at_most("sum", "error of a sum over all", error, 0.0),
        measured("bytes_per_s", "rate of that sum", rate, f"{rate / 1e9:.1f} GB/s"),
        *(
            at_most(f"{name}_{step}", f"{label} of step {step}, against one process", distance, PROCESSES)
            for step, (ours, theirs) in enumerate(zip(together, alone, strict=True), start=1)
            for name, label in (("loss", "loss"), ("grad_norm", "gradient norm"))
            for distance in [abs(ours[name] - theirs[name]) / abs(theirs[name])]
        ),
    ]


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def run_process(number: int, count: int, port: int, job: Job, sender: Connection) -> None:
    """One of `count` processes, as torchrun would start it. The first one sends what `all_reduce` returns, then the metrics."""
    os.environ |= {
        "RANK": str(number),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)  # a fork has not the threads of its parent
    init_process_group()
    reduced = all_reduce()
    events = run_steps(job).seen
    dist.destroy_process_group()
    if number == 0:
        sender.send(reduced)
        sender.send(training_metrics(events))


def all_reduce() -> dict[str, Any]:
    """sums: least and greatest number of each process's sum of all their numbers 1, 2, ...; bytes_per_s: of the tensor."""
    values = torch.full((SUMMED[device().type],), rank() + 1.0, device=device())
    dist.all_reduce(values.clone())  # the first one also connects
    wait_for_accelerator()
    start = time.perf_counter()
    dist.all_reduce(values)
    wait_for_accelerator()
    seconds = time.perf_counter() - start
    extremes = exchange([float(extreme) for extreme in values.aminmax()])
    return {"sums": [value for pair in extremes for value in pair], "bytes_per_s": values.nbytes / seconds}
