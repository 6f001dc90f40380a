"""What every training loop does between its gradients: order, learning rate, clipping, reports, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from training.configs import TrainingConfig
from training.core import checkpoints
from training.core.errors import BadInput, Stopped
from training.core.events import Events
from training.core.jobs import Job

T = TypeVar("T")


class Loop:
    """The steps of one training run, from where its last checkpoint left it.

        loop = Loop(job, config, model, examples=len(data), events=events)
        for batch in loop.batches(data):
            ... backward ...
            loop.step({"loss": ...}, tokens=...)

    A run that was killed and one that was not take the same steps: the data's order and the learning rate are
    functions of the step, everything else is in the checkpoint.
    """

    def __init__(
        self, job: Job, config: TrainingConfig, model: nn.Module, *, examples: int, events: Events
    ) -> None:
        self.job, self.config, self.model, self.events = job, config, model, events
        self.examples = examples
        self.batch_size = min(config.batch_size, examples)
        self.steps_per_epoch = math.ceil(examples / config.batch_size)
        self.total = config.max_steps or self.steps_per_epoch * config.epochs
        self.optimizer = build_optimizer(model, config)
        self.extra: dict[str, Tensor] = {}
        self.metrics: dict[str, float | None] = {}
        self._window: list[tuple[dict[str, float], int, float]] = []
        torch.manual_seed(config.seed)
        restored = checkpoints.load(job.checkpoint, model=model, optimizer=self.optimizer)
        self.done = restored[0] if restored else 0
        if restored:
            self.extra = restored[1]
        events.start(job.kind, self.total, self.done if restored else None)
        self._clock = time.monotonic()

    def batches(self, data: Sequence[T]) -> Iterator[list[T]]:
        """The batches still to come. Each epoch has its own order; its last batch may be smaller."""
        self._clock = time.monotonic()
        while self.done < self.total:
            epoch, index = divmod(self.done, self.steps_per_epoch)
            order = epoch_order(len(data), self.config.seed, epoch)
            chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
            yield [data[position] for position in chosen]

    def step(self, values: dict[str, float], *, tokens: int) -> None:
        """Take the optimizer's step on the gradients at hand, report, save, and leave if asked to.

        values: figures of this step, averaged over the steps until the next report. tokens: how many were trained on.
        Raises Stopped after writing a checkpoint, and BadInput where the loss is no longer a number.
        """
        config = self.config
        rate = learning_rate(self.done, self.total, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        limit = config.max_grad_norm or math.inf
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), limit))
        if not (math.isfinite(norm) and math.isfinite(values["loss"])):
            raise BadInput(
                f"The loss is no longer a number at step {self.done + 1}; lower the learning rate.",
                setting="learning_rate",
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.done += 1
        now = time.monotonic()
        self._window.append((values | {"grad_norm": norm}, tokens, now - self._clock))
        self._clock = now
        last = self.done == self.total
        self.events.progress(self.done, self.total)
        if last or self.done % config.log_every == 0:
            self._report(rate)
        self.leave_if_asked()
        if config.checkpoint_every and not last and self.done % config.checkpoint_every == 0:
            self.save()

    def save(self) -> None:
        """Write a checkpoint of this moment."""
        checkpoints.save(
            self.job.checkpoint, step=self.done, model=self.model, optimizer=self.optimizer, extra=self.extra
        )

    def leave_if_asked(self) -> None:
        """Between two passes: write a checkpoint of the last whole step and raise Stopped where SIGTERM has come."""
        if self.events.stop_asked:
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
        self._window.clear()
        self.metrics |= values
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
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
        fused=True,
    )
