"""Model servers of live chats for tests: a policy whose answers take long, and the servers' processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

from safetensors.numpy import load_file, save_file

from tests.processes import until
from training.chat_servers import local


def long_policy(policy: Path, folder: Path) -> Path:
    """A copy of a policy at `folder` whose answers only end at the limit of tokens, of which it takes up to 4,096.

    Every token's embedding has the same large first component, and the end token's the opposite one: with tied embeddings no
    token is then as unlikely to follow as the end.
    """
    shutil.copytree(policy, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    weights = load_file(folder / "model.safetensors")
    assert "lm_head.weight" not in weights
    embeddings = weights["model.embed_tokens.weight"]
    embeddings[:, 0] = 4.0
    embeddings[config["eos_token_id"], 0] = -4.0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def server_pids() -> list[int]:
    return [int(place.lock.read_text()) for place in local._living()]


def kill_servers() -> None:
    for pid in server_pids():
        os.kill(pid, signal.SIGKILL)
    until(lambda: not local._living(), "the servers have ended")
