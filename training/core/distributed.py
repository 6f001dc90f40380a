"""One run on several processes started by torchrun: parameters sharded with FSDP2, gradients summed, one process writes.

Losses are divided by their whole batch before it is partitioned, so each process takes its part of the batch, gradients are
summed, and the step equals that of a single process up to rounding. Every pass is a collective operation, so all processes
must make equally many: one whose part is done makes empty passes.

Parameters outside the trunk (a head, the output projection), and those tied to them, are replicated.
Left out: sampling, and so the kinds of run that sample; scoring without gradients is done in full by every process.
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
from training.core.lora import find_transformers
from training.core.process_rank import rank, world_size

T = TypeVar("T")


def init_process_group() -> None:
    """Connect to the other processes, each with an accelerator of its own if there are any."""
    if dist.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(rank() % torch.cuda.device_count())
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    atexit.register(dist.destroy_process_group)


def wait_for_all_processes() -> None:
    """Return once every process has called this."""
    dist.barrier()


class ShardedModel:
    """A model whose trunks are sharded in place over the processes, until `unshard`."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        device = next(model.parameters()).device
        mesh = init_device_mesh(device.type, (world_size(),))
        self._trunks: list[tuple[nn.Module, nn.Module, nn.Module]] = []  # parent, trunk, plain copy
        for transformer in find_transformers(model):
            trunk = transformer.base_model
            plain = _meta_copy(trunk)
            parent = next(
                module for module in model.modules() if any(child is trunk for child in module.children())
            )
            tied = _parameters_outside(model, trunk) & set(trunk.parameters())
            layers = [layer for layer in trunk.modules() if isinstance(layer, GradientCheckpointingLayer)]
            for module in (*layers, trunk):
                sharded = fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=tied)
                sharded.set_gradient_divide_factor(1.0)
                sharded.set_force_sum_reduction_for_comms(True)
            self._trunks.append((parent, trunk, plain))

    def unshard(self) -> None:
        """Replace each sharded trunk by a plain one with whole parameters, in every process."""
        for parent, trunk, plain in self._trunks:
            for name, parameter in trunk.named_parameters():
                owner, _, leaf = name.rpartition(".")
                full = parameter
                if isinstance(parameter, DTensor):
                    full = nn.Parameter(full_tensor(parameter), requires_grad=parameter.requires_grad)
                setattr(plain.get_submodule(owner), leaf, full)
            [name] = [name for name, child in parent.named_children() if child is trunk]
            setattr(parent, name, plain)


def _meta_copy(module: nn.Module) -> nn.Module:
    """A copy of a module with parameters on the meta device, which take no memory."""
    empty: dict[int, Any] = {
        id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
        for parameter in module.parameters()
    }
    return copy.deepcopy(module, empty)


def _parameters_outside(model: nn.Module, trunk: nn.Module) -> set[nn.Parameter]:
    """The parameters held by modules of `model` that are not part of `trunk`."""
    inside = set(trunk.modules())
    return {
        parameter
        for module in model.modules()
        if module not in inside
        for parameter in module.parameters(recurse=False)
    }


def partition(items: Sequence[T], sizes: Sequence[int]) -> list[T]:
    """This process's part of `items`, in their order: the largest are assigned first, each to the least loaded process."""
    loads, own = [0] * world_size(), []
    for index in sorted(range(len(items)), key=lambda index: -sizes[index]):
        receiver = loads.index(min(loads))
        loads[receiver] += sizes[index]
        if receiver == rank():
            own.append(index)
    return [items[index] for index in sorted(own)]


def pad_passes(passes: list[T], empty: T) -> Iterator[T]:
    """`passes`, then empty ones until every process has made as many as the one with most."""
    most = torch.tensor(len(passes), device=_device())
    dist.all_reduce(most, dist.ReduceOp.MAX)
    yield from passes
    for _ in range(int(most) - len(passes)):
        yield empty


def empty_batch() -> Batch:
    """A pass of no responses in either layout: one token that nothing is read from."""
    none = torch.zeros(0, dtype=torch.long, device=_device())
    return Batch(
        torch.zeros(1, 1, dtype=torch.long, device=_device()), None, None, none, none, none, none, none
    )


def sum_over_processes(values: Sequence[float]) -> list[float]:
    """Each value summed over the processes, in float64."""
    total = torch.tensor(values, dtype=torch.float64, device=_device())
    dist.all_reduce(total)
    sums: list[float] = total.tolist()
    return sums


def sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Sum the gradients of replicated parameters over the processes; those of sharded ones were summed by backward."""
    for parameter in parameters:
        if parameter.grad is not None and not isinstance(parameter, DTensor):
            dist.all_reduce(parameter.grad)


def clip_gradients(parameters: Sequence[nn.Parameter], limit: float) -> float:
    """Scale the gradients so that their joint norm is at most `limit`. Returns the norm before."""
    squares = [0.0, 0.0]  # of sharded gradients, of replicated ones
    gradients = [(p.grad, isinstance(p.grad, DTensor)) for p in parameters if p.grad is not None]
    for gradient, is_sharded in gradients:
        squares[0 if is_sharded else 1] += float(local(gradient).double().square().sum())
    norm = (sum_over_processes(squares[:1])[0] + squares[1]) ** 0.5
    if norm > limit:
        for gradient, _ in gradients:
            local(gradient).mul_(limit / (norm + 1e-6))
    return norm


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def full_tensor(tensor: Tensor) -> Tensor:
    """A tensor with the parts of all processes; all of them must call it."""
    return tensor.full_tensor().detach() if isinstance(tensor, DTensor) else tensor


def shard_like(whole: Tensor, tensor: Tensor) -> Tensor:
    """`whole` on the device of `tensor`, sharded in the same way."""
    whole = whole.to(tensor.device)
    if not isinstance(tensor, DTensor):
        return whole
    return distribute_tensor(whole, tensor.device_mesh, tensor.placements, src_data_rank=None)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
