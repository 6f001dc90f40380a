"""The loop around every training run's gradients: data order, learning rate, clipping, budgets, reports and checkpoints;
and the preparation of the model before the first step and after the last: adapters, recomputed activations, sharding."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from training.configs import TrainingConfig
from training.core import checkpoints, distributed, lora, memory, quantization
from training.core.errors import BadInput, Stopped
from training.core.events import Events
from training.core.job_directory import Job, write_output
from training.core.model_loading import recompute_activations
from training.core.process_rank import is_main_process, world_size
from training.core.trackers import TensorBoard, open_tracker

T = TypeVar("T")
P = TypeVar("P")

NO_METRICS: Mapping[str, float] = MappingProxyType({})


class TrainingLoop:
    """The steps of one training run, from its last checkpoint on.

        loop = TrainingLoop(job, config, model, examples=len(data), events=events)
        for batch in loop.batches(data):
            for micro, inputs in loop.passes(passes, batch):
                loop.raise_if_stopped()
                ... backward ...
            loop.step({"loss": ...}, tokens=...)

    An interrupted run takes the same steps as an uninterrupted one: the data order and the learning rate are functions of
    the step, everything else is in the checkpoint.

    With several processes each sees every batch and takes its part of the passes. Losses and metrics are divided by the
    whole batch where they are computed, and summed over passes and processes.

    steps_done, total_steps: optimizer steps. tokens: trained on so far. extra: further tensors of the checkpoint, which the
    training method owns. metrics: the last reported values. rate_factor: what a training method multiplies the learning rate by.
    """

    def __init__(
        self, job: Job, config: TrainingConfig, model: nn.Module, *, examples: int, events: Events
    ) -> None:
        self.job, self.config, self.model, self.events = job, config, model, events
        self.examples = examples
        self.batch_size = min(config.batch_size, examples)
        self.steps_per_epoch = math.ceil(examples / config.batch_size)
        self.total_steps = config.max_steps or self.steps_per_epoch * config.epochs
        self.extra: dict[str, Tensor] = {}
        self.metrics: dict[str, float | None] = {}
        self.rate_factor = 1.0
        self._unreported: list[tuple[dict[str, float], int, float]] = []  # metrics, tokens, seconds of a step
        torch.manual_seed(config.seed)
        if config.quantize != "none":
            quantization.quantize_base(model, config)
        if config.lora_rank:
            lora.add_adapters(model, config)
        if config.gradient_checkpointing:
            recompute_activations(model)
        self._sharded = distributed.ShardedModel(model) if world_size() > 1 else None
        self._is_finalized = False
        self._adapter: lora.Adapter | None = None
        self.optimizer = build_optimizer(model, config)
        restored = checkpoints.load(
            job.checkpoint, model=model, optimizer=self.optimizer, warn=events.warning
        )
        self.steps_done = self.tokens = 0
        self._seconds_before = 0.0
        if restored:
            self.steps_done, self.extra = restored.step, restored.extra
            self.tokens = restored.manifest.get("tokens", 0)
            self._seconds_before = restored.manifest.get("seconds", 0.0)
        self._apply_budget(self._from_main_process(self._elapsed_seconds()))
        if config.tensorboard and is_main_process():
            events.trackers.append(TensorBoard(job.folder, self.steps_done))
        if config.tracker != "none" and is_main_process():
            events.trackers.append(open_tracker(config.tracker, job.folder, job.kind, config.to_dict()))
        events.start(job.kind, self.total_steps, self.steps_done if restored else None)
        self._clock = time.monotonic()

    def batches(self, data: Sequence[T]) -> Iterator[list[T]]:
        """The remaining batches. Each epoch has its own order; its last batch may be smaller.

        After the last one the adapters are merged; with several processes that, too, is left to `write_output`.
        """
        self._clock = time.monotonic()
        while self.steps_done < self.total_steps:
            epoch, index = divmod(self.steps_done, self.steps_per_epoch)
            order = epoch_order(len(data), self.config.seed, epoch)
            chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
            yield [data[position] for position in chosen]
        self._finalize_model()

    def passes(
        self,
        make: Callable[[Sequence[T]], Iterator[P]],
        batch: Sequence[T],
        *,
        size: Callable[[T], int] = lambda item: item.encoded.tokens,  # type: ignore[attr-defined]
        empty: P | None = None,
    ) -> Iterator[P]:
        """`make(batch)`; with several processes, this process's part of it, padded so that all make equally many passes.

        size: the work in an item, by which the batch is divided. empty: a pass of no items whose loss is 0 and has a
        gradient; by default one of no responses.
        """
        if self._sharded is None:
            return make(batch)
        own = distributed.partition(batch, [size(item) for item in batch])
        padding: Any = ([], distributed.empty_batch()) if empty is None else empty
        return distributed.pad_passes(list(make(own)), padding)

    def whole(self, model: nn.Module) -> AbstractContextManager[None]:
        """Within it, every process can run `model`, this loop's or a part of it, by itself and without gradients."""
        return nullcontext() if self._sharded is None else self._sharded.whole(model)

    def step(
        self, values: dict[str, float], *, tokens: int, common: Mapping[str, float] = NO_METRICS
    ) -> None:
        """Take the optimizer step on the accumulated gradients, report and save where due.

        values: metrics of this step, averaged over the steps until the next report; with several processes those of this one's
        passes, which are summed. common: metrics that are the same in all processes. tokens: trained on in this step.
        Raises Stopped, after writing a checkpoint, if the run was told to stop; BadInput if the loss is not finite.
        """
        config = self.config
        rate = self.rate_factor * learning_rate(self.steps_done, self.total_steps, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        values, norm, seconds, stop = self._reduce(values, config.max_grad_norm or math.inf)
        values = dict(common) | values
        if not (math.isfinite(norm) and math.isfinite(values["loss"])):
            raise BadInput(
                f"The loss is no longer a number at step {self.steps_done + 1}; lower the learning rate.",
                setting="learning_rate",
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps_done += 1
        self.tokens += tokens
        now = time.monotonic()
        self._unreported.append((values | {"grad_norm": norm}, tokens, now - self._clock))
        self._clock = now
        fraction_done = self._apply_budget(seconds)
        is_last = self.steps_done == self.total_steps
        self.events.progress(self.steps_done, self.total_steps, expected_end=self.steps_done / fraction_done)
        if is_last or self.steps_done % config.log_every == 0:
            self._report(rate)
        if stop:
            self.save()
            raise Stopped
        if config.checkpoint_every and not is_last and self.steps_done % config.checkpoint_every == 0:
            self.save()

    def _reduce(self, values: dict[str, float], limit: float) -> tuple[dict[str, float], float, float, bool]:
        """Clip the gradients to `limit`; return metrics, gradient norm, elapsed seconds and whether to stop, the same in
        all processes."""
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        if self._sharded is None:
            norm = float(nn.utils.clip_grad_norm_(parameters, limit))
            return values, norm, self._elapsed_seconds(), self.events.stop_requested
        distributed.sum_gradients(parameters)
        norm = distributed.clip_gradients(parameters, limit)
        own = [self._elapsed_seconds() if is_main_process() else 0.0, float(self.events.stop_requested)]
        *totals, seconds, stop = distributed.sum_over_processes([*values.values(), *own])
        return dict(zip(values, totals, strict=True)), norm, seconds, stop > 0

    def _apply_budget(self, seconds: float) -> float:
        """The fraction of the run that is done, by steps, tokens or time, whichever is furthest; at 1 the run ends here."""
        config = self.config
        fraction = self.steps_done / self.total_steps
        if config.max_tokens:
            fraction = max(fraction, self.tokens / config.max_tokens)
        if config.max_minutes:
            fraction = max(fraction, seconds / (60 * config.max_minutes))
        if fraction >= 1 and self.steps_done:
            self.total_steps = self.steps_done
        return fraction

    def set_steps(self, steps: int) -> None:
        """Set the number of steps, where it is known only after the run has started. The budgets still end it earlier."""
        self.total_steps = min(steps, self.config.max_steps or steps)
        if steps:
            self._apply_budget(self._from_main_process(self._elapsed_seconds()))

    @staticmethod
    def _from_main_process(value: float) -> float:
        """The main process's value, in all processes."""
        return distributed.sum_over_processes([value if is_main_process() else 0.0])[0]

    def _elapsed_seconds(self) -> float:
        """Seconds that the run has taken, including the processes before an interruption."""
        return self._seconds_before + time.monotonic() - self.events.started

    def save(self) -> None:
        """Write a checkpoint. After the last step nothing is written: that step's checkpoint is the last."""
        if self._is_finalized:
            return
        checkpoints.save(
            self.job.checkpoint,
            step=self.steps_done,
            model=self.model,
            optimizer=self.optimizer,
            extra=self.extra,
            manifest={
                "tokens": self.tokens,
                "seconds": round(self._elapsed_seconds(), 3),
                checkpoints.PRECISION: {
                    "precision": self.config.precision,
                    "tf32": torch.get_float32_matmul_precision() != "highest",
                },
            },
        )

    @property
    def has_adapters(self) -> bool:
        """Whether `write_output` is still to merge adapters, after the last batch: with several processes."""
        return bool(self.config.lora_rank and self._sharded)

    def _finalize_model(self) -> None:
        """Merge the adapters of a model that is not sharded. It is saved before, as a checkpoint holds adapters and shards."""
        if self._is_finalized or not (self._sharded or self.config.lora_rank):
            return
        self.save()
        self._is_finalized = True
        if self._sharded is None:
            self._merge_adapters()

    def _merge_adapters(self) -> None:
        self._adapter = lora.extract_adapter(self.model, self.job.model)
        if self.config.quantize != "none":
            quantization.dequantize_base(self.model)
        lora.merge_adapters(self.model)

    def write_output(self, write: Callable[[Path], None]) -> None:
        """Let the main process write the output with the whole and plain model, and any adapters of it in `adapter/`.

        All processes must call it. With several, the main one gathers the weights in its main memory, after the optimizer's state
        was dropped.
        """
        if self._sharded:
            self.optimizer.state.clear()
            self._sharded.gather_on_main_process()
            if self.config.lora_rank and is_main_process():
                self._merge_adapters()

        def write_all(folder: Path) -> None:
            write(folder)
            if self._adapter:
                lora.write_adapter(self._adapter, folder / "adapter")

        write_output(self.job, write_all)

    def raise_if_stopped(self) -> None:
        """If SIGTERM was received, save the last completed step and raise Stopped.

        Called between passes. With several processes it does nothing: they stop together (`stop_together`).
        """
        if self._sharded is None:
            self.stop_together()

    def stop_together(self) -> None:
        """If a process received SIGTERM, save the last completed step and raise Stopped. All processes must call it."""
        [requests] = distributed.sum_over_processes([float(self.events.stop_requested)])
        if requests:
            self.save()
            raise Stopped

    def is_due(self, every: float) -> bool:
        """Whether what is done every `every` steps (below 1: a share of the run; 0: never) is due now. Never at the last
        step."""
        if not every or self.steps_done >= self.total_steps:
            return False
        steps = every if every >= 1 else max(1.0, every * self.total_steps)
        return self.steps_done == round(round(self.steps_done / steps) * steps)

    def _report(self, rate: float) -> None:
        steps = len(self._unreported)
        names = self._unreported[-1][0]
        values: dict[str, float | None] = {
            name: sum(metrics.get(name, 0.0) for metrics, _, _ in self._unreported) / steps for name in names
        }
        tokens = sum(count for _, count, _ in self._unreported)
        seconds = sum(duration for _, _, duration in self._unreported)
        values["lr"] = rate
        values["tokens_per_s"] = round(tokens / max(seconds, 1e-9))
        values["memory_mb"] = round(memory.peak_mb())
        self._unreported.clear()
        self.metrics |= values | {"tokens": self.tokens}
        self.events.metrics(self.steps_done, values)


def learning_rate(step: int, total: int, config: TrainingConfig) -> float:
    """The learning rate of step 0 <= `step` < `total`: linear warm-up, then the schedule down to the final ratio."""
    warmup = min(max(round(config.warmup_ratio * total), config.warmup_min_steps), total // 2)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    progress = (step - warmup) / max(1, total - warmup - 1)
    left = 1 - progress if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return config.learning_rate * (config.final_lr_ratio + (1 - config.final_lr_ratio) * left)


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """A permutation of 0..count-1, a function of seed and epoch alone."""
    random = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order: list[int] = torch.randperm(count, generator=random).tolist()
    return order


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW on the trainable parameters, with weight decay on matrices and none on vectors (norms, biases, a scalar head)."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kinds: dict[
        tuple[bool, bool], list[nn.Parameter]
    ] = {}  # a fused step takes whole or sharded ones, not both
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
