"""Judgments made ready for the model: what the reward model and DPO have in common before their losses differ.

Rankings of the same responses to the same prompt, by several people or at several times, are one group in a pass, so
the model reads the responses once for all of them. In the loss each is a ranking of its own, with the weight that it
would have in a row of its own: `prompt` is the mean over rankings, not over groups, and `pair` over all of their pairs.
What merging does change is the batches: they are counted in groups, so every set of responses is met once an epoch,
however many people judged it (meeting them more often overfits, as InstructGPT found).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from training.core.data import Ranking
from training.core.rankings import Pairs, batch_pairs, comparisons, count_ties, pairs_of
from training.core.tokenization import Encoder, Group


@dataclass(frozen=True)
class Judged:
    """A prompt and k responses, encoded, with all rankings of them.

    index: its place among all groups of the job.
    places: for each ranking, where its responses stand among the k; people may have seen them in another order.
    """

    index: int
    rankings: Sequence[Ranking]
    group: Group
    places: Sequence[Sequence[int]] = ()

    @property
    def k(self) -> int:
        return len(self.group.responses)

    @property
    def held_out(self) -> bool:
        return self.rankings[0].held_out

    @property
    def ties(self) -> int:
        return sum(count_ties(ranking.ranks or []) for ranking in self.rankings)

    @cached_property
    def pairs(self) -> list[int]:
        """How many pairs each ranking teaches."""
        return [len(comparisons(one.ranks or [], one.probability)) for one in self.rankings]

    @cached_property
    def labels(self) -> int:
        """How many times a response was called safe or unsafe."""
        return sum(label is not None for ranking in self.rankings for label in ranking.safe or [])


class SafetyLabels(NamedTuple):
    """place: (M,) positions among the responses of a batch. safe: (M,) float32, 1 for safe and 0 for unsafe."""

    place: Tensor
    safe: Tensor


def encode(rankings: Sequence[Ranking], encoder: Encoder) -> list[Judged]:
    """The rankings in groups of the same prompt and responses, with their token ids.

    The groups, and the responses in each, stand in the order in which the rankings first name them. Raises BadInput for
    a response that does not fit.
    """
    together: dict[str, list[tuple[Ranking, list[int]]]] = {}
    for ranking in rankings:
        order, key = _fingerprint(ranking)
        together.setdefault(key, []).append((ranking, order))
    found = []
    for index, same in enumerate(together.values()):
        first, first_order = same[0]
        found.append(
            Judged(
                index,
                [ranking for ranking, _ in same],
                encoder.group(first.prompt, first.responses, first.token_ids, line=first.line),
                [[place for _, place in sorted(zip(order, first_order, strict=True))] for _, order in same],
            )
        )
    return found


def _fingerprint(ranking: Ranking) -> tuple[list[int], str]:
    """The positions of the responses in an order that depends on them alone, and a text that is the same for the same."""
    given = [json.dumps(one) for one in zip(ranking.responses, ranking.token_ids, strict=True)]
    order = sorted(range(len(given)), key=lambda position: given[position])
    return order, json.dumps([ranking.prompt, [given[position] for position in order]], sort_keys=True)


def placed(judged: Sequence[Judged]) -> Iterator[tuple[Ranking, list[int]]]:
    """Every ranking with the positions of its responses among all responses of the groups, taken in order."""
    start = 0
    for one in judged:
        for ranking, places in zip(one.rankings, one.places, strict=True):
            yield ranking, [start + place for place in places]
        start += one.k


def pairs(judged: Sequence[Judged], margin: str = "none", device: torch.device | str = "cpu") -> Pairs:
    """All pairs of the rankings, as positions among the groups' responses taken in order."""
    found = list(placed(judged))
    return batch_pairs(
        [ranking.ranks or [] for ranking, _ in found],
        [ranking.degree for ranking, _ in found],
        margin,
        device,
        probabilities=[ranking.probability for ranking, _ in found],
        places=[places for _, places in found],
    )


def pair_share(part: Sequence[Judged], whole: Sequence[Judged], reduction: str) -> float:
    """The weight of a micro-batch's own mean within its batch's mean: by rankings with a pair, or by pairs."""

    def size(judged: Sequence[Judged]) -> int:
        counts = [count for one in judged for count in one.pairs]
        return sum(map(bool, counts)) if reduction == "prompt" else sum(counts)

    return size(part) / max(1, size(whole))


def safety_labels(judged: Sequence[Judged], device: torch.device | str = "cpu") -> SafetyLabels:
    """Every label that says whether a response is safe; one response may have several, of several people."""
    found = [
        (place, float(label))
        for ranking, places in placed(judged)
        for place, label in zip(places, ranking.safe or [], strict=bool(ranking.safe))
        if label is not None
    ]
    return SafetyLabels(
        place=torch.tensor([place for place, _ in found], dtype=torch.long, device=device),
        safe=torch.tensor([safe for _, safe in found], dtype=torch.float32, device=device),
    )


def unsafe_over_safe(judged: Sequence[Judged]) -> int:
    """Pairs in which an unsafe response was preferred to a safe one, by the labels of the same row."""
    return sum(
        ranking.safe[better] is False and ranking.safe[worse] is True
        for one in judged
        for ranking in one.rankings
        if ranking.safe and ranking.ranks
        for better, worse in pairs_of(ranking.ranks)
    )
