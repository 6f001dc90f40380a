"""Early stopping: a run ends once its held-out loss has stopped falling, and keeps the weights that had the lowest.

What it knows is in the run's checkpoint, so a run that was killed stops at the same step, with the same weights, as one
that was not. The cost is one more copy of the weights that are learned, in main memory and in the checkpoint.
Left out: averaging the best few checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.core.distributed import full_tensor, like
from training.core.training_loop import Loop

WEIGHTS = "best.weights."


class EarlyStopping:
    """The best weights of `loop`'s model so far, by the held-out losses that `note` was told.

    A loss that is not lower than the lowest is a miss; after `patience` misses in a row the run is `exhausted`.
    """

    def __init__(self, loop: Loop, patience: int) -> None:
        self.loop, self.patience = loop, patience

    def note(self, loss: float) -> None:
        """The held-out loss of the weights as they are. A second loss of the same step, after an interruption, is not
        counted."""
        if self.noted:
            return
        if loss < self.loss:
            self._set(loss=loss, misses=0, best_step=self.loop.done)
            for name, weights in self._learned().items():
                self.loop.extra[WEIGHTS + name] = full_tensor(weights).to("cpu", copy=True)
        else:
            self._set(misses=self._get("misses", 0) + 1)
        self._set(step=self.loop.done)

    @property
    def noted(self) -> bool:
        """Whether the loss of the weights as they are is known already."""
        return self._get("step", -1) == self.loop.done

    @property
    def loss(self) -> float:
        """The lowest loss so far."""
        return self._get("loss", float("inf"))

    @property
    def exhausted(self) -> bool:
        return self._get("misses", 0) >= self.patience

    @property
    def best_step(self) -> int:
        """The step whose weights are the best; 0 where no loss was a number."""
        return int(self._get("best_step", 0))

    def restore(self) -> None:
        """Put the best weights back. To be called before the loop is over, while the model still has its adapters."""
        if self.loss == float("inf"):
            return
        with torch.no_grad():
            for name, weights in self._learned().items():
                weights.copy_(like(self.loop.extra[WEIGHTS + name], weights))

    def _learned(self) -> dict[str, Tensor]:
        return {
            name: weights.detach()
            for name, weights in self.loop.model.named_parameters()
            if weights.requires_grad
        }

    def _get(self, name: str, otherwise: float) -> float:
        value = self.loop.extra.get("best." + name)
        return otherwise if value is None else value.item()

    def _set(self, **values: float) -> None:
        for name, value in values.items():
            self.loop.extra["best." + name] = torch.tensor(value, dtype=torch.float64)
