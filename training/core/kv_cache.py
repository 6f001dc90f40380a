"""A key-value cache for k responses a prompt: the prompt's part is kept once, the responses' part is written in place.

Prompts come in cohorts, each run once and then continued in step: all its responses are equally long. After that each
step feeds one token a response, of all cohorts together; its queries attend to the prompt of their group (one product
serves the responses of a prompt) and to what the response itself has written, under one softmax.
A response that ends gives its place to the last one of its cohort, and so does a prompt whose responses have all ended:
nothing but the moved row is copied. A cohort that has shrunk to a half gives the memory back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

GROWTH = 16
"""Room for a response's tokens is made so many at a time, and attention reads all of it: products of matrices that lie end to
end are several times faster than of parts with gaps between them."""

PREFILL_TOKENS = 4096
"""Most tokens of prompts, padding included, run at once; more gains nothing and costs memory."""


class SharedCache:
    """The cohorts of one run of a model with up to `samples` responses a prompt, each of at most `size` tokens.

    Rows are responses, cohort after cohort; B of them go on.
    """

    is_compileable = False

    def __init__(self, model: Any, samples: int, size: int) -> None:
        self.model, self.samples, self.size = model, samples, size
        self.cohorts: list[Cohort] = []

    @property
    def tokens(self) -> int:
        """Tokens there is memory for, written or not."""
        return sum(cohort.tokens for cohort in self.cohorts)

    def admit(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Run N prompts, whose N * samples responses become the last rows. (N * samples, D) hidden states of the prompts'
        last tokens."""
        cohort = Cohort(prompts, self.samples, self.size, self.model.device)
        hidden = cohort.prefill(self.model)
        self.cohorts.append(cohort)
        return hidden.repeat_interleave(self.samples, 0)

    def decode(self, tokens: Tensor) -> Tensor:
        """Run one token of each of the B responses. (B, D) hidden states."""
        positions = torch.cat([cohort.next_positions() for cohort in self.cohorts])
        hidden: Tensor = self.model.base_model(
            input_ids=tokens[:, None],
            position_ids=positions[:, None],
            past_key_values=self,
            use_cache=True,
            attention_mask=torch.ones(1, 1, 1, 1),  # handed on as it is, so none is built
            shared_cache=self,
        ).last_hidden_state
        return hidden[:, 0]

    def keep(self, going: Tensor) -> Tensor:
        """Drop the responses that are not in the (B,) mask. Returns the order in which the others stand from now on, as
        their rows of before."""
        orders, start = [], 0
        for cohort, part in zip(self.cohorts, self.split(going), strict=True):
            orders.append(start + (torch.arange(cohort.rows) if part.all() else cohort.keep(part).cpu()))
            start += len(part)
        self.cohorts = [cohort for cohort in self.cohorts if cohort.rows]
        return torch.cat(orders).to(going.device)

    def split(self, values: Tensor) -> tuple[Tensor, ...]:
        """The part of each cohort, from (B, ...)."""
        return torch.split(values, [cohort.rows for cohort in self.cohorts])

    # What transformers asks of a cache.

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
    """Keys and values of N prompts and their B responses still going, each as (keys, values) for every layer.

    prompt: (N, H, P, D), padded on the right to the longest prompt. own: (B, H, T, D) with room for T tokens a response,
    of which `written` are there and the others 0; what can leave comes first, so that what goes on is a block that a product
    can read as it lies. groups: (B,) the prompt of each response.
    """

    def __init__(
        self, prompts: Sequence[Sequence[int]], samples: int, size: int, device: torch.device
    ) -> None:
        self.prompts, self.size, self.written = prompts, size, 0
        self.lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        padding = torch.arange(int(self.lengths.max()), device=device) >= self.lengths[:, None]
        self.bias = torch.zeros(padding.shape, device=device).masked_fill_(padding, float("-inf"))
        self.ragged = bool(padding.any())
        self.prompt: dict[int, tuple[Tensor, Tensor]] = {}
        self.own: dict[int, tuple[Tensor, Tensor]] = {}
        self.groups = torch.arange(len(prompts), device=device).repeat_interleave(samples)
        self.room = (len(prompts), len(prompts) * samples)
        self._seat()

    @property
    def rows(self) -> int:
        return len(self.groups)

    @property
    def tokens(self) -> int:
        """Tokens there is memory for."""
        return self.room[0] * self.bias.shape[1] + self.room[1] * self.size

    def prefill(self, model: Any) -> Tensor:
        """Run the prompts, those of like length together. (N, D) hidden states of their last tokens."""
        last: Tensor | None = None
        for rows in self._passes():
            lengths = self.lengths[rows]
            ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
            for place, row in enumerate(rows):
                ids[place, : len(self.prompts[row])] = torch.tensor(self.prompts[row])
            kept = DynamicCache()
            hidden = model.base_model(
                input_ids=ids.to(model.device), past_key_values=kept, use_cache=True
            ).last_hidden_state
            layers: list[Any] = kept.layers
            for number, layer in enumerate(layers):
                self._keep_prompts(number, rows, layer.keys, layer.values)
            if last is None:
                last = hidden.new_empty(len(self.prompts), hidden.shape[-1])
            last[rows] = hidden[torch.arange(len(rows), device=hidden.device), lengths - 1]
        assert last is not None
        return last

    def next_positions(self) -> Tensor:
        """(B,) positions of the tokens that come now; `write` is then to be called for each layer."""
        self.written += 1
        return self.lengths[self.groups] + self.written - 1

    def write(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Keep the (B, H, 1, D) keys and values of this step's tokens."""
        if self.written % GROWTH == 1:
            self._make_room(layer)
        for kept, part in zip(self.own[layer], (key, value), strict=True):
            kept[: self.rows, :, self.written - 1] = part[:, :, 0]

    def _make_room(self, layer: int) -> None:
        _, heads, _, width = self.prompt[layer][0].shape
        room = min(GROWTH, self.size + 1 - self.written)
        more = [part.new_zeros(self.rows, heads, room, width) for part in self.prompt[layer]]
        if layer in self.own:
            more = [
                torch.cat([kept[: self.rows], new], 2)
                for kept, new in zip(self.own[layer], more, strict=True)
            ]
        self.own[layer] = more[0], more[1]

    def attend(self, layer: int, query: Tensor) -> Tensor:
        """(B, heads, D) from scaled (B, heads, D) queries."""
        prompt_keys, prompt_values = self.prompt[layer]
        keys, values = (part[: self.rows] for part in self.own[layer])
        _, kv_heads, prompt_length, _ = prompt_keys.shape
        ratio, width = query.shape[1] // kv_heads, query.shape[2]
        query = query.to(prompt_keys.dtype).reshape(self.rows, kv_heads, ratio, width)

        on_prompt = self._seated(query) @ prompt_keys.transpose(-1, -2)
        if self.ragged:
            on_prompt += self.bias[:, None, None]
        scores = torch.cat([self._stood_up(on_prompt, ratio), query @ keys.transpose(-1, -2)], -1)
        scores[..., prompt_length + self.written :] = float("-inf")
        weights = torch.softmax(scores, -1, torch.promote_types(scores.dtype, torch.float32)).to(values.dtype)
        read = self._stood_up(self._seated(weights[..., :prompt_length]) @ prompt_values, ratio)
        return (read + weights[..., prompt_length:] @ values).flatten(1, 2)

    def keep(self, going: Tensor) -> Tensor:
        """Drop the responses that are not in the (B,) mask, and prompts that have none left. Returns the order in which
        the others stand from now on, as their rows of before."""
        order, holes, movers = _closed_up(going)
        for part in (part for kept in self.own.values() for part in kept):
            part[holes, :, : self.written] = part[movers, :, : self.written]
        self.groups = self.groups[order]

        used = torch.zeros(len(self.lengths), dtype=torch.bool, device=going.device)
        used[self.groups] = True
        groups, holes, movers = _closed_up(used)
        if len(groups) < len(used):
            for part in (part for kept in self.prompt.values() for part in kept):
                part[holes] = part[movers]
            self.lengths, self.bias = self.lengths[groups], self.bias[groups]
            self.prompt = {
                layer: (k[: len(groups)], v[: len(groups)]) for layer, (k, v) in self.prompt.items()
            }
            renumbered = torch.zeros(len(used), dtype=torch.long, device=going.device)
            renumbered[groups] = torch.arange(len(groups), device=going.device)
            self.groups = renumbered[self.groups]
        self._give_back()
        self._seat()
        return order

    def _give_back(self) -> None:
        """Let go of memory of which less than a half is in use."""
        prompts, rows = self.room
        if 2 * len(self.lengths) <= prompts:
            prompts = len(self.lengths)
            self.prompt = {layer: (k.clone(), v.clone()) for layer, (k, v) in self.prompt.items()}
        if 2 * self.rows <= rows:
            rows = self.rows
            self.own = {layer: (k[:rows].clone(), v[:rows].clone()) for layer, (k, v) in self.own.items()}
        self.room = (prompts, rows)

    def _seat(self) -> None:
        """Give each response a seat among the `seats` of its prompt: (B,) places in N x seats."""
        counts = torch.bincount(self.groups, minlength=len(self.lengths))
        self.seats = int(counts.max()) if len(counts) else 0
        order = torch.argsort(self.groups, stable=True)
        rank = torch.empty_like(order)
        before = (counts.cumsum(0) - counts)[self.groups[order]]
        rank[order] = torch.arange(len(order), device=order.device) - before
        self.places = self.groups * self.seats + rank
        places = torch.arange(len(self.lengths) * self.seats, device=order.device)
        self.in_order = torch.equal(self.places, places)

    def _seated(self, rows: Tensor) -> Tensor:
        """(N, H, seats * r, W) from (B, H, r, W): a prompt's responses side by side, empty seats 0."""
        _, heads, ratio, width = rows.shape
        if not self.in_order:
            empty = rows.new_zeros(len(self.lengths) * self.seats, heads, ratio, width)
            rows = empty.index_copy_(0, self.places, rows)
        seated = rows.view(len(self.lengths), self.seats, heads, ratio, width).transpose(1, 2)
        return seated.reshape(len(self.lengths), heads, self.seats * ratio, width)

    def _stood_up(self, seated: Tensor, ratio: int) -> Tensor:
        """(B, H, r, W) from (N, H, seats * r, W): what `_seated` did, undone."""
        count, heads, _, width = seated.shape
        rows = seated.view(count, heads, self.seats, ratio, width).transpose(1, 2)
        rows = rows.reshape(count * self.seats, heads, ratio, width)
        return rows if self.in_order else rows[self.places]

    def _passes(self) -> Iterator[list[int]]:
        rows: list[int] = []
        for row in sorted(range(len(self.prompts)), key=lambda row: len(self.prompts[row])):
            if rows and (len(rows) + 1) * len(self.prompts[row]) > PREFILL_TOKENS:
                yield rows
                rows = []
            rows.append(row)
        yield rows

    def _keep_prompts(self, layer: int, rows: list[int], keys: Tensor, values: Tensor) -> None:
        """Take over the (n, H, P, D) keys and values of the prompts at `rows`, in the type of the values: under autocast
        the keys alone come in float32."""
        _, heads, length, width = keys.shape
        if layer not in self.prompt:
            shape = (len(self.lengths), heads, self.bias.shape[1], width)
            # zeros where a prompt is shorter: what softmax gives no weight must still be a number
            self.prompt[layer] = values.new_zeros(shape), values.new_zeros(shape)
        for kept, part in zip(self.prompt[layer], (keys, values), strict=True):
            kept[rows, :, :length] = part.to(kept.dtype)


def shared_attention(layer: int, query: Tensor, scaling: float | None, cache: SharedCache) -> Tensor:
    """(B, 1, heads, D) from (B, heads, 1, D) queries: softmax over the prompt's and the response's own keys together."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    queries = cache.split(query[:, :, 0] * scale)
    read = [cohort.attend(layer, part) for cohort, part in zip(cache.cohorts, queries, strict=True)]
    return (torch.cat(read) if len(read) > 1 else read[0])[:, None]


def _closed_up(going: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How the rows of a (B,) mask that go on close up to the front, few of them moving: the rows of before in their new
    order, the holes, and who moves into each."""
    count = int(going.sum())
    holes = (~going[:count]).nonzero().squeeze(-1)
    movers = going[count:].nonzero().squeeze(-1) + count
    order = torch.arange(count, device=going.device)
    order[holes] = movers
    return order, holes, movers
