"""What every training run does around its steps: budgets, memory, recomputation, TensorBoard, and the same result twice."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.patience import HANGS_S
from tests.training.core.conftest import (
    ARCHITECTURES,
    ROOT,
    in_float64,
    judgments,
    sentence,
    tiny_llama,
    write_job,
)
from tests.training.core.in_process import Killed
from training.configs import from_dict
from training.core import memory, train_pretrain
from training.core.__main__ import run
from training.core.batching import rows_layout, shared_layout
from training.core.errors import BadInput, Stopped
from training.core.events import Events
from training.core.job_directory import read_job
from training.core.logprobs import response_logprobs
from training.core.model_loading import recompute_activations
from training.core.tokenization import EncodedGroup
from training.core.train_pretrain import train_tokenizer
from training.core.training_loop import TrainingLoop

KINDS = ("pretrain", "sft", "reward", "dpo")


def data(kind: str, count: int = 24) -> list[dict[str, Any]]:
    rng = random.Random(3)
    if kind == "pretrain":
        return [{"text": sentence(rng)} for _ in range(8 * count)]
    if kind == "sft":
        return [
            {"messages": [{"role": "user", "content": sentence(rng)}, {"role": "assistant", "content": sentence(rng)}]}
            for _ in range(count)
        ]  # fmt: skip
    return judgments(count)


@pytest.fixture(scope="session")
def policy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy of two layers, whose tokenizer knows the words of the tests."""
    folder = tmp_path_factory.mktemp("policy")
    tokenizer = train_tokenizer([row["text"] for row in data("pretrain")], 320)
    config = from_dict(
        "pretrain",
        {"hidden_size": 64, "intermediate_size": 96, "layers": 2, "heads": 2, "kv_heads": 1}
        | {"max_length": 128, "block_length": 32},
    )
    train_pretrain.build_model(config, tokenizer).save_pretrained(folder)  # type: ignore[arg-type]
    tokenizer.save_pretrained(folder)
    return folder


class StoppedAfter(Events):
    """Events of a run that is asked to stop at a step."""

    def __init__(self, step: int = -1) -> None:
        self.stream = io.StringIO()
        super().__init__(self.stream)
        self.step = step

    def progress(self, step: int, total: int, expected_end: float | None = None) -> None:
        super().progress(step, total, expected_end)
        self.stop_requested = self.stop_requested or step == self.step

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


def train(
    folder: Path,
    kind: str,
    model: Path | None,
    stop_after: int = -1,
    events: StoppedAfter | None = None,
    **config: Any,
) -> tuple[dict[str, Any], StoppedAfter]:
    settings = {"batch_size": 4, "max_length": 100, "learning_rate": 1e-3, "batch_tokens": 256} | config
    if kind == "pretrain":
        settings["block_length"] = 32
    write_job(folder, kind, data(kind), config=settings, **({"model": str(model)} if model else {}))
    events = events or StoppedAfter(stop_after)
    return run(read_job(folder), events), events


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "output" / "model.safetensors")


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_weights_to_the_bit_and_another_does_not(
    kind: str, policy_folder: Path, tmp_path: Path
):
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(tmp_path / folder, kind, policy_folder, seed=seed, max_steps=4)
    first, again, other = (weights(tmp_path / folder) for folder in "abc")
    assert same(first, again)
    assert not same(first, other)


def test_a_token_budget_ends_the_run_in_good_order(policy_folder: Path, tmp_path: Path):
    _, events = train(tmp_path / "free", "sft", policy_folder, max_steps=9)
    steps = [event for event in events.lines if event["event"] == "metrics"]
    assert len(steps) == 9
    result, events = train(tmp_path / "bound", "sft", policy_folder, max_steps=9, max_tokens=600)
    bound = [event for event in events.lines if event["event"] == "metrics"]
    assert [e["values"]["loss"] for e in bound] == [e["values"]["loss"] for e in steps[: len(bound)]]
    assert [e["values"]["lr"] for e in bound] == [e["values"]["lr"] for e in steps[: len(bound)]], (
        "as planned"
    )
    assert 600 <= result["metrics"]["tokens"] < 900
    last = [event for event in events.lines if event["event"] == "progress"][-1]
    assert last["step"] == last["total"] == len(bound) < 9
    assert last["eta_s"] == 0
    assert (tmp_path / "bound" / "output" / "model.safetensors").is_file()


def test_a_resumed_run_counts_its_tokens_and_its_time_on(policy_folder: Path, tmp_path: Path):
    limits = {"max_steps": 9, "max_tokens": 900}
    result, _ = train(tmp_path / "whole", "sft", policy_folder, **limits)
    with pytest.raises(Stopped):
        train(tmp_path / "halves", "sft", policy_folder, stop_after=2, **limits)
    manifest = json.loads((tmp_path / "halves" / "checkpoint" / "manifest.json").read_text())
    assert manifest["step"] == 2
    assert 0 < manifest["tokens"] < 900
    assert manifest["seconds"] > 0
    resumed, _ = train(tmp_path / "halves", "sft", policy_folder, **limits)
    assert resumed["metrics"]["tokens"] == result["metrics"]["tokens"]
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "halves"))


def test_a_time_budget_ends_the_run_and_one_that_is_spent_takes_no_more_steps(
    policy_folder: Path, tmp_path: Path
):
    _, events = train(tmp_path / "short", "sft", policy_folder, max_steps=10_000, max_minutes=0.01)
    progress = [event for event in events.lines if event["event"] == "progress"]
    assert progress[-1]["step"] < 10_000
    assert all(event["eta_s"] < 2 for event in progress[1:]), "the time left is the budget's, not the steps'"

    with pytest.raises(Stopped):
        train(tmp_path / "spent", "sft", policy_folder, stop_after=1, max_steps=10_000, max_minutes=60.0)
    path = tmp_path / "spent" / "checkpoint" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": 3600.0}))
    _, events = train(tmp_path / "spent", "sft", policy_folder, max_steps=10_000, max_minutes=60.0)
    assert [event["event"] for event in events.lines] == ["start"]
    assert (tmp_path / "spent" / "output").is_dir()


def test_the_time_left_follows_whichever_budget_is_spent_first(monkeypatch: pytest.MonkeyPatch):
    events = StoppedAfter()
    seconds = iter([0.0, 10.0, 10.0])  # ten seconds for ten steps
    monkeypatch.setattr("training.core.events.time.monotonic", lambda: next(seconds))
    events.progress(0, 1000, expected_end=500)
    events.progress(10, 1000, expected_end=40)
    events.progress(10, 1000)
    monkeypatch.undo()
    assert [event["eta_s"] for event in events.lines] == [None, 30.0, 990.0]


def test_peak_memory_is_measured(policy_folder: Path, tmp_path: Path):
    result, events = train(tmp_path, "reward", policy_folder, max_steps=2)
    reported = [e["values"]["memory_mb"] for e in events.lines if "memory_mb" in e.get("values", {})]
    assert result["metrics"]["memory_mb"] == reported[-1]
    before = memory.peak_mb()
    held = torch.ones(100 * 2**18)  # 100 MiB
    assert memory.peak_mb() >= before
    assert memory.peak_mb() >= held.nbytes / 2**20
    assert reported == sorted(reported)


@pytest.mark.parametrize(
    ("kind", "config", "setting", "words"),
    [
        ("dpo", {}, "batch_tokens", "or turn on gradient_checkpointing"),
        ("dpo", {"gradient_checkpointing": True}, "batch_tokens", "tokens per batch."),
        ("reward", {"batch_tokens": 512}, "max_length", "not more than one sequence"),
        ("pretrain", {"batch_tokens": 128}, "block_length", "not more than one sequence"),
        ("generate", {}, "batch_tokens", "tokens in memory"),
        ("evaluate", {}, "batch_tokens", "tokens per batch"),
    ],
)
def test_the_advice_names_what_there_is_to_lower(kind: str, config: dict, setting: str, words: str):
    message, named = memory.out_of_memory_message(kind, from_dict(kind, config), loaded=True)
    assert named == setting
    assert words in message
    assert memory.out_of_memory_message(kind, from_dict(kind, config), loaded=False)[1] == "model"


def test_a_run_that_runs_out_of_memory_says_so(policy_folder: Path, tmp_path: Path):
    """With a real limit: the room that a small run needs, and a pass for which that is too little."""
    rng = random.Random(0)
    rows_ = [
        {
            "messages": [
                {"role": "user", "content": sentence(rng)},
                {"role": "assistant", "content": sentence(rng)},
            ]
        }
        for _ in range(2000)
    ]
    config = {"batch_size": 2000, "max_steps": 1, "batch_tokens": 1_000_000, "max_length": 100, "threads": 1}
    write_job(tmp_path, "sft", rows_, model=str(policy_folder), config=config)
    program = (
        "import resource, sys; import transformers, training.core.train_sft\n"
        "from training.core.__main__ import main\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + 300 * 2**20,) * 2)\n"
        "sys.exit(main([sys.argv[1]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=HANGS_S,
        env={"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    error = json.loads(done.stdout.splitlines()[-1])
    assert error["setting"] == "batch_tokens"
    assert error["message"].startswith("Memory ran out; lower batch_tokens")


GROUPS = [EncodedGroup([5, 9, 17, 3], [[7, 7, 12, 2], [30, 4, 2]]), EncodedGroup([8, 21], [[13, 14, 2]])]


@pytest.mark.parametrize("layout", [shared_layout, rows_layout])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3"])
def test_recomputed_activations_give_the_same_gradients(architecture: str, layout: Callable[..., Any]):
    model = in_float64(ARCHITECTURES[architecture]())

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        response_logprobs(model, layout(GROUPS)).sum().backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    passes: list[int] = []
    model.base_model.get_submodule(
        "h.0.attn" if architecture == "gpt2" else "layers.0.self_attn"
    ).register_forward_hook(lambda *_: passes.append(1))
    expected = gradients()
    assert len(passes) == 1
    recompute_activations(model)
    found = gradients()
    assert len(passes) == 3, "once on the way there and once on the way back"
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(found, expected, strict=True))


def test_recomputing_keeps_less_and_leaves_dropout_off():
    model = tiny_llama()
    stored: list[int] = []

    def stored_bytes() -> int:
        stored.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: stored.append(t.nbytes) or t, lambda t: t):  # type: ignore[func-returns-value]
            response_logprobs(model, shared_layout(GROUPS))
        return sum(stored)

    before = stored_bytes()
    recompute_activations(model)
    assert stored_bytes() < before / 2
    assert not any(module.training for module in model.modules())


def test_a_model_whose_layers_cannot_be_recomputed_is_refused():
    with pytest.raises(BadInput) as caught:
        recompute_activations(torch.nn.Linear(2, 2))
    assert caught.value.setting == "gradient_checkpointing"


def test_a_run_that_recomputes_ends_with_the_same_weights(policy_folder: Path, tmp_path: Path):
    for folder, on in (("a", False), ("b", True)):
        train(tmp_path / folder, "dpo", policy_folder, max_steps=3, gradient_checkpointing=on)
    plain, recomputed = (weights(tmp_path / folder) for folder in "ab")
    assert all(torch.allclose(plain[name], recomputed[name], atol=1e-6) for name in plain)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The (step, value) pairs of every metric, as TensorBoard reads them."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(scalar.step, scalar.value) for scalar in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


class KilledAt(StoppedAfter):
    """Events of a run that dies after the report of a step."""

    def metrics(self, step: int, values: dict[str, float | None]) -> None:
        super().metrics(step, values)
        if step == self.step:
            raise Killed


def test_a_resumed_run_has_every_step_in_tensorboard_once(policy_folder: Path, tmp_path: Path):
    """Killed after step 5 with the checkpoint of step 4, while it was writing a record."""
    config = {"max_steps": 6, "checkpoint_every": 2, "evaluate_every": 3, "tensorboard": True}
    train(tmp_path / "whole", "reward", policy_folder, **config)
    with pytest.raises(Killed):
        train(tmp_path / "halves", "reward", policy_folder, events=KilledAt(5), **config)
    assert [step for step, _ in scalars(tmp_path / "halves" / "tensorboard")["loss"]] == [1, 2, 3, 4, 5]
    [file] = (tmp_path / "halves" / "tensorboard").iterdir()
    with file.open("ab") as torn:
        torn.write(b"half a record")
    train(tmp_path / "halves", "reward", policy_folder, **config)
    whole, halves = (scalars(tmp_path / run / "output" / "tensorboard") for run in ("whole", "halves"))
    assert [step for step, _ in halves["loss"]] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in halves["held_out_accuracy"]] == [3, 6]
    assert halves.keys() == whole.keys()
    for name in ("loss", "accuracy", "lr", "held_out_loss"):
        assert halves[name] == whole[name]
    assert not (tmp_path / "halves" / "tensorboard").exists(), "it is part of the output now"


def test_no_tensorboard_without_the_setting(policy_folder: Path, tmp_path: Path):
    train(tmp_path, "sft", policy_folder, max_steps=1)
    assert not (tmp_path / "tensorboard").exists()
    assert not (tmp_path / "output" / "tensorboard").exists()


@pytest.mark.parametrize(
    ("every", "due"),
    [
        (0, []),
        (4, [0, 4, 8, 12]),
        (0.25, [0, 3, 6, 10]),  # never at the last step, and not just before it
        (0.5, [0, 6]),
        (0.01, list(range(13))),
        (100, [0]),
    ],
)
def test_what_is_done_every_few_steps_or_shares_of_a_run_is_due(
    every: float, due: list[int], tmp_path: Path
) -> None:
    job = read_job(
        write_job(tmp_path, "sft", data("sft"), model="none", config={"batch_size": 1, "max_steps": 13})
    )
    loop = TrainingLoop(job, job.config, torch.nn.Linear(2, 2), examples=24, events=Events(io.StringIO()))  # type: ignore[arg-type]
    found = []
    for loop.steps_done in range(14):
        found += [loop.steps_done] if loop.is_due(every) else []
    assert found == due
