"""Reward models with a score for each criterion that responses are rated by."""

from __future__ import annotations

import json
import math
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from tests.training.core.conftest import (
    in_float64,
    judgments,
    sentence,
    tiny_gpt2,
    tiny_llama,
    write_job,
)
from tests.training.core.in_process import Recorded, curve, do_here
from training.configs import RewardConfig
from training.core.batching import shared_layout
from training.core.data import Ranking, read_rankings
from training.core.errors import BadInput
from training.core.preference_groups import PreferenceGroup, criterion_pairs, group_rankings
from training.core.reward_metrics import criteria_report
from training.core.reward_model import RewardModel, load_reward_model
from training.core.tokenization import EncodedGroup, Encoder
from training.core.train_reward import held_out_loss, micro_batch_loss
from training.core.training_loop import build_optimizer

HELLO = [{"role": "user", "content": "hello"}]
POLITE_AND_BLUNT = {"criteria": "polite, blunt", "max_length": 100}


def read(folder: Path, rows: list[dict[str, Any]]) -> list[Ranking]:
    path = folder / "data.jsonl"
    path.write_text(
        "".join(json.dumps({"id": n, "prompt": HELLO} | row) + "\n" for n, row in enumerate(rows))
    )
    return read_rankings(path)


def rated(ranks: list[int], **criteria: list[int | None]) -> Ranking:
    texts = ["a"] * len(ranks)
    return Ranking(1, 1, HELLO, texts, ranks, None, True, [None] * len(ranks), criteria=criteria)


def groups_of(*rankings: Ranking) -> list[PreferenceGroup]:
    """Each ranking a group of its own."""
    return [
        PreferenceGroup(
            index, [one], EncodedGroup([1], [[2]] * len(one.responses)), [list(range(len(one.responses)))]
        )
        for index, one in enumerate(rankings)
    ]


def rated_rows(count: int = 32) -> list[dict[str, Any]]:
    """Comparisons of a polite response with a blunt one, which are rated high and low by two opposite criteria; the polite one
    is preferred. A quarter is held out, and some ratings are missing."""
    rng = random.Random(5)
    rows = []
    for number in range(count):
        responses = [f"thank you {sentence(rng, 4)}", f"no {sentence(rng, 4)}", f"no {sentence(rng, 4)}"]
        polite: list[int | None] = [rng.randint(4, 5), 1, 1]
        blunt: list[int | None] = [1, rng.randint(3, 5), None]
        order = rng.sample(range(3), 3)
        rows.append(
            {
                "id": number,
                "prompt": [{"role": "user", "content": f"{number} {sentence(rng)}"}],
                "responses": [responses[place] for place in order],
                "ranks": [[1, 2, 2][place] for place in order],
                "criteria": {
                    "polite": [polite[place] for place in order],
                    "blunt": [blunt[place] for place in order],
                },
                "split": "held_out" if number % 4 == 0 else "train",
            }
        )
    return rows


@pytest.mark.parametrize(
    ("criteria", "words"),
    [
        ([1, 2], "'criteria' must be an object"),
        (0, "'criteria' must be an object"),
        ({"Polite": [1, 2]}, "'criteria' holds 'Polite'"),
        ({"": [1, 2]}, "'criteria' holds ''"),
        ({"polite": [1, 2.5]}, "'criteria' must hold whole numbers from 1 up, or null, for polite"),
        ({"polite": [1, 0]}, "'criteria' must hold whole numbers"),
        ({"polite": [1, True]}, "'criteria' must hold whole numbers"),
        ({"polite": 3}, "'criteria' must hold whole numbers"),
        ({"polite": [3]}, "2 responses but 1 ratings of polite in 'criteria'"),
    ],
)
def test_bad_ratings_are_refused_with_their_line(criteria: Any, words: str, tmp_path: Path):
    row = {"responses": ["a", "b"], "ranks": [1, 2]}
    with pytest.raises(BadInput, match=words) as caught:
        read(tmp_path, [row | {"criteria": None}, row | {"criteria": criteria}])
    assert caught.value.line == 2


def test_pairs_are_the_responses_of_a_ranking_with_different_ratings():
    """The ranks do not matter; equal and missing ratings give no pair, and neither do two rankings."""
    groups = groups_of(
        rated([1, 2, 3, 4], kind=[2, None, 5, 2]), rated([1, 2]), rated([2, 1], kind=[1, 3], true=[1, 1])
    )
    pairs = criterion_pairs(groups, "kind")
    ordered = zip(pairs.chosen.tolist(), pairs.rejected.tolist(), pairs.ranking.tolist(), strict=True)
    assert sorted(ordered) == [(2, 0, 0), (2, 3, 0), (7, 6, 2)]
    assert pairs.margin.tolist() == [0, 0, 0]
    assert [group.count_pairs("kind") for group in groups] == [[2], [0], [1]]
    assert len(criterion_pairs(groups, "true").chosen) == len(criterion_pairs(groups, "brief").chosen) == 0


def test_the_loss_by_hand():
    """-log sigmoid(d) is 0.6931472 at 0, 0.3132617 at 1, 1.3132617 at -1 and 0.1269280 at 2."""
    groups = groups_of(
        rated([1, 2, 3], kind=[1, 2, 2], true=[None, 4, 1]),  # kind at 1 and 0; true at -1
        rated([1, 2], kind=[5, 1]),  # kind at 2
        rated([1, 1], true=[3, 3]),  # nothing
    )
    rewards = [[1.0, 0.0, 0.0], [0.0, 0.0], [0.0, 9.0]]
    overall = ((0.3132617 + 0.3132617 + 0.6931472) / 3 + 0.6931472) / 2
    criteria = {
        "kind": [[0.0, 1.0, 0.0], [2.0, 0.0], [0.0, 0.0]],
        "true": [[7.0, 0.0, 1.0], [0.0, 0.0], [0.0, 5.0]],
    }
    kind, true = ((0.3132617 + 0.6931472) / 2 + 0.1269280) / 2, 1.3132617
    config = RewardConfig(margin="none", criteria="kind, true", criteria_weight=0.5)
    loss = held_out_loss(groups, rewards, config, criteria)
    assert loss == pytest.approx(overall + 0.5 * (kind + true) / 2)

    by_pair = replace(config, reduction="pair")
    overall = (0.3132617 + 0.3132617 + 0.6931472 + 0.6931472) / 4
    kind = (0.3132617 + 0.6931472 + 0.1269280) / 3
    loss = held_out_loss(groups, rewards, by_pair, criteria)
    assert loss == pytest.approx(overall + 0.5 * (kind + true) / 2)

    none = {name: scores[2:] for name, scores in criteria.items()}
    assert held_out_loss(groups[2:], rewards[2:], config, none) is None, "no pair of any kind"


PEOPLE = [
    {
        "responses": ["the ferry.", "the train leaves.", "no."],
        "ranks": [1, 2, 3],
        "criteria": {"kind": [3, 1, 2], "true": [1, 2, None]},
    },
    {
        "responses": ["no.", "the ferry.", "the train leaves."],
        "ranks": [1, 1, 2],
        "criteria": {"kind": [4, 4, 1]},
    },
    {"responses": ["the ferry.", "the train leaves.", "no."], "ranks": [3, 1, 2]},
    {"responses": ["yes.", "at nine."], "ranks": [1, 1], "criteria": {"kind": [1, 5]}},
    {"responses": ["at nine.", "yes."], "ranks": [2, 1], "criteria": {"kind": [1, 2], "true": [3, 1]}},
    {"responses": ["at nine.", "no."], "ranks": [1, 2], "criteria": {"true": [2, 2]}},
]


@pytest.mark.parametrize("reduction", ["prompt", "pair"])
@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_neither_groups_nor_passes_change_the_loss_or_a_gradient(
    make: Any, reduction: str, tmp_path: Path, tokenizer
):
    """Six rankings in three groups, in two passes, against six rows in one; float64 but for the weights of the pairs."""
    model = in_float64(RewardModel(make().base_model, seed=1, criteria=["kind", "true"]))
    config = RewardConfig(reduction=reduction, criteria="kind, true", criteria_weight=0.7)
    rankings, encoder = read(tmp_path, PEOPLE), Encoder(tokenizer, 64)
    merged = group_rankings(rankings, encoder)
    apart = [replace(group_rankings([one], encoder)[0], index=n) for n, one in enumerate(rankings)]
    assert (len(merged), len(apart)) == (3, 6)
    losses, gradients = [], []
    for whole, parts in ((merged, [merged[:1], merged[1:]]), (apart, [apart])):
        loss = torch.zeros(())
        for part in parts:
            rewards, criteria = model.all_scores(shared_layout([one.encoded for one in part]))
            loss = loss + micro_batch_loss(rewards, part, whole, config, criteria)
        losses.append(loss.item())
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    assert abs(losses[0] - losses[1]) < 1e-7
    assert all(torch.allclose(a, b, rtol=0, atol=1e-7) for a, b in zip(*gradients, strict=True))
    assert all(gradients[0][place].abs().max() > 1e-3 for place in (0, -1, -2)), "of the reward and of both"


def test_heads_are_vectors_without_weight_decay_and_the_reward_s_is_the_same_with_them():
    plain, rich = (RewardModel(tiny_llama().base_model, seed=4, criteria=names) for names in ([], ["a", "b"]))
    assert plain.weight.equal(rich.weight)
    assert not rich.weight.equal(rich.criterion_weights[0])
    assert not rich.criterion_weights[0].equal(rich.criterion_weights[1])
    heads = {id(parameter) for parameter in (rich.weight, *rich.criterion_weights)}
    for group in build_optimizer(rich, RewardConfig()).param_groups:
        if heads & {id(parameter) for parameter in group["params"]}:
            assert group["weight_decay"] == 0
    assert plain.state_dict().keys() == rich.state_dict().keys() - {
        "criterion_bias",
        "criterion_weights.0",
        "criterion_weights.1",
    }


def test_without_criteria_ratings_change_no_bit(source: Path, tmp_path: Path):
    """Of neither the weights nor the report; also where a tie has ratings that differ."""
    rows = judgments(12)
    rows += [
        row | {"id": f"tie {row['id']}", "ranks": [1] * len(row["ranks"])} for row in judgments(4, seed=9)
    ]
    with_ratings = [row | {"criteria": {"kind": list(range(1, len(row["ranks"]) + 1))}} for row in rows]
    config = {"batch_size": 4, "epochs": 2, "max_length": 100, "evaluate_every": 2}
    outputs = []
    for name, data in (("plain", rows), ("rated", with_ratings)):
        folder = write_job(tmp_path / name, "reward", data, model=str(source), config=config)
        do_here(folder)
        outputs.append(folder / "output")
    plain, rich = outputs
    names = {path.name for path in plain.iterdir()}
    assert names == {path.name for path in rich.iterdir()}
    assert not any(name.startswith("criteria") for name in names)
    for name in ("model.safetensors", "config.json", "report.json"):
        assert (plain / name).read_bytes() == (rich / name).read_bytes()


@pytest.fixture(scope="module")
def trained(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, list[dict]]:
    config = POLITE_AND_BLUNT | {"epochs": 6, "batch_size": 8, "learning_rate": 3e-3, "evaluate_every": 5}
    folder = write_job(
        tmp_path_factory.mktemp("criteria"), "reward", rated_rows(), model=str(source), config=config
    )
    return folder, *do_here(folder)


def test_opposite_criteria_are_both_learned(trained: tuple[Path, dict, list[dict]]):
    _, result, events = trained
    report = result["report"]
    assert [(row["criterion"], row["pairs"]) for row in report["accuracy_by_criterion"]] == [
        ("polite", 16),
        ("blunt", 8),
    ]
    assert all(row["accuracy"] > 0.8 for row in report["accuracy_by_criterion"])
    assert report["accuracy"] > 0.8
    reward, polite, blunt = report["criteria_correlation"]
    assert polite[2] == pytest.approx(blunt[1])
    assert polite[2] < -0.5
    assert reward[1] > 0.5
    assert curve(events, "criteria_accuracy").keys() == {5, 10, 15, 18}
    assert result["metrics"]["criteria_accuracy"] == report["criteria_accuracy"] > 0.8


def test_the_model_is_read_again_with_its_heads_and_its_reward_is_that_of_others(
    trained: tuple[Path, dict, list[dict]], tmp_path: Path, tokenizer
):
    output = trained[0] / "output"
    assert json.loads((output / "criteria.json").read_text()) == {"criteria": ["polite", "blunt"]}
    model = load_reward_model(str(output))
    assert model.criteria == ("polite", "blunt")
    batch = shared_layout([EncodedGroup([3, 5], [[6, 7], [8, 3, 9]])])
    rewards, criteria = model.all_scores(batch)
    assert model(batch).equal(rewards)
    classifier = AutoModelForSequenceClassification.from_pretrained(output)
    assert classifier.score.weight[0].equal(model.weight)
    loaded = classifier.base_model.state_dict()
    assert all(loaded[name].equal(weight) for name, weight in model.trunk.state_dict().items())
    plain = shutil.copytree(output, tmp_path / "plain")
    for name in ("criteria.json", "criteria.safetensors"):
        (plain / name).unlink()
    assert load_reward_model(str(plain))(batch).equal(rewards)

    model.save(tokenizer, tmp_path)
    again = load_reward_model(str(tmp_path)).all_scores(batch)[1]
    assert all(criteria[name].equal(again[name]) for name in criteria)
    other = load_reward_model(str(tmp_path), criteria=["brief", "blunt"], seed=1)
    assert other.criterion_weights[1].equal(model.criterion_weights[1])
    assert not other.criterion_weights[0].equal(model.criterion_weights[0])
    assert other.criterion_bias.tolist() == [0, model.criterion_bias[1]]


def test_reference_responses_score_zero_on_average_by_each_criterion(trained: tuple[Path, dict, list[dict]]):
    folder, result, _ = trained
    config = json.loads((folder / "output" / "config.json").read_text())
    assert config["reward_bias"] == pytest.approx(result["report"]["bias"])
    job = {"max_length": 100, "split": "all"}
    rows = [row | {"split": "held_out"} for row in rated_rows() if row["split"] == "train"]
    scoring = write_job(folder / "scoring", "evaluate", rows, model=str(folder / "output"), config=job)
    do_here(scoring)
    lines = [json.loads(line) for line in (scoring / "output" / "scores.jsonl").read_text().splitlines()]
    for name in ("polite", "blunt"):
        scores = [score for line in lines for score in line["criteria"][name]]
        assert sum(scores) / len(scores) == pytest.approx(0, abs=1e-5)
    assert load_file(folder / "output" / "criteria.safetensors")["bias"].abs().min() > 1e-4


def test_an_evaluation_writes_the_scores_and_reports_on_the_ratings(
    trained: tuple[Path, dict, list[dict]], tmp_path: Path
):
    folder, result, _ = trained
    rows = rated_rows()
    rows.append({"id": "unrated", "prompt": HELLO, "responses": ["no."], "split": "held_out"})
    job = write_job(
        tmp_path,
        "evaluate",
        rows,
        model=str(folder / "output"),
        config={"max_length": 100, "too_long_share": 0.0},
    )
    evaluated, _ = do_here(job)
    lines = [json.loads(line) for line in (job / "output" / "scores.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [row["id"] for row in rows]
    for row, line in zip(rows, lines, strict=True):
        assert list(line["criteria"]) == ["polite", "blunt"]
        assert all(len(scores) == len(row["responses"]) for scores in line["criteria"].values())
    for name in ("accuracy", "accuracy_by_criterion", "criteria_accuracy"):
        assert evaluated["report"][name] == result["report"][name]


def test_the_report_by_hand():
    groups = groups_of(rated([1, 2, 3], kind=[1, 2, 3]), rated([1, 2], kind=[2, 1], true=[1, 1]))
    rewards = [[1.0, 2.0, 3.0], [4.0, 5.0]]
    criteria = {"kind": [[1.0, 1.0, 3.0], [0.0, 0.5]], "true": [[2.0] * 3, [2.0] * 2]}
    report = criteria_report(groups, rewards, criteria)
    assert report["accuracy_by_criterion"] == [
        {"criterion": "kind", "accuracy": (0.5 + 1 + 1 + 0) / 4, "pairs": 4},
        {"criterion": "true", "accuracy": None, "pairs": 0},
    ]
    assert report["criteria_accuracy"] == (0.5 + 1 + 1 + 0) / 4
    deviations = [(-2, -0.1), (-1, -0.1), (0, 1.9), (1, -1.1), (2, -0.6)]
    product = sum(a * b for a, b in deviations)
    by_hand = product / math.sqrt(10 * sum(b * b for _, b in deviations))
    one = pytest.approx(1)
    assert report["criteria_correlation"] == [
        [one, pytest.approx(by_hand), None],
        [pytest.approx(by_hand), one, None],
        [None, None, None],
    ]
    assert criteria_report(groups, rewards, {}) == {}
    assert criteria_report([], [], {"kind": []})["criteria_correlation"] == [[None, None], [None, None]]


@pytest.mark.parametrize("gently", [False, True], ids=["killed", "asked to stop"])
@pytest.mark.parametrize(
    "more", [{}, {"lora_rank": 2, "precision": "bfloat16", "patience": 9}], ids=["full", "LoRA"]
)
def test_an_interrupted_run_ends_with_the_same_heads(
    more: dict[str, Any], gently: bool, source: Path, tmp_path: Path
):
    config = (
        POLITE_AND_BLUNT | {"batch_size": 6, "epochs": 3, "evaluate_every": 4, "checkpoint_every": 3} | more
    )
    whole, ended = (
        write_job(tmp_path / name, "reward", rated_rows(), model=str(source), config=config)
        for name in ("whole", "ended")
    )
    result, events = do_here(whole)
    place = next(n for n, event in enumerate(events) if event["event"] == "progress" and event["step"] == 7)
    assert do_here(ended, Recorded(place, gently=gently))[0] is None
    again, _ = do_here(ended)
    assert again["report"] == result["report"]
    for name in ("model.safetensors", "config.json", "criteria.safetensors"):
        assert (whole / "output" / name).read_bytes() == (ended / "output" / name).read_bytes()


def test_a_criterion_without_a_pair_is_refused_before_the_first_step(source: Path, tmp_path: Path):
    """Equal ratings are none, and those of held-out prompts are not trained on."""
    for row in (rows := rated_rows(8)):
        value = [2, 3, 4] if row["split"] == "held_out" else [3, 3, None]
        row["criteria"]["true"] = value
    config = POLITE_AND_BLUNT | {"criteria": "polite, true", "max_steps": 1}
    folder = write_job(tmp_path, "reward", rows, model=str(source), config=config)
    events = Recorded()
    with pytest.raises(BadInput, match="two responses with different ratings of true") as caught:
        do_here(folder, events)
    assert caught.value.setting == "criteria"
    assert not any(event["event"] == "start" for event in events.seen)


def test_rankings_that_tie_are_learned_by_their_ratings(source: Path, tmp_path: Path):
    rows = [row | {"ranks": [1, 1, 1]} for row in rated_rows(8)]
    config = POLITE_AND_BLUNT | {"max_steps": 2, "batch_size": 4}
    result, _ = do_here(write_job(tmp_path, "reward", rows, model=str(source), config=config))
    assert (result["pairs"], result["report"]["pairs"]) == (0, 0)
    assert result["metrics"]["loss"] > 0.3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("no list", "is not a list of criteria"),
        ("bad key", "is not a list of criteria"),
        ("no weights", "has criteria but no criteria.safetensors"),
        ("another size", "does not fit its trunk"),
    ],
)
def test_damaged_heads_are_refused(change: str, words: str, tmp_path: Path, tokenizer):
    RewardModel(tiny_llama().base_model, criteria=["kind"]).save(tokenizer, tmp_path)
    if change == "no list":
        (tmp_path / "criteria.json").write_text("[")
    elif change == "bad key":
        (tmp_path / "criteria.json").write_text('{"criteria": ["kind", 3]}')
    elif change == "no weights":
        (tmp_path / "criteria.safetensors").unlink()
    else:
        (tmp_path / "criteria.json").write_text('{"criteria": ["kind", "true"]}')
    with pytest.raises(BadInput, match=words):
        load_reward_model(str(tmp_path))
