"""vLLM on this machine's processor, in the environment of `environments.vllm`."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 900
"""Seconds until it serves, at most: 100 on an idle core."""


@contextmanager
def vllm_server(
    python: Path, model: Path, log: Path, *, lora_updates: bool = True, max_length: int = 256
) -> Iterator[str]:
    """The base URL of vLLM serving `model` in float32, with adapters of rank 16 at most. log: what it prints.

    lora_updates: whether adapters may be loaded while it runs.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_TARGET_DEVICE": "cpu",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": str(int(lora_updates)),
    }
    # the `vllm` command of this wheel asks for a distribution of another name
    command = f"""-m vllm.entrypoints.openai.api_server --model {model} --host 127.0.0.1 --port {port} --dtype float32
        --max-model-len {max_length} --max-num-seqs 64 --enable-lora --max-loras 2 --max-lora-rank 16 --enforce-eager
        --served-model-name policy --logprobs-mode processed_logprobs"""
    with log.open("w") as output:
        server = subprocess.Popen(
            [str(python), *command.split()],
            env=os.environ | environment,
            cwd=log.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(server, f"http://127.0.0.1:{port}/health", log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait()


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    for _ in range(START_S):
        if server.poll() is not None:
            raise RuntimeError(f"vLLM did not start:\n{log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    raise RuntimeError(f"vLLM did not start in {START_S} s.")
