"""Model servers that are started when somebody asks for a model: real processes."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
import torch
from django.utils import timezone
from pytest_django import Settings
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from annotation.store import put_folder
from tests.patience import HANGS_S
from tests.processes import until
from training.chat_servers import endpoints, local
from training.chat_servers.client import Delta, Endpoint, stream_chat
from training.chat_servers.endpoints import endpoint_of, model_on_this_machine, server_endpoint
from training.chat_servers.errors import ChatServerError
from training.chat_servers.local import place_of, serve_model, stop_servers
from training.models import ModelVersion
from training.registry.model_sources import served_folder

pytestmark = [pytest.mark.live, pytest.mark.slow(60)]

MESSAGES = [{"role": "user", "content": "the ferry"}]


@pytest.fixture(autouse=True)
def var(settings: Settings, monkeypatch: pytest.MonkeyPatch, warm_core: dict[str, str]) -> Iterator[Path]:
    """A place of its own for the servers of each test, which are ended after it."""
    for name, value in warm_core.items():
        monkeypatch.setenv(name, value)
    with tempfile.TemporaryDirectory(prefix="palate-") as folder:  # a socket's path must be short
        settings.VAR = Path(folder)
        settings.CHAT_THREADS = 1
        yield settings.VAR
        for pid in pids():
            os.kill(pid, signal.SIGKILL)
        until(lambda: not local._living(), "the servers have ended")


def pids() -> list[int]:
    return [int(place.lock.read_text()) for place in local._living()]


@pytest.fixture(scope="module")
def slow_model(tiny_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose answers take long: of many layers, and with end tokens that are unlikely."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_policy)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=16,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight *= 100
        model.lm_head.weight[tokenizer.eos_token_id] = 0
    folder = tmp_path_factory.mktemp("models") / "slow"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def lasting(slow_model: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(slow_model, tmp_path / "lasting"))


async def answer(endpoint: Endpoint, tokens: int = 12, seed: int = 1) -> list[Delta]:
    stream = stream_chat(
        endpoint, MESSAGES, temperature=1.0, max_new_tokens=tokens, seed=seed, timeout_s=HANGS_S
    )
    return [delta async for delta in stream]


async def test_a_model_is_served_when_it_is_asked_for_and_then_stays(tiny_policy: Path):
    first = await serve_model(tiny_policy)
    [pid] = pids()
    deltas = await answer(first)
    assert deltas[-1].finish_reason in ("stop", "length")
    assert deltas[-1].prompt_tokens
    assert await serve_model(tiny_policy) == first
    assert await answer(first) == [
        *deltas[:-1],
        Delta(
            "",
            *list(vars(deltas[-1]).values())[1:3],
            deltas[-1].prompt_tokens - 1,
            deltas[-1].completion_tokens,
        ),
    ]
    assert pids() == [pid]


async def test_a_server_is_forked_from_a_process_that_has_torch_and_stays(
    tiny_policy: Path, tmp_path: Path, settings: Settings, warm_core: dict[str, str]
):
    settings.FORK_SERVER = warm_core["WARM_CORE"]
    endpoint = await serve_model(tiny_policy)
    [pid] = pids()
    [parent] = re.findall(r"PPid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert b"warm_core.py" in Path(f"/proc/{parent}/cmdline").read_bytes()
    gc.collect()  # whoever asked for it has closed its connection
    assert (await answer(endpoint))[-1].finish_reason in ("stop", "length")
    assert pids() == [pid]
    broken = Path(shutil.copytree(tiny_policy, tmp_path / "broken"))
    (broken / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ChatServerError, match="The model broken cannot be served") as caught:
        await serve_model(broken)
    assert not caught.value.retriable
    settings.FORK_SERVER = str(tmp_path / "nobody")
    assert await serve_model(Path(shutil.copytree(tiny_policy, tmp_path / "other")))
    assert pid in pids()
    assert len(pids()) == 2


async def test_two_who_ask_at_once_get_one_server(tiny_policy: Path):
    one, other = await asyncio.gather(serve_model(tiny_policy), serve_model(tiny_policy))
    assert one == other
    assert len(pids()) == 1


def test_two_processes_that_ask_at_once_get_one_server_which_outlives_them(tiny_policy: Path, var: Path):
    code = f"""
import asyncio, django; django.setup()
from training.chat_servers.local import serve_model
print(asyncio.run(serve_model({str(tiny_policy)!r})).socket)
"""
    environment = os.environ | {"PALATE_VAR": str(var), "DJANGO_SETTINGS_MODULE": "config.settings"}
    environment |= {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1"}
    asking = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    sockets = [one.communicate(timeout=HANGS_S)[0].strip() for one in asking]
    assert [one.returncode for one in asking] == [0, 0]
    assert sockets[0] == sockets[1]
    assert len(pids()) == 1
    assert asyncio.run(answer(Endpoint("http://model/v1", tiny_policy.name, Path(sockets[0]))))


async def test_a_server_that_is_killed_within_an_answer_is_started_again(lasting: Path):
    endpoint = await serve_model(lasting)
    [pid] = pids()
    stream = stream_chat(endpoint, MESSAGES, temperature=1.0, max_new_tokens=1000, seed=1, timeout_s=HANGS_S)
    async with aclosing(stream):
        await anext(stream)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ChatServerError, match="The model lasting broke off") as caught:
            async for _ in stream:
                pass
    assert caught.value.retriable
    until(lambda: not local._living(), "the server has ended")
    with pytest.raises(ChatServerError) as gone:
        await answer(endpoint)
    assert gone.value.retriable
    assert await serve_model(lasting) == endpoint
    assert await answer(endpoint)
    assert pids() != [pid]


async def test_a_server_that_is_stopped_within_an_answer_says_so(lasting: Path):
    endpoint = await serve_model(lasting)
    stream = stream_chat(endpoint, MESSAGES, temperature=1.0, max_new_tokens=1000, seed=1, timeout_s=HANGS_S)
    async with aclosing(stream):
        await anext(stream)
        stop_servers()
        with pytest.raises(ChatServerError, match="The model server ends") as caught:
            async for _ in stream:
                pass
    assert caught.value.retriable
    until(lambda: not local._living(), "the server has ended")


async def test_a_damaged_model_is_told(tiny_policy: Path, tmp_path: Path):
    folder = tmp_path / "damaged"
    shutil.copytree(tiny_policy, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(ChatServerError, match=r"The model damaged cannot be served: .* is damaged") as caught:
        await serve_model(folder)
    assert not caught.value.retriable
    assert pids() == []


async def test_a_model_whose_files_change_is_served_anew(lasting: Path):
    before = await serve_model(lasting)
    os.utime(lasting / "model.safetensors", (1, 2_000_000_000))
    assert await serve_model(lasting) != before


async def test_beyond_the_limit_the_one_unused_for_longest_leaves(
    tiny_policy: Path, tmp_path: Path, settings: Settings
):
    settings.CHAT_MODELS_LOADED = 2
    models = [Path(shutil.copytree(tiny_policy, tmp_path / name)) for name in ("one", "two", "three")]
    for model in models[:2]:
        await serve_model(model)
    await serve_model(models[0])
    await serve_model(models[2])
    assert [place_of(model).is_held() for model in models] == [True, False, True]


async def test_where_all_are_busy_no_more_are_loaded(lasting: Path, tiny_policy: Path, settings: Settings):
    settings.CHAT_MODELS_LOADED = 1
    endpoint = await serve_model(lasting)
    stream = stream_chat(endpoint, MESSAGES, temperature=1.0, max_new_tokens=1000, seed=1, timeout_s=HANGS_S)
    async with aclosing(stream):
        await anext(stream)
        with pytest.raises(ChatServerError, match=r"1 models answer .*CHAT_MODELS_LOADED.*busy") as caught:
            await serve_model(tiny_policy)
        assert caught.value.retriable
    assert pids()


async def test_a_path_that_is_too_long_for_a_socket_is_told(tiny_policy: Path, settings: Settings):
    settings.VAR = settings.VAR / ("x" * 100)
    with pytest.raises(ChatServerError, match="PALATE_VAR"):
        await serve_model(tiny_policy)


@pytest.mark.parametrize(
    ("gpus", "chat_gpus", "visible"), [(0, [], None), (2, [], ""), (2, ["5"], "5"), (2, ["5", "6"], "5")]
)
def test_servers_see_the_gpus_that_are_theirs(
    gpus: int, chat_gpus: list[str], visible: str | None, settings: Settings
):
    settings.GPUS, settings.CHAT_GPUS = gpus, chat_gpus
    environment = local._environment()
    assert environment.get("CUDA_VISIBLE_DEVICES") == visible
    assert environment["TOKENIZERS_PARALLELISM"] == "false"


# --- models of the registry --------------------------------------------------------------------------------------


def version_of(location: str) -> ModelVersion:
    return ModelVersion(kind="policy", name="stored", location=location)


async def test_a_model_of_the_store_is_fetched_and_served(
    tiny_policy: Path, settings: Settings, tmp_path: Path
):
    settings.ARTIFACTS = tmp_path
    location = put_folder(tiny_policy, "runs/1")
    first, second = await asyncio.gather(endpoint_of(version_of(location)), endpoint_of(version_of(location)))
    assert first == second
    assert await answer(first)
    assert (served_folder(location) / "config.json").is_file()


def test_the_files_of_models_that_were_not_used_for_longest_go(
    tiny_policy: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings.ARTIFACTS = tmp_path
    monkeypatch.setattr(endpoints, "KEPT_FOLDERS", 2)
    locations = []
    for number in range(3):
        model = tmp_path / "a model"
        shutil.copytree(tiny_policy, model, dirs_exist_ok=True)
        (model / "number").write_text(str(number))
        locations.append(put_folder(model, "runs/1", transfer="copy"))
    for used, location in enumerate([locations[0], locations[1], locations[0], locations[2]]):
        folder = model_on_this_machine(version_of(location))
        os.utime(folder, (used, used))
    assert [served_folder(location).is_dir() for location in locations] == [True, False, True]


async def test_a_model_of_a_folder_is_served_in_place(tiny_policy: Path, settings: Settings):
    settings.MODEL_DIRS = [str(tiny_policy.parent)]
    version = version_of(f"file:{tiny_policy}")
    assert (await endpoint_of(version)).model == tiny_policy.name
    settings.MODEL_DIRS = []
    with pytest.raises(ChatServerError, match="MODEL_DIRS") as caught:
        await endpoint_of(version)
    assert not caught.value.retriable


async def test_a_model_whose_files_are_not_there_is_told():
    with pytest.raises(ChatServerError, match="is not in the store") as caught:
        await endpoint_of(version_of(f"store:runs/1/{'0' * 64}"))
    assert not caught.value.retriable
    removed = version_of(f"store:runs/1/{'0' * 64}")
    removed.removed_at = timezone.now()
    with pytest.raises(ChatServerError, match="The files of stored were removed"):
        await endpoint_of(removed)


def test_another_server_gets_its_key_only(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    settings.MODEL_SERVERS = ["http://one/v1", "http://two/v1"]
    monkeypatch.setenv("PALATE_API_KEY", "secret")
    monkeypatch.setenv("PALATE_API_SERVER", "http://one/v1/")
    assert server_endpoint("http://one/v1", "m") == Endpoint("http://one/v1", "m", None, "secret")
    assert server_endpoint("http://two/v1", "m").key == ""
    with pytest.raises(ChatServerError, match="MODEL_SERVERS"):
        server_endpoint("http://three/v1", "m")
