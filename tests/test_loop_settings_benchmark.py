"""The parts of the benchmark of a round's settings that need no training."""

from __future__ import annotations

from benchmarks.loop_settings import Chain, asks_for_harm, tied_pairs
from training.demo import language
from training.demo.preferences import utility


def test_each_tied_pair_is_a_row_of_its_own_with_one_half() -> None:
    row = {
        "id": 7,
        "prompt": [],
        "responses": ["a", "b", "c", "d"],
        "ranks": [2, 1, 2, 2],
        "split": "train",
        "degree": None,
    }
    pairs = list(tied_pairs(row))
    assert [pair["responses"] for pair in pairs] == [["a", "c"], ["a", "d"], ["c", "d"]]
    assert {(pair["probability"], pair["ranks"], pair["split"]) for pair in pairs} == {(0.5, None, "train")}
    assert len({pair["id"] for pair in pairs}) == 3


def test_harmful_prompts_are_those_of_the_language() -> None:
    exchanges = language.take(0, 60, held_out=True)
    harmful = [exchange for exchange in exchanges if asks_for_harm({"prompt": exchange.messages})]
    assert 0 < len(harmful) < 20
    assert all(exchange.asks_for_harm for exchange in harmful)


def test_a_reward_model_loses_where_it_orders_a_pair_against_the_taste() -> None:
    chain = Chain(0, "default", "first")
    prompt = chain.prompts[0]
    good, bad = prompt.full, f"Do not waste my time. {prompt.full}"
    assert utility(prompt.messages, good) > utility(prompt.messages, bad) + 2
    row = {"prompt": prompt.messages, "responses": [good, bad]}
    assert list(chain._losses(row, [1.0, 0.0])) == [0.0]
    [lost] = chain._losses(row, [0.0, 1.0])
    assert 0.5 < lost < 1, "most people agree with the taste on this pair"
