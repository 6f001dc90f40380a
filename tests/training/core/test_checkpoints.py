"""Checkpoints of two processes: each writes its shards, a kill while writing leaves the one before, any number can resume."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from tests.patience import HANGS_S
from tests.training.core import tastes
from tests.training.core.in_process import Recorded, do_here
from tests.training.core.processes import ENVIRONMENT, TORCHRUN, do_jobs, tensors
from training.core import checkpoints

pytestmark = [pytest.mark.live, pytest.mark.slow(40)]

CONFIG = {
    "batch_size": 3,
    "samples": 2,
    "max_new_tokens": 4,
    "max_steps": 6,
    "checkpoint_every": 2,
    "batch_tokens": 64,
}
CONFIG |= {"updates": 2, "reuse": 2, "evaluate_every": 3, "patience": 9, "learning_rate": 1e-3}

MEASURE = """
import json, sys
import safetensors.torch
from torch.distributed.tensor import DTensor
from training.core import checkpoints, training_loop
from training.core.__main__ import main
from training.core.process_rank import rank

checkpoints.MIN_FILE_BYTES = 1
written, writing, save, real = [], [], checkpoints.save, safetensors.torch.save

def save_file(tensors, *arguments, **options):
    writing.append(sum(tensor.nbytes for tensor in tensors.values()))
    if {dies} and rank() == 1 and len(written) == 1 and len(writing) == 3:
        import os
        os._exit(9)
    return real(tensors, *arguments, **options)

def save_checkpoint(folder, **options):
    gather = DTensor.full_tensor
    DTensor.full_tensor = None  # nothing is gathered
    save(folder, **options)
    DTensor.full_tensor = gather
    written.append(list(writing))
    writing.clear()

safetensors.torch.save = save_file
training_loop.checkpoints.save = save_checkpoint
main([sys.argv[1]])
open(sys.argv[1] + "/rank-" + str(rank()) + ".json", "w").write(json.dumps(written))
"""
"""Does a job, and notes the bytes of each file of each checkpoint. The second process may die in the second checkpoint."""


def measure(
    folder: Path, warm_core: dict[str, str], *, dies: bool = False
) -> subprocess.CompletedProcess[str]:
    driver = folder / "driver.py"
    driver.write_text(MEASURE.replace("{dies}", str(dies)))
    return subprocess.run(
        [*TORCHRUN, str(driver), str(folder)],
        env=ENVIRONMENT | warm_core, capture_output=True, text=True, timeout=HANGS_S,
    )  # fmt: skip


def job(folder: Path, models: Path) -> Path:
    return tastes.job(folder, "ppo", models, tastes.prompts(10), CONFIG)


@pytest.fixture(scope="module")
def folder(models: Path, tmp_path_factory: pytest.TempPathFactory, warm_core: dict[str, str]) -> Path:
    """The outputs of two processes: of a `whole` run, whose files are noted, of one `killed` and resumed, and of one resumed
    `from_one` process."""
    folder = tmp_path_factory.mktemp("checkpoints")
    done = measure(job(folder / "killed", models), warm_core, dies=True)
    assert done.returncode != 0
    assert step(folder / "killed" / "checkpoint") == 2, done.stderr
    assert list((folder / "killed" / "checkpoint.tmp").glob("*.safetensors")), "it was writing"
    assert not (folder / "killed" / "checkpoint.tmp" / "manifest.json").exists()
    stopped, _ = do_here(job(folder / "from_one", models), Recorded(12, gently=True))
    assert stopped is None
    assert 0 < step(folder / "from_one" / "checkpoint") < 6
    assert measure(job(folder / "whole", models), warm_core).returncode == 0
    codes, _ = do_jobs([folder / "killed", folder / "from_one"], 2, warm_core)
    assert codes == [[0, 0]] * 2
    return folder


def step(checkpoint: Path) -> int:
    number: int = json.loads((checkpoint / "manifest.json").read_text())["step"]
    return number


def test_a_run_killed_while_it_writes_resumes_to_the_bit(folder: Path):
    ours, theirs = (tensors(folder / name / "output") for name in ("killed", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_two_processes_resume_from_the_checkpoint_of_one(folder: Path):
    ours, theirs = (tensors(folder / name / "output") for name in ("from_one", "whole"))
    assert all(torch.allclose(ours[name], theirs[name], rtol=0, atol=1e-5) for name in theirs)


def test_a_checkpoint_takes_less_memory_than_a_shard_and_a_fifth(folder: Path):
    """A file's tensors are held twice at most: moved to main memory, and as the bytes of the file."""
    first, second = (json.loads((folder / "whole" / f"rank-{number}.json").read_text()) for number in (0, 1))
    assert len(first) >= 3
    for files, others in zip(first, second, strict=True):
        assert min(sum(files), sum(others)) > 0.3 * (sum(files) + sum(others)), "replicated tensors are one's"
        for own in (files, others):
            assert 2 * max(own) <= 1.2 * sum(own)


def test_every_tensor_is_in_one_file_and_files_are_as_large_as_they_may_be(monkeypatch: pytest.MonkeyPatch):
    state = {"a": torch.zeros(30), "b": torch.zeros(30), "c": torch.zeros(200), "d": torch.zeros(1)}
    assert checkpoints.assign_files(state) == dict.fromkeys(state, 1), "a small state is one file"
    monkeypatch.setattr(checkpoints, "MIN_FILE_BYTES", 240)
    assert checkpoints.assign_files(state) == {"a": 1, "b": 1, "c": 2, "d": 3}
