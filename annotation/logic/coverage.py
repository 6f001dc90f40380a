"""How many of the judgments that are left can be given by the people at work: nobody judges an item twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Person:
    """Somebody who takes items from the queue.

    Attributes:
        reviews: they also get restricted items.
        batches: the open batches that they are in.
        held: how many slots they have leased.
    """

    id: int
    reviews: bool = False
    batches: frozenset[int] = frozenset()
    held: int = 0


@dataclass(frozen=True)
class OpenItems:
    """Some items with the same open slots, which the same people must not get.

    Attributes:
        items: how many items.
        restricted: for reviewers and leads only.
        slots: of one item, each open slot's batch, 0 for none. Slots that these people have leased are not among them.
        closed_to: who has judged, skipped, leased or written something of them.
    """

    items: int
    restricted: bool
    slots: tuple[int, ...]
    closed_to: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Coverage:
    """What people can give: judgments of all of them together, and items that each of them can judge, by their ids."""

    judgments: int
    items: dict[int, int]


def coverage(people: Sequence[Person], groups: Iterable[OpenItems]) -> Coverage:
    """What these people can give to these items, with what they have leased."""
    judgments = sum(person.held for person in people)
    items = {person.id: person.held for person in people}
    for group in groups:
        able = [
            person
            for person in people
            if (person.reviews or not group.restricted)
            and person.id not in group.closed_to
            and any(_may_fill(person, batch) for batch in group.slots)
        ]
        judgments += group.items * _most_filled(group.slots, able)
        for person in able:
            items[person.id] += group.items
    return Coverage(judgments, items)


def _may_fill(person: Person, batch: int) -> bool:
    return not batch or batch in person.batches


def _most_filled(slots: Sequence[int], able: Sequence[Person]) -> int:
    """How many of an item's slots these people can fill, one each: a maximum matching, by augmenting paths."""
    if not any(slots):
        return min(len(slots), len(able))
    holder: dict[int, int] = {}

    def finds_slot(person: int, tried: set[int]) -> bool:
        for slot, batch in enumerate(slots):
            if slot in tried or not _may_fill(able[person], batch):
                continue
            tried.add(slot)
            if slot not in holder or finds_slot(holder[slot], tried):
                holder[slot] = person
                return True
        return False

    return sum(finds_slot(person, set()) for person in range(len(able)))
