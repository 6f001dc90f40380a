"""Weights that are no numbers, damaged files and a full disk are named as such."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.training.core.conftest import judgments, tiny_llama, write_job
from tests.training.core.in_process import Recorded, do_here
from training.core.errors import BadInput, is_disk_full
from training.core.model_loading import load_policy, resolve_source

CONFIG = {"max_steps": 6, "batch_size": 4, "max_length": 100, "checkpoint_every": 2, "threads": 1}


@pytest.fixture
def saved(tmp_path: Path, source: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "model"))


def load(folder: Path) -> Any:
    return load_policy(resolve_source(folder.name, folder.parent))


def cut(path: Path, share: float = 0.6) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_no_numbers(value: float, saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = value
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"not finite numbers .* in model.layers.1.mlp.up_proj.weight"):
        load(saved)


@pytest.mark.parametrize("share", [0.6, 0.0001])
def test_a_truncated_file(share: float, saved: Path) -> None:
    cut(saved / "model.safetensors", share)
    with pytest.raises(BadInput, match=r"is damaged: model.safetensors is truncated") as caught:
        load(saved)
    assert caught.value.setting == "model"


def test_a_missing_part_of_a_sharded_model(saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    tiny_llama().save_pretrained(saved, max_shard_size="60KB")
    load(saved)
    parts = sorted(saved.glob("model-*.safetensors"))
    assert len(parts) > 1
    parts[1].unlink()
    with pytest.raises(BadInput, match=f"is damaged: {parts[1].name} is missing"):
        load(saved)
    (saved / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(BadInput, match=r"index.json does not say which file holds which weights"):
        load(saved)


def test_a_weight_of_another_shape(saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    weights["model.norm.weight"] = torch.ones(31)
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"is damaged: model.norm.weight has the shape \[31\] and not \[32\]"):
        load(saved)


@pytest.fixture
def interrupted(source: Path, tmp_path: Path) -> Path:
    """A job that ended at its fifth step, with a checkpoint of the fourth."""
    folder = write_job(tmp_path / "job", "reward", judgments(24), model=str(source), config=CONFIG)
    events = Recorded()
    assert do_here(folder, end_at_step(events, 5))[0] is None
    assert json.loads((folder / "checkpoint" / "manifest.json").read_text())["step"] == 4
    return folder


def end_at_step(events: Recorded, step: int) -> Recorded:
    """The events, at whose progress to `step` the run dies."""
    write = events._write

    def at_step(event: str, **values: Any) -> None:
        if (event, values.get("step")) == ("progress", step):
            events.end_at = len(events.seen)
        write(event, **values)

    events._write = at_step  # type: ignore[method-assign]
    return events


def tensor_file(folder: Path) -> Path:
    [file] = folder.glob("*.safetensors")
    return file


def rewrite(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    file = tensor_file(folder)
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    save_file(change(load_file(file)), file, metadata=metadata)


def truncated(folder: Path) -> None:
    cut(tensor_file(folder))


def lacking(folder: Path) -> None:
    tensor_file(folder).unlink()


def without_step(folder: Path) -> None:
    (folder / "manifest.json").write_text("{}")


def of_another_shape(folder: Path) -> None:
    rewrite(
        folder,
        lambda tensors: tensors | {name: torch.ones(31) for name in tensors if name.endswith(".norm.weight")},
    )


def of_another_model(folder: Path) -> None:
    rewrite(folder, lambda tensors: {name: tensor for name, tensor in tensors.items() if "mlp" not in name})


DAMAGES = [
    (truncated, r"\S+ is truncated or no safetensors file"),
    (lacking, r"\S+ is missing"),
    (without_step, "manifest.json does not name the step and the files"),
    (of_another_shape, r"\S+norm.weight has the shape \[31\], which does not fit the model"),
    (of_another_model, "its weights have other names than those of the model"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_a_damaged_checkpoint_is_named(damage: Callable[[Path], None], words: str, interrupted: Path) -> None:
    damage(interrupted / "checkpoint")
    with pytest.raises(BadInput) as caught:
        do_here(interrupted)
    assert re.search(f"The run cannot be resumed, as the checkpoint is damaged: {words}", str(caught.value))
    assert str(caught.value).endswith("Remove its folder checkpoint to start again from the first step.")


def test_the_checkpoint_before_a_damaged_one_is_used(interrupted: Path, source: Path, tmp_path: Path) -> None:
    whole = write_job(tmp_path / "whole", "reward", judgments(24), model=str(source), config=CONFIG)
    do_here(whole)
    shutil.copytree(interrupted / "checkpoint", interrupted / "checkpoint.old")
    truncated(interrupted / "checkpoint")
    _, events = do_here(interrupted)
    [warning] = [event["message"] for event in events if event["event"] == "warning"]
    assert warning.startswith(
        "The run resumes from the checkpoint before the last one, of step 4, as the checkpoint is"
    )
    assert next(event for event in events if event["event"] == "start")["resumed_from"] == 4
    ours, theirs = (load_file(folder / "output" / "model.safetensors") for folder in (interrupted, whole))
    assert all(ours[name].equal(weight) for name, weight in theirs.items())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of 300 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.live
def test_a_full_disk_is_named_and_the_run_resumes_when_there_is_space(
    small_disk: Path, source: Path, do: Callable[..., Any]
) -> None:
    """The first checkpoint, of weights and moments, does not fit; neither does one beside the other, later."""
    job = write_job(small_disk / "job", "reward", judgments(24), model=str(source), config=CONFIG)
    code, events = do(job)
    assert code == 2
    assert events[-1]["event"] == "error"
    assert events[-1]["message"].startswith(
        "The disk is full: not all of what the run had to write could be stored."
    )
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    code, events = do(job)
    assert (code, events[-1]["event"]) == (0, "done")


def test_only_a_full_disk_is_taken_for_one() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        Path("/dev/full").write_text("a")
    assert is_disk_full(caught.value)
    assert not is_disk_full(FileNotFoundError(2, "No such file"))
    assert not is_disk_full(RuntimeError("shapes do not match"))
