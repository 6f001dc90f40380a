"""Sampling: k responses for each prompt, which is prefilled once and shared by them.

Every response has a seed of its own and draws one number a token from it, so it does not depend on what else is in the
batch. A response that ends leaves the batch, a prompt whose responses have all ended frees its keys and values, and waiting
prompts are admitted when there is memory for them.
Left out: top-k, top-p and penalties, as log-probs must be those of the whole distribution.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch import Tensor

from training.core.attention import unsupported_attention
from training.core.batching import check_rows_layout, exact_float32, probe_groups, rows_layout
from training.core.errors import BadInput
from training.core.events import Events
from training.core.kv_cache import SharedPromptCache
from training.core.logprobs import token_logprobs, vocabulary_logits
from training.core.tokenization import EncodedGroup, Encoder

BLOCK = 128
"""Entries of the vocabulary whose weights are summed first in the search for a token."""


@dataclass
class SampledResponse:
    """One response: the sampled ids, their log-probs, and whether the last id is an end token.

    recomputed: of a response that a server sampled, the log-probs of the ids by the policy itself.
    """

    token_ids: list[int]
    logprobs: list[float]
    finished: bool
    recomputed: list[float] | None = None


@torch.no_grad()
def sample_responses(
    model: Any,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    *,
    samples: int,
    max_new_tokens: int,
    temperature: float,
    end_ids: Sequence[int],
    events: Events | None = None,
    batch_tokens: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> list[SampledResponse]:
    """`samples` responses for each of the prompts, prompt after prompt. seeds: one for each response.

    Log-probs are those of the sampling distribution: logits divided by the temperature, without truncation. At temperature 0
    the most likely token is taken and log-probs are the model's own.
    batch_tokens: tokens in memory at most; further prompts wait until responses have ended. None: no limit.
    on_progress: called with the number of completed responses whenever it grows.
    Raises Stopped, between two tokens, if `events` received SIGTERM.
    """
    count, device = len(prompts) * samples, model.device
    draws = torch.from_numpy(
        numpy.stack([numpy.random.default_rng(seed).random(max_new_tokens) for seed in seeds])
    ).to(device)
    ends = torch.tensor(list(end_ids), device=device)
    tokens = torch.zeros(count, max_new_tokens, dtype=torch.long, device=device)
    logprobs = torch.zeros(count, max_new_tokens, device=device)
    lengths = torch.zeros(count, dtype=torch.long, device=device)
    finished = torch.zeros(count, dtype=torch.bool, device=device)

    cache = SharedPromptCache(model, samples, max_new_tokens)
    admitted = 0
    active = picked = torch.empty(
        0, dtype=torch.long, device=device
    )  # indices of responses; their last tokens
    while admitted < len(prompts) or len(active):
        if events is not None:
            events.raise_if_stopped()
        hidden = [cache.decode(picked)] if len(active) else []
        if more := count_admissible(prompts[admitted:], cache, batch_tokens):
            hidden.append(cache.admit(prompts[admitted : admitted + more]))
            new = torch.arange(admitted * samples, (admitted + more) * samples, device=device)
            active, admitted = torch.cat([active, new]), admitted + more
        logits = vocabulary_logits(model, torch.cat(hidden)).float()
        position = lengths[active]
        picked, value = pick_tokens(logits, draws[active, position], temperature)
        tokens[active, position], logprobs[active, position], lengths[active] = picked, value, position + 1
        ended = torch.isin(picked, ends)
        finished[active[ended]] = True
        continues = ~ended & (position + 1 < max_new_tokens)
        if not continues.all():
            order = cache.retain(continues)
            active, picked = active[order], picked[order]
            if on_progress is not None:
                on_progress(admitted * samples - len(active))
    return [
        SampledResponse(row[:length], values[:length], bool(end))
        for row, values, length, end in zip(
            tokens.tolist(), logprobs.tolist(), lengths.tolist(), finished.tolist(), strict=True
        )
    ]


def count_admissible(
    waiting: Sequence[Sequence[int]], cache: SharedPromptCache, max_tokens: int | None
) -> int:
    """The number of waiting prompts that can be admitted now with at most `max_tokens` tokens in memory.

    Each cohort has a cost a step, so one that would take less than a quarter of the memory waits, unless it is the last. A
    prompt that exceeds the limit alone is admitted alone.
    """
    if max_tokens is None or not waiting:
        return len(waiting)
    free = max_tokens - cache.tokens
    count = width = 0
    for prompt in waiting:
        width = max(width, len(prompt))
        if (count + 1) * (width + cache.samples * cache.size) > free:
            break
        count += 1
    if not cache.cohorts:
        return max(1, count)
    return count if count == len(waiting) or free >= max_tokens // 4 else 0


def pick_tokens(logits: Tensor, draw: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """(B,) tokens and their log-probs from (B, V) logits, by inversion of the distribution at (B,) draws in [0, 1).

    `logits` is overwritten. The cumulative distribution is searched in two steps, a block of the vocabulary first and then
    the token within it, so that only sums run over all of the vocabulary and all cumulation is in double precision.
    """
    highest = logits.amax(-1, keepdim=True)
    logits -= highest
    if not temperature:
        picked = logits.argmax(-1)
        chosen = logits.gather(-1, picked[:, None]).squeeze(-1)
        return picked, chosen - logits.exp_().sum(-1).log()
    if temperature != 1.0:
        logits /= temperature
    weights = logits.exp_()
    blocks = weights.shape[-1] // BLOCK
    sums = weights[:, : blocks * BLOCK].view(len(weights), blocks, BLOCK).sum(-1)
    sums = torch.cat([sums, weights[:, blocks * BLOCK :].sum(-1, keepdim=True)], -1).double()
    block, rest = _invert_cumulative(sums, draw * sums.sum(-1))
    tokens = (block * BLOCK)[:, None] + torch.arange(BLOCK, device=logits.device)
    inside = weights.gather(-1, tokens.clamp(max=weights.shape[-1] - 1)).double()
    inside.masked_fill_(tokens >= weights.shape[-1], 0.0)
    within, _ = _invert_cumulative(inside, rest)
    picked = tokens.gather(-1, within[:, None])
    return picked.squeeze(-1), (weights.gather(-1, picked).squeeze(-1).double() / sums.sum(-1)).log().float()


def _invert_cumulative(weights: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) the first index of the (B, W) weights at which their cumulative sum exceeds the (B,) target, and the target less
    the sum before it. Its weight is positive, even where rounding put the target past the end."""
    cumulative = weights.cumsum(-1)
    total = cumulative[:, -1]
    target = torch.minimum(target, torch.nextafter(total, torch.zeros_like(total)))
    index = torch.searchsorted(cumulative, target[:, None], right=True)
    before = (cumulative - weights).gather(-1, index).squeeze(-1)
    return index.squeeze(-1), (target - before).clamp_(min=0.0)


def response_seed(seed: int, prompt_id: str | int, sample: int) -> int:
    """The seed of one response, of 53 bits: a function of the job's seed, the prompt's id and the sample's number."""
    name = json.dumps([seed, prompt_id, sample]).encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 11


def end_token_ids(model: Any, encoder: Encoder) -> list[int]:
    """The tokens that end a response: the chat template's, and those of the model's generation config."""
    listed = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    more = listed if isinstance(listed, list) else [] if listed is None else [listed]
    return sorted({encoder.end_id, *more})


@exact_float32()
def check_shared_cache(model: Any, length: int) -> None:
    """Raise BadInput for a model that the shared cache does not support in sequences of `length` tokens; it is tried."""
    kind = model.config.model_type
    if reason := unsupported_attention(model):
        raise BadInput(
            f"Sampling from models of type {kind} is not supported: they use {reason}.", setting="model"
        )
    check_rows_layout(model.base_model, length)
    prompts = [group.prompt for group in probe_groups(model, length)]
    sampled = sample_responses(
        model,
        prompts,
        range(1, 2 * len(prompts) + 1),
        samples=2,
        max_new_tokens=3,
        temperature=1.0,
        end_ids=(),
    )
    groups = [
        EncodedGroup(prompt, [response.token_ids for response in sampled[2 * number : 2 * number + 2]])
        for number, prompt in enumerate(prompts)
    ]
    with torch.no_grad():
        expected = token_logprobs(model, rows_layout(groups, model.device))
    logprobs = torch.tensor([value for one in sampled for value in one.logprobs], device=expected.device)
    if not torch.allclose(logprobs, expected, rtol=1e-3, atol=1e-2):
        raise BadInput(
            f"Sampling from models of type {kind} is not supported: they give different numbers with a shared prompt"
            " cache.",
            setting="model",
        )
