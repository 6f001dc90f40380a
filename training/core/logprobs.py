"""Log-probs of tokens from hidden states, without the logits of a whole pass in memory.

The logits of a few thousand tokens over a large vocabulary take more memory than everything else in a pass, and autograd
would store two or three copies. Here they are computed a few hundred rows at a time. The log-prob of a row needs only its
log-sum-exp, and its gradient is exp(logit - logsumexp), so the logits are overwritten by their own gradient. The logits of
the first chunks, up to a bound, are stored for the backward pass; those of the others are computed again there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from training.core.batching import Batch, hidden_states
from training.core.errors import BadInput

CHUNK_LOGITS = 2**22
"""Logits computed at once, 16 MiB in float32, but of at least `MIN_CHUNK_ROWS` rows."""

MIN_CHUNK_ROWS = 512
"""With fewer rows the matrix products would be slow."""

MAX_STORED_LOGITS = 2**24
"""Logits stored for the backward pass, at most: 64 MiB in float32. Others cost a third matrix product."""


def token_logprobs(policy: Any, batch: Batch, temperature: float = 1.0) -> Tensor:
    """(N,) log-probs of all response tokens, response after response, in float32 or wider; of logits over `temperature`.

    Only positions that predict a response token go through the vocabulary projection.
    """
    hidden = hidden_states(policy.base_model, batch)[batch.predictor]
    return label_logprobs(policy, hidden, batch.label, temperature)


def response_logprobs(policy: Any, batch: Batch) -> Tensor:
    """(K,) log-probs summed over each response, in float32 or wider."""
    logprobs = token_logprobs(policy, batch)
    return logprobs.new_zeros(len(batch.lengths)).index_add(0, batch.owner, logprobs)


def vocabulary_logits(policy: Any, hidden: Tensor) -> Tensor:
    """(..., V) logits of (..., D) hidden states, as the model's own forward computes them."""
    logits, config = policy.get_output_embeddings()(hidden), policy.config
    if factor := getattr(config, "logit_scale", None):  # Cohere
        logits = logits * factor
    if divisor := getattr(config, "logits_scaling", None):  # Granite
        logits = logits / divisor
    cap = getattr(config, "final_logit_softcapping", None)
    return cap * torch.tanh(logits / cap) if cap else logits


def token_figures(policy: Any, batch: Batch) -> Tensor:
    """(N, 3) for every response token, response after response, in float32 or wider: its log-prob, the mean log-prob of all
    tokens in its place, and the entropy of their distribution."""

    def of_chunk(hidden: Tensor, label: Tensor) -> Tensor:
        logits = vocabulary_logits(policy, hidden)
        logprobs = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), -1)
        own = logprobs.gather(-1, label[:, None]).squeeze(-1)
        return torch.stack([own, logprobs.mean(-1), -(logprobs.exp() * logprobs).sum(-1)], -1)

    hidden = hidden_states(policy.base_model, batch)[batch.predictor]
    return _in_chunks(policy, of_chunk, hidden, batch.label)


def label_logprobs(policy: Any, hidden: Tensor, label: Tensor, temperature: float = 1.0) -> Tensor:
    """(N,) log-probs of the (N,) ids `label` given (N, D) hidden states, in float32 or wider; of logits over `temperature`."""

    def of_chunk(hidden: Tensor, label: Tensor) -> Tensor:
        logits = vocabulary_logits(policy, hidden)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if temperature != 1.0:
            logits = logits / temperature
        logprobs: Tensor = _LabelLogprobs.apply(logits, label)  # type: ignore[no-untyped-call]
        return logprobs

    return _in_chunks(policy, of_chunk, hidden, label)


def candidate_logprobs(policy: Any, hidden: Tensor, candidates: Tensor) -> Tensor:
    """(N, C) log-probs of the ids `candidates` (N, C), each given its row of the (N, D) hidden states, in float32 or wider."""

    def of_chunk(hidden: Tensor, candidates: Tensor) -> Tensor:
        logits = vocabulary_logits(policy, hidden)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return logits.gather(-1, candidates) - logits.logsumexp(-1, keepdim=True)

    return _in_chunks(policy, of_chunk, hidden, candidates)


def _in_chunks(
    policy: Any, of_chunk: Callable[[Tensor, Tensor], Tensor], hidden: Tensor, label: Tensor
) -> Tensor:
    """`of_chunk(hidden, label)`, computed and stored as the top of this module describes."""
    width = policy.config.get_text_config().vocab_size
    rows = max(MIN_CHUNK_ROWS, CHUNK_LOGITS // width)
    chunks: list[Tensor] = []
    for hidden_rows, labels in zip(torch.split(hidden, rows), torch.split(label, rows), strict=True):
        if not torch.is_grad_enabled() or (len(chunks) + 1) * rows * width <= MAX_STORED_LOGITS:
            chunks.append(of_chunk(hidden_rows, labels))
        else:
            chunks.append(
                checkpoint(of_chunk, hidden_rows, labels, use_reentrant=False, preserve_rng_state=False)
            )
    return torch.cat(chunks)


class _LabelLogprobs(torch.autograd.Function):
    """(N,) log-probs of ids `label` from (N, V) logits. Backward overwrites the logits, so it can run once only."""

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
    """Raise BadInput for a model whose forward computes its logits in a way that `vocabulary_logits` does not reproduce."""
    kind = policy.config.model_type
    if policy.base_model is policy:
        raise BadInput(
            f"Models of type {kind} are not supported: they cannot be run without their output projection.",
            setting=setting,
        )
    probe = torch.arange(4, device=policy.device)[None]
    whole = policy(input_ids=probe, use_cache=False).logits
    ours = vocabulary_logits(policy, policy.base_model(input_ids=probe, use_cache=False).last_hidden_state)
    if not torch.allclose(whole, ours, rtol=1e-3, atol=1e-3):
        raise BadInput(
            f"Models of type {kind} compute their logits in a way that is not supported.", setting=setting
        )
