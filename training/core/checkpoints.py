"""Checkpoints that stay readable if the process is killed at any moment.

A checkpoint is a directory: weights, optimizer moments and random state in safetensors, and `manifest.json`, written last.
It is written under a temporary name and renamed, after the previous one was renamed to `.old`, so a complete one exists at
every moment. One that was damaged on the disk is not used; `.old` is, if it is there. The data order is a function of seed and
step and the learning rate one of the step, so neither is stored.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.core.distributed import full_tensor, shard_like
from training.core.errors import BadInput
from training.core.job_directory import fsync, fsync_tree, write_json
from training.core.model_loading import find_damage
from training.core.process_rank import is_main_process

TENSOR_FILES = ("model.safetensors", "optimizer.safetensors", "random.safetensors", "extra.safetensors")


class RestoredCheckpoint(NamedTuple):
    """The contents of a checkpoint besides the state that `load` puts back into model and optimizer."""

    step: int
    extra: dict[str, Tensor]
    manifest: dict[str, Any]


class Damaged(Exception):
    """A checkpoint cannot be used; the message says what is wrong with it, as the end of a sentence."""


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
    unfinished, previous = folder.with_name(folder.name + ".tmp"), _previous(folder)
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


def load(
    folder: Path, *, model: nn.Module, optimizer: torch.optim.Optimizer, warn: Callable[[str], None]
) -> RestoredCheckpoint | None:
    """Restore model, optimizer and random state from the last checkpoint, or from the one before if that is damaged, which `warn`
    is told. Returns the rest of it, or None without one. Raises BadInput if there are only damaged ones."""
    damage = ""
    for candidate in (folder, _previous(folder)):
        if not candidate.is_dir():
            continue
        try:
            tensors, manifest = _read(candidate, model)
        except Damaged as error:
            damage = damage or f"the checkpoint is damaged: {error}"
            continue
        if damage:
            warn(
                f"The run resumes from the checkpoint before the last one, of step {manifest['step']}, as {damage}."
            )
        saved, moments, random, extra = tensors
        _restore(model, optimizer, saved, moments)
        torch.set_rng_state(random["cpu"])
        if "cuda" in random and torch.cuda.is_available():
            torch.cuda.set_rng_state(random["cuda"])
        return RestoredCheckpoint(manifest["step"], extra, manifest)
    if damage:
        raise BadInput(
            f"The run cannot be resumed, as {damage}. Remove its folder {folder.name} to start again from the first step."
        )
    return None


def _read(folder: Path, model: nn.Module) -> tuple[list[dict[str, Tensor]], dict[str, Any]]:
    """The tensors of TENSOR_FILES and the manifest of a checkpoint. Raises Damaged where they are not whole or not of `model`."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        int(manifest["step"])
    except FileNotFoundError:
        raise Damaged("manifest.json is missing") from None
    except (ValueError, TypeError, KeyError):
        raise Damaged("manifest.json does not name the step") from None
    if damage := find_damage(folder / name for name in TENSOR_FILES):
        raise Damaged(damage)
    saved, moments, random, extra = (load_file(folder / name) for name in TENSOR_FILES)
    own, parameters = _changing_tensors(model), dict(model.named_parameters())
    if saved.keys() != own.keys():
        raise Damaged("its weights have other names than those of the model")
    moments_of = {name: parameters.get(name.rpartition(".")[0]) for name in moments}
    for name, value in (saved | moments).items():
        expected = own[name] if name in saved else moments_of[name]
        if expected is None or (value.shape != expected.shape and (name in saved or value.dim())):
            raise Damaged(f"{name} has the shape {list(value.shape)}, which does not fit the model")
    if "cpu" not in random:
        raise Damaged("random.safetensors has no random state")
    return [saved, moments, random, extra], manifest


def _restore(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    saved: dict[str, Tensor],
    moments: dict[str, Tensor],
) -> None:
    """Put the weights and the optimizer's moments of a checkpoint back, sharded as they are in this run."""
    with torch.no_grad():
        for name, value in _changing_tensors(model).items():
            value.copy_(shard_like(saved[name], value))
    parameters = dict(model.named_parameters())
    for key, value in moments.items():
        name, _, moment = key.rpartition(".")
        parameter = parameters[name]
        optimizer.state[parameter][moment] = (
            shard_like(value, parameter) if value.dim() else value.to(parameter.device)
        )


def _previous(folder: Path) -> Path:
    """Where the checkpoint before the last one is, while a new one takes its place."""
    return folder.with_name(folder.name + ".old")


def _changing_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What a run changes, by name: trainable parameters, shared ones once, and persistent buffers."""
    saved = model.state_dict().keys()
    tensors = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
    return tensors | {name: value for name, value in model.named_buffers() if name in saved}


def _writable(tensor: Tensor) -> Tensor:
    """The tensor with the parts of all processes, contiguous."""
    return full_tensor(tensor).contiguous()
