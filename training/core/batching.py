"""Prompts and responses to batches, and batches to hidden states: the one place where training runs a model.

There are two layouts, which give the same numbers:

    rows    each response in a row of its own after a copy of its prompt, padded on the right; k(P + R) tokens
    shared  each prompt once, its responses side by side after it, groups end to end in one row; P + kR tokens

In `rows` attention is causal, so no real token sees the padding. In `shared` each response attends to its prompt and to
itself (`attention.Tree`), with positions that continue the prompt's. The last prompt token predicts the first token of
every response, so its hidden state is read once for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from training.core.attention import (
    NO_MASK,
    Branches,
    Tree,
    build_tree,
    own_attention,
    shortest_window,
    unsupported_attention,
)
from training.core.errors import BadInput
from training.core.tokenization import EncodedGroup

ROW_MULTIPLE = 32
"""Shared rows are padded to a multiple of this with tokens that no other sees: kernels are compiled and cached for each
shape, so fewer shapes take less time and memory."""


class Batch(NamedTuple):
    """K responses laid out for one pass of a model. Positions in it count through input_ids row by row, 0..B*T-1.

    input_ids: (B, T). position_ids: (B, T), and tree, which tokens see which; both None for plain causal rows.
    last: (K,) position of each response's last token.
    predictor, label: (N,) for the N response tokens, the position that predicts each and its id.
    owner: (N,) the response, 0..K-1, that each of them belongs to. lengths: (K,) tokens of each response.
    """

    input_ids: Tensor
    position_ids: Tensor | None
    tree: Tree | None
    last: Tensor
    predictor: Tensor
    label: Tensor
    owner: Tensor
    lengths: Tensor


def shared_layout(groups: Sequence[EncodedGroup], device: torch.device | str = "cpu") -> Batch:
    """`groups` in one row, each prompt once, padded to a multiple of ROW_MULTIPLE."""
    ids: list[int] = []
    positions: list[int] = []
    branches: list[Branches] = []
    predictors: list[int] = []
    for prompt, responses in groups:
        start, split = len(ids), len(ids) + len(prompt)
        ids += prompt
        positions += range(len(prompt))
        ends = []
        for response in responses:
            predictors += [split - 1, *range(len(ids), len(ids) + len(response) - 1)]
            ids += response
            positions += range(len(prompt), len(prompt) + len(response))
            ends.append(len(ids))
        branches.append(Branches(start, split, tuple(ends)))
    if padding := -len(ids) % ROW_MULTIPLE:
        branches.append(Branches(len(ids), len(ids) + padding, ()))
        ids += [0] * padding
        positions += range(padding)
    last = [end - 1 for branch in branches for end in branch.ends]
    tree = build_tree(tuple(branches), torch.device(device))
    return _batch([ids], [positions], tree, last, predictors, groups, torch.device(device))


def rows_layout(groups: Sequence[EncodedGroup], device: torch.device | str = "cpu") -> Batch:
    """`groups` with one row a response, padded on the right with id 0; `lengths` alone tell padding from tokens."""
    whole = [[*prompt, *response] for prompt, responses in groups for response in responses]
    splits = [len(prompt) for prompt, responses in groups for _ in responses]
    width = max(map(len, whole))
    ids = [row + [0] * (width - len(row)) for row in whole]
    last = [number * width + len(row) - 1 for number, row in enumerate(whole)]
    predictors = [
        position
        for number, (row, split) in enumerate(zip(whole, splits, strict=True))
        for position in range(number * width + split - 1, number * width + len(row) - 1)
    ]
    return _batch(ids, None, None, last, predictors, groups, torch.device(device))


def _batch(
    ids: list[list[int]],
    positions: list[list[int]] | None,
    tree: Tree | None,
    last: list[int],
    predictors: list[int],
    groups: Sequence[EncodedGroup],
    device: torch.device,
) -> Batch:
    def on_device(values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.long).to(device)

    responses = [response for group in groups for response in group.responses]
    lengths = on_device([len(response) for response in responses])
    return Batch(
        input_ids=on_device(ids),
        position_ids=None if positions is None else on_device(positions),
        tree=tree,
        last=on_device(last),
        predictor=on_device(predictors),
        label=on_device([token for response in responses for token in response]),
        owner=torch.repeat_interleave(lengths),
        lengths=lengths,
    )


def hidden_states(trunk: nn.Module, batch: Batch) -> Tensor:
    """(B*T, D), the trunk's last hidden states, after its final norm."""
    options: dict[str, Any] = {"use_cache": False}
    if batch.tree is not None:
        options |= {"position_ids": batch.position_ids, "attention_mask": NO_MASK, "tree": batch.tree}
    hidden: Tensor = trunk(input_ids=batch.input_ids, **options).last_hidden_state
    return hidden.flatten(0, 1)


def last_hidden_states(trunk: nn.Module, batch: Batch) -> Tensor:
    """(K, D), the hidden state of each response's last real token."""
    return hidden_states(trunk, batch)[batch.last]


class HasEncodedGroup(Protocol):
    """Anything with a prompt and its responses as token ids."""

    @property
    def encoded(self) -> EncodedGroup: ...


class IndexedGroup(NamedTuple):
    """A group to score, and the position of its result, or of that of its first response, among all."""

    encoded: EncodedGroup
    position: int


G = TypeVar("G", bound=HasEncodedGroup)


class Passes:
    """Divides work into passes of the model: lists of items with their batch, each of at most `max_tokens` tokens as laid
    out, padding included."""

    def __init__(self, trunk: Any, layout: str, max_tokens: int, length: int, setting: str = "model") -> None:
        """Raises BadInput if this model, that of `setting`, does not support the layout with sequences of `length` tokens."""
        check_layout(trunk, layout, length, setting)
        self.layout, self.max_tokens, self.device = layout, max_tokens, trunk.device

    def __call__(self, items: Sequence[G]) -> Iterator[tuple[list[G], Batch]]:
        """Every item once, with its list's batch. An item that exceeds `max_tokens` has a pass of its own.

        In `rows`, where padding counts, the longest come first, so that those of one list are similar in length; in `shared`
        the order is that of `items`.
        """
        is_padded = self.layout == "rows"
        micro: list[G] = []
        count = width = 0
        for item in sorted(items, key=lambda item: -item.encoded.longest) if is_padded else items:
            size = len(item.encoded.responses) if is_padded else item.encoded.tokens
            if micro and (count + size) * (width if is_padded else 1) > self.max_tokens:
                yield micro, self.lay_out([item.encoded for item in micro])
                micro, count = [], 0
            if not micro:
                width = item.encoded.longest
            micro.append(item)
            count += size
        if micro:
            yield micro, self.lay_out([item.encoded for item in micro])

    def lay_out(self, groups: Sequence[EncodedGroup]) -> Batch:
        """All the groups in one pass."""
        lay_out = rows_layout if self.layout == "rows" else shared_layout
        return lay_out(groups, self.device)


def check_layout(trunk: Any, layout: str, length: int, setting: str = "model") -> None:
    """Raise BadInput for a model, that of `setting`, that does not support the layout in sequences of `length` tokens."""
    check_rows_layout(trunk, length, setting)
    if layout == "shared":
        check_shared_layout(trunk, length)


def probe_groups(trunk: Any, length: int) -> list[EncodedGroup]:
    """A few short prompts and responses, one of them longer than the model's sliding window, to try a model with."""
    groups = [EncodedGroup([3, 5, 4], [[6, 7], [8, 3, 9]]), EncodedGroup([5, 9], [[4, 4, 3]])]
    if window := shortest_window(trunk, length):
        groups.append(EncodedGroup([3 + place % 7 for place in range(window)], [[6, 7], [8]]))
    return groups


@contextmanager
def exact_float32() -> Iterator[None]:
    """A context in which products of float32 are not rounded to TF32, which would hide whether two ways of computing agree."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@exact_float32()
@torch.no_grad()
def check_rows_layout(trunk: Any, length: int, setting: str = "model") -> None:
    """Raise BadInput for a model, that of `setting`, whose hidden states differ from those of its own forward in transformers, or
    change with later tokens. It is tried on a few."""
    kind = trunk.config.model_type
    batch = rows_layout(probe_groups(trunk, length), trunk.device)
    changed = batch.input_ids.clone()
    changed.flatten()[batch.last] += 1
    shape = (*batch.input_ids.shape, -1)
    ours, then = (
        hidden_states(trunk, batch._replace(input_ids=ids)).view(shape) for ids in (batch.input_ids, changed)
    )
    for row, last in enumerate((batch.last % batch.input_ids.shape[1]).tolist()):
        if not _are_close(then[row, :last], ours[row, :last]):
            raise BadInput(
                f"Models of type {kind} are not supported: they are not causal, as their hidden states change with later tokens.",
                setting=setting,
            )
        with own_attention(trunk):
            theirs = trunk(input_ids=batch.input_ids[row : row + 1, : last + 1], use_cache=False)
        expected, own = theirs.last_hidden_state[0], ours[row, : last + 1]
        if not _are_close(own, expected):
            raise BadInput(
                f"Models of type {kind} are not supported: their hidden states differ by up to"
                f" {float((own - expected).abs().max()):.2g} from those that transformers computes for each text alone.",
                setting=setting,
            )


@exact_float32()
@torch.no_grad()
def check_shared_layout(trunk: Any, length: int) -> None:
    """Raise BadInput for a model whose responses cannot share a prompt in sequences of `length` tokens; it is tried on a
    few."""
    kind = trunk.config.model_type
    if reason := unsupported_attention(trunk):
        raise BadInput(
            f"Models of type {kind} do not support the layout shared, as they use {reason}; choose the layout rows.",
            setting="layout",
        )
    probe = probe_groups(trunk, length)
    together, alone = (
        last_hidden_states(trunk, lay_out(probe, trunk.device)) for lay_out in (shared_layout, rows_layout)
    )
    if not _are_close(together, alone):
        raise BadInput(
            f"Models of type {kind} give different numbers in the layout shared; choose the layout rows.",
            setting="layout",
        )


def _are_close(ours: Tensor, theirs: Tensor) -> bool:
    """Whether hidden states are equal up to rounding."""
    return torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))
