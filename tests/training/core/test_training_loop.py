"""What every training run does around its steps: budgets, memory, recomputation, TensorBoard, and the same result twice."""

from __future__ import annotations

import io
import json
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

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
from training.configs import from_dict
from training.core import memory, train_dpo, train_pretrain, train_reward, train_sft
from training.core.batching import response_logprobs, rows, shared
from training.core.errors import BadInput, Stopped
from training.core.events import Events
from training.core.job_directory import read_job
from training.core.model_loading import recompute_activations
from training.core.tensorboard import FILE, Board, record
from training.core.tokenization import Group
from training.core.train_pretrain import train_tokenizer

DOERS: dict[str, Callable[..., dict[str, Any]]] = {
    "pretrain": train_pretrain.train,
    "sft": train_sft.train,
    "reward": train_reward.train,
    "dpo": train_dpo.train,
}


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

    def progress(self, step: int, total: int, likely: float | None = None) -> None:
        super().progress(step, total, likely)
        self.stop_asked = self.stop_asked or step == self.step

    @property
    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


def train(
    folder: Path, kind: str, model: Path | None, stop_after: int = -1, **config: Any
) -> tuple[dict[str, Any], StoppedAfter]:
    settings = {"batch_size": 4, "max_length": 100, "learning_rate": 1e-3, "batch_tokens": 256} | config
    if kind == "pretrain":
        settings["block_length"] = 32
    write_job(folder, kind, data(kind), config=settings, **({"model": str(model)} if model else {}))
    job, events = read_job(folder), StoppedAfter(stop_after)
    return DOERS[kind](job, job.config, events), events


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = load_file(folder / "output" / "model.safetensors")
    head = folder / "output" / "head.safetensors"
    return found | (
        {f"head.{name}": value for name, value in load_file(head).items()} if head.exists() else {}
    )


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("kind", DOERS)
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
    steps = [event for event in events.said if event["event"] == "metrics"]
    assert len(steps) == 9
    result, events = train(tmp_path / "bound", "sft", policy_folder, max_steps=9, max_tokens=600)
    bound = [event for event in events.said if event["event"] == "metrics"]
    assert [e["values"]["loss"] for e in bound] == [e["values"]["loss"] for e in steps[: len(bound)]]
    assert [e["values"]["lr"] for e in bound] == [e["values"]["lr"] for e in steps[: len(bound)]], (
        "as planned"
    )
    assert 600 <= result["metrics"]["tokens"] < 900
    last = [event for event in events.said if event["event"] == "progress"][-1]
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
    progress = [event for event in events.said if event["event"] == "progress"]
    assert progress[-1]["step"] < 10_000
    assert all(event["eta_s"] < 2 for event in progress[1:]), "the time left is the budget's, not the steps'"

    with pytest.raises(Stopped):
        train(tmp_path / "spent", "sft", policy_folder, stop_after=1, max_steps=10_000, max_minutes=60.0)
    path = tmp_path / "spent" / "checkpoint" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": 3600.0}))
    _, events = train(tmp_path / "spent", "sft", policy_folder, max_steps=10_000, max_minutes=60.0)
    assert [event["event"] for event in events.said] == ["start"]
    assert (tmp_path / "spent" / "output").is_dir()


def test_the_time_left_follows_whichever_budget_is_spent_first():
    events = StoppedAfter()
    events.progress(10, 1000, likely=500)
    events._first = (0, events.started - 10)  # ten seconds for ten steps
    events.progress(10, 1000, likely=40)
    events.progress(10, 1000)
    by_budget, by_steps = (event["eta_s"] for event in events.said[1:])
    assert by_budget == pytest.approx(30, rel=0.1)
    assert by_steps == pytest.approx(990, rel=0.1)


def test_peak_memory_is_measured(policy_folder: Path, tmp_path: Path):
    result, events = train(tmp_path, "reward", policy_folder, max_steps=2)
    reported = [e["values"]["memory_mb"] for e in events.said if "memory_mb" in e.get("values", {})]
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
        ("dpo", {"gradient_checkpointing": True}, "batch_tokens", "at once."),
        ("reward", {"batch_tokens": 512}, "max_length", "no more than one row"),
        ("pretrain", {"batch_tokens": 128}, "block_length", "no more than one row"),
        ("generate", {}, "batch_tokens", "kept at once"),
        ("evaluate", {}, "batch_tokens", "at once"),
    ],
)
def test_the_advice_names_what_there_is_to_lower(kind: str, config: dict, setting: str, words: str):
    message, named = memory.advice(kind, from_dict(kind, config), loaded=True)
    assert named == setting
    assert words in message
    assert memory.advice(kind, from_dict(kind, config), loaded=False)[1] == "model"


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
    assert error["message"].startswith("The memory ran out; lower batch_tokens")


GROUPS = [Group([5, 9, 17, 3], [[7, 7, 12, 2], [30, 4, 2]]), Group([8, 21], [[13, 14, 2]])]


@pytest.mark.parametrize("layout", [shared, rows])
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
    kept: list[int] = []

    def bytes_kept() -> int:
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.nbytes) or t, lambda t: t):  # type: ignore[func-returns-value]
            response_logprobs(model, shared(GROUPS))
        return sum(kept)

    before = bytes_kept()
    recompute_activations(model)
    assert bytes_kept() < before / 2
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


def scalars(path: Path) -> list[tuple[int, dict[str, float]]]:
    """Every step with its figures, read from the records by their description (TFRecord, event.proto, summary.proto)."""
    blob, found, at = path.read_bytes(), [], 0
    while at < len(blob):
        [length] = struct.unpack_from("<Q", blob, at)
        message = blob[at + 12 : at + 12 + length]
        assert record(message) == blob[at : at + 16 + length], "length and checksums"
        fields = parse(message)
        if 5 in fields:
            values = [parse(value) for field, value in pairs(fields[5])]
            found.append((fields.get(2, 0), {v[1].decode(): struct.unpack("<f", v[2])[0] for v in values}))
        at += 16 + length
    return found


def pairs(message: bytes) -> list[tuple[int, Any]]:
    """The fields of a protocol-buffer message, in order."""

    def varint(at: int) -> tuple[int, int]:
        number = shift = 0
        while True:
            number |= (message[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if message[at - 1] < 0x80:
                return number, at

    found: list[tuple[int, Any]] = []
    at = 0
    while at < len(message):
        key, at = varint(at)
        match key & 7:
            case 0:
                value, at = varint(at)
            case 1:
                value, at = message[at : at + 8], at + 8
            case 2:
                length, at = varint(at)
                value, at = message[at : at + length], at + length
            case 5:
                value, at = message[at : at + 4], at + 4
            case _:
                raise AssertionError(key)
        found.append((key >> 3, value))
    return found


def parse(message: bytes) -> dict[int, Any]:
    return dict(pairs(message))


def test_checksums_are_castagnolis():
    """The CRC-32C of "123456789" is e3069283; masked, (rotated right by 15) + a282ead8."""
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert record(b"123456789")[-4:] == struct.pack("<I", masked)


def test_board_drops_what_came_after_the_checkpoint_and_what_was_cut_off(tmp_path: Path):
    board = Board(tmp_path, after=0)
    for step in (1, 2, 200, 300):
        board.scalars(step, {"loss": step / 2, "nothing": None})
    with (tmp_path / FILE).open("ab") as file:
        file.write(b"half a record")
    Board(tmp_path, after=200).scalars(201, {"loss": 7.0})
    found = scalars(tmp_path / FILE)
    assert found == [(1, {"loss": 0.5}), (2, {"loss": 1.0}), (200, {"loss": 100.0}), (201, {"loss": 7.0})]


def test_a_resumed_run_writes_every_step_to_tensorboard_once(policy_folder: Path, tmp_path: Path):
    config = {"max_steps": 6, "checkpoint_every": 2, "evaluate_every": 3, "tensorboard": True}
    train(tmp_path / "whole", "reward", policy_folder, **config)
    with pytest.raises(Stopped):
        train(tmp_path / "halves", "reward", policy_folder, stop_after=4, **config)
    # a kill after step 4 with the checkpoint of step 2: the later steps stand in the file already
    path = tmp_path / "halves" / "checkpoint" / "manifest.json"
    assert len(scalars(tmp_path / "halves" / "tensorboard" / FILE)) == 5
    train(tmp_path / "halves", "reward", policy_folder, **config)
    whole, halves = (scalars(tmp_path / run / "output" / "tensorboard" / FILE) for run in ("whole", "halves"))
    assert not path.exists()
    assert [step for step, _ in halves] == [step for step, _ in whole] == [1, 2, 3, 3, 4, 5, 6, 6]
    assert [values.get("loss") for _, values in halves] == [values.get("loss") for _, values in whole]
    assert not (tmp_path / "halves" / "tensorboard").exists(), "it is part of the output now"


def test_no_tensorboard_unless_asked_for(policy_folder: Path, tmp_path: Path):
    train(tmp_path, "sft", policy_folder, max_steps=1)
    assert not (tmp_path / "tensorboard").exists()
    assert not (tmp_path / "output" / "tensorboard").exists()
