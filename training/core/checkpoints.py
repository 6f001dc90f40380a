"""Checkpoints that stay readable if the process is killed at any moment.

A checkpoint is a directory: weights, optimizer moments, random state and further tensors in safetensors, and `manifest.json`,
written last. It is written under a temporary name and renamed, after the previous one was renamed to `.old`, so a complete one
exists at every moment. One that was damaged on the disk is not used; `.old` is, if it is there. The data order is a function of
seed and step and the learning rate one of the step, so neither is stored.

PyTorch's distributed checkpoints write and read the tensors: each of several processes writes its shards, a few at a time, and
each of another number of processes reads the parts that it needs.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load as load_tensors
from torch.distributed.checkpoint.state_dict_saver import save as save_tensors

from training.core.distributed import wait_for_all_processes
from training.core.errors import BadInput
from training.core.job_directory import fsync, write_json
from training.core.model_loading import find_damage
from training.core.process_rank import is_main_process, world_size

WEIGHTS_PREFIX = "best.weights."
"""What the names of `extra` tensors begin with that are copies of parameters, and sharded like them."""

PRECISION = "precision"
"""The value of the manifest that says how the run computes products, as `precision.new_choice` does."""

FILES, MIN_FILE_BYTES = 16, 2**20
"""A state is written in about so many files, none of them smaller unless it is the last: a file's tensors are in memory once more
while it is written."""


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
    extra: Mapping[str, Tensor] | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> None:
    """Write the state after `step` to `folder`.

    extra: tensors that are expensive to compute again, the same in all processes apart from sharded ones. manifest: further JSON
    values of the run, those of the main process. With several processes all must call it.
    """
    unfinished, previous = folder.with_name(folder.name + ".tmp"), _previous(folder)
    if is_main_process():
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
    if world_size() > 1:
        wait_for_all_processes()
    state = {f"model.{name}": value for name, value in _changing_tensors(model).items()}
    for name, parameter in model.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            state[f"optimizer.{name}.{moment}"] = value
    state["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        state["random.cuda"] = torch.cuda.get_rng_state()
    state |= {f"extra.{name}": value for name, value in (extra or {}).items()}
    writer = HuggingFaceStorageWriter(str(unfinished), assign_files(state), save_distributed=True)
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # one process is no mistake
            save_tensors(state, storage_writer=writer, no_dist=world_size() == 1)
    except CheckpointException as error:
        raise next(iter(error.failures.values()))[0] from None  # of one process, as the disk may be full
    if not is_main_process():
        return
    files = sorted(path.name for path in unfinished.glob("*.safetensors"))
    write_json(unfinished / "manifest.json", {"step": step, "files": files} | dict(manifest or {}))
    fsync(unfinished / "manifest.json")  # the writer has synced its own files
    fsync(unfinished)
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
            manifest = _read_manifest(candidate)
            state = _read_state(candidate, model)
        except Damaged as error:
            damage = damage or f"the checkpoint is damaged: {error}"
            continue
        if damage:
            warn(
                f"The run resumes from the checkpoint before the last one, of step {manifest['step']}, as {damage}."
            )
        return RestoredCheckpoint(manifest["step"], _restore(state, model, optimizer), manifest)
    if damage:
        raise BadInput(
            f"The run cannot be resumed, as {damage}. Remove its folder {folder.name} to start again from the first step."
        )
    return None


def stored_value(folder: Path, name: str) -> Any:
    """A value of the manifest of the last checkpoint that is whole; None without one."""
    for candidate in (folder, _previous(folder)):
        with suppress(Damaged):
            return _read_manifest(candidate).get(name)
    return None


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Raises Damaged where it is not whole, or a file that it names is not."""
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        names = [str(name) for name in manifest["files"]]
        int(manifest["step"])
    except FileNotFoundError:
        raise Damaged("manifest.json is missing") from None
    except (ValueError, TypeError, KeyError):
        raise Damaged("manifest.json does not name the step and the files") from None
    if damage := find_damage(folder / name for name in names):
        raise Damaged(damage)
    return manifest


def _read_state(folder: Path, model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a checkpoint, each sharded as in this run; weights are read in place. Raises Damaged where they are not
    of `model`."""
    reader = HuggingFaceStorageReader(str(folder))
    saved = reader.read_metadata().state_dict_metadata
    state = {f"model.{name}": value for name, value in _changing_tensors(model).items()}
    if state.keys() != {name for name in saved if name.startswith("model.")}:
        raise Damaged("its weights have other names than those of the model")
    if "random.cpu" not in saved:
        raise Damaged("it has no random state")
    for name, value in state.items():
        shape = getattr(saved[name], "size", None)
        if shape != value.shape:
            raise Damaged(f"{name} has the shape {list(shape or [])}, which does not fit the model")
    parameters = dict(model.named_parameters())
    for name in saved.keys() - state.keys():
        state[name] = _empty(name, saved[name], parameters)
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        load_tensors(state, storage_reader=reader, no_dist=world_size() == 1)
    return state


def _restore(
    state: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Put the optimizer's moments and the random state back. Returns the extra tensors."""
    extra = {}
    parameters = dict(model.named_parameters())
    for key, value in state.items():
        kind, _, name = key.partition(".")
        if kind == "optimizer":
            name, _, moment = name.rpartition(".")
            optimizer.state[parameters[name]][moment] = value
        elif kind == "extra":
            extra[name] = value
    torch.set_rng_state(state["random.cpu"])
    if "random.cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["random.cuda"])
    return extra


def _previous(folder: Path) -> Path:
    """Where the checkpoint before the last one is, while a new one takes its place."""
    return folder.with_name(folder.name + ".old")


def assign_files(state: Mapping[str, Tensor]) -> dict[str, int]:
    """For each tensor the number of the file that it is written to, from 1; each process has files of its own."""
    limit = max(MIN_FILE_BYTES, sum(tensor.nbytes for tensor in state.values()) // FILES)
    files, number, size = {}, 1, 0
    for name, tensor in state.items():
        if size and size + tensor.nbytes > limit:
            number, size = number + 1, 0
        files[name] = number
        size += tensor.nbytes
    return files


def _changing_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What a run changes, by name: trainable parameters, shared ones once, and persistent buffers."""
    saved = model.state_dict().keys()
    tensors = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
    return tensors | {name: value for name, value in model.named_buffers() if name in saved}


def _empty(name: str, saved: Any, parameters: Mapping[str, nn.Parameter]) -> Tensor:
    """A tensor to load the entry `name` into: sharded like the parameter that it belongs to if it has its shape, and a moment on
    that parameter's device."""
    kind, _, rest = name.partition(".")
    device = torch.device("cpu")
    parameter = None
    if kind == "optimizer":
        parameter = parameters[rest.rpartition(".")[0]]
        device = parameter.device
    elif rest.startswith(WEIGHTS_PREFIX):
        parameter = parameters[rest.removeprefix(WEIGHTS_PREFIX)]
    if parameter is not None and parameter.shape == saved.size:
        return parameter.detach().to(device, copy=True)
    return torch.empty(saved.size, dtype=saved.properties.dtype, device=device)
