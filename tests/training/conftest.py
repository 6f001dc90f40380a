from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotation.models import Project, User
from tests import builders
from tests.patience import HANGS_S
from tests.processes import WARM
from training.registry.actions import add_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def without_django(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of an interpreter that finds the project, and where Django cannot be imported."""
    blocked = tmp_path_factory.mktemp("blocked") / "django"
    blocked.mkdir()
    (blocked / "__init__.py").write_text("raise ImportError('the core must not import Django')\n")
    return os.environ | {"PYTHONPATH": f"{blocked.parent}{os.pathsep}{ROOT}"}


@pytest.fixture(scope="session")
def warm_core(without_django: dict[str, str]) -> Iterator[dict[str, str]]:
    """Environment variables with which `python -m training.core` starts at once: see tests/warm/warm_core.py."""
    with tempfile.TemporaryDirectory(prefix="palate-") as folder:  # a socket's path must be short
        address = f"{folder}/core"
        warm = subprocess.Popen(
            [sys.executable, WARM / "warm_core.py", address],
            env=without_django, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert warm.stdout is not None
        assert warm.stdout.readline() == b"ready\n"
        yield {"WARM_CORE": address, "PYTHONPATH": f"{WARM}{os.pathsep}{ROOT}"}
        warm.terminate()
        warm.wait(HANGS_S)


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory: pytest.TempPathFactory, warm_core: dict[str, str]) -> Path:
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
        [sys.executable, "-m", "training.core", str(folder)],
        cwd=ROOT, env=os.environ | warm_core, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "output"


@pytest.fixture
def alice() -> User:
    return builders.user("alice", is_staff=True)


@pytest.fixture
def project(alice: User, tiny_policy: Path) -> Project:
    """A project with a policy that trains in a moment."""
    project = builders.project(alice, k=3)
    add_model(project=project, kind="policy", name="first", location=f"file:{tiny_policy}")
    return project
