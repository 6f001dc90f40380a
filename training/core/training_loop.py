"""What every training loop does between its gradients: order, learning rate, clipping, budgets, reports, checkpoints;
and what is done to any model before its first step and after its last: adapters, recomputed activations, splitting."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from training.configs import TrainingConfig
from training.core import checkpoints, distributed, lora, memory
from training.core.errors import BadInput, Stopped
from training.core.events import Events
from training.core.job_directory import Job
from training.core.model_loading import recompute_activations
from training.core.process_rank import is_first, ranks
from training.core.tensorboard import Board

T = TypeVar("T")
P = TypeVar("P")


class Loop:
    """The steps of one training run, from where its last checkpoint left it.

        loop = Loop(job, config, model, examples=len(data), events=events)
        for batch in loop.batches(data):
            for micro, laid_out in loop.passes(passes, batch):
                loop.leave_if_asked()
                ... backward ...
            loop.step({"loss": ...}, tokens=...)

    A run that was killed and one that was not take the same steps: the data's order and the learning rate are
    functions of the step, everything else is in the checkpoint.

    Of several processes each sees every batch and takes its part of the passes. Losses and figures are divided by the
    whole batch where they are made, and summed over the passes and the processes.
    """

    def __init__(
        self, job: Job, config: TrainingConfig, model: nn.Module, *, examples: int, events: Events
    ) -> None:
        self.job, self.config, self.model, self.events = job, config, model, events
        self.examples = examples
        self.batch_size = min(config.batch_size, examples)
        self.steps_per_epoch = math.ceil(examples / config.batch_size)
        self.total = config.max_steps or self.steps_per_epoch * config.epochs
        self.extra: dict[str, Tensor] = {}
        self.metrics: dict[str, float | None] = {}
        self._window: list[tuple[dict[str, float], int, float]] = []
        torch.manual_seed(config.seed)
        if config.lora_rank:
            lora.add(model, config)
        if config.gradient_checkpointing:
            recompute_activations(model)
        self._sharded = distributed.Sharded(model) if ranks() > 1 else None
        self._finished = False
        self.optimizer = build_optimizer(model, config)
        restored = checkpoints.load(job.checkpoint, model=model, optimizer=self.optimizer)
        self.done = self.tokens = 0
        self._seconds_before = 0.0
        if restored:
            self.done, self.extra = restored.step, restored.extra
            self.tokens = restored.manifest.get("tokens", 0)
            self._seconds_before = restored.manifest.get("seconds", 0.0)
        self._heed_budget(self._agreed(self._seconds()))
        if config.tensorboard and is_first():
            events.board = Board(job.folder / "tensorboard", after=self.done)
        events.start(job.kind, self.total, self.done if restored else None)
        self._clock = time.monotonic()

    def batches(self, data: Sequence[T]) -> Iterator[list[T]]:
        """The batches still to come. Each epoch has its own order; its last batch may be smaller.

        After the last one the model is whole and plain: adapters are merged, and no process holds only a part of it.
        """
        self._clock = time.monotonic()
        while self.done < self.total:
            epoch, index = divmod(self.done, self.steps_per_epoch)
            order = epoch_order(len(data), self.config.seed, epoch)
            chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
            yield [data[position] for position in chosen]
        self._finish()

    def passes(
        self,
        make: Callable[[Sequence[T]], Iterator[P]],
        batch: Sequence[T],
        *,
        size: Callable[[T], int] = lambda item: item.group.tokens,  # type: ignore[attr-defined]
        empty: P | None = None,
    ) -> Iterator[P]:
        """`make(batch)`, or this process' part of it and `empty` passes, so that all processes make equally many.

        size: the work in an item. empty: a pass of no items whose loss is 0 and has a gradient all the same; left out, it
        is one of no responses.
        """
        if self._sharded is None:
            return make(batch)
        mine = distributed.share(batch, [size(item) for item in batch])
        filler: Any = ([], distributed.nothing()) if empty is None else empty
        return distributed.equally_many(list(make(mine)), filler)

    def step(self, values: dict[str, float], *, tokens: int) -> None:
        """Take the optimizer's step on the gradients at hand, report, save, and leave if asked to.

        values: figures of this step, averaged over the steps until the next report. tokens: how many were trained on.
        Raises Stopped after writing a checkpoint, and BadInput where the loss is no longer a number.
        """
        config = self.config
        rate = learning_rate(self.done, self.total, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        values, norm, seconds, stop = self._agree(values, config.max_grad_norm or math.inf)
        if not (math.isfinite(norm) and math.isfinite(values["loss"])):
            raise BadInput(
                f"The loss is no longer a number at step {self.done + 1}; lower the learning rate.",
                setting="learning_rate",
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.done += 1
        self.tokens += tokens
        now = time.monotonic()
        self._window.append((values | {"grad_norm": norm}, tokens, now - self._clock))
        self._clock = now
        share = self._heed_budget(seconds)
        last = self.done == self.total
        self.events.progress(self.done, self.total, likely=self.done / share)
        if last or self.done % config.log_every == 0:
            self._report(rate)
        if stop:
            self.save()
            raise Stopped
        if config.checkpoint_every and not last and self.done % config.checkpoint_every == 0:
            self.save()

    def _agree(self, values: dict[str, float], limit: float) -> tuple[dict[str, float], float, float, bool]:
        """Clip the gradients, and have all processes see the same figures, gradient norm, seconds and wish to stop."""
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        if self._sharded is None:
            norm = float(nn.utils.clip_grad_norm_(parameters, limit))
            return values, norm, self._seconds(), self.events.stop_asked
        distributed.sum_gradients(parameters)
        norm = distributed.clip_gradients(parameters, limit)
        own = [self._seconds() if is_first() else 0.0, float(self.events.stop_asked)]
        *figures, seconds, stop = distributed.sum_up([*values.values(), *own])
        return dict(zip(values, figures, strict=True)), norm, seconds, stop > 0

    def _heed_budget(self, seconds: float) -> float:
        """The share of the run that is done, by steps, tokens or time, whichever is furthest; at 1 this step is the last."""
        config = self.config
        share = self.done / self.total
        if config.max_tokens:
            share = max(share, self.tokens / config.max_tokens)
        if config.max_minutes:
            share = max(share, seconds / (60 * config.max_minutes))
        if share >= 1 and self.done:
            self.total = self.done
        return share

    @staticmethod
    def _agreed(value: float) -> float:
        """The first process' value, in all of them."""
        return distributed.sum_up([value if is_first() else 0.0])[0] if ranks() > 1 else value

    def _seconds(self) -> float:
        """How long the run has taken, earlier processes' part included."""
        return self._seconds_before + time.monotonic() - self.events.started

    def save(self) -> None:
        """Write a checkpoint of this moment; once the run has finished its steps, the last one stands."""
        if self._finished:
            return
        checkpoints.save(
            self.job.checkpoint,
            step=self.done,
            model=self.model,
            optimizer=self.optimizer,
            extra=self.extra,
            manifest={"tokens": self.tokens, "seconds": round(self._seconds(), 3)},
        )

    def _finish(self) -> None:
        """Have every process hold the whole model, without adapters. It is saved before, as it cannot be after."""
        if self._finished or not (self._sharded or self.config.lora_rank):
            return
        self.save()
        self._finished = True
        if self._sharded:
            self._sharded.whole()
            self._sharded = None
        if self.config.lora_rank:
            lora.merge(self.model)

    def leave_if_asked(self) -> None:
        """Between two passes: write a checkpoint of the last whole step and raise Stopped where SIGTERM has come.

        Several processes can only leave together, at the end of a step.
        """
        if self.events.stop_asked and self._sharded is None:
            self.save()
            raise Stopped

    def due(self, every: int) -> bool:
        """Whether something done `every` so many steps (0: never) is due now; the end of the run looks after itself."""
        return bool(every) and self.done % every == 0 and self.done < self.total

    def _report(self, rate: float) -> None:
        steps = len(self._window)
        names = self._window[-1][0]
        values: dict[str, float | None] = {
            name: sum(window[0].get(name, 0.0) for window in self._window) / steps for name in names
        }
        seconds = sum(window[2] for window in self._window)
        values["lr"] = rate
        values["tokens_per_s"] = round(sum(window[1] for window in self._window) / max(seconds, 1e-9))
        values["memory_mb"] = round(memory.peak_mb())
        self._window.clear()
        self.metrics |= values | {"tokens": self.tokens}
        self.events.metrics(self.done, values)


def learning_rate(step: int, total: int, config: TrainingConfig) -> float:
    """The rate of step 0 <= `step` < `total`: a linear rise, then the schedule down to its final share."""
    warmup = min(max(round(config.warmup_ratio * total), config.warmup_min_steps), total // 2)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    progress = (step - warmup) / max(1, total - warmup - 1)
    left = 1 - progress if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return config.learning_rate * (config.final_lr_ratio + (1 - config.final_lr_ratio) * left)


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """The order of `count` examples in one epoch, a function of seed and epoch alone."""
    random = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order: list[int] = torch.randperm(count, generator=random).tolist()
    return order


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW; matrices decay, vectors (norms, biases, a scalar head) do not."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kinds: dict[tuple[bool, bool], list[nn.Parameter]] = {}  # the fused step takes whole and split ones apart
    for parameter in parameters:
        kinds.setdefault((parameter.dim() >= 2, isinstance(parameter, DTensor)), []).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": params, "weight_decay": config.weight_decay if decays else 0.0}
        for (decays, _), params in kinds.items()
    ]
    return torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
        fused=True,
    )
