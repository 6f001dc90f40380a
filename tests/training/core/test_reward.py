from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.core.conftest import judgments, sentence, write_job
from tests.training.core.in_process import do_here
from training.configs import RewardConfig
from training.core.data import Ranking, read_rankings
from training.core.errors import BadInput
from training.core.preference_groups import PreferenceGroup, count_unsafe_over_safe, safety_labels
from training.core.tokenization import EncodedGroup
from training.core.train_reward import count_correct, held_out_loss, micro_batch_loss

HELLO = [{"role": "user", "content": "hello"}]


def read(folder: Path, rows: list[dict[str, Any]]) -> list[Ranking]:
    path = folder / "data.jsonl"
    path.write_text(
        "".join(json.dumps({"id": n, "prompt": HELLO} | row) + "\n" for n, row in enumerate(rows))
    )
    return read_rankings(path)


def test_a_soft_label_says_what_the_ranks_are(tmp_path: Path):
    rows = [{"responses": ["a", "b"], "probability": share} for share in (0.75, 0.5, 0.25, 1, 0.0)]
    assert [ranking.ranks for ranking in read(tmp_path, rows)] == [[1, 2], [1, 1], [2, 1], [1, 2], [2, 1]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probability": 1.5}, "from 0 to 1, not 1.5"),
        ({"probability": True}, "from 0 to 1"),
        ({"probability": "0.5"}, "from 0 to 1"),
        ({"probability": float("nan")}, "from 0 to 1"),
        ({"probability": 0.7, "ranks": [2, 1]}, r"requires the ranks \[1, 2\]"),
        ({"probability": 0.5, "ranks": [1, 2]}, r"requires the ranks \[1, 1\]"),
        ({"probability": 0.7, "responses": ["a", "b", "c"], "ranks": [1, 2, 3]}, "between two"),
        ({"ranks": [1, 2], "safe": [True]}, "1 labels of 'safe'"),
        ({"ranks": [1, 2], "safe": [1, 0]}, "true, false or null"),
        ({"ranks": [1, 2], "safe": True}, "true, false or null"),
        ({"ranks": [1, 2], "token_ids": [[1, "x"], None]}, "'token_ids' must"),
        ({"ranks": [1, 2], "token_ids": 7}, "'token_ids' must"),
    ],
)
def test_a_bad_label_is_refused(change: dict[str, Any], words: str, tmp_path: Path):
    with pytest.raises(BadInput, match=words) as caught:
        read(tmp_path, [{"responses": ["a", "b"]} | change])
    assert caught.value.line == 1


def judged_by_hand(*rankings: Ranking) -> list[PreferenceGroup]:
    """Each ranking a group of its own."""
    return [
        PreferenceGroup(
            index, [one], EncodedGroup([1], [[2]] * len(one.responses)), [list(range(len(one.responses)))]
        )
        for index, one in enumerate(rankings)
    ]


def ranking(ranks: list[int], **more: Any) -> Ranking:
    empty: dict[str, Any] = {"degree": None, "held_out": True, "token_ids": [None] * len(ranks)}
    return Ranking(1, 1, HELLO, ["a"] * len(ranks), ranks, **empty | more)


def test_the_loss_of_soft_labels_margins_and_rankings_by_hand():
    """Pairs at differences 1, 0 (p = 0.5), 2 (p = 0.25 for the first, so 0.75 for the second, which scores 2 less)."""
    found = judged_by_hand(
        ranking([1, 2], degree="significantly"),
        ranking([1, 1], probability=0.5),
        ranking([2, 1], probability=0.25),
        ranking([1, 1]),
    )
    rewards = [[1.0, 0.0], [3.0, 3.0], [2.0, 0.0], [9.0, 5.0]]
    one, two, three = math.log(2), math.log(2), 0.25 * 0.1269280 + 0.75 * 2.1269280
    loss = held_out_loss(found, rewards, RewardConfig(margin="small"))
    assert loss == pytest.approx((one + two + three) / 3)
    without = held_out_loss(found, rewards, RewardConfig(margin="none"))
    assert without == pytest.approx((0.3132617 + two + three) / 3)
    assert count_correct(torch.tensor([1.0, 0, 3, 3, 2, 0, 9, 5]), found) == 1, (
        "one half is a tie, and p = 0.25 prefers the second"
    )


def test_a_soft_label_of_one_half_pulls_rewards_together():
    rewards = torch.tensor([1.0, 0.0], requires_grad=True)
    found = judged_by_hand(ranking([1, 1], probability=0.5, degree="significantly"))
    micro_batch_loss(rewards, found, found, RewardConfig(margin="large")).backward()
    assert rewards.grad.tolist() == pytest.approx([0.5 * math.tanh(0.5), -0.5 * math.tanh(0.5)])
    level = torch.zeros(2, requires_grad=True)
    micro_batch_loss(level, found, found, RewardConfig(margin="large")).backward()
    assert level.grad.tolist() == [0, 0]


def test_the_safety_loss_is_the_mean_over_labels_beside_the_preference_loss():
    found = judged_by_hand(
        ranking([1, 2], safe=[True, None]), ranking([1, 1, 1], safe=[False, False, True]), ranking([1, 2])
    )
    rewards = [[1.0, 0.0], [1.0, -2.0, 0.0], [0.0, 0.0]]
    preferences = (0.3132617 + math.log(2)) / 2
    labels = (0.3132617 + 1.3132617 + 0.1269280 + math.log(2)) / 4
    for weight in (0.0, 0.5, 2.0):
        config = RewardConfig(margin="none", safety_weight=weight)
        assert held_out_loss(found, rewards, config) == pytest.approx(preferences + weight * labels)
    assert held_out_loss(found[1:2], rewards[1:2], RewardConfig()) is None
    assert safety_labels(found).place.tolist() == [0, 2, 3, 4]


def test_unsafe_answers_preferred_to_safe_ones_are_counted():
    found = judged_by_hand(
        ranking([2, 1, 3], safe=[True, False, True]),
        ranking([1, 2], safe=[True, False]),
        ranking([1, 2], safe=[False, None]),
    )
    assert count_unsafe_over_safe(found) == 2


def test_a_safety_model_parts_safe_from_unsafe_at_zero(source: Path, tmp_path: Path):
    """A word that is safe, one that is not: the scalar's sign learns it, and no shift spoils it."""
    rng = random.Random(5)
    rows = []
    for number in range(32):
        responses = [f"thank you {sentence(rng, 4)}", f"no {sentence(rng, 4)}"]
        order = [True, False] if number % 2 else [False, True]
        rows.append(
            {
                "id": number,
                "prompt": [{"role": "user", "content": sentence(rng)}],
                "responses": responses if order[0] else responses[::-1],
                "ranks": [1, 2] if order[0] else [2, 1],
                "safe": order if number % 3 else [None, None],
                "split": "held_out" if number % 4 == 0 else "train",
            }
        )
    reports = {}
    for weight in (0.0, 1.0):
        config = {
            "epochs": 6,
            "batch_size": 8,
            "learning_rate": 3e-3,
            "max_length": 100,
            "safety_weight": weight,
        }
        folder = write_job(tmp_path / str(weight), "reward", rows, model=str(source), config=config)
        result, _ = do_here(folder)
        reports[weight] = result["report"]
    assert reports[1.0]["unsafe_recall"] > 0.8
    assert reports[1.0]["safe_recall"] > 0.8
    assert reports[1.0]["bias"] == 0
    assert reports[0.0]["bias"] != 0
    assert reports[1.0]["unsafe_labels"] == reports[1.0]["safe_labels"] == 5


def test_safety_without_labels_is_refused_and_contradictions_are_warned_of(source: Path, tmp_path: Path):
    config = {"safety_weight": 1.0, "max_length": 100, "max_steps": 1}
    with pytest.raises(BadInput, match="has a safety label"):
        do_here(write_job(tmp_path / "a", "reward", judgments(4), model=str(source), config=config))
    rows = [
        row | {"safe": [row["ranks"][place] > 1 for place in range(len(row["ranks"]))]}
        for row in judgments(4)
    ]
    _, events = do_here(write_job(tmp_path / "b", "reward", rows, model=str(source), config=config))
    [warning] = [event["message"] for event in events if event["event"] == "warning"]
    assert "prefer an unsafe response to a safe one" in warning
