from __future__ import annotations

import itertools
import random

from annotation.logic.coverage import Coverage, OpenItems, Person, coverage

ANNA, BEN = Person(1), Person(2, reviews=True, batches=frozenset({7}))


def test_each_fills_one_place_of_an_item_that_is_open_to_them() -> None:
    assert coverage([ANNA, BEN], [OpenItems(10, False, (0, 0, 0))]) == Coverage(20, {1: 10, 2: 10})
    assert coverage([ANNA, BEN], [OpenItems(10, False, (0, 0), frozenset({1}))]) == Coverage(
        10, {1: 0, 2: 10}
    )
    assert coverage([ANNA, BEN], [OpenItems(10, True, (0, 0))]) == Coverage(10, {1: 0, 2: 10})
    assert coverage([], [OpenItems(10, False, (0,))]) == Coverage(0, {})
    assert coverage([Person(1, held=2)], []) == Coverage(2, {1: 2})


def test_a_batch_is_for_its_people() -> None:
    assert coverage([ANNA, BEN], [OpenItems(3, False, (7, 7))]) == Coverage(3, {1: 0, 2: 3})
    assert coverage([ANNA, BEN], [OpenItems(3, False, (0, 7))]) == Coverage(6, {1: 3, 2: 3})
    assert coverage([BEN, ANNA], [OpenItems(1, False, (0, 7))]).judgments == 2, (
        "ben leaves the free place to anna"
    )


def test_no_other_way_to_share_the_places_fills_more() -> None:
    rng = random.Random(5)
    seen = set()
    for _ in range(200):
        slots = tuple(rng.choice((0, 1, 2, 3)) for _ in range(rng.randint(1, 4)))
        people = [
            Person(n, batches=frozenset(rng.sample((1, 2, 3), rng.randint(0, 2))))
            for n in range(rng.randint(1, 4))
        ]
        best = 0
        places: list[Person | None] = [*people, *[None] * len(slots)]
        for order in itertools.permutations(places, len(slots)):
            filled = [
                person is not None and (not batch or batch in person.batches)
                for batch, person in zip(slots, order, strict=True)
            ]
            best = max(best, sum(filled))
        assert coverage(people, [OpenItems(1, False, slots)]).judgments == best
        seen.add((len(slots), best))
    assert len(seen) > 8
