from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real policy of some ten thousand weights, pre-trained for a few steps by the core's own program."""
    folder = tmp_path_factory.mktemp("tiny")
    words = "the ferry leaves at nine and costs twelve crowns please ask again thank you kindly".split()
    rng = random.Random(0)
    texts = [{"text": " ".join(rng.choices(words, k=20))} for _ in range(200)]
    (folder / "data.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    config = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "layers": 1,
        "heads": 2,
        "kv_heads": 2,
        "vocab_size": 300,
        "block_length": 32,
        "max_length": 256,
        "max_steps": 5,
        "batch_size": 8,
    }
    (folder / "job.json").write_text(json.dumps({"kind": "pretrain", "config": config}))
    done = subprocess.run(
        [sys.executable, "-m", "training.core", str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "output"
