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
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.core.distributed import full_tensor, like
from training.core.job_directory import sync, sync_tree, write_json
from training.core.process_rank import is_first


class Restored(NamedTuple):
    """What a checkpoint says besides the state it puts back."""

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
    """Write the state after `step` to `folder`. `extra` holds tensors that are dear to compute again, `manifest` what
    else the run must know of itself. Of several processes all must ask, and the first writes."""
    moments = {
        f"{name}.{key}": _whole(value)
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }
    tensors = {name: _whole(value) for name, value in _own_tensors(model).items()}
    if not is_first():
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
    sync_tree(unfinished)
    shutil.rmtree(previous, ignore_errors=True)
    if folder.exists():
        folder.rename(previous)
    unfinished.rename(folder)
    sync(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)


def load(folder: Path, *, model: nn.Module, optimizer: torch.optim.Optimizer) -> Restored | None:
    """Put the last checkpoint's state back. Returns the rest of it, or None where there is none."""
    found = find(folder)
    if found is None:
        return None
    saved, own = load_file(found / "model.safetensors"), _own_tensors(model)
    if saved.keys() != own.keys():
        raise RuntimeError("The checkpoint is of another model; remove it to start again.")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(like(saved[name], value))
    parameters = dict(model.named_parameters())
    for key, value in load_file(found / "optimizer.safetensors").items():
        name, _, moment = key.rpartition(".")
        parameter = parameters[name]
        optimizer.state[parameter][moment] = (
            like(value, parameter) if value.dim() else value.to(parameter.device)
        )
    random = load_file(found / "random.safetensors")
    torch.set_rng_state(random["cpu"])
    if "cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["cuda"])
    values = json.loads((found / "manifest.json").read_text(encoding="utf-8"))
    return Restored(values["step"], load_file(found / "extra.safetensors"), values)


def find(folder: Path) -> Path | None:
    """The last whole checkpoint at `folder`, or the one before it where the run died between two renames."""
    for candidate in (folder, folder.with_name(folder.name + ".old")):
        if (candidate / "manifest.json").is_file():
            return candidate
    return None


def _own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What a run changes, by name: parameters that are learned, each shared one once, and the buffers that are saved."""
    saved = model.state_dict().keys()
    tensors = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
    return tensors | {name: value for name, value in model.named_buffers() if name in saved}


def _whole(tensor: Tensor) -> Tensor:
    """A tensor as it is written: with all its parts, and its elements in order."""
    return full_tensor(tensor).contiguous()
