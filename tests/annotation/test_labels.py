from __future__ import annotations

from django.template import Context, Template
from django.utils.translation import override

from annotation.labels import within_sentence


def test_a_label_within_a_sentence_is_in_lower_case() -> None:
    assert within_sentence("Reward model") == "reward model"
    assert Template("{{ label|within_sentence }}").render(Context({"label": "Lead"})) == "lead"


def test_a_german_noun_keeps_its_capital() -> None:
    with override("de"):
        assert within_sentence("Reward-Modell") == "Reward-Modell"
