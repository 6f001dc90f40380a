from __future__ import annotations

from annotation.logic import degrees


def test_a_margin_grows_with_the_degree() -> None:
    clearer = ("negligibly", "slightly", "better", "significantly")
    assert [degrees.margin(degree) for degree in clearer] == [0.0, 1 / 3, 2 / 3, 1.0]
    assert degrees.margin(None) == 0.0


def test_every_degree_has_a_name_and_a_margin() -> None:
    assert degrees.LABELS.keys() == degrees.MARGINS.keys()
