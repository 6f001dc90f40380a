"""A key-value cache for k responses a prompt: the prompt's part is stored once, the responses' part is written in place.

Prompts come in cohorts, which are prefilled once and decoded in step: all responses of a cohort have equal length. Each
decoding step feeds one token a response, of all cohorts together; its queries attend to the prompt of their group (one
matrix product serves all responses of a prompt) and to the response's own tokens, under one softmax.
When a response ends, the last one of its cohort moves into its row, and likewise for a prompt whose responses have all
ended: nothing but the moved rows is copied. A cohort reduced to half of its capacity is copied to a smaller one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

GROWTH = 16
"""Tokens by which the responses' part is enlarged at a time. Attention reads all of it: matrix products on contiguous memory
are several times faster than on parts with gaps between them."""

PREFILL_TOKENS = 4096
"""Prompt tokens, padding included, in one prefill pass at most; more is not faster and takes memory."""


class SharedPromptCache:
    """The cohorts of one run of a model, with `samples` responses a prompt of at most `size` tokens each.

    Rows are active responses, cohort after cohort; there are B of them.
    """

    is_compileable = False

    def __init__(self, model: Any, samples: int, size: int) -> None:
        self.model, self.samples, self.size = model, samples, size
        self.cohorts: list[Cohort] = []

    @property
    def tokens(self) -> int:
        """Tokens that memory is reserved for, written or not."""
        return sum(cohort.tokens for cohort in self.cohorts)

    def admit(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Prefill N prompts, whose N * samples responses become the last rows. Returns (N * samples, D) hidden states of
        the prompts' last tokens."""
        cohort = Cohort(prompts, self.samples, self.size, self.model.device)
        hidden = cohort.prefill(self.model)
        self.cohorts.append(cohort)
        return hidden.repeat_interleave(self.samples, 0)

    def decode(self, tokens: Tensor) -> Tensor:
        """Run one token of each of the B responses. Returns (B, D) hidden states."""
        positions = torch.cat([cohort.next_positions() for cohort in self.cohorts])
        hidden: Tensor = self.model.base_model(
            input_ids=tokens[:, None],
            position_ids=positions[:, None],
            past_key_values=self,
            use_cache=True,
            attention_mask=torch.ones(1, 1, 1, 1),  # passed on unchanged, so none is built
            shared_cache=self,
        ).last_hidden_state
        return hidden[:, 0]

    def retain(self, active: Tensor) -> Tensor:
        """Drop the responses outside the (B,) mask. Returns the new order of the others, as their previous rows."""
        orders, start = [], 0
        for cohort, part in zip(self.cohorts, self.split(active), strict=True):
            orders.append(start + (torch.arange(cohort.rows) if part.all() else cohort.retain(part).cpu()))
            start += len(part)
        self.cohorts = [cohort for cohort in self.cohorts if cohort.rows]
        return torch.cat(orders).to(active.device)

    def split(self, values: Tensor) -> tuple[Tensor, ...]:
        """The part of each cohort of (B, ...) values."""
        return torch.split(values, [cohort.rows for cohort in self.cohorts])

    # transformers' cache interface

    def update(
        self, key: Tensor, value: Tensor, layer: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        parts = zip(self.cohorts, self.split(key), self.split(value), strict=True)
        for cohort, keys, values in parts:
            cohort.write(layer, keys, values)
        return key, value

    def get_seq_length(self, layer: int = 0) -> int:
        return 0


class Cohort:
    """Keys and values of N prompts and their B active responses, each as (keys, values) for every layer.

    prompt_kv: (N, H, P, D), padded on the right to the longest prompt. response_kv: (B, H, T, D) with capacity for T tokens
    a response, of which `written` are set and the others 0; the active rows are the first, so that they form a contiguous
    block. groups: (B,) the prompt of each response. slots: the responses of the prompt with most; matrix products use a
    layout of N x slots, in which `slot_index` (B,) is the position of each response.
    """

    def __init__(
        self, prompts: Sequence[Sequence[int]], samples: int, size: int, device: torch.device
    ) -> None:
        self.prompts, self.size, self.written = prompts, size, 0
        self.lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        padding = torch.arange(int(self.lengths.max()), device=device) >= self.lengths[:, None]
        self.bias = torch.zeros(padding.shape, device=device).masked_fill_(padding, float("-inf"))
        self.ragged = bool(padding.any())
        self.prompt_kv: dict[int, tuple[Tensor, Tensor]] = {}
        self.response_kv: dict[int, tuple[Tensor, Tensor]] = {}
        self.groups = torch.arange(len(prompts), device=device).repeat_interleave(samples)
        self.capacity = (len(prompts), len(prompts) * samples)
        self._assign_slots()

    @property
    def rows(self) -> int:
        return len(self.groups)

    @property
    def tokens(self) -> int:
        """Tokens that memory is reserved for."""
        return self.capacity[0] * self.bias.shape[1] + self.capacity[1] * self.size

    def prefill(self, model: Any) -> Tensor:
        """Run the prompts, those of similar length together. Returns (N, D) hidden states of their last tokens."""
        last: Tensor | None = None
        for rows in self._prefill_passes():
            lengths = self.lengths[rows]
            ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
            for place, row in enumerate(rows):
                ids[place, : len(self.prompts[row])] = torch.tensor(self.prompts[row])
            cache = DynamicCache()
            hidden = model.base_model(
                input_ids=ids.to(model.device), past_key_values=cache, use_cache=True
            ).last_hidden_state
            layers: list[Any] = cache.layers
            for number, layer in enumerate(layers):
                self._store_prompts(number, rows, layer.keys, layer.values)
            if last is None:
                last = hidden.new_empty(len(self.prompts), hidden.shape[-1])
            last[rows] = hidden[torch.arange(len(rows), device=hidden.device), lengths - 1]
        assert last is not None
        return last

    def adopt(self, layers: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Take the (N, H, P, D) keys and values of the prompts from where they were computed, in place of `prefill`."""
        rows = list(range(len(self.prompts)))
        for number, (keys, values) in enumerate(layers):
            self._store_prompts(number, rows, keys, values)

    def keys_and_values(self) -> list[tuple[Tensor, Tensor]]:
        """A copy for every layer, (1, H, P + T, D), of a cohort of one response: its prompt's and the T written ones."""
        prompts = self.prompt_kv.items()
        if not self.response_kv:
            return [(keys.clone(), values.clone()) for _, (keys, values) in prompts]
        return [
            (
                torch.cat([keys, self.response_kv[layer][0][:1, :, : self.written]], 2),
                torch.cat([values, self.response_kv[layer][1][:1, :, : self.written]], 2),
            )
            for layer, (keys, values) in prompts
        ]

    def next_positions(self) -> Tensor:
        """(B,) positions of the next tokens, which `write` must then be called for, layer by layer."""
        self.written += 1
        return self.lengths[self.groups] + self.written - 1

    def write(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Store the (B, H, 1, D) keys and values of this step's tokens."""
        if self.written % GROWTH == 1:
            self._grow(layer)
        for stored, part in zip(self.response_kv[layer], (key, value), strict=True):
            stored[: self.rows, :, self.written - 1] = part[:, :, 0]

    def _grow(self, layer: int) -> None:
        _, heads, _, width = self.prompt_kv[layer][0].shape
        tokens = min(GROWTH, self.size + 1 - self.written)
        more = [part.new_zeros(self.rows, heads, tokens, width) for part in self.prompt_kv[layer]]
        if layer in self.response_kv:
            more = [
                torch.cat([stored[: self.rows], new], 2)
                for stored, new in zip(self.response_kv[layer], more, strict=True)
            ]
        self.response_kv[layer] = more[0], more[1]

    def attend(self, layer: int, query: Tensor, window: int | None, softcap: float | None) -> Tensor:
        """(B, heads, D) from scaled (B, heads, D) queries. window, softcap: as those of `attention.attention`."""
        prompt_keys, prompt_values = self.prompt_kv[layer]
        keys, values = (part[: self.rows] for part in self.response_kv[layer])
        _, kv_heads, prompt_length, _ = prompt_keys.shape
        ratio, width = query.shape[1] // kv_heads, query.shape[2]
        query = query.to(prompt_keys.dtype).reshape(self.rows, kv_heads, ratio, width)

        on_prompt = self._to_slots(query) @ prompt_keys.transpose(-1, -2)
        on_response = query @ keys.transpose(-1, -2)
        if softcap is not None:
            on_prompt, on_response = (
                softcap * torch.tanh(part / softcap) for part in (on_prompt, on_response)
            )
        if self.ragged:
            on_prompt += self.bias[:, None, None]
        scores = torch.cat([self._from_slots(on_prompt, ratio), on_response], -1)
        scores[..., prompt_length + self.written :] = float("-inf")
        if window is not None and prompt_length + self.written > window:
            self._hide_before_window(scores, window)
        weights = torch.softmax(scores, -1, torch.promote_types(scores.dtype, torch.float32)).to(values.dtype)
        of_prompt = self._from_slots(self._to_slots(weights[..., :prompt_length]) @ prompt_values, ratio)
        return (of_prompt + weights[..., prompt_length:] @ values).flatten(1, 2)

    def _hide_before_window(self, scores: Tensor, window: int) -> None:
        """Overwrite the (B, H, r, P + T) scores of keys that are `window` or more tokens before the present one."""
        prompt_length = self.bias.shape[1]
        first = self.lengths[self.groups] + self.written - window  # (B,) the first visible position
        places = torch.arange(prompt_length, device=first.device)
        hidden = (places < first[:, None])[:, None, None]
        scores[..., :prompt_length].masked_fill_(hidden, float("-inf"))
        scores[..., prompt_length : prompt_length + max(0, self.written - window)] = float("-inf")

    def retain(self, active: Tensor) -> Tensor:
        """Drop the responses outside the (B,) mask, and prompts without any left. Returns the new order of the others, as
        their previous rows."""
        order, holes, movers = _compact(active)
        for part in (part for stored in self.response_kv.values() for part in stored):
            part[holes, :, : self.written] = part[movers, :, : self.written]
        self.groups = self.groups[order]

        used = torch.zeros(len(self.lengths), dtype=torch.bool, device=active.device)
        used[self.groups] = True
        groups, holes, movers = _compact(used)
        if len(groups) < len(used):
            for part in (part for stored in self.prompt_kv.values() for part in stored):
                part[holes] = part[movers]
            self.lengths, self.bias = self.lengths[groups], self.bias[groups]
            self.prompt_kv = {
                layer: (k[: len(groups)], v[: len(groups)]) for layer, (k, v) in self.prompt_kv.items()
            }
            renumbered = torch.zeros(len(used), dtype=torch.long, device=active.device)
            renumbered[groups] = torch.arange(len(groups), device=active.device)
            self.groups = renumbered[self.groups]
        self._shrink()
        self._assign_slots()
        return order

    def _shrink(self) -> None:
        """Copy a part of which at most half is in use to a smaller tensor."""
        prompts, rows = self.capacity
        if 2 * len(self.lengths) <= prompts:
            prompts = len(self.lengths)
            self.prompt_kv = {layer: (k.clone(), v.clone()) for layer, (k, v) in self.prompt_kv.items()}
        if 2 * self.rows <= rows:
            rows = self.rows
            self.response_kv = {
                layer: (k[:rows].clone(), v[:rows].clone()) for layer, (k, v) in self.response_kv.items()
            }
        self.capacity = (prompts, rows)

    def _assign_slots(self) -> None:
        """Give each response one of the slots of its prompt."""
        counts = torch.bincount(self.groups, minlength=len(self.lengths))
        self.slots = int(counts.max()) if len(counts) else 0
        order = torch.argsort(self.groups, stable=True)
        slot = torch.empty_like(order)
        before = (counts.cumsum(0) - counts)[self.groups[order]]
        slot[order] = torch.arange(len(order), device=order.device) - before
        self.slot_index = self.groups * self.slots + slot
        indices = torch.arange(len(self.lengths) * self.slots, device=order.device)
        self.is_in_order = torch.equal(self.slot_index, indices)

    def _to_slots(self, rows: Tensor) -> Tensor:
        """(N, H, slots * r, W) from (B, H, r, W): the responses of a prompt side by side, empty slots 0."""
        _, heads, ratio, width = rows.shape
        if not self.is_in_order:
            empty = rows.new_zeros(len(self.lengths) * self.slots, heads, ratio, width)
            rows = empty.index_copy_(0, self.slot_index, rows)
        slots = rows.view(len(self.lengths), self.slots, heads, ratio, width).transpose(1, 2)
        return slots.reshape(len(self.lengths), heads, self.slots * ratio, width)

    def _from_slots(self, slots: Tensor, ratio: int) -> Tensor:
        """(B, H, r, W) from (N, H, slots * r, W): the inverse of `_to_slots`."""
        count, heads, _, width = slots.shape
        rows = slots.view(count, heads, self.slots, ratio, width).transpose(1, 2)
        rows = rows.reshape(count * self.slots, heads, ratio, width)
        return rows if self.is_in_order else rows[self.slot_index]

    def _prefill_passes(self) -> Iterator[list[int]]:
        rows: list[int] = []
        for row in sorted(range(len(self.prompts)), key=lambda row: len(self.prompts[row])):
            if rows and (len(rows) + 1) * len(self.prompts[row]) > PREFILL_TOKENS:
                yield rows
                rows = []
            rows.append(row)
        yield rows

    def _store_prompts(self, layer: int, rows: list[int], keys: Tensor, values: Tensor) -> None:
        """Store the (n, H, P, D) keys and values of the prompts at `rows`, in the dtype of the values: under autocast the
        keys alone are in float32."""
        _, heads, length, width = keys.shape
        if layer not in self.prompt_kv:
            shape = (len(self.lengths), heads, self.bias.shape[1], width)
            # zeros where a prompt is shorter: what softmax gives no weight must still be a number
            self.prompt_kv[layer] = values.new_zeros(shape), values.new_zeros(shape)
        for stored, part in zip(self.prompt_kv[layer], (keys, values), strict=True):
            stored[rows, :, :length] = part.to(stored.dtype)


def shared_attention(
    layer: int,
    query: Tensor,
    scaling: float | None,
    cache: SharedPromptCache,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """(B, 1, heads, D) from (B, heads, 1, D) queries: one softmax over the prompt's keys and the response's own. window,
    softcap: as those of `attention.attention`."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    queries = cache.split(query[:, :, 0] * scale)
    outputs = [
        cohort.attend(layer, part, window, softcap)
        for cohort, part in zip(cache.cohorts, queries, strict=True)
    ]
    return (torch.cat(outputs) if len(outputs) > 1 else outputs[0])[:, None]


def _compact(active: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How the rows of a (B,) mask move to the front, with as few moves as possible: the previous rows in their new order,
    the holes, and the row that moves into each."""
    count = int(active.sum())
    holes = (~active[:count]).nonzero().squeeze(-1)
    movers = active[count:].nonzero().squeeze(-1) + count
    order = torch.arange(count, device=active.device)
    order[holes] = movers
    return order, holes, movers
