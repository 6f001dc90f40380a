"""Early stopping: a run ends once its held-out loss no longer falls, and keeps the weights with the lowest.

Its state is in the run's checkpoint, so an interrupted run stops at the same step with the same weights as an
uninterrupted one. The cost is one more copy of the trainable weights, in main memory and in the checkpoint, sharded as they are.
Left out: averaging the best few checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from training.core.checkpoints import WEIGHTS_PREFIX
from training.core.distributed import local
from training.core.training_loop import TrainingLoop

FIGURE_PREFIX = "figure."
NO_FIGURES: Mapping[str, float] = MappingProxyType({})


class EarlyStopping:
    """The best weights of a training loop's model, by the held-out losses given to `record`.

    A loss that is not lower than the lowest is a miss; after `patience` misses in a row the run is `exhausted`.
    """

    def __init__(self, loop: TrainingLoop, patience: int) -> None:
        self.loop, self.patience = loop, patience

    def record(self, loss: float, figures: Mapping[str, float] = NO_FIGURES) -> None:
        """Take note of the held-out loss of the present weights, and of further figures. A second loss for the same step, after
        an interruption, does not count."""
        if self.is_recorded:
            return
        if loss < self.loss:
            self._set(loss=loss, misses=0, best_step=self.loop.steps_done)
            self._set(**{FIGURE_PREFIX + name: value for name, value in figures.items()})
            for name, weights in self._trainable_weights().items():
                self.loop.extra[WEIGHTS_PREFIX + name] = weights.to("cpu", copy=True)
        else:
            self._set(misses=self._get("misses", 0) + 1)
        self._set(step=self.loop.steps_done)

    @property
    def is_recorded(self) -> bool:
        """Whether the loss of the present weights was recorded."""
        return self._get("step", -1) == self.loop.steps_done

    @property
    def loss(self) -> float:
        """The lowest loss so far; infinity before the first."""
        return self._get("loss", float("inf"))

    @property
    def figures(self) -> dict[str, float]:
        """Those recorded with the lowest loss."""
        prefix = "best." + FIGURE_PREFIX
        return {
            name.removeprefix(prefix): value.item()
            for name, value in self.loop.extra.items()
            if name.startswith(prefix)
        }

    @property
    def exhausted(self) -> bool:
        return self._get("misses", 0) >= self.patience

    @property
    def best_step(self) -> int:
        """The step with the lowest loss; 0 if no loss was finite."""
        return int(self._get("best_step", 0))

    def restore(self) -> None:
        """Load the best weights into the model. Call it before the loop ends, while the model still has its adapters."""
        if self.loss == float("inf"):
            return
        with torch.no_grad():
            for name, weights in self._trainable_weights().items():
                local(weights).copy_(local(self.loop.extra[WEIGHTS_PREFIX + name]))

    def _trainable_weights(self) -> dict[str, Tensor]:
        return {
            name: weights.detach()
            for name, weights in self.loop.model.named_parameters()
            if weights.requires_grad
        }

    def _get(self, name: str, default: float) -> float:
        value = self.loop.extra.get("best." + name)
        return default if value is None else value.item()

    def _set(self, **values: float) -> None:
        for name, value in values.items():
            self.loop.extra["best." + name] = torch.tensor(value, dtype=torch.float64)
