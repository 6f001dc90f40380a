"""Checkpoints that stay readable if the process is killed at any moment.

A checkpoint is a directory: weights, optimizer moments and random state in safetensors, and `manifest.json`, written last.
It is written under a temporary name and renamed, after the previous one was renamed to `.old`, so a complete one exists at
every moment. The data order is a function of seed and step and the learning rate one of the step, so neither is stored.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.core.distributed import full_tensor, shard_like
from training.core.job_directory import fsync, fsync_tree, write_json
from training.core.process_rank import is_main_process


class RestoredCheckpoint(NamedTuple):
    """The contents of a checkpoint besides the state that `load` puts back into model and optimizer."""

    step: int
    extra: dict[str, Tensor]
    manifest: dict[str, Any]


def save(
    folder: Path,
    *,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    extra: dict[str, Tensor] | None = None,
    manifest: dict[str, Any] | None = None,
) -> None:
    """Write the state after `step` to `folder`.

    extra: tensors that are expensive to compute again. manifest: further JSON values of the run. With several processes all
    must call it, and the main one writes.
    """
    moments = {
        f"{name}.{key}": _writable(value)
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }
    tensors = {name: _writable(value) for name, value in _changing_tensors(model).items()}
    if not is_main_process():
        return
    unfinished, previous = folder.with_name(folder.name + ".tmp"), folder.with_name(folder.name + ".old")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    save_file(tensors, unfinished / "model.safetensors")
    save_file(moments, unfinished / "optimizer.safetensors")
    random = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    save_file(random, unfinished / "random.safetensors")
    save_file(extra or {}, unfinished / "extra.safetensors")
    write_json(unfinished / "manifest.json", {"step": step} | (manifest or {}))
    fsync_tree(unfinished)
    shutil.rmtree(previous, ignore_errors=True)
    if folder.exists():
        folder.rename(previous)
    unfinished.rename(folder)
    fsync(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)


def load(folder: Path, *, model: nn.Module, optimizer: torch.optim.Optimizer) -> RestoredCheckpoint | None:
    """Restore model, optimizer and random state from the last checkpoint. Returns the rest of it, or None without one."""
    checkpoint = find(folder)
    if checkpoint is None:
        return None
    saved, own = load_file(checkpoint / "model.safetensors"), _changing_tensors(model)
    if saved.keys() != own.keys():
        raise RuntimeError("The checkpoint is of another model; remove it to start again.")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(shard_like(saved[name], value))
    parameters = dict(model.named_parameters())
    for key, value in load_file(checkpoint / "optimizer.safetensors").items():
        name, _, moment = key.rpartition(".")
        parameter = parameters[name]
        optimizer.state[parameter][moment] = (
            shard_like(value, parameter) if value.dim() else value.to(parameter.device)
        )
    random = load_file(checkpoint / "random.safetensors")
    torch.set_rng_state(random["cpu"])
    if "cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["cuda"])
    manifest = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))
    return RestoredCheckpoint(manifest["step"], load_file(checkpoint / "extra.safetensors"), manifest)


def find(folder: Path) -> Path | None:
    """The last complete checkpoint at `folder`, or the previous one if the process died between two renames."""
    for candidate in (folder, folder.with_name(folder.name + ".old")):
        if (candidate / "manifest.json").is_file():
            return candidate
    return None


def _changing_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What a run changes, by name: trainable parameters, shared ones once, and persistent buffers."""
    saved = model.state_dict().keys()
    tensors = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
    return tensors | {name: value for name, value in model.named_buffers() if name in saved}


def _writable(tensor: Tensor) -> Tensor:
    """The tensor with the parts of all processes, contiguous."""
    return full_tensor(tensor).contiguous()
