"""Rankings of the same responses as one group: what the reward model and DPO share before their losses.

Rankings of the same responses to the same prompt, by several people or at several times, are one group, so the model reads
the responses once for all of them. In the loss each ranking counts as if it stood alone: the reduction `prompt` is the mean
over rankings, not over groups, and `pair` the mean over all their pairs. Batches, however, are counted in groups, so every
set of responses occurs once an epoch, however many people ranked it (InstructGPT found that more often overfits). An AI's
opinions of responses, a row with `pairs`, are one more ranking in the loss, and count in no figure of people.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from training.core.data import Ranking, SoftPair
from training.core.errors import TooLong
from training.core.long_rows import LongRows
from training.core.rankings import Pairs, batch_pairs, comparisons, count_ties, pairs_of
from training.core.tokenization import EncodedGroup, Encoder


@dataclass(frozen=True)
class PreferenceGroup:
    """A prompt and k responses, encoded, with all rankings of them.

    index: its position among all groups of the job.
    places: for each ranking, the positions of its responses among the k; annotators may have seen them in another order.
    """

    index: int
    rankings: Sequence[Ranking]
    encoded: EncodedGroup
    places: Sequence[Sequence[int]] = ()

    @property
    def k(self) -> int:
        return len(self.encoded.responses)

    @property
    def held_out(self) -> bool:
        return self.rankings[0].held_out

    @property
    def by_people(self) -> bool:
        """Whether a row of it is a person's."""
        return any(ranking.pairs is None for ranking in self.rankings)

    @property
    def ties(self) -> int:
        return sum(count_ties(ranking.ranks or []) for ranking in self.rankings)

    @cached_property
    def pair_counts(self) -> list[int]:
        """The number of pairs that each ranking contributes to the loss."""
        return [len(ranking_comparisons(one)) if one.weight else 0 for one in self.rankings]

    @cached_property
    def criterion_pair_counts(self) -> dict[str, list[int]]:
        """By criterion, the number of pairs that each ranking's ratings order."""
        names = {name for ranking in self.rankings for name in ranking.criteria}
        return {
            name: [len(pairs_of(rated_ranks(one, name)[1])) if one.weight else 0 for one in self.rankings]
            for name in names
        }

    def count_pairs(self, criterion: str | None = None) -> list[int]:
        """The number of pairs of each ranking: of its ranks, or of its ratings by a criterion."""
        if criterion is None:
            return self.pair_counts
        return self.criterion_pair_counts.get(criterion, [0] * len(self.rankings))

    @cached_property
    def label_count(self) -> int:
        """The number of safety labels that contribute to the loss, over all rankings and responses."""
        return sum(label is not None for one in self.rankings if one.weight for label in one.safe or [])


class SafetyLabels(NamedTuple):
    """place: (M,) positions among the responses of a batch. safe: (M,) float32, 1 for safe and 0 for unsafe. weight: (M,)
    float32, that of the row."""

    place: Tensor
    safe: Tensor
    weight: Tensor


def group_rankings(
    rankings: Sequence[Ranking], encoder: Encoder, too_long: LongRows | None = None
) -> list[PreferenceGroup]:
    """The rankings in groups of the same prompt and responses, with their token ids.

    Groups, and the responses within each, are in order of first occurrence. Rankings with a response that is too long are
    left out and added to `too_long`; without it, they raise TooLong.
    """
    by_key: dict[str, list[tuple[Ranking, list[int]]]] = {}
    for ranking in rankings:
        order, key = _canonical_order(ranking)
        by_key.setdefault(key, []).append((ranking, order))
    groups: list[PreferenceGroup] = []
    for members in by_key.values():
        first, first_order = members[0]
        try:
            encoded = encoder.encode_group(first.prompt, first.responses, first.token_ids, line=first.line)
        except TooLong as error:
            if too_long is None:
                raise
            too_long.add(error, (ranking.name for ranking, _ in members))
            continue
        groups.append(
            PreferenceGroup(
                len(groups),
                [ranking for ranking, _ in members],
                encoded,
                [
                    [place for _, place in sorted(zip(order, first_order, strict=True))]
                    for _, order in members
                ],
            )
        )
    return groups


def _canonical_order(ranking: Ranking) -> tuple[list[int], str]:
    """The positions of the responses in an order that depends on their contents alone, and a key that is equal for the
    same prompt and responses."""
    responses = [json.dumps(pair) for pair in zip(ranking.responses, ranking.token_ids, strict=True)]
    order = sorted(range(len(responses)), key=lambda position: responses[position])
    return order, json.dumps([ranking.prompt, [responses[position] for position in order]], sort_keys=True)


def ranking_comparisons(ranking: Ranking) -> list[SoftPair]:
    """Every (better, worse, probability) that the loss learns from a ranking, by position among its responses."""
    return comparisons(ranking.ranks or [], ranking.probability, ranking.pairs)


def without_opinions(groups: Sequence[PreferenceGroup]) -> list[PreferenceGroup]:
    """The groups with only the rows by people, of which some may have none."""
    people = []
    for group in groups:
        rows = zip(group.rankings, group.places, strict=True)
        own = [(ranking, places) for ranking, places in rows if ranking.pairs is None]
        people.append(
            replace(group, rankings=[ranking for ranking, _ in own], places=[places for _, places in own])
        )
    return people


def count_learned(groups: Sequence[PreferenceGroup]) -> dict[str, int]:
    """How many rankings with a pair, pairs and ties by people a run learns from, and how many opinions of an AI, if any."""
    people = without_opinions(groups)
    counts = [count for group in people for count in group.pair_counts]
    opinions = sum(sum(group.pair_counts) for group in groups) - sum(counts)
    return {
        "rankings": sum(map(bool, counts)),
        "pairs": sum(counts),
        "ties": sum(group.ties for group in people),
        **({"opinions": opinions} if opinions else {}),
    }


def rankings_with_places(groups: Sequence[PreferenceGroup]) -> Iterator[tuple[Ranking, list[int]]]:
    """Every ranking with the positions of its responses among all responses of the groups, taken in order."""
    start = 0
    for group in groups:
        for ranking, places in zip(group.rankings, group.places, strict=True):
            yield ranking, [start + place for place in places]
        start += group.k


def group_pairs(
    groups: Sequence[PreferenceGroup], margin: str = "none", device: torch.device | str = "cpu"
) -> Pairs:
    """All pairs of the rankings, as positions among the groups' responses taken in order."""
    placed = list(rankings_with_places(groups))
    return batch_pairs(
        [ranking.ranks or [] for ranking, _ in placed],
        [ranking.degree for ranking, _ in placed],
        margin,
        device,
        probabilities=[ranking.probability for ranking, _ in placed],
        soft_pairs=[ranking.pairs for ranking, _ in placed],
        weights=[ranking.weight for ranking, _ in placed],
        places=[places for _, places in placed],
    )


def rated_ranks(ranking: Ranking, criterion: str) -> tuple[list[int], list[int]]:
    """The positions of the responses that are rated by a criterion, and their ranks by it: equal for equal ratings, lower for
    higher ones."""
    ratings = ranking.criteria.get(criterion, [])
    positions = [position for position, rating in enumerate(ratings) if rating is not None]
    return positions, [-rating for rating in ratings if rating is not None]


def criterion_pairs(
    groups: Sequence[PreferenceGroup], criterion: str, device: torch.device | str = "cpu"
) -> Pairs:
    """The pairs of responses within a ranking whose ratings by a criterion differ, as positions among the groups' responses
    taken in order. They have no margin."""
    ranks, rated_places, weights = [], [], []
    for ranking, places in rankings_with_places(groups):
        positions, own_ranks = rated_ranks(ranking, criterion)
        ranks.append(own_ranks)
        rated_places.append([places[position] for position in positions])
        weights.append(ranking.weight)
    return batch_pairs(ranks, device=device, weights=weights, places=rated_places)


def pair_fraction(
    part: Sequence[PreferenceGroup],
    whole: Sequence[PreferenceGroup],
    reduction: str,
    criterion: str | None = None,
) -> float:
    """The weight of a micro-batch's own mean within its batch's mean: by rankings with a pair, or by pairs; of ranks, or of
    ratings by a criterion."""

    def size(groups: Sequence[PreferenceGroup]) -> int:
        counts = [count for group in groups for count in group.count_pairs(criterion)]
        return sum(map(bool, counts)) if reduction == "prompt" else sum(counts)

    return size(part) / max(1, size(whole))


def safety_labels(groups: Sequence[PreferenceGroup], device: torch.device | str = "cpu") -> SafetyLabels:
    """Every safety label of the groups; a response may have several, by several people."""
    labels = [
        (place, float(label), ranking.weight)
        for ranking, places in rankings_with_places(groups)
        for place, label in zip(places, ranking.safe or [], strict=bool(ranking.safe))
        if label is not None
    ]
    return SafetyLabels(
        place=torch.tensor([place for place, _, _ in labels], dtype=torch.long, device=device),
        safe=torch.tensor([safe for _, safe, _ in labels], dtype=torch.float32, device=device),
        weight=torch.tensor([weight for _, _, weight in labels], dtype=torch.float32, device=device),
    )


def count_unsafe_over_safe(groups: Sequence[PreferenceGroup]) -> int:
    """The number of pairs in which an unsafe response is preferred to a safe one, by the labels of the same row."""
    return sum(
        ranking.safe[better] is False and ranking.safe[worse] is True
        for group in groups
        for ranking in group.rankings
        if ranking.safe and ranking.ranks
        for better, worse in pairs_of(ranking.ranks)
    )
