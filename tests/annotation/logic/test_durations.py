from __future__ import annotations

import pytest

from annotation.logic.durations import duration, short_duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (-3, "0 seconds"),
        (0.4, "0 seconds"),
        (1, "1 second"),
        (59.6, "1 minute"),
        (95, "1 minute 35 seconds"),
        (3600, "1 hour"),
        (5400, "1 hour 30 minutes"),
        (11 * 3600 + 120, "11 hours"),
        (3 * 86_400 + 7200, "3 days 2 hours"),
    ],
)
def test_it_says_a_time_in_words(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (-3, "0 s"),
        (42.3, "42 s"),
        (60, "1 min"),
        (93, "1 min 33 s"),
        (599, "9 min 59 s"),
        (659, "10 min"),
        (3600, "1 h"),
        (9000, "2 h 30 min"),
    ],
)
def test_it_is_short_in_figures(seconds: float | None, text: str) -> None:
    assert short_duration(seconds) == text
