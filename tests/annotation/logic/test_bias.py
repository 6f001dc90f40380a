from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from annotation.logic import bias


@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from([1 / 9, 0.25, 1 / 3, 0.5]))
def test_the_exact_test_is_scipy_s(n: int, share: float, expected: float) -> None:
    successes = round(n * share)
    found = bias.binomial_test(successes, n, expected)
    assert found is not None
    assert found.p == pytest.approx(stats.binomtest(successes, n, expected).pvalue, rel=1e-6, abs=1e-12)


def test_the_exact_test_is_fisher_s_lady() -> None:
    # 15 of 20 heads: 0.0414, in any textbook
    found = bias.binomial_test(15, 20, 0.5)
    assert found is not None
    assert round(found.p, 4) == 0.0414
    assert found.points == 25
    assert bias.binomial_test(0, 0, 0.5) is None


@given(st.integers(0, 50), st.integers(51, 80), st.integers(0, 50), st.integers(51, 80))
def test_the_score_test_is_pearson_s_chi_square(x: int, n: int, y: int, m: int) -> None:
    found = bias.difference_test((x, n), (y, m))
    assert found is not None
    if x + y == 0:
        assert found.p == 1
        return
    table = [[x, n - x], [y, m - y]]
    assert found.p == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, abs=1e-9)
    assert bias.difference_test((0, 0), (y, m)) is None


def test_holm_allows_for_the_number_of_people() -> None:
    assert bias.holm({"ann": 0.004, "bea": 0.02, "cid": 0.6}) == set()
    assert bias.holm({"ann": 0.003, "bea": 0.004, "cid": 0.6}) == {"ann", "bea"}
    assert bias.holm({}) == set()


def test_a_long_pause_begins_a_new_session() -> None:
    assert bias.places_in_session([0, 60, 120, 120 + 1801, 2000]) == [1, 2, 3, 1, 2]
    assert [bias.stretch(place) for place in (1, 10, 11, 50, 51, 4000)] == [0, 0, 1, 2, 3, 4]
