"""The sampling engine: k responses for each prompt, which goes through the model once and is shared by them.

Every response has a seed of its own and draws one number a token from it, so it does not depend on what else is in the
batch. A response that ends leaves the batch, a prompt whose responses have all ended takes its keys and values along,
and prompts that wait come in where there is room.
Left out: top-k, top-p and penalties, as log-probs are to be those of the whole distribution.
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

from training.core.attention import peculiarity
from training.core.batching import rows as padded_rows
from training.core.batching import token_logprobs
from training.core.errors import BadInput
from training.core.events import Events
from training.core.kv_cache import SharedCache
from training.core.logprobs import vocabulary_logits
from training.core.tokenization import Encoder, Group

BLOCK = 128
"""Entries of the vocabulary that are summed up first when a token is looked for."""


@dataclass
class Sampled:
    """One response: the ids as sampled, their log-probs, and whether it ended by itself."""

    token_ids: list[int]
    logprobs: list[float]
    finished: bool


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
    report: Callable[[int], None] | None = None,
) -> list[Sampled]:
    """`samples` responses for each of the prompts, prompt after prompt; `seeds` has one for each response.

    Log-probs are those of the distribution sampled from: logits divided by the temperature, nothing cut off. At
    temperature 0 the likeliest token is taken and log-probs are the model's own.
    batch_tokens: the tokens to hold in memory; prompts beyond them wait until responses have ended. All at once if None.
    report: told the number of responses that are there, whenever it grows.
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

    cache = SharedCache(model, samples, max_new_tokens)
    admitted = 0
    alive = picked = torch.empty(0, dtype=torch.long, device=device)
    while admitted < len(prompts) or len(alive):
        if events is not None:
            events.leave_if_asked()
        hidden = [cache.decode(picked)] if len(alive) else []
        if more := admissible(prompts[admitted:], cache, batch_tokens):
            hidden.append(cache.admit(prompts[admitted : admitted + more]))
            new = torch.arange(admitted * samples, (admitted + more) * samples, device=device)
            alive, admitted = torch.cat([alive, new]), admitted + more
        logits = vocabulary_logits(model, torch.cat(hidden)).float()
        place = lengths[alive]
        picked, value = pick(logits, draws[alive, place], temperature)
        tokens[alive, place], logprobs[alive, place], lengths[alive] = picked, value, place + 1
        ended = torch.isin(picked, ends)
        finished[alive[ended]] = True
        going = ~ended & (place + 1 < max_new_tokens)
        if not going.all():
            order = cache.keep(going)
            alive, picked = alive[order], picked[order]
            if report is not None:
                report(admitted * samples - len(alive))
    return [
        Sampled(row[:length], values[:length], bool(end))
        for row, values, length, end in zip(
            tokens.tolist(), logprobs.tolist(), lengths.tolist(), finished.tolist(), strict=True
        )
    ]


def admissible(waiting: Sequence[Sequence[int]], cache: SharedCache, most: int | None) -> int:
    """How many of the prompts that wait may join now, so that there is memory for at most `most` tokens.

    As each cohort costs some work a step, none is begun that would take less than a quarter of the memory, unless it is
    the last. A prompt too large by itself goes alone.
    """
    if most is None or not waiting:
        return len(waiting)
    free = most - cache.tokens
    count = width = 0
    for prompt in waiting:
        width = max(width, len(prompt))
        if (count + 1) * (width + cache.samples * cache.size) > free:
            break
        count += 1
    if not cache.cohorts:
        return max(1, count)
    return count if count == len(waiting) or free >= most // 4 else 0


def pick(logits: Tensor, draw: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """One token for each row of (B, V) logits and its log-prob, by inversion of the distribution at (B,) draws in [0, 1).

    `logits` are overwritten. The cumulative distribution is found in two steps, a block of the vocabulary first and then
    the token within it, so that only sums go over all of the vocabulary and all cumulation is in double precision.
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
    block, rest = _invert(sums, draw * sums.sum(-1))
    tokens = (block * BLOCK)[:, None] + torch.arange(BLOCK, device=logits.device)
    inside = weights.gather(-1, tokens.clamp(max=weights.shape[-1] - 1)).double()
    inside.masked_fill_(tokens >= weights.shape[-1], 0.0)
    within, _ = _invert(inside, rest)
    picked = tokens.gather(-1, within[:, None])
    return picked.squeeze(-1), (weights.gather(-1, picked).squeeze(-1).double() / sums.sum(-1)).log().float()


def _invert(weights: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The first of the (B, W) weights at which their cumulative sum exceeds the (B,) target, and how much of the target
    its predecessors leave. It always has a weight, even where rounding put the target past the end."""
    cumulative = weights.cumsum(-1)
    most = cumulative[:, -1]
    target = torch.minimum(target, torch.nextafter(most, torch.zeros_like(most)))
    place = torch.searchsorted(cumulative, target[:, None], right=True)
    before = (cumulative - weights).gather(-1, place).squeeze(-1)
    return place.squeeze(-1), (target - before).clamp_(min=0.0)


def row_seed(seed: int, prompt_id: str | int, sample: int) -> int:
    """The seed of one response, a function of the job's seed, the prompt's id and the sample's number; 53 bits."""
    name = json.dumps([seed, prompt_id, sample]).encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 11


def end_tokens(model: Any, encoder: Encoder) -> list[int]:
    """The tokens that end a response: the template's, and those of the model's generation settings."""
    listed = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    more = listed if isinstance(listed, list) else [] if listed is None else [listed]
    return sorted({encoder.end_id, *more})


def check_cache(model: Any, length: int) -> None:
    """Refuse a model that cannot be continued from a shared cache in rows of `length` tokens, after trying it."""
    kind = model.config.model_type
    if reason := peculiarity(model, length):
        raise BadInput(
            f"Models of type {kind} cannot be sampled from yet: they use {reason}.", setting="model"
        )
    prompts = [[3, 5, 4], [5, 9]]
    sampled = sample_responses(
        model, prompts, [1, 2, 3, 4], samples=2, max_new_tokens=3, temperature=1.0, end_ids=()
    )
    groups = [
        Group(prompt, [one.token_ids for one in sampled[2 * number : 2 * number + 2]])
        for number, prompt in enumerate(prompts)
    ]
    with torch.no_grad():
        expected = token_logprobs(model, padded_rows(groups, model.device))
    found = torch.tensor([value for one in sampled for value in one.logprobs], device=expected.device)
    if not torch.allclose(found, expected, rtol=1e-3, atol=1e-2):
        raise BadInput(
            f"Models of type {kind} give other numbers when responses share a prompt's cache, and cannot be sampled from"
            " yet.",
            setting="model",
        )
