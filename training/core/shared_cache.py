"""A key-value cache for k responses a prompt: the prompt's part is kept once, the responses' part is written in place.

The prompts are run once, padded on the right. After that each step feeds one token a response; its queries attend to
the prompt of their group (one product serves the k responses) and to what the response itself has written, under one
softmax.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache


class SharedCache:
    """Keys and values of N prompts with G responses each.

    Prompt part, a layer: (N, H, P, D). Response part, a layer: (B, H, T, D) for the B responses still going.
    """

    is_compileable = False

    def __init__(
        self, model: Any, prompts: Sequence[Sequence[int]], samples: int, max_new_tokens: int
    ) -> None:
        device = model.device
        self.prompts, self.samples, self.size = prompts, samples, max_new_tokens
        self.lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        width = int(self.lengths.max())
        padding = torch.arange(width, device=device) >= self.lengths[:, None]
        self.bias = torch.zeros(len(prompts), 1, 1, width, device=device).masked_fill_(
            padding[:, None, None], float("-inf")
        )
        self.slots = torch.arange(len(prompts) * samples, device=device)
        self.written = 0
        self.prompt: dict[int, tuple[Tensor, Tensor]] = {}
        self.own: dict[int, tuple[Tensor, Tensor]] = {}

    def prefill(self, model: Any) -> Tensor:
        """Run the prompts. (N, D) hidden states of their last tokens."""
        width = self.bias.shape[-1]
        ids = torch.zeros(len(self.prompts), width, dtype=torch.long, device=model.device)
        for row, prompt in enumerate(self.prompts):
            ids[row, : len(prompt)] = torch.tensor(prompt)
        kept = DynamicCache()
        hidden = model.base_model(input_ids=ids, past_key_values=kept, use_cache=True).last_hidden_state
        layers: list[Any] = kept.layers
        self.prompt = {number: (layer.keys, layer.values) for number, layer in enumerate(layers)}
        return hidden[torch.arange(len(ids), device=ids.device), self.lengths - 1]

    def decode(self, model: Any, tokens: Tensor) -> Tensor:
        """Run one token of each of the B responses. (B, D) hidden states."""
        positions = self.lengths[self.slots // self.samples] + self.written
        self.written += 1
        hidden = model.base_model(
            input_ids=tokens[:, None],
            position_ids=positions[:, None],
            past_key_values=self,
            use_cache=True,
            attention_mask=torch.ones(1, 1, 1, 1),  # handed on as it is, so none is built
            shared_cache=self,
        ).last_hidden_state
        return hidden[:, 0]

    def keep(self, going: Tensor) -> None:
        """Drop the responses that are not in the (B,) mask, and prompts that have none left."""
        slots = self.slots[going]
        groups = torch.unique(slots // self.samples)
        if len(groups) < len(self.lengths):
            renumbered = torch.zeros(len(self.lengths), dtype=torch.long, device=slots.device)
            renumbered[groups] = torch.arange(len(groups), device=slots.device)
            slots = renumbered[slots // self.samples] * self.samples + slots % self.samples
            self.lengths, self.bias = self.lengths[groups], self.bias[groups]
            self.prompt = {layer: (k[groups], v[groups]) for layer, (k, v) in self.prompt.items()}
        self.slots = slots
        self.own = {layer: (k[going], v[going]) for layer, (k, v) in self.own.items()}

    # What transformers asks of a cache.

    def update(
        self, key: Tensor, value: Tensor, layer: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if layer not in self.own:
            shape = (len(self.slots), key.shape[1], self.size, key.shape[3])
            self.own[layer] = (key.new_empty(shape), value.new_empty(shape))
        keys, values = self.own[layer]
        keys[:, :, self.written - 1] = key[:, :, 0]
        values[:, :, self.written - 1] = value[:, :, 0]
        return key, value

    def get_seq_length(self, layer: int = 0) -> int:
        return 0


def shared_attention(layer: int, query: Tensor, scaling: float | None, cache: SharedCache) -> Tensor:
    """(B, 1, heads, D) from (B, heads, 1, D) queries: softmax over the prompt's and the response's own keys together."""
    rows, heads, _, width = query.shape
    prompt_keys, prompt_values = cache.prompt[layer]
    keys, values = (part[:, :, : cache.written] for part in cache.own[layer])
    groups, kv_heads, prompt_length = prompt_keys.shape[:3]
    samples, ratio = cache.samples, heads // kv_heads
    scale = width**-0.5 if scaling is None else scaling
    query = (query.view(rows, kv_heads, ratio, width) * scale).to(prompt_keys.dtype)

    # to the prompt: the group's G responses, and the query heads that share a key head, ride in one product
    spread = query.new_zeros(groups * samples, kv_heads, ratio, width).index_copy_(0, cache.slots, query)
    spread = spread.view(groups, samples, kv_heads, ratio, width).transpose(1, 2)
    to_prompt = spread.reshape(groups, kv_heads, samples * ratio, width) @ prompt_keys.transpose(-1, -2)
    to_prompt = (to_prompt + cache.bias.to(to_prompt.dtype)).view(
        groups, kv_heads, samples, ratio, prompt_length
    )
    to_prompt = to_prompt.transpose(1, 2).reshape(groups * samples, kv_heads, ratio, prompt_length)[
        cache.slots
    ]

    to_own = query @ keys.transpose(-1, -2)
    weights = torch.softmax(torch.cat([to_prompt, to_own], -1).float(), -1).to(values.dtype)
    on_prompt, on_own = weights[..., :prompt_length], weights[..., prompt_length:]

    spread = on_prompt.new_zeros(groups * samples, kv_heads, ratio, prompt_length).index_copy_(
        0, cache.slots, on_prompt
    )
    spread = spread.view(groups, samples, kv_heads, ratio, prompt_length).transpose(1, 2)
    read = spread.reshape(groups, kv_heads, samples * ratio, prompt_length) @ prompt_values
    read = read.view(groups, kv_heads, samples, ratio, width).transpose(1, 2)
    read = read.reshape(groups * samples, kv_heads, ratio, width)[cache.slots]
    return (read + on_own @ values).reshape(rows, 1, heads, width)
