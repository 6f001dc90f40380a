"""Rows of token ids in, hidden states and log-probs out: the one place where training runs the model.

Rows are padded on the right. Attention is causal, so no real token ever sees the padding and no mask is needed;
positions count from each row's first token. What a row yields is what it would yield alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from training.core.encoding import Row
from training.core.errors import BadInput

T = TypeVar("T")


class Batch(NamedTuple):
    """B rows padded on the right to T tokens.

    input_ids: (B, T). prompt_lengths, lengths: (B,), tokens of the prompt, and of prompt and response together.
    """

    input_ids: Tensor
    prompt_lengths: Tensor
    lengths: Tensor


def pad(rows: Sequence[Row], device: torch.device | str = "cpu") -> Batch:
    """`rows` as one batch. The padding id is 0 and means nothing: lengths alone say where a row ends."""
    lengths = [len(row.prompt) + len(row.response) for row in rows]
    input_ids = torch.zeros(len(rows), max(lengths), dtype=torch.long)
    for index, row in enumerate(rows):
        input_ids[index, : lengths[index]] = torch.tensor([*row.prompt, *row.response])
    prompts = torch.tensor([len(row.prompt) for row in rows])
    return Batch(input_ids.to(device), prompts.to(device), torch.tensor(lengths).to(device))


def hidden_states(trunk: nn.Module, batch: Batch) -> Tensor:
    """(B, T, D), the trunk's last hidden states, after its final norm."""
    hidden: Tensor = trunk(input_ids=batch.input_ids, use_cache=False).last_hidden_state
    return hidden


def last_hidden_states(trunk: nn.Module, batch: Batch) -> Tensor:
    """(B, D), the hidden state of each row's last real token, found from its length."""
    rows = torch.arange(len(batch.lengths), device=batch.lengths.device)
    return hidden_states(trunk, batch)[rows, batch.lengths - 1]


def token_logprobs(policy: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Log-probs of all response tokens, row after row: (N,) in float32 at least, and (N,) the row each belongs to.

    Only positions that predict a response token are put through the vocabulary projection.
    """
    positions = torch.arange(batch.input_ids.shape[1], device=batch.input_ids.device)
    is_response = (positions >= batch.prompt_lengths[:, None]) & (positions < batch.lengths[:, None])
    row, column = is_response.nonzero(as_tuple=True)
    hidden = hidden_states(policy.base_model, batch)[row, column - 1]
    labels = batch.input_ids[row, column]
    logits = vocabulary_logits(policy, hidden)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return -cross_entropy(logits, labels, reduction="none"), row


def response_logprobs(policy: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Log-probs summed over each response, (B,) in float32 at least, and each response's number of tokens, (B,)."""
    logprobs, row = token_logprobs(policy, batch)
    total = logprobs.new_zeros(len(batch.lengths)).index_add(0, row, logprobs)
    return total, batch.lengths - batch.prompt_lengths


def vocabulary_logits(policy: Any, hidden: Tensor) -> Tensor:
    """(..., V) logits of (..., D) hidden states, as the model's own forward would give them."""
    logits = policy.get_output_embeddings()(hidden)
    cap = getattr(policy.config, "final_logit_softcapping", None)
    return cap * torch.tanh(logits / cap) if cap else logits


@torch.no_grad()
def check_logits(policy: Any) -> None:
    """Refuse a model whose forward does something to its logits that `vocabulary_logits` does not know."""
    probe = torch.arange(4, device=policy.device)[None]
    whole = policy(input_ids=probe, use_cache=False).logits
    ours = vocabulary_logits(policy, policy.base_model(input_ids=probe, use_cache=False).last_hidden_state)
    if not torch.allclose(whole, ours, rtol=1e-3, atol=1e-3):
        kind = policy.config.model_type
        raise BadInput(f"Models of type {kind} scale their logits in a way not known here.", setting="model")


def by_length(items: Sequence[T], tokens: Sequence[int], rows: Sequence[int], most: int) -> Iterator[list[T]]:
    """`items` in groups of at most `most` tokens once padded, alike in length, longest first.

    tokens: each item's longest row. rows: each item's number of rows. An item too large by itself goes alone.
    """
    order = sorted(range(len(items)), key=lambda index: -tokens[index])
    group: list[T] = []
    count = width = 0
    for index in order:
        if group and (count + rows[index]) * width > most:
            yield group
            group, count = [], 0
        if not group:
            width = tokens[index]
        group.append(items[index])
        count += rows[index]
    if group:
        yield group
