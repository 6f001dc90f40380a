"""Checkpoints that a kill at any moment cannot spoil.

A checkpoint is a directory: weights, optimizer moments and random state in safetensors, then `manifest.json`, written last.
It is made under a temporary name and renamed, the one before it stepping aside first, so at every moment one whole
checkpoint can be found. The data's order is a function of the seed and the step, and the learning rate of the step,
so the step is all that needs keeping of either.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.core.jobs import sync, sync_tree, write_json


def save(
    folder: Path,
    *,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    extra: dict[str, Tensor] | None = None,
) -> None:
    """Write the state after `step` to `folder`. `extra` holds tensors that are dear to compute again."""
    unfinished, previous = folder.with_name(folder.name + ".tmp"), folder.with_name(folder.name + ".old")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    save_file(_own_tensors(model), unfinished / "model.safetensors")
    moments = {
        f"{index}.{name}": value
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }
    save_file(moments, unfinished / "optimizer.safetensors")
    random = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    save_file(random, unfinished / "random.safetensors")
    save_file(extra or {}, unfinished / "extra.safetensors")
    write_json(unfinished / "manifest.json", {"step": step})
    sync_tree(unfinished)
    shutil.rmtree(previous, ignore_errors=True)
    if folder.exists():
        folder.rename(previous)
    unfinished.rename(folder)
    sync(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)


def load(
    folder: Path, *, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, dict[str, Tensor]] | None:
    """Put the last checkpoint's state back. Returns its step and extra tensors, or None where there is none."""
    found = find(folder)
    if found is None:
        return None
    step = json.loads((found / "manifest.json").read_text(encoding="utf-8"))["step"]
    saved, own = load_file(found / "model.safetensors"), _own_tensors(model)
    if saved.keys() != own.keys():
        raise RuntimeError("The checkpoint is of another model; remove it to start again.")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(saved[name])
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in load_file(found / "optimizer.safetensors").items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    random = load_file(found / "random.safetensors")
    torch.set_rng_state(random["cpu"])
    if "cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["cuda"])
    return step, load_file(found / "extra.safetensors")


def find(folder: Path) -> Path | None:
    """The last whole checkpoint at `folder`, or the one before it where the run died between two renames."""
    for candidate in (folder, folder.with_name(folder.name + ".old")):
        if (candidate / "manifest.json").is_file():
            return candidate
    return None


def _own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters by name, each shared one once, with the buffers that are saved."""
    saved = model.state_dict().keys()
    tensors = {name: value.detach() for name, value in model.named_parameters()}
    tensors |= {name: value for name, value in model.named_buffers() if name in saved}
    return {
        name: value.contiguous() if not value.is_contiguous() else value for name, value in tensors.items()
    }
