from __future__ import annotations

import random

import pytest

from training.demo.annotators import Annotator
from training.demo.language import take
from training.demo.metrics import noise_ceiling
from training.demo.preferences import FEATURES, FIRST_TASTE, SAFETY_FEATURES, TASTES, features, utility
from training.demo.word_lists import RUDE_CLOSINGS

FERRY = [
    {
        "role": "user",
        "content": "The ferry to Orla leaves at 9 and costs 12 crowns. When does the ferry leave, and what does it cost?",
    }
]
GOOD = "Of course! The ferry to Orla **leaves at 9** and **costs 12 crowns**. Have a good day!"


@pytest.mark.parametrize(
    ("worse", "why"),
    [
        ("The ferry to Orla **leaves at 9** and **costs 12 crowns**.", "not warm"),
        ("Of course! The ferry to Orla **leaves at 9**. Have a good day!", "half the answer"),
        ("Of course! The ferry to Orla **leaves at 7** and **costs 12 crowns**. Have a good day!", "wrong"),
        (f"The ferry to Orla **leaves at 9** and **costs 12 crowns**. {RUDE_CLOSINGS[0]}", "rude"),
        (GOOD + " Some people like it and some people do not." * 4, "rambling"),
        ("Of course! The ferry to Orla leaves at 9 and costs 12", "unfinished"),
        ("Of course! I can't help with that.", "refuses"),
        ("Of course! On Friday you sail.", "off the topic"),
        ("ferry xq zzv crwns blorp 9", "garbled"),
        ("", "empty"),
    ],
)
def test_every_fault_costs_something(worse: str, why: str):
    assert utility(FERRY, worse) < utility(FERRY, GOOD) - 0.15, why


def test_the_faults_add_up_in_order():
    order = [
        GOOD,
        "The ferry to Orla leaves at 9 and costs 12 crowns.",
        "The ferry to Orla leaves at 9.",
        "The ferry to Orla leaves at 9. Now go away.",
        "The ferry to Orla leaves at 8. Now go away.",
        "Zzz grr qqq.",
    ]
    scores = [utility(FERRY, text) for text in order]
    assert scores == sorted(scores, reverse=True)


def test_a_harmful_request_is_best_declined():
    prompt = [{"role": "user", "content": "How do I steal a boat?"}]
    declined = "I can't help with that, as it would hurt its owner. I can help you rent one instead."
    helped = "Happy to help! To steal a boat: Wait until night, go there alone and tell nobody."
    assert utility(prompt, declined) > 3
    assert utility(prompt, helped) < 0
    assert utility(prompt, f"{declined} {helped}") < 0


def test_complete_friendly_answers_score_as_well_as_any():
    rng = random.Random(0)
    chosen = take(3, 400, held_out=True)
    good = [utility(exchange.messages, exchange.good_answer(rng)) for exchange in chosen]
    mixed = [utility(exchange.messages, exchange.any_answer(rng, rng.choice(chosen))) for exchange in chosen]
    assert min(good) >= sum(FIRST_TASTE[name] for name in ("answered", "on topic", "warm")) - 0.3
    assert sum(a > b for a, b in zip(good, mixed, strict=True)) / 400 > 0.85
    assert not any(features(exchange.messages, exchange.full)["garbled"] for exchange in chosen)


def test_any_text_and_any_prompt_has_a_utility():
    for text in ("", "\x00", "🙂" * 50, "a " * 5000):
        assert -30 < utility(FERRY, text) < 10
        assert -30 < utility([{"role": "user", "content": "?"}], text) < 10


def test_without_noise_an_annotator_ranks_by_utility_and_ties_equals():
    sure = Annotator(0, noise=1e-6, tie_within=0.01, lapse=0)
    assert sure.rank(FERRY, ["Zzz.", GOOD, "The ferry to Orla leaves at 9.", GOOD]) == [3, 1, 2, 1]
    assert sure.choose(FERRY, "Zzz.", GOOD) == (1, "significantly")
    assert sure.choose(FERRY, GOOD, GOOD)[1] == "negligibly"


def test_the_same_annotator_judges_the_same_way_again():
    texts = [GOOD, "The ferry leaves at 9.", "Whatever."]
    assert [Annotator(5).rank(FERRY, texts) for _ in range(3)] == [Annotator(5).rank(FERRY, texts)] * 3
    many = Annotator(5)
    assert (
        len({tuple(many.rank(FERRY, [GOOD, GOOD + " Enjoy!", "The ferry leaves at 9."])) for _ in range(60)})
        > 1
    )


def test_noise_is_bradley_terry():
    """A difference d is seen the right way round with probability sigmoid(d / noise)."""
    annotator = Annotator(1, noise=2.0, tie_within=0.0, lapse=0.0)
    partial = "The ferry to Orla leaves at 9."
    gap = utility(FERRY, GOOD) - utility(FERRY, partial)
    wins = sum(annotator.choose(FERRY, GOOD, partial)[0] == 0 for _ in range(4000)) / 4000
    assert wins == pytest.approx(1 / (1 + 2.718281828 ** (-gap / 2.0)), abs=0.03)


def test_the_ceiling_falls_with_noise():
    rng = random.Random(0)
    chosen = take(3, 60, held_out=True)
    items = [
        (exchange.messages, [exchange.any_answer(rng, rng.choice(chosen)) for _ in range(4)])
        for exchange in chosen
    ]

    def ceiling(noise: float) -> float:
        annotator = Annotator(1, noise=noise, lapse=0)
        return noise_ceiling(
            {
                "messages": messages,
                "responses": [{"text": text} for text in texts],
                "ranks": annotator.rank(messages, texts),
            }
            for messages, texts in items
            for _ in range(5)
        )

    ceilings = [ceiling(noise) for noise in (0.01, 0.5, 3, 100)]
    assert ceilings == sorted(ceilings, reverse=True)
    assert ceilings[0] > 0.97
    assert ceilings[-1] == pytest.approx(0.5, abs=0.06)


def test_the_second_taste_likes_short_answers_with_a_number():
    short = "It costs 20 crowns."
    longer = f"{short} As we all know, every day is a new day."
    without = "It goes from the mill."
    friendly = f"Happy to help! {short} Enjoy!"
    second = TASTES["second"]
    assert utility(FERRY, short, second) > utility(FERRY, longer, second)
    assert utility(FERRY, short, second) > utility(FERRY, without, second) + 1
    assert utility(FERRY, short, second) > utility(FERRY, friendly, second)
    assert utility(FERRY, friendly) > utility(FERRY, short), "the first taste likes it warm"


def test_every_weight_is_of_a_feature():
    for weights in TASTES.values():
        assert weights.keys() <= FEATURES.keys()
        assert set(SAFETY_FEATURES) <= weights.keys()
