"""Rollouts and chats by vLLM itself, on this machine's processor. It has an environment of its own under var/bench, which takes
minutes to install: `make test-vllm` makes it and runs these tests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from pytest_django import Settings
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from annotation.chat_stream import NewEvent
from annotation.logic.blind_stream import SIDES
from annotation.logic.masking import mask
from annotation.models import Author
from benchmarks import environments
from benchmarks.vllm_server import vllm_server
from tests.patience import HANGS_S
from tests.training.core import tastes
from training.chat_servers.client import Delta, Endpoint, stream_chat
from training.chat_servers.errors import ChatServerError
from training.chats.policies import Policy
from training.chats.two_answers import write_two_answers
from training.core.errors import BadInput
from training.core.model_loading import load_policy
from training.core.serving import vllm_lora
from training.core.serving.engine import Version
from training.core.serving.engine_client import EngineClient

pytestmark = [
    pytest.mark.skipif(not os.environ.get("VLLM"), reason="needs vLLM: make test-vllm installs it"),
    pytest.mark.slow(300),
]

CONFIG = {"sampler": "vllm-lora", "lora_rank": 8, "batch_size": 4, "samples": 4, "sampler_wait_minutes": 2.0}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """As elsewhere, but with heads that vLLM's attention supports on processors."""
    folder = tmp_path_factory.mktemp("models")
    tastes.save_models(folder, tokenizer)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "policy")
    return folder


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("vllm") / "log"
    with vllm_server(environments.vllm(), models / "policy", log, max_length=100) as url:
        yield url


def job(folder: Path, kind: str, models: Path, server: str, config: dict[str, Any]) -> Path:
    return tastes.job(folder, kind, models, tastes.prompts(20), CONFIG | {"sampler_server": server} | config)


@pytest.mark.parametrize("kind", ["grpo", "ppo", "reinforce", "online", "rejection"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_log_probs_of_vllm_are_the_policys_own(
    kind: str, temperature: float, models: Path, tmp_path: Path, server: str
):
    config = {"max_steps": 4, "temperature": temperature, "learning_rate": 3e-2}
    _, events = tastes.here(job(tmp_path, kind, models, server, config))
    gaps = tastes.values(events, "sampler_gap")
    assert len(gaps) == (1 if kind in ("rejection", "ppo") else 4)
    assert max(gaps) < 1e-3


def test_a_policy_learns_from_vllms_samples(models: Path, tmp_path: Path, server: str):
    config = {
        "max_steps": 40,
        "batch_size": 8,
        "samples": 8,
        "learning_rate": 3e-2,
        "beta": 0.0,
        "epochs": 20,
    }
    _, events = tastes.here(job(tmp_path, "grpo", models, server, config))
    rewards = tastes.values(events, "reward")
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.1


@pytest.mark.parametrize("learning_rate", [3e-2, 1e-4, 1e-5])
def test_a_stale_adapter_is_caught_every_time(
    learning_rate: float, models: Path, tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
):
    """The first adapter is loaded again under the names of later ones: also after a step that changes hardly anything."""
    real, first = vllm_lora.VllmLora.load, []

    async def load(self: vllm_lora.VllmLora, client: EngineClient, version: Version) -> None:
        first.append(version.folder)
        await real(self, client, version._replace(folder=first[0]))

    monkeypatch.setattr(vllm_lora.VllmLora, "load", load)
    config = {"max_steps": 4, "learning_rate": learning_rate}
    for seed in range(5):
        first.clear()
        with pytest.raises(BadInput, match="samples from an earlier version of the weights"):
            tastes.here(job(tmp_path / str(seed), "grpo", models, server, config | {"seed": seed}))
        assert len(first) == 2


def test_what_vllm_refuses_names_the_setting(models: Path, tmp_path: Path, server: str):
    for number, (config, setting, words) in enumerate(
        (
            ({"lora_rank": 32}, "lora_rank", "max_lora_rank"),
            ({"sampler_server": server.removesuffix("/v1")}, "sampler_server", "usually ends in /v1"),
        )
    ):
        with pytest.raises(BadInput, match=words) as caught:
            tastes.here(job(tmp_path / str(number), "grpo", models, server, config))
        assert caught.value.setting == setting


def test_another_base_model_is_refused(models: Path, tmp_path: Path, server: str):
    other = tmp_path / "other"
    policy = load_policy(str(models / "policy"))
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    policy.save_pretrained(other)
    for path in (models / "policy").glob("*token*"):
        (other / path.name).write_bytes(path.read_bytes())
    with pytest.raises(BadInput, match="does not serve the model that the run starts from"):
        tastes.here(
            tastes.job(
                tmp_path / "job",
                "grpo",
                models,
                tastes.prompts(20),
                CONFIG | {"sampler_server": server, "max_steps": 2},
                model=str(other),
            )
        )


def chat(server: str, text: str, tokens: int, model: str = "policy") -> AsyncGenerator[Delta]:
    """An answer, through the client of chats, which asks our own servers in the same way."""
    return stream_chat(
        Endpoint(server, model),
        [{"role": "user", "content": text}],
        temperature=1.0,
        max_new_tokens=tokens,
        seed=1,
        timeout_s=HANGS_S,
    )


async def deltas(server: str, text: str, tokens: int, model: str = "policy") -> list[Delta]:
    return [delta async for delta in chat(server, text, tokens, model)]


def test_chats_are_streamed_from_vllm(server: str):
    *pieces, last = asyncio.run(deltas(server, "nine", 20))
    assert len(pieces) > 1
    assert (last.finish_reason, last.completion_tokens) in [("length", 20), ("stop", last.completion_tokens)]
    assert last.prompt_tokens


def test_an_answer_of_vllm_ends_where_its_context_does(server: str):
    *_, last = asyncio.run(deltas(server, "nine", 5000))
    assert last.completion_tokens
    assert last.prompt_tokens
    total = last.prompt_tokens + last.completion_tokens
    assert (last.finish_reason, total) in [("length", 100), ("stop", total)]


def test_an_error_of_vllm_in_a_chat_is_reported(server: str):
    for tokens in (20, 5000):
        with pytest.raises(ChatServerError, match=r"^The conversation is too long for the model: ") as caught:
            asyncio.run(deltas(server, "nine " * 300, tokens))
        assert not caught.value.retriable
    with pytest.raises(ChatServerError, match="The model `other` does not exist"):
        asyncio.run(deltas(server, "nine", 20, "other"))


def test_vllm_ends_an_answer_that_nobody_reads_on(server: str):
    async def metric(http: httpx2.AsyncClient, name: str) -> float:
        lines = (await http.get(f"{server.removesuffix('/v1')}/metrics")).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"vllm:{name}{{"))

    async def leave() -> float:
        """Tokens that were generated for a reader who left after the first piece."""
        async with httpx2.AsyncClient() as http:
            before = await metric(http, "generation_tokens_total")
            async with aclosing(chat(server, "nine", 90)) as answer:
                async for _ in answer:
                    break
            async with asyncio.timeout(60):
                while await metric(http, "num_requests_running"):
                    await asyncio.sleep(0.05)
            return await metric(http, "generation_tokens_total") - before

    *_, last = asyncio.run(deltas(server, "nine", 90))
    assert last.completion_tokens
    assert asyncio.run(leave()) < last.completion_tokens


def test_two_answers_of_a_turn_come_from_vllm_while_they_are_written(server: str, settings: Settings):
    settings.MODEL_SERVERS = [server]
    author = Author(kind=Author.Kind.POLICY, name="policy")
    policies = [Policy(author, temperature, None, server) for temperature in (1.0, 0.7)]
    pieces: dict[str, list[str]] = {}

    async def write(*events: NewEvent) -> None:
        for name, data in events:
            assert (name, data["offset"]) == ("piece", len("".join(pieces[data["side"]])))
            pieces[data["side"]].append(data["text"])

    async def may_continue() -> bool:
        return True

    messages = [{"role": "user", "content": "nine"}]
    counts = []
    for _ in range(10):  # an untrained model's answers may end after a few tokens
        pieces |= {side: [] for side in SIDES}
        answers = asyncio.run(write_two_answers(messages, policies, 80, write, may_continue))
        for side, answer in zip(SIDES, answers, strict=True):
            assert "".join(pieces[side]) == mask(answer.text)
        counts.append(min(len(pieces[side]) for side in SIDES))
    assert max(counts) > 2


def test_nothing_of_a_run_is_left_on_the_server(server: str):
    async def names() -> list[str]:
        async with httpx2.AsyncClient() as http:
            return [model["id"] for model in (await http.get(f"{server}/models")).json()["data"]]

    assert asyncio.run(names()) == ["policy"]
