"""One run on several processes started by torchrun: parameters sharded with FSDP2, gradients summed, one process writes.

Losses are divided by their whole batch before it is partitioned, so each process takes its part of the batch, gradients are
summed, and the step equals that of a single process up to rounding. Every pass of a sharded model is a collective operation, so
all processes must make equally many: one whose part is done makes empty passes.

While a policy samples, every process has its weights whole and answers its part of the prompts; the responses, whose seeds are
by prompt, are exchanged. Reference and reward models are whole in every process, and score its part of the responses.

Parameters outside the trunk (a head, the output projection), and those tied to them, are replicated.
Left out: sharded frozen models; scoring of held-out judgments is done in full by every process.
"""

from __future__ import annotations

import atexit
import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers.modeling_layers import GradientCheckpointingLayer

from training.core.batching import Batch, HasEncodedGroup
from training.core.lora import find_transformers
from training.core.process_rank import is_main_process, rank, world_size

T = TypeVar("T")
G = TypeVar("G", bound=HasEncodedGroup)


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


class ShardedTrunk(NamedTuple):
    """A trunk, the module that holds it, and a plain copy whose parameters are on the meta device."""

    parent: nn.Module
    name: str
    trunk: nn.Module
    plain: nn.Module


class ShardedModel:
    """A model whose trunks are sharded in place over the processes. All of them must call its methods."""

    def __init__(self, model: nn.Module) -> None:
        device = next(model.parameters()).device
        mesh = init_device_mesh(device.type, (world_size(),))
        self._trunks: list[ShardedTrunk] = []
        for transformer in find_transformers(model):
            trunk = transformer.base_model
            plain = _meta_copy(trunk)
            parent, name = next(
                (module, name)
                for module in model.modules()
                for name, child in module.named_children()
                if child is trunk
            )
            tied = _parameters_outside(model, trunk) & set(trunk.parameters())
            layers = [layer for layer in trunk.modules() if isinstance(layer, GradientCheckpointingLayer)]
            for module in (*layers, trunk):
                sharded = fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=tied)
                sharded.set_gradient_divide_factor(1.0)
                sharded.set_force_sum_reduction_for_comms(True)
            self._trunks.append(ShardedTrunk(parent, name, trunk, plain))

    @contextmanager
    def whole(self, model: nn.Module) -> Iterator[None]:
        """Within it, every process has the parameters of `model`, this one or a part of it, whole and without gradients: its
        passes are no collective operations."""
        modules = set(model.modules())
        trunks = [one for one in self._trunks if one.trunk in modules]
        for one in trunks:
            _fill(one)
            setattr(one.parent, one.name, one.plain)
        try:
            yield
        finally:
            for one in trunks:
                setattr(one.parent, one.name, one.trunk)
                _empty(one.plain)

    def gather_on_main_process(self) -> None:
        """Replace the sharded trunks by plain ones, in the main memory of the main process and empty in the others. One tensor is
        gathered at a time."""
        for one in self._trunks:
            _fill(one, torch.device("cpu"), main_only=True)
            setattr(one.parent, one.name, one.plain)


def _fill(one: ShardedTrunk, device: torch.device | None = None, *, main_only: bool = False) -> None:
    """Put the gathered parameters of a sharded trunk into its plain copy. device: by default theirs."""
    for name, parameter in one.trunk.named_parameters():
        owner, _, leaf = name.rpartition(".")
        if isinstance(parameter, DTensor):
            gathered = full_tensor(parameter)
            if main_only and not is_main_process():
                continue
            parameter = nn.Parameter(gathered.to(device or gathered.device), requires_grad=False)
        setattr(one.plain.get_submodule(owner), leaf, parameter)


def _empty(module: nn.Module) -> None:
    """Put the parameters of a module on the meta device."""
    for name, parameter in list(module.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(owner), leaf, nn.Parameter(parameter.to("meta"), requires_grad=False))


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
    if world_size() == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64, device=_device())
    dist.all_reduce(total)
    sums: list[float] = total.tolist()
    return sums


def sum_tensors(own: Tensor) -> Tensor:
    """A tensor on the CPU summed over the processes."""
    if world_size() == 1:
        return own
    total = own.to(_device())
    dist.all_reduce(total)
    return total.cpu()


def exchange(own: T) -> list[T]:
    """Every process's value, in the order of their ranks."""
    if world_size() == 1:
        return [own]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, own)
    return values


def score_in_parts(groups: Sequence[G], score: Callable[[list[G]], Tensor]) -> Tensor:
    """(K,) scores on the CPU of all responses of `groups`, in order. score: called once with the groups that are this process's
    part; its passes are no collective operations."""
    if world_size() == 1:
        return score(list(groups))
    ends = list(accumulate(len(group.encoded.responses) for group in groups))
    own = partition(range(len(groups)), [group.encoded.tokens for group in groups])
    scores = torch.zeros(ends[-1])
    if own:
        places = [place for n in own for place in range(ends[n] - len(groups[n].encoded.responses), ends[n])]
        scores[places] = score([groups[n] for n in own])
    return sum_tensors(scores)


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


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
