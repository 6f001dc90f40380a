from __future__ import annotations

import pytest

from annotation.logic.durations import duration


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
