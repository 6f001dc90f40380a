from __future__ import annotations

import pytest
from django.utils.translation import override

from annotation.logic.translation import format_digits, format_number, format_percent


@pytest.mark.parametrize(
    ("language", "number", "percent", "digits"),
    [("en", "12,345.68", "58.3%", "0.0123"), ("de", "12.345,68", "58,3%", "0,0123")],
)
def test_numbers_have_the_marks_of_the_reader_s_language(
    language: str, number: str, percent: str, digits: str
) -> None:
    with override(language):
        assert format_number(12_345.678, 2) == number
        assert format_percent(0.5834, 1) == percent
        assert not format_number(-0.004, 1).startswith("-")
        assert format_digits(0.012345, 3) == digits


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (2.0, "2"),
        (-1.25, "-1.25"),
        (0.5, "0.5"),
        (99.96, "100"),
        (1e-5, "1e-05"),
        (1.5e-4, "0.00015"),
        (123_456.7, "123,457"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
    ],
)
def test_significant_digits(value: float, text: str) -> None:
    assert format_digits(value, 3) == text
