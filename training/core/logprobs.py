"""From hidden states to log-probs of tokens, without ever holding the logits of a whole pass.

The vocabulary is wide: the logits of a few thousand tokens take more memory than everything else of a pass, and autograd
would keep two or three copies of them. Here they are made a few hundred rows at a time. Of each row a log-sum-exp is
what the log-prob needs, and exp(logit - logsumexp) what its gradient does, so logits become their own gradient in place.
Those of the first chunks, up to a bound, wait for the way back; those of the others are made again there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from training.core.errors import BadInput

CHUNK = 2**22
"""Logits made at once, 16 MiB in float32, unless that were fewer than `FEWEST_ROWS` rows."""

FEWEST_ROWS = 512
"""With fewer rows the matrix products would be slow."""

KEPT = 2**24
"""Logits that wait for the way back, at most: 64 MiB in float32 save their share of a third product."""


def vocabulary_logits(policy: Any, hidden: Tensor) -> Tensor:
    """(..., V) logits of (..., D) hidden states, as the model's own forward would give them."""
    logits = policy.get_output_embeddings()(hidden)
    cap = getattr(policy.config, "final_logit_softcapping", None)
    return cap * torch.tanh(logits / cap) if cap else logits


def label_logprobs(policy: Any, hidden: Tensor, label: Tensor, temperature: float = 1.0) -> Tensor:
    """(N,) log-probs of the (N,) ids `label` after (N, D) hidden states, in float32 at least; logits over `temperature`."""

    def of_chunk(hidden: Tensor, label: Tensor) -> Tensor:
        logits = vocabulary_logits(policy, hidden)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if temperature != 1.0:
            logits = logits / temperature
        found: Tensor = _LabelLogprobs.apply(logits, label)  # type: ignore[no-untyped-call]
        return found

    width = policy.config.get_text_config().vocab_size
    rows = max(FEWEST_ROWS, CHUNK // width)
    found: list[Tensor] = []
    for part, own in zip(torch.split(hidden, rows), torch.split(label, rows), strict=True):
        if not torch.is_grad_enabled() or (len(found) + 1) * rows * width <= KEPT:
            found.append(of_chunk(part, own))
        else:
            found.append(checkpoint(of_chunk, part, own, use_reentrant=False, preserve_rng_state=False))
    return torch.cat(found)


class _LabelLogprobs(torch.autograd.Function):
    """(N,) log-probs of ids `label` from (N, V) logits, which the way back overwrites: it can be gone once."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, label: Tensor) -> Tensor:
        sums = torch.logsumexp(logits, -1)
        ctx.save_for_backward(logits, label, sums)
        return logits.gather(-1, label[:, None]).squeeze(-1) - sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        logits, label, sums = ctx.saved_tensors
        weights = logits.sub_(sums[:, None]).exp_().mul_(-grad[:, None])
        return weights.scatter_add_(-1, label[:, None], grad[:, None]), None


@torch.no_grad()
def check_logits(policy: Any, setting: str = "model") -> None:
    """Refuse a model whose forward does something to its logits that `vocabulary_logits` does not know."""
    probe = torch.arange(4, device=policy.device)[None]
    whole = policy(input_ids=probe, use_cache=False).logits
    ours = vocabulary_logits(policy, policy.base_model(input_ids=probe, use_cache=False).last_hidden_state)
    if not torch.allclose(whole, ours, rtol=1e-3, atol=1e-3):
        kind = policy.config.model_type
        raise BadInput(f"Models of type {kind} scale their logits in a way not known here.", setting=setting)
