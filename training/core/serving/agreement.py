"""How far a server's log-probs of the tokens that it sampled agree with the trainer's, and whether it has the last update.

All tensors are (N,) log-probs of the same tokens at the sampling temperature: `served` by the server, `current` by the trainer
with its present weights, `previous` by the trainer with the weights of the version before.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

MAX_GAP = 0.1
"""Nats a token; a server in bfloat16 differs by a tenth of it, another model by far more."""
MIN_UPDATE = 0.25
"""Rounding in the trainer's own two passes pulls the estimate for a current server from 1 to one half at worst."""
STANDARD_ERRORS = 4


class Agreement(NamedTuple):
    """gap: mean absolute difference of the log-probs, in nats a token. ratio: mean of the trainer's probability over the
    server's.

    update: the part of the last update of the weights that the served log-probs show, by least squares: 1 for the present
    version, 0 for the one before. error: its standard error; infinite if the update changed nothing.
    """

    gap: float
    ratio: float
    update: float
    error: float

    @property
    def is_another_model(self) -> bool:
        return not self.gap <= MAX_GAP

    @property
    def is_stale(self) -> bool:
        """Whether the server certainly lacks the last update. It need not be large: what counts is its size over that of the
        rounding, times the root of the number of tokens. One that is lost in the rounding makes no difference to the samples."""
        return self.update + STANDARD_ERRORS * self.error < MIN_UPDATE


def compare(served: Tensor, current: Tensor, previous: Tensor) -> Agreement:
    served, current, previous = served.double(), current.double(), previous.double()
    gap = float((current - served).abs().mean())
    ratio = float(torch.exp(current - served).mean())
    change, shown = current - previous, served - previous
    square = float(change @ change)
    if not square:
        return Agreement(gap, ratio, 1.0, math.inf)
    update = float(change @ shown) / square
    error = (
        float((change * (shown - update * change)).norm()) / square
    )  # also where the noise is not alike everywhere
    return Agreement(gap, ratio, update, error)


def importance_weights(served: Tensor, current: Tensor, cap: float) -> Tensor:
    """(N,) min(pi_trainer / pi_server, cap), which a token's loss is multiplied by as it was sampled from the server's policy.

    Truncated importance sampling: Ionides 2008; Yao et al. 2025, "On the Rollout-Training Mismatch in Modern RL Systems".
    """
    return torch.exp(current - served).clamp(max=cap)
