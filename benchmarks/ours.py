"""Our side: the very functions that `python -m training.core` calls, on job directories made here.

`python -m benchmarks.ours SOCKET`. A training loop reports progress after each optimizer step; that is where it stands
at the gate.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from io import StringIO
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")

import torch

from benchmarks.gate import Gate, serve
from benchmarks.workloads import Case, rankings, text
from training.core import batching, sampling, train_dpo, train_reward
from training.core.__main__ import JOB_HANDLERS, run
from training.core.events import Events
from training.core.job_directory import Job, read_job
from training.core.memory import keep_freed_memory
from training.core.model_loading import load_policy
from training.core.tokenization import EncodedGroup

FOREVER = 1_000_000

TOKENS_AT_ONCE = 2048
"""On one core larger passes take as long and more memory. The peer's batch size is chosen by a trial, too."""


class AtTheGate(Events):
    """Events that go nowhere, and a gate after each step."""

    def __init__(self, gate: Any, more: Any = None) -> None:
        super().__init__(StringIO())
        self.gate, self.more = gate, more

    def start(self, kind: str, *rest: Any, **more: Any) -> None:
        super().start(kind, *rest, **more)
        if kind != "dpo":
            self.gate()

    def progress(self, *_: Any, **__: Any) -> None:
        self._stream.seek(0)
        self._stream.truncate()
        self.gate()
        if self.more is not None:
            self.more()


def write_job(
    kind: str, spec: dict[str, Any], rows: list[dict[str, Any]], config: dict[str, Any], **values: Any
) -> Job:
    """A job directory of its own, read back the way the program reads one."""
    folder = Path(tempfile.mkdtemp(prefix="palate-bench-"))
    models = Path(spec["models"])
    values = {name: str(models / value) for name, value in values.items()}
    (folder / "job.json").write_text(json.dumps({"kind": kind, "config": config, **values}))
    with (folder / "data.jsonl").open("w") as file:
        for number, row in enumerate(rows):
            line: dict[str, Any] = {
                "id": number,
                "prompt": [{"role": "user", "content": text(row["prompt"])}],
                "split": "train",
            }
            if kind in ("reward", "dpo"):
                line |= {
                    "responses": [text(response) for response in row["responses"]],
                    "ranks": row["ranks"],
                    "degree": row.get("degree"),
                }
            file.write(json.dumps(line) + "\n")
    return read_job(folder)


def training_config(spec: dict[str, Any], rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "threads": 1,
        "batch_size": len(rows),
        "max_steps": FOREVER,
        "learning_rate": 1e-5,
        "schedule": "constant",
        "warmup_min_steps": 0,
        "warmup_ratio": 0.0,
        "checkpoint_every": 0,
        "max_length": 2048,
        "batch_tokens": spec.get("batch_tokens", TOKENS_AT_ONCE),
        "layout": spec.get("layout", "shared"),
        "precision": "bfloat16" if spec.get("bf16") else "float32",
    }
    return values | more


def setup(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The case's rankings; from here on the layout is that of `spec`."""
    torch.set_num_threads(1)
    keep_freed_memory()
    if spec.get("packed"):
        batching.shared_layout = packed
    vocabulary = json.loads((Path(spec["models"]) / "policy" / "config.json").read_text())["vocab_size"]
    found: list[dict[str, Any]] = spec.get("rows") or rankings(
        Case(**spec["case"]), vocabulary, spec.get("seed", 0)
    )
    return found


_shared = batching.shared_layout


def packed(groups: Any, device: Any = "cpu") -> Any:
    """No padding, but no sharing either: each response after a copy of its prompt, end to end."""
    return _shared(
        [EncodedGroup(prompt, [response]) for prompt, responses in groups for response in responses], device
    )


def reward(spec: dict[str, Any], gate: Gate) -> None:
    """A reward run on the rankings themselves."""
    rows = setup(spec)
    job = write_job(
        "reward", spec, rows, training_config(spec, rows, reduction="pair", margin="none"), model="reward"
    )
    run(job, AtTheGate(gate))


def dpo(spec: dict[str, Any], gate: Gate) -> None:
    """A DPO run on the rankings; a step includes the reference's pass over them, which a run makes but once."""
    rows = setup(spec)
    again: list[Any] = []
    original = train_dpo.summed_logprobs

    def logprobs_of(*args: Any, **kwargs: Any) -> Any:
        found = original(*args, **kwargs)
        if not again:
            again.append(lambda: original(*args, **kwargs))
            gate()
            again[0]()
        return found

    train_dpo.summed_logprobs = logprobs_of
    job = write_job("dpo", spec, rows, training_config(spec, rows, reduction="pair"), model="policy")
    run(job, AtTheGate(gate, lambda: again[0]()))


def rollouts(spec: dict[str, Any], gate: Gate) -> None:
    """A run that learns from its own samples, of the kind `spec` names; a step is sampling, batching and the update."""
    rows = setup(spec)
    case = Case(**spec["case"])
    config = training_config(spec, rows, samples=case.k, max_new_tokens=case.response, **spec["config"])
    job = write_job(spec["kind"], spec, rows, config, model="policy", reward_model="reward")
    run(job, AtTheGate(gate))


def generate(spec: dict[str, Any], gate: Gate) -> None:
    """A step is `k` samples of every prompt."""
    rows = setup(spec)
    case = Case(**spec["case"])
    model = load_policy(str(Path(spec["models"]) / "policy"))
    prompts = [row["prompt"] for row in rows]
    seeds = list(range(len(prompts) * case.k))
    while True:
        gate()
        sampling.sample_responses(
            model,
            prompts,
            seeds,
            samples=case.k,
            max_new_tokens=case.response,
            temperature=1.0,
            end_ids=[1],
        )


PRODUCTS = ("aten::mm", "aten::addmm")


def floor(spec: dict[str, Any], gate: Gate) -> None:
    """A reward step under the profiler, then one large product. Reports the rates of both, in FLOP/s.

    The trunk's linear layers take 2 FLOP a weight and token forward and 4 backward.
    """
    rows = setup(spec)
    work = {"flop": 0.0}
    profiler: Any = None
    started = (0.0, 0.0)

    def between() -> None:
        nonlocal profiler, started
        if profiler is not None:
            wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
            profiler.__exit__(None, None, None)
            spent = (
                sum(one.self_cpu_time_total for one in profiler.key_averages() if one.key in PRODUCTS) / 1e6
            )
            # the profiler's seconds are wall time; on a shared core the process had this share of them
            work["rate"] = work["flop"] / (spent * cpu / wall)
            gate.report |= {"products": work["rate"], "share_of_step": spent / wall} | {
                "large": large_product()
            }
        gate()
        work["flop"] = 0.0
        profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
        profiler.__enter__()
        started = (time.perf_counter(), time.process_time())

    original = train_reward.RewardModel.forward

    def forward(self: Any, batch: Any) -> Any:
        if self.training or torch.is_grad_enabled():
            weights = sum(m.weight.numel() for m in self.modules() if isinstance(m, torch.nn.Linear))
            work["flop"] += 6.0 * weights * batch.input_ids.numel()
        return original(self, batch)

    train_reward.RewardModel.forward = forward
    job = write_job(
        "reward", spec, rows, training_config(spec, rows, reduction="pair", margin="none"), model="reward"
    )
    run(job, AtTheGate(between))


def large_product(size: int = 2048) -> float:
    """The best rate of three large float32 products, in FLOP per CPU second."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    times = []
    with torch.no_grad():
        for _ in range(3):
            started = time.process_time()
            torch.mm(a, b)
            times.append(time.process_time() - started)
    return 2 * size**3 / min(times)


BUILDERS = {"reward": reward, "dpo": dpo, "rollouts": rollouts, "generate": generate, "floor": floor}

if __name__ == "__main__":
    assert JOB_HANDLERS
    serve(sys.argv[1], BUILDERS)
