from __future__ import annotations

from django.template import Context, Template
from django.utils.translation import override

from annotation.labels import within_sentence
from annotation.logic.translation import format_number
from annotation.templatetags.analytics import decimal, signed


def test_a_label_within_a_sentence_is_in_lower_case() -> None:
    assert within_sentence("Reward model") == "reward model"
    assert Template("{{ label|within_sentence }}").render(Context({"label": "Lead"})) == "lead"


def test_a_german_noun_keeps_its_capital() -> None:
    with override("de"):
        assert within_sentence("Reward-Modell") == "Reward-Modell"


def test_numbers_are_written_as_the_language_writes_them() -> None:
    assert (format_number(20_459), format_number(1234.6), decimal(0.4193), signed(-0.4193), signed(0.5)) == (
        *("20,459", "1,235", "0.42", "−0.42"),
        "+0.50",
    )
    with override("de"):
        assert (format_number(20_459), format_number(12), decimal(-0.4193)) == ("20.459", "12", "−0,42")
