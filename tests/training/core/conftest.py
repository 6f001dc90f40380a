from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen3Config,
)

from tests.patience import HANGS_S
from tests.training.core.chat_server import Http
from training.core import rollout_loop
from training.core.attention import install_attention
from training.core.rollouts import Rollout
from training.core.train_pretrain import train_tokenizer

ROOT = Path(__file__).resolve().parents[3]
WORDS = "the ferry train leaves at nine ten and costs twelve crowns please thank you kindly no".split()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer([sentence(random.Random(number)) for number in range(200)], 320)


def sentence(rng: random.Random, most: int = 14) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(2, most))) + "."


def sharp(model: Any) -> Any:
    """Weights large enough that a wrong position or a leaking mask moves every figure by far more than rounding."""
    torch.manual_seed(7)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return install_attention(model.eval())


def in_float64(model: Any) -> Any:
    """The model in float64 throughout; transformers' own RMSNorm would round to float32 on the way."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__.endswith("RMSNorm"):
                setattr(parent, name, WideNorm(child))
    return model.double()


class WideNorm(torch.nn.Module):
    """An RMSNorm in the type of its input; Gemma's weights are distances from one."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight = norm.weight
        self.eps = getattr(norm, "variance_epsilon", None) or norm.eps
        self.offset = float(type(norm).__name__.startswith("Gemma"))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        scale = torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.eps)
        return hidden * scale * (self.weight + self.offset)


def tiny_llama(vocab: int = 320, kv_heads: int = 2) -> Any:
    return sharp(
        LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocab,
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=kv_heads,
                max_position_embeddings=128,
                bos_token_id=1,
                eos_token_id=2,
            )
        )
    )


def tiny_gpt2(vocab: int = 320) -> Any:
    return sharp(
        GPT2LMHeadModel(
            GPT2Config(
                vocab_size=vocab,
                n_embd=32,
                n_layer=2,
                n_head=4,
                n_positions=128,
                bos_token_id=1,
                eos_token_id=2,
            )
        )
    )


def tiny(config: type, **more: Any) -> Any:
    """A small causal model of any type that takes the usual settings."""
    sizes: dict[str, Any] = {
        "vocab_size": 320,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 128,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return sharp(AutoModelForCausalLM.from_config(config(**sizes | more)))


ARCHITECTURES: dict[str, Callable[[], Any]] = {
    "llama": tiny_llama,
    "gpt2": tiny_gpt2,
    "qwen2": lambda: tiny(Qwen2Config),
    "qwen3": lambda: tiny(Qwen3Config),
    "mistral": lambda: tiny(MistralConfig, sliding_window=None),
    "gemma": lambda: tiny(GemmaConfig),
    "a window": lambda: tiny(MistralConfig, sliding_window=6),
    "soft caps": lambda: tiny(
        Gemma2Config,
        sliding_window=6,
        query_pre_attn_scalar=8,
        attn_logit_softcapping=3.0,
        final_logit_softcapping=4.0,
    ),
}


@pytest.fixture(params=[tiny_llama, tiny_gpt2], ids=["rotary", "learned positions"])
def policy(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture(scope="session")
def start(without_django: dict[str, str], warm_core: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    """Start the real program on a job directory, in an interpreter where Django cannot be imported. Its imports are done
    already, unless it is to be `cold`."""

    def start(folder: Path, *, cold: bool = False) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "training.core", str(folder)],
            cwd=folder,
            env=without_django if cold else without_django | warm_core,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture(scope="session")
def do(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., tuple[int, list[dict[str, Any]]]]:
    """Do a job to its end. Returns the exit code and the events; anything but JSON on stdout fails the test."""

    def do(folder: Path, *, cold: bool = False) -> tuple[int, list[dict[str, Any]]]:
        process = start(folder, cold=cold)
        out, err = process.communicate(timeout=HANGS_S)
        events = [json.loads(line) for line in out.splitlines()]
        assert process.returncode != 1, err
        return process.returncode, events

    return do


def write_job(folder: Path, kind: str, rows: list[dict[str, Any]], **values: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    values["config"] = (
        {"log_every": 1} | values.get("config", {}) if kind in TRAINING else values.get("config", {})
    )
    (folder / "job.json").write_text(json.dumps({"kind": kind, **values}))
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


TRAINING = {"pretrain", "sft", "reward", "dpo"}


def judgments(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rankings of two to four responses, with ties and degrees, a quarter of them held out."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        k = 2 if number % 3 == 0 else 4
        ranks = [1, 2] if k == 2 else rng.choice([[1, 2, 3, 4], [2, 1, 2, 3], [4, 3, 1, 2]])
        rows.append(
            {
                "id": number,
                "prompt": [{"role": "user", "content": f"{number} {sentence(rng)}"}],
                "responses": [sentence(rng) for _ in range(k)],
                "ranks": ranks,
                "degree": "better" if k == 2 else None,
                "split": "held_out" if number % 4 == 3 else "train",
            }
        )
    return rows


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A folder with a policy and reward models for the methods that sample."""
    from tests.training.core import tastes

    folder = tmp_path_factory.mktemp("models")
    tastes.save_models(folder, tokenizer)
    return folder


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Rollout]:
    """Every rollout that a run in this process makes, with what is found out about it later."""
    found: list[Rollout] = []
    real = rollout_loop.sample_rollout

    def sample_rollout(*arguments: Any) -> Rollout:
        found.append(real(*arguments))
        return found[-1]

    monkeypatch.setattr(rollout_loop, "sample_rollout", sample_rollout)
    return found


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, tokenizer) -> Path:
    """A policy's directory."""
    folder = tmp_path_factory.mktemp("policy")
    tiny_llama().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def http(monkeypatch: pytest.MonkeyPatch) -> Iterator[Http]:
    http = Http()

    async def sleep(seconds: float) -> None:
        http.pauses.append(seconds)

    monkeypatch.setattr("training.core.chat_client.asyncio.sleep", sleep)
    yield http
    http.server.shutdown()
    http.server.server_close()
