from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.logic import ranking

RANKS = st.lists(st.integers(1, 9), min_size=2, max_size=9)


class TestPairs:
    @pytest.mark.parametrize(
        ("ranks", "pairs"),
        [
            ([1, 2], [(0, 1)]),
            ([2, 1], [(1, 0)]),
            ([1, 1], []),
            ([2, 1, 2], [(1, 0), (1, 2)]),
            ([1, 2, 3], [(0, 1), (0, 2), (1, 2)]),
            ([3, 3, 3, 3], []),
        ],
    )
    def test_it_is_worked_by_hand(self, ranks: list[int], pairs: list[tuple[int, int]]) -> None:
        assert ranking.pairs(ranks) == pairs

    def test_nine_in_a_row_are_thirty_six(self) -> None:
        assert len(ranking.pairs(range(1, 10))) == 36

    @given(RANKS)
    def test_every_two_are_a_pair_once_unless_they_tie(self, ranks: list[int]) -> None:
        found = ranking.pairs(ranks)
        assert all(ranks[better] < ranks[worse] for better, worse in found)
        apart = {
            frozenset(two) for two in combinations(range(len(ranks)), 2) if ranks[two[0]] != ranks[two[1]]
        }
        assert {frozenset(two) for two in found} == apart
        assert len(found) == len(apart)


class TestDense:
    def test_it_is_worked_by_hand(self) -> None:
        assert ranking.dense([5, 1, 5, 9]) == [2, 1, 2, 3]

    @given(RANKS)
    def test_it_keeps_every_preference_and_leaves_no_gap(self, ranks: list[int]) -> None:
        dense = ranking.dense(ranks)
        assert ranking.pairs(dense) == ranking.pairs(ranks)
        assert set(dense) == set(range(1, max(dense) + 1))
        assert ranking.dense(dense) == dense


class TestLevels:
    def test_it_is_worked_by_hand(self) -> None:
        assert ranking.levels([2, 1, 2]) == [[1], [0, 2]]

    @given(RANKS)
    def test_everyone_stands_somewhere_once(self, ranks: list[int]) -> None:
        levels = ranking.levels(ranks)
        assert sorted(place for level in levels for place in level) == list(range(len(ranks)))
        assert [ranks[level[0]] for level in levels] == sorted(set(ranks))
