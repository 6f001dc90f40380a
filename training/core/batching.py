"""Prompts with their responses in, hidden states and log-probs out: the one place where training runs the model.

Two layouts, which yield the same numbers:

    rows    each response in a row of its own after a copy of its prompt, padded on the right; k(P + R) tokens
    shared  each prompt once and its responses side by side after it, everything end to end; P + kR tokens

In `rows` attention is causal, so no real token ever sees the padding. In `shared` each response attends to its prompt
and to itself (`attention.Tree`) and its positions go on from the prompt's. The last prompt token predicts the first
token of every response, so its hidden state is read once for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from training.core.attention import NO_MASK, Branches, Tree, peculiarity, tree
from training.core.errors import BadInput
from training.core.logprobs import label_logprobs
from training.core.tokenization import Group

ROUND = 32
"""Packed rows are filled up to a multiple of this with tokens that nobody sees: kernels are made for a shape, and kept, so
the fewer shapes there are, the less time and memory go into making them."""


class Batch(NamedTuple):
    """K responses laid out for one pass of the model. Places count through input_ids row by row, 0..B*T-1.

    input_ids: (B, T). position_ids: (B, T), and tree, which tokens see which; both None where rows are plain and causal.
    last: (K,) place of each response's last token.
    predictor, label: (N,) for the N response tokens, the place that predicts each and its id.
    owner: (N,) the response, 0..K-1, each of them belongs to. lengths: (K,) tokens of each response.
    """

    input_ids: Tensor
    position_ids: Tensor | None
    tree: Tree | None
    last: Tensor
    predictor: Tensor
    label: Tensor
    owner: Tensor
    lengths: Tensor


def shared(groups: Sequence[Group], device: torch.device | str = "cpu") -> Batch:
    """`groups` in one row, each prompt once, filled up to a multiple of ROUND."""
    ids: list[int] = []
    positions: list[int] = []
    branches: list[Branches] = []
    places: list[list[int]] = []
    for prompt, responses in groups:
        start, split = len(ids), len(ids) + len(prompt)
        ids += prompt
        positions += range(len(prompt))
        ends = []
        for response in responses:
            places.append([split - 1, *range(len(ids), len(ids) + len(response) - 1)])
            ids += response
            positions += range(len(prompt), len(prompt) + len(response))
            ends.append(len(ids))
        branches.append(Branches(start, split, tuple(ends)))
    if spare := -len(ids) % ROUND:
        branches.append(Branches(len(ids), len(ids) + spare, ()))
        ids += [0] * spare
        positions += range(spare)
    last = [branch_end - 1 for branch in branches for branch_end in branch.ends]
    where = torch.device(device)
    layout = tree(tuple(branches), where)
    return _batch([ids], [positions], layout, last, places, groups, where)


def rows(groups: Sequence[Group], device: torch.device | str = "cpu") -> Batch:
    """`groups` as one row a response, padded on the right with id 0, which means nothing: lengths alone say where a row
    ends."""
    whole = [[*prompt, *response] for prompt, responses in groups for response in responses]
    splits = [len(prompt) for prompt, responses in groups for _ in responses]
    width = max(map(len, whole))
    ids = [row + [0] * (width - len(row)) for row in whole]
    last = [number * width + len(row) - 1 for number, row in enumerate(whole)]
    places = [
        list(range(number * width + split - 1, number * width + len(row) - 1))
        for number, (row, split) in enumerate(zip(whole, splits, strict=True))
    ]
    return _batch(ids, None, None, last, places, groups, torch.device(device))


def _batch(
    ids: list[list[int]],
    positions: list[list[int]] | None,
    layout: Tree | None,
    last: list[int],
    places: list[list[int]],
    groups: Sequence[Group],
    device: torch.device,
) -> Batch:
    def on_device(values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.long).to(device)

    responses = [response for group in groups for response in group.responses]
    lengths = on_device([len(response) for response in responses])
    return Batch(
        input_ids=on_device(ids),
        position_ids=None if positions is None else on_device(positions),
        tree=layout,
        last=on_device(last),
        predictor=on_device([place for found in places for place in found]),
        label=on_device([token for response in responses for token in response]),
        owner=torch.repeat_interleave(lengths),
        lengths=lengths,
    )


def hidden_states(trunk: nn.Module, batch: Batch) -> Tensor:
    """(B*T, D), the trunk's last hidden states, after its final norm."""
    how: dict[str, Any] = {"use_cache": False}
    if batch.tree is not None:
        how |= {"position_ids": batch.position_ids, "attention_mask": NO_MASK, "tree": batch.tree}
    hidden: Tensor = trunk(input_ids=batch.input_ids, **how).last_hidden_state
    return hidden.flatten(0, 1)


def last_hidden_states(trunk: nn.Module, batch: Batch) -> Tensor:
    """(K, D), the hidden state of each response's last real token."""
    return hidden_states(trunk, batch)[batch.last]


def token_logprobs(policy: Any, batch: Batch, temperature: float = 1.0) -> Tensor:
    """(N,) log-probs of all response tokens, response after response, in float32 at least; logits over `temperature`.

    Only places that predict a response token are put through the vocabulary projection.
    """
    hidden = hidden_states(policy.base_model, batch)[batch.predictor]
    return label_logprobs(policy, hidden, batch.label, temperature)


def response_logprobs(policy: Any, batch: Batch) -> Tensor:
    """(K,) log-probs summed over each response, in float32 at least."""
    logprobs = token_logprobs(policy, batch)
    return logprobs.new_zeros(len(batch.lengths)).index_add(0, batch.owner, logprobs)


class Grouped(Protocol):
    """Whatever carries a prompt and its responses as token ids."""

    @property
    def group(self) -> Group: ...


G = TypeVar("G", bound=Grouped)


class Passes:
    """Cuts work into passes of the model: lists of items with their batch, each of at most `most` tokens as laid out."""

    def __init__(self, trunk: Any, layout: str, most: int, length: int) -> None:
        """Raises BadInput, naming the setting, where rows of `length` tokens cannot be laid out so for this model."""
        if layout == "shared":
            check_sharing(trunk, length)
        self.layout, self.most, self.device = layout, most, trunk.device

    def __call__(self, items: Sequence[G]) -> Iterator[tuple[list[G], Batch]]:
        """Every item once, with its list's batch; an item too large by itself goes alone.

        In `rows`, where padding counts, the longest come first so that lists are alike in length; in `shared` they go as
        they come.
        """
        padded = self.layout == "rows"
        make = rows if padded else shared
        group: list[G] = []
        count = width = 0
        for item in sorted(items, key=lambda item: -item.group.longest) if padded else items:
            more = len(item.group.responses) if padded else item.group.tokens
            if group and (count + more) * (width if padded else 1) > self.most:
                yield group, make([one.group for one in group], self.device)
                group, count = [], 0
            if not group:
                width = item.group.longest
            group.append(item)
            count += more
        if group:
            yield group, make([one.group for one in group], self.device)


@torch.no_grad()
def check_sharing(trunk: Any, length: int) -> None:
    """Refuse a model for which responses cannot share a prompt in rows of `length` tokens, after trying it on a few."""
    kind = trunk.config.model_type
    if reason := peculiarity(trunk, length):
        raise BadInput(
            f"Models of type {kind} cannot share a prompt among its responses, as they use {reason};"
            " choose the layout rows.",
            setting="layout",
        )
    probe = [Group([3, 5, 4], [[6, 7], [8, 3, 9]]), Group([5, 9], [[4, 4, 3]])]
    together, alone = (last_hidden_states(trunk, layout(probe, trunk.device)) for layout in (shared, rows))
    if not torch.allclose(together, alone, rtol=1e-3, atol=1e-3 * float(alone.abs().max())):
        raise BadInput(
            f"Models of type {kind} give other numbers when responses share a prompt; choose the layout rows.",
            setting="layout",
        )
