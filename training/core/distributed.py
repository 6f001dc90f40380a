"""One run on several processes, started by torchrun: parameters split with FSDP2, gradients summed, one process writes.

Losses are divided by their whole batch before any process sees it, so each takes its share of the batch, gradients are
summed, and the step is the one a single process would take, to rounding. Every pass gathers and reduces, so all must
make equally many: a process whose share is done makes empty ones.

What lies outside the trunk (a head, the output projection) and what is tied to it stays whole in every process.
Left out: sampling, and so the kinds that do it; scoring without gradients is done in full by every process.
"""

from __future__ import annotations

import atexit
import copy
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from training.core.batching import Batch
from training.core.lora import transformers_of
from training.core.process_rank import rank, ranks

T = TypeVar("T")


def begin() -> None:
    """Meet the other processes, each with an accelerator of its own where there are any."""
    if dist.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(rank() % torch.cuda.device_count())
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    atexit.register(dist.destroy_process_group)


def wait_for_all() -> None:
    """Go on once every process has come so far."""
    dist.barrier()


class Sharded:
    """A model whose trunks are split among the processes, in place, until `whole` puts them together again."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        device = next(model.parameters()).device
        mesh = init_device_mesh(device.type, (ranks(),))
        self._trunks: list[tuple[nn.Module, nn.Module, nn.Module]] = []
        for transformer in transformers_of(model):
            trunk = transformer.base_model
            twin = _twin(trunk)
            parent = next(
                module for module in model.modules() if any(child is trunk for child in module.children())
            )
            tied = _outside(model, trunk) & set(trunk.parameters())
            layers = [layer for layer in trunk.modules() if isinstance(layer, GradientCheckpointingLayer)]
            for module in (*layers, trunk):
                sharded = fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=tied)
                sharded.set_gradient_divide_factor(1.0)
                sharded.set_force_sum_reduction_for_comms(True)
            self._trunks.append((parent, trunk, twin))

    def whole(self) -> None:
        """Give every process the whole model back, each trunk replaced by a plain one."""
        for parent, trunk, twin in self._trunks:
            for name, parameter in trunk.named_parameters():
                owner, _, leaf = name.rpartition(".")
                full = parameter
                if isinstance(parameter, DTensor):
                    full = nn.Parameter(full_tensor(parameter), requires_grad=parameter.requires_grad)
                setattr(twin.get_submodule(owner), leaf, full)
            [name] = [name for name, child in parent.named_children() if child is trunk]
            setattr(parent, name, twin)


def _twin(module: nn.Module) -> nn.Module:
    """A copy of a module whose parameters take no memory."""
    hollow: dict[int, Any] = {
        id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
        for parameter in module.parameters()
    }
    return copy.deepcopy(module, hollow)


def _outside(model: nn.Module, trunk: nn.Module) -> set[nn.Parameter]:
    """The parameters held by modules of `model` that are not part of `trunk`."""
    inside = set(trunk.modules())
    return {
        parameter
        for module in model.modules()
        if module not in inside
        for parameter in module.parameters(recurse=False)
    }


def share(items: Sequence[T], sizes: Sequence[int]) -> list[T]:
    """This process' part of `items`, in their order: the largest are dealt out first, each to whoever has least."""
    loads, mine = [0] * ranks(), []
    for place in sorted(range(len(items)), key=lambda place: -sizes[place]):
        receiver = loads.index(min(loads))
        loads[receiver] += sizes[place]
        if receiver == rank():
            mine.append(place)
    return [items[place] for place in sorted(mine)]


def equally_many(passes: list[T], empty: T) -> Iterator[T]:
    """`passes`, and then empty ones until every process has made as many."""
    most = torch.tensor(len(passes), device=_device())
    dist.all_reduce(most, dist.ReduceOp.MAX)
    yield from passes
    for _ in range(int(most) - len(passes)):
        yield empty


def nothing() -> Batch:
    """A pass of no responses, whatever the layout: a token that nobody looks at."""
    none = torch.zeros(0, dtype=torch.long, device=_device())
    return Batch(
        torch.zeros(1, 1, dtype=torch.long, device=_device()), None, None, none, none, none, none, none
    )


def sum_up(values: Sequence[float]) -> list[float]:
    """Each value summed over the processes."""
    total = torch.tensor(values, dtype=torch.float64, device=_device())
    dist.all_reduce(total)
    found: list[float] = total.tolist()
    return found


def sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Sum the gradients of parameters that every process holds whole; the others' were summed on the way back."""
    for parameter in parameters:
        if parameter.grad is not None and not isinstance(parameter, DTensor):
            dist.all_reduce(parameter.grad)


def clip_gradients(parameters: Sequence[nn.Parameter], limit: float) -> float:
    """Scale the gradients so that together they are no longer than `limit`; returns how long they were."""
    squares = [0.0, 0.0]  # of what is split, of what everyone holds
    gradients = [(p.grad, isinstance(p.grad, DTensor)) for p in parameters if p.grad is not None]
    for gradient, split in gradients:
        squares[0 if split else 1] += float(local(gradient).double().square().sum())
    norm = (sum_up(squares[:1])[0] + squares[1]) ** 0.5
    if norm > limit:
        for gradient, _ in gradients:
            local(gradient).mul_(limit / (norm + 1e-6))
    return norm


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def full_tensor(tensor: Tensor) -> Tensor:
    """A tensor with everyone's parts; all processes must ask."""
    return tensor.full_tensor().detach() if isinstance(tensor, DTensor) else tensor


def like(whole: Tensor, tensor: Tensor) -> Tensor:
    """`whole` on the device of `tensor`, split as it is."""
    whole = whole.to(tensor.device)
    if not isinstance(tensor, DTensor):
        return whole
    return distribute_tensor(whole, tensor.device_mesh, tensor.placements, src_data_rank=None)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
